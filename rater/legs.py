"""The live legs of all switches that the engine leads, by leg and by who pays, and when each is to be woken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from rater.calls.signals import Direction
from rater.ids import AccountId, LegId, Shard, SwitchId
from rater.live import LiveLeg, LiveSwitch
from rater.metrics import Metrics
from rater.timetable import Timetable


class LiveLegs:
    """What the metrics say of legs and calls is told here, where they come and go."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._legs: dict[LegId, LiveLeg] = {}
        self._by_account: dict[AccountId, set[LegId]] = defaultdict(set)
        self._by_call: dict[str, list[LiveLeg]] = {}

    def __contains__(self, leg: LegId) -> bool:
        return leg in self._legs

    def __len__(self) -> int:
        return len(self._legs)

    def get(self, leg: LegId) -> LiveLeg | None:
        return self._legs.get(leg)

    def holds(self, record: LiveLeg) -> bool:
        """Whether it still lives, and no other in its place."""
        return self._legs.get(record.session.leg) is record

    def of_switch(self, switch: SwitchId) -> list[LiveLeg]:
        return [record for record in self._legs.values() if record.switch.id == switch]

    def paid_by(self, account: AccountId) -> Iterator[LiveLeg]:
        """Those that draw on the account, as it was when asked: handling one may end another."""
        for leg in list(self._by_account.get(account, ())):
            record = self.get(leg)
            if record is not None:
                yield record

    def of_call(self, call: str) -> Sequence[LiveLeg]:
        """The legs of one conversation."""
        return self._by_call.get(call, ())

    def spare(self, direction: str, call: str) -> bool:
        """Whether a denied leg is left alone: an inbound one that its call leads on to an emergency number."""
        return direction == Direction.IN and any(record.exempt for record in self.of_call(call))

    def accounts(self) -> dict[tuple[Shard, AccountId], str]:
        """The accounts that have live legs, with their currency."""
        return {(record.shard, record.account): record.quote.currency for record in self._legs.values()}

    def add(self, record: LiveLeg) -> None:
        session, switch = record.session, record.switch
        self._legs[session.leg] = record
        self._by_account[record.account].add(session.leg)
        self.note_owner(record)
        direction, call = session.facts.direction, session.facts.call
        switch.active[direction] += 1
        switch.calls[call] = switch.calls.get(call, 0) + 1
        self._by_call.setdefault(call, []).append(record)
        self._report(switch, direction)

    def note_owner(self, record: LiveLeg) -> None:
        """A leg draws on one group in its life; it may join it while it talks."""
        share = record.terms.share
        if record.owner is None and share is not None:
            record.owner = share.owner
        if record.owner is not None:
            self._by_account[record.owner].add(record.session.leg)

    def drop(self, record: LiveLeg) -> None:
        session, switch = record.session, record.switch
        if self._legs.pop(session.leg, None) is None:
            return
        switch.slots.free(session.leg)
        for payer in {record.account, record.owner or record.account}:
            legs = self._by_account[payer]
            legs.discard(session.leg)
            if not legs:
                del self._by_account[payer]
        direction, call = session.facts.direction, session.facts.call
        switch.active[direction] -= 1
        switch.calls[call] -= 1
        if not switch.calls[call]:
            del switch.calls[call]
        self._by_call[call].remove(record)
        if not self._by_call[call]:
            del self._by_call[call]
        self._report(switch, direction)

    def _report(self, switch: LiveSwitch, direction: str) -> None:
        self._metrics.legs(switch.id, direction, switch.active[direction])
        self._metrics.calls(switch.id, len(switch.calls))


class Wakes:
    """Who is to be woken when, on the monotonic clock. A leg has one valid wake-up: the last that was set."""

    def __init__(self) -> None:
        self._times = Timetable()
        self._count = 0

    def set(self, record: LiveLeg, due_ms: int) -> None:
        self._count += 1
        record.wake = self._count
        self._times.put(due_ms, self._count, record.session.leg)

    def next_ms(self) -> int | None:
        return self._times.next_ms()

    def pop(self, now_ms: int) -> tuple[int, int, str] | None:
        """When, the number and the leg of the next wake-up, if it is due."""
        return self._times.pop(now_ms)
