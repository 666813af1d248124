"""The live legs of all switches that the engine leads, by leg and by who pays, and when each is to be woken."""

from __future__ import annotations

from collections.abc import Iterator

from rater.calls.signals import Direction
from rater.ids import AccountId, LegId, Shard, SwitchId
from rater.live import LiveLeg, LiveSwitch
from rater.timetable import Timetable

LOOKED_AT = 500
"""Legs that are gone through in one go."""


class LiveLegs:
    """Of an account or a call with one leg, which most have, that leg itself is kept, of others a dictionary."""

    def __init__(self) -> None:
        self._legs: dict[LegId, LiveLeg] = {}
        self._by_account: dict[str, LiveLeg | dict[LegId, LiveLeg]] = {}
        self._by_call: dict[str, LiveLeg | dict[LegId, LiveLeg]] = {}

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

    def waiting(self) -> list[LiveLeg]:
        """Those that talk and could get no more."""
        found = []
        for record in self._legs.values():
            if record.session.final:
                found.append(record)  # noqa: PERF401  # in a comprehension it is no C structure
        return found

    def paid_by(self, account: AccountId) -> list[LiveLeg]:
        """Those that draw on the account."""
        return _all_of(self._by_account, account)

    def of_call(self, call: str) -> list[LiveLeg]:
        """The legs of one conversation."""
        return _all_of(self._by_call, call)

    def is_alone(self, record: LiveLeg) -> bool:
        """Whether its conversation has no other leg."""
        return self._by_call.get(record.session.facts.call) is record

    def spare(self, direction: str, call: str) -> bool:
        """Whether a denied leg is left alone: an inbound one that its call leads on to an emergency number."""
        return direction == Direction.IN and any(record.exempt for record in self.of_call(call))

    def accounts(self) -> Iterator[dict[tuple[Shard, AccountId], str]]:
        """The accounts that have live legs, with their currency; some legs' at a time, of those that live now."""
        records = list(self._legs.values())
        for begin in range(0, len(records), LOOKED_AT):
            yield {
                (Shard(record.shard), record.account): record.quote.currency
                for record in records[begin : begin + LOOKED_AT]
            }

    def add(self, record: LiveLeg) -> None:
        session, switch = record.session, record.switch
        self._legs[session.leg] = record
        _put(self._by_account, record.account, record)
        if record.owner is not None and record.owner != record.account:
            _put(self._by_account, record.owner, record)
        self.note_owner(record)
        direction, call = session.facts.direction, session.facts.call
        switch.active[direction] += 1
        if not self._has_call(switch, call):
            switch.calls += 1
        _put(self._by_call, call, record)

    def note_owner(self, record: LiveLeg) -> None:
        """A leg draws on one group in its life; it may join it while it talks."""
        share = record.terms.share
        if record.owner is None and share is not None:
            record.owner = share.owner
            if record.owner != record.account:
                _put(self._by_account, share.owner, record)

    def drop(self, record: LiveLeg) -> None:
        session, switch = record.session, record.switch
        if self._legs.pop(session.leg, None) is None:
            return
        switch.slots.free(session.leg)
        _take(self._by_account, record.account, record)
        if record.owner is not None and record.owner != record.account:
            _take(self._by_account, record.owner, record)
        direction, call = session.facts.direction, session.facts.call
        switch.active[direction] -= 1
        _take(self._by_call, call, record)
        if not self._has_call(switch, call):
            switch.calls -= 1

    def _has_call(self, switch: LiveSwitch, call: str) -> bool:
        """Whether a leg of the call lives on the switch."""
        if call not in self._by_call:
            return False
        for record in self.of_call(call):  # noqa: SIM110  # no generator: each leg asks
            if record.switch is switch:
                return True
        return False


def _all_of(kept: dict[str, LiveLeg | dict[LegId, LiveLeg]], name: str) -> list[LiveLeg]:
    """As they are now: handling one may end another."""
    found = kept.get(name)
    if found is None:
        return []
    return [found] if isinstance(found, LiveLeg) else list(found.values())


def _put(kept: dict[str, LiveLeg | dict[LegId, LiveLeg]], name: str, record: LiveLeg) -> None:
    found = kept.get(name)
    if found is None:
        kept[name] = record
    elif isinstance(found, LiveLeg):
        kept[name] = {found.session.leg: found, record.session.leg: record}
    else:
        found[record.session.leg] = record


def _take(kept: dict[str, LiveLeg | dict[LegId, LiveLeg]], name: str, record: LiveLeg) -> None:
    found = kept.get(name)
    if isinstance(found, dict):
        found.pop(record.session.leg, None)
        if len(found) == 1:
            [kept[name]] = found.values()
    elif found is record:
        del kept[name]


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

    def pop(self, now_ms: int) -> tuple[int, int, LegId] | None:
        """When, the number and the leg of the next wake-up, if it is due."""
        return self._times.pop(now_ms)  # type: ignore[return-value]  # what `set` put in
