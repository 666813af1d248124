"""Glues one switch to the engine: connection, tracker, actions. Decides nothing about calls. What it does with each
frame and command is `rater.switch.port`; here is how a connection comes up, and what is done from time to time.

A connection comes up in this order: log in, ask for the switch's start time (its *boot*; another one means that
every older leg is over), switch the events on, list the channels. Events that arrive meanwhile are held until the
list has been compared with the known legs, then handled. Only from then on the heartbeat tells the dialplan that
somebody decides.

No action is repeated blindly. A verdict or a hang-up that may have been lost with a connection is sent again only
when the list shows that its channel still waits or lives.
"""

from __future__ import annotations

import asyncio
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import structlog

from rater.calls.signals import Mode, Signal
from rater.catalog.model import Catalog, SwitchRules
from rater.config import SwitchSettings
from rater.errors import SwitchError, SwitchUnavailable
from rater.ids import SwitchId
from rater.metrics import Metrics
from rater.switch.actions import Actions
from rater.switch.ami import ConnectionState, SwitchConnection, Timing
from rater.switch.ami_parse import Frame
from rater.switch.exchange import Recorder
from rater.switch.port import Port, SwitchEngine
from rater.switch.resync import first, later, parts
from rater.switch.tracker import Tracker

EVENT_MASK = "call,agi,system"
HELD_LIMIT = 50_000
"""Frames that may arrive while the channels are listed."""
RESYNC_EVERY_S = 60.0
PAUSE_S = 0.005
"""Between two parts of a list, so that events and answers have most of the time while it is gone through."""
SETTLE_S = 1.0
"""After which an event that was on its way when a list came is taken to have come."""
log = structlog.get_logger(__name__)


class SwitchAdapter(Port):
    """`is_ready`: whether a decision could be had now; while not, the heartbeat pauses and the dialplan goes by its
    own rule."""

    def __init__(
        self,
        settings: SwitchSettings,
        secret: str,
        engine: SwitchEngine,
        metrics: Metrics,
        *,
        is_ready: Callable[[], bool] = lambda: True,
        mode: Mode = Mode.WATCH,
        recorder: Recorder | None = None,
        timing: Timing | None = None,
        resync_every_s: float = RESYNC_EVERY_S,
    ) -> None:
        Port.__init__(self, SwitchId(settings.id), engine, metrics, Actions(uuid.uuid4().hex[:8]))
        self.connection = SwitchConnection(
            settings, secret, self.on_frames, self._on_state, recorder, timing=timing
        )
        self._exchange = self.connection
        self.connection.on_overdue = self._on_overdue
        self._settings = settings
        self._is_ready = is_ready
        self._mode = mode
        self._resync_every_s = resync_every_s
        self._settle_s = min(SETTLE_S, resync_every_s)
        self._held: list[tuple[list[Frame], int]] = []
        self._held_frames = 0
        self._coming_up: asyncio.Task[None] | None = None
        self._look = asyncio.Event()
        self._counted = (self.connection.parser, 0, 0)

    # -- the engine's side ---------------------------------------------------------------------------------------

    def set_catalog(self, catalog: Catalog) -> None:
        """New trunks and rules of reading."""
        if self.tracker is not None:
            rules = catalog.switches.get(self.id, SwitchRules(self.id))
            if self.tracker.set_rules(rules, catalog.trunks.values()):
                self._look.set()

    @property
    def internal_calls(self) -> int:
        """Line-to-line calls that live now."""
        return len(self.tracker.internal) if self.tracker is not None else 0

    def report(self) -> None:
        """Tell the metrics what is looked at from time to time rather than with each event."""
        wall_ms = time.time_ns() // 1_000_000
        self.count()
        self._metrics.internal(self.id, self.internal_calls)
        self._metrics.clock_offset(self.id, (self.connection.switch_now_ms() - wall_ms) / 1000)
        self._metrics.backlog(self.id, self.connection.backlog_frames)

    async def run(self) -> None:
        """Connect and keep going until cancelled."""
        beating = asyncio.create_task(self._beat())
        looking = asyncio.create_task(self._look_again())
        try:
            await self.connection.run()
        finally:
            for task in (beating, looking, self._coming_up):
                if task is not None:
                    task.cancel()
            self.close()

    def close(self) -> None:
        self.synced = False
        self.connection.close()

    # -- the connection's side -----------------------------------------------------------------------------------

    def _on_state(self, state: ConnectionState) -> None:
        up = state is ConnectionState.UP
        self._metrics.switch_up(self.id, up)
        self.count()
        self.synced = False
        self._held.clear()
        self._held_frames = 0
        if self._coming_up is not None:
            self._coming_up.cancel()
            self._coming_up = None
        if up:
            if self.connection.connects > 1:
                self._metrics.reconnected(self.id)
            self._coming_up = asyncio.get_running_loop().create_task(self._come_up())

    async def _come_up(self) -> None:
        try:
            boot = boot_of(await self.connection.request("CoreStatus"))
            if self.tracker is None or self.tracker.boot != boot:
                self._begin_life(boot)
            assert self.tracker is not None
            self.tracker.connected(self.connection.offset_ms or 0)
            answer = await self.connection.request("Events", EventMask=EVENT_MASK)
            if answer.get("Response") == "Error":
                raise SwitchUnavailable(f"the switch sends no events: {answer.get('Message', '')}")
            await self._take_up(self.tracker)
        except SwitchError as error:
            log.error("cannot take up the switch", switch=self.id, error=str(error))
            self.connection.abort("it could not be taken up")
        except Exception:
            log.exception("a fault in taking up the switch", switch=self.id)
            self.connection.abort("a fault in taking it up")

    def _begin_life(self, boot: str) -> None:
        if self.tracker is not None:
            log.warning("the switch was restarted", switch=self.id, boot=boot)
        catalog = self._engine.catalog
        rules = catalog.switches.get(self.id) if catalog is not None else None
        trunks = catalog.trunks.values() if catalog is not None else ()
        self.tracker = Tracker(self.id, boot, rules or SwitchRules(self.id), trunks, self._mode)
        self._gates.clear()
        self._hang_ups.clear()

    async def _list(self) -> list[Frame]:
        """The switch's channels. Raises SwitchUnavailable when it does not tell all."""
        frames = await self.connection.request_list("CoreShowChannels")
        if frames[0].get("Response") != "Success":
            raise SwitchUnavailable(
                f"the switch lists no channels: {frames[0].get('Message', '')}",
                hint="Its manager user needs write = reporting.",
            )
        listing = [frame for frame in frames if frame.get("Event") == "CoreShowChannel"]
        if frames[-1].get("ListItems") != str(len(listing)):
            # Whatever is missing in it would be taken for over.
            raise SwitchUnavailable(f"the switch's list of channels is incomplete: {len(listing)} came")
        return listing

    def _hand_on(self, signals: Sequence[Signal]) -> None:
        """What a part of a list led to."""
        if signals:
            self._engine.collect()
            try:
                for signal in signals:
                    self._engine.on_signal(signal)
            finally:
                self._engine.flush()
        self.flush()

    async def _take_up(self, tracker: Tracker) -> None:
        """Compare the first list with the known legs; only then the events are let in."""
        asked_ns = time.monotonic_ns()
        listing = await self._list()
        known, now_ms = self._engine.known_legs(self.id), self.connection.switch_now_ms()
        for _ in first(tracker, listing, known, now_ms, asked_ns, time.monotonic_ns()):
            await asyncio.sleep(0)
        for signals in parts(tracker.take_signals()):
            self._hand_on(signals)
            await asyncio.sleep(0)
        for _ in self._look_at_lost():
            await asyncio.sleep(0)
        # In shadow nobody answers a gate that is left in the dialplan: it must let calls pass by itself.
        shadow = self._settings.mode == "shadow"
        self._outgoing.append(self._actions.fail_policy("open" if shadow else self._settings.fail))
        self.synced = True
        self._send_beat()
        log.info("synchronised", switch=self.id, channels=len(listing), boot=tracker.boot)
        held, self._held, self._held_frames = self._held, [], 0
        for late, arrived_ns in held:
            self.on_frames(late, arrived_ns)
        self._engine.flush()
        self.flush()

    async def _resync(self) -> None:
        """Compare a later list, a part at a time; given up when the connection is lost meanwhile."""
        tracker, connects = self.tracker, self.connection.connects
        assert tracker is not None
        asked_ns = time.monotonic_ns()
        listed = await self._list()
        steps = later(tracker, listed, self._engine, self.connection.switch_now_ms(), asked_ns)
        del listed  # so that its rows can be let go of a few at a time
        for comes_to_rest in steps:
            self._hand_on(tracker.take_signals())
            if comes_to_rest:
                for _ in self._look_at_lost():
                    self.flush()
                    await asyncio.sleep(PAUSE_S)
                    if not self.synced:
                        return
                await self._let_events_come()
            else:
                await asyncio.sleep(PAUSE_S)
            if not self.synced or self.connection.connects != connects:
                return
        self._hand_on(tracker.take_signals())

    async def _let_events_come(self) -> None:
        """Those that were on their way, and those that came and wait to be handled."""
        due_ns = time.monotonic_ns() + int(self._settle_s * 1e9)
        await asyncio.sleep(self._settle_s)
        while self.synced and self.connection.waits_since_ns() < due_ns:  # noqa: ASYNC110  # once a minute
            await asyncio.sleep(PAUSE_S)

    def _look_at_lost(self) -> Iterator[None]:
        """Verdicts and hang-ups that the switch evidently never got; a part at a time."""
        assert self.tracker is not None
        for gates in parts(list(self._gates.values())):
            for gate in gates:
                if self._gates.get(gate.leg) is gate:
                    channels = self.tracker.channels_of(gate.leg)
                    if channels is not None and channels.asking:
                        self.execute(gate)
                    else:
                        del self._gates[gate.leg]
            yield
        for hang_ups in parts(list(self._hang_ups.values())):
            for hang_up in hang_ups:
                if self._hang_ups.get(hang_up.leg) is hang_up:
                    channels = self.tracker.channels_of(hang_up.leg)
                    if channels is not None and (channels.billed or channels.caller):
                        self.execute(hang_up)
                    else:
                        del self._hang_ups[hang_up.leg]
            yield

    def hold(self, frames: list[Frame], arrived_ns: int) -> None:
        self._held.append((frames, arrived_ns))
        self._held_frames += len(frames)
        if self._held_frames > HELD_LIMIT:
            self.connection.abort("too many events before the channels were listed")

    def switch_now_ms(self) -> int:
        return self.connection.switch_now_ms()

    def count(self) -> None:
        """Each connection has a parser of its own."""
        parser, (counted, good_before, bad_before) = self.connection.parser, self._counted
        if parser is not counted:
            good_before = bad_before = 0
        good, bad = parser.frames, parser.garbage + parser.tampered + parser.oversized
        self._metrics.frames(self.id, good - good_before, bad - bad_before)
        self._counted = (parser, good, bad)

    def _on_overdue(self, names: list[str]) -> None:
        """Whether they took effect is for the switch's own list to tell."""
        log.warning("actions were not answered", switch=self.id, actions=sorted(set(names)), count=len(names))
        self._look.set()

    # -- from time to time ---------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_ms / 1000)
            self.beat()

    def leads_again(self) -> None:
        """After a while in which another might have led: the last beat is old, and verdicts were held back."""
        self.beat()
        self._look.set()

    def beat(self) -> None:
        """Tell the dialplan that it may ask; nothing while it may not."""
        if self.synced:
            self._send_beat()
            self.flush()

    def _send_beat(self) -> None:
        if self._settings.mode == "gate" and self._is_ready() and self.may_act:
            self._outgoing.append(self._actions.beat(self.connection.switch_now_ms() // 1000))

    async def _look_again(self) -> None:
        """A resync every minute, and whenever something may have been missed. Each switch has a moment of its own
        in the minute, so that lists do not come all at once."""
        every_s, now_s = self._resync_every_s, asyncio.get_running_loop().time
        due_s = now_s() + every_s * moment_of(self.id)
        while True:
            try:
                async with asyncio.timeout_at(due_s):
                    await self._look.wait()
            except TimeoutError:
                due_s += every_s * (1 + max(0, now_s() - due_s) // every_s)
            self._look.clear()
            if self.synced:
                try:
                    await self._resync()
                except SwitchError as error:
                    log.warning("the channels could not be listed", switch=self.id, error=str(error))
                except Exception:
                    # What was compared in part may be half true: a new connection compares everything.
                    log.exception("a fault in comparing the channels", switch=self.id)
                    self.connection.abort("a fault in comparing its channels")
                await asyncio.sleep(min(1.0, self._resync_every_s))


def moment_of(switch: SwitchId) -> float:
    """When in each period a switch's channels are listed, from 0 to 1: always the same, and hardly ever that of
    another one."""
    return zlib.crc32(switch.encode()) / 2**32


def boot_of(status: Frame) -> str:
    """The switch's start time, in base 36, from a CoreStatus answer; it tells one life of the switch from another.

    The time is the switch's local one; that it is read as UTC does not matter, it only has to differ. Raises
    SwitchUnavailable when the answer tells none.
    """
    text = f"{status.get('CoreStartupDate', '')} {status.get('CoreStartupTime', '')}"
    try:
        started = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise SwitchUnavailable(
            f"the switch does not tell when it was started: {status.get('Message', text)!r}",
            hint="Its manager user needs write = reporting.",
        ) from None
    number, digits = int(started.timestamp()), ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits
