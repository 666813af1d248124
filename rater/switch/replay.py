"""A capture through the real parser, tracker and engine, with a store in memory and a clock that the capture turns.

What happened, happened: commands go nowhere. A leg that would have been denied goes on in the capture and is
reported as denied; one that would have been cut is charged up to its paid slice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rater.calls.commands import SwitchCommand
from rater.calls.signals import Signal
from rater.catalog.model import Account, Catalog, SwitchRules
from rater.charging.memory import MemoryStore
from rater.charging.model import Post, PostKind
from rater.charging.records import LegState
from rater.clock import ManualClock
from rater.engine import Engine, EnginePolicy
from rater.errors import InputError
from rater.events.notices import PublicRecord, record_of
from rater.events.stream import Entry
from rater.ids import OpId, SwitchId
from rater.metrics import Metrics
from rater.switch.ami_parse import Frame
from rater.switch.capture import CaptureHeader
from rater.switch.frames import frame_parser
from rater.switch.resync import resync
from rater.switch.stamps import parse_timestamp
from rater.switch.tracker import Tracker


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """`records`: rated events, denials and thresholds in order. `unfinished`: legs alive at the capture's end."""

    records: tuple[PublicRecord, ...]
    unfinished: tuple[LegState, ...]
    frames: int
    bad_frames: int
    internal_calls: int
    until_ms: int


class _Nowhere:
    """The engine's way to the switch: the past cannot be told anything."""

    def execute(self, command: SwitchCommand) -> None:
        pass

    def flush(self) -> None:
        pass


class Replay:
    """One capture. `run` once."""

    def __init__(self, header: CaptureHeader, catalog: Catalog, policy: EnginePolicy | None = None) -> None:
        self.switch = SwitchId(header.switch)
        self._header = header
        self._clock = ManualClock(header.at_ms)
        self._store = MemoryStore(self._clock)
        self._parser = frame_parser()
        rules = catalog.switches.get(self.switch, SwitchRules(self.switch))
        self.tracker = Tracker(self.switch, header.boot, rules, catalog.trunks.values())
        self.engine = Engine(self._store, self._clock, Metrics(), policy or EnginePolicy())
        self.engine.set_catalog(catalog)
        self.engine.attach(self.switch, _Nowhere(), epoch=1, fails_open=True)
        self._store.on_wake = self.engine.money_arrived
        self._shards = sorted({account.shard for account in catalog.accounts.values()})
        for account in catalog.accounts.values():
            if account.opening_micro > 0:
                self._store.execute(_opening(account, catalog, header.at_ms))

    async def run(self, stream: Iterable[bytes]) -> ReplayResult:
        """Raises InputError when the events carry no timestamps: nothing could be told of durations."""
        listing: list[Frame] | None = []
        for data in stream:
            for frame in self._parser.feed(data):
                name = frame.get("Event", "")
                if listing is not None and name == "CoreShowChannel":
                    listing.append(frame)
                elif listing is not None and name == "CoreShowChannelsComplete":
                    self._take(
                        resync(
                            self.tracker, listing, [], self._clock.wall_ms(), asked_ns=0, arrived_ns=0, initial=True
                        )
                    )
                    listing = None
                elif name:
                    self._event(frame)
        return await self._result()

    def _event(self, frame: Frame) -> None:
        at_ms = parse_timestamp(frame.get("Timestamp", ""))
        if at_ms is not None:
            self._advance(at_ms)
        arrived_ns = self._clock.monotonic_ms() * 1_000_000
        signals = self.tracker.feed(frame, arrived_ns)
        if self.tracker.time.source == "arrival":
            raise InputError(
                "the capture's events carry no timestamps, so nothing can be told of durations",
                hint="Set timestampevents=yes in the switch's manager.conf and record again.",
            )
        self._take(signals)

    def _advance(self, at_ms: int) -> None:
        """Let the time pass up to `at_ms`, with every wake-up in its turn."""
        while True:
            left_ms = at_ms - self._clock.wall_ms()
            wake_ms = self.engine.next_wake_ms()
            to_wake_ms = None if wake_ms is None else wake_ms - self._clock.monotonic_ms()
            if to_wake_ms is None or to_wake_ms > left_ms:
                break
            self._clock.advance(max(0, to_wake_ms))
            self.engine.tick()
            self.engine.flush()
        self._clock.advance(max(0, left_ms))

    def _take(self, signals: Iterable[Signal]) -> None:
        for signal in signals:
            self.engine.on_signal(signal)
        self.engine.flush()

    async def _result(self) -> ReplayResult:
        entries = (
            Entry(0, f"{number}-0", kind, facts, result)
            for number, (kind, facts, result) in enumerate(self._store.outbox)
        )
        parser = self._parser
        live = [leg for shard in self._shards for leg in await self._store.legs(shard)]
        return ReplayResult(
            records=tuple(record_of(entry) for entry in entries),
            unfinished=tuple(live),
            frames=parser.frames + parser.unknown,
            bad_frames=parser.garbage + parser.tampered + parser.oversized,
            internal_calls=self.tracker.internal_calls,
            until_ms=self._clock.wall_ms(),
        )


def _opening(account: Account, catalog: Catalog, at_ms: int) -> Post:
    return Post(
        op=OpId(f"opening:{account.id}"),
        shard=account.shard,
        account=account.id,
        kind=PostKind.OPENING,
        amount_micro=account.opening_micro,
        now_ms=at_ms,
        terms=catalog.terms(account.id, "", at_ms),
    )
