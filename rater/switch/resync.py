"""Compares the switch's own list of channels with the legs that are known. Pure.

After a connection comes up, and from time to time while it is up, ``CoreShowChannels`` tells what really lives:

- a known leg whose channel is listed: `Seen`; answered meanwhile: `Answered`, graded reconciled;
- a gate's leg that was dialled meanwhile: `Dialled` as well, found by its call (Linkedid);
- a known leg that is gone, or of an earlier life of the switch: `Ended`, estimated at its last proof of life;
- a dialled trunk channel that no leg accounts for: an attempt of its own, charged from now on; likewise a line that
  a trunk called; and a dialplan that waits in the gate asks anew.

A list is gone through a part at a time, so that calls are decided in between. The first list of a connection does
not meet its events, which are held until it is through; of it only the rows are read so. A later one and the events
overtake each other, and between two parts a channel or a leg may have become anything. So every part goes by what
is so *now*, and by the list only where no event told of the channel since the list was asked for
(`Channel.told_ns`):

======================================  ========================================================================
what happened since it was asked for    what the list then says of it
======================================  ========================================================================
a channel hung up                       nothing: it is among those that went, and its row is passed over; its leg
                                        has ended, or is found over when its turn comes
a channel began, and is not listed      nothing: an event told of it, so it is not believed gone
a channel rang, was answered, renamed,  that it lived; not its name, call, code or state, which are older than what
moved, asked at the gate or left it     is known
a leg began                             nothing, or that it lives
a leg was dialled or taken over         that it lives; no channel is looked for
a leg ended, was denied or forgotten    nothing: it is looked up again in its turn, by its id, here and in the core
a stranger was explained by events      nothing: whether it is one is asked again in its turn
a channel hung up, its event is late    nothing yet: who is not listed is believed gone only after a while in which
                                        the events that were on their way have come, if none told of it
======================================  ========================================================================

What hung up meanwhile is so not believed to live because it is listed, and what began after the list was asked for,
or hangs up just now, is not believed to be gone because it is not.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import Protocol, TypeVar

from rater.calls.signals import KnownLeg, Signal
from rater.ids import LegId, SwitchId
from rater.switch.ami_parse import Frame
from rater.switch.known import compare, end_if_gone, restore
from rater.switch.legs import Leg
from rater.switch.listing import Listing, Row
from rater.switch.strangers import place, take_up
from rater.switch.tracker import Tracker

PART = 64
"""Rows, legs or channels gone through in one go."""
Item = TypeVar("Item")


class Core(Protocol):
    """What is asked of the engine; see there."""

    def known_leg(self, leg: LegId) -> KnownLeg | None: ...
    def known_legs(self, switch: SwitchId, but: Container[LegId] = ()) -> list[KnownLeg]: ...


def first(
    tracker: Tracker, frames: Sequence[Frame], known: Sequence[KnownLeg], at_ms: int, asked_ns: int, arrived_ns: int
) -> Iterator[bool]:
    """Compare the first list of a connection, before any of its events; what is unknown is taken up.

    `frames`: the CoreShowChannel frames. `known`: the core's live legs of this switch. `at_ms`: switch time of the
    list. `asked_ns`: monotonic time at which it was asked for. `arrived_ns`: now. The signals are the tracker's to
    give (`take_signals`), at the end and not before: what a leg's signal leads to depends on all channels. A
    dialplan that waits in the gate, found among the last, has the gate's guard, and no leg's timer may replace it.
    """
    listing = Listing(tracker, at_ms, asked_ns)
    for part in parts(frames):
        listing.take(part)
        yield False
    rows: list[Row] = list(listing.rows.values())
    for row in rows:
        for gate in (row.channel.gate, row.channel.gate_in):
            if gate is not None and row.question is None:
                gate.asking = False
    listing.bury_unlisted(list(tracker.channels.live.values()))
    named = {leg.leg for leg in known}
    for leg in known:  # all of them first: which channel is whose must be known before one is looked for
        if leg.leg not in tracker.legs:
            restore(tracker, leg)
    for leg in known:
        compare(tracker, listing, leg)
    for other in [leg for leg in tracker.legs.values() if leg.id not in named]:
        end_if_gone(tracker, other, at_ms)
    tracker.strangers = set()
    for _ in _take_up(tracker, listing, listing.strangers(rows), arrived_ns):
        pass


def later(tracker: Tracker, frames: Sequence[Frame], core: Core, at_ms: int, asked_ns: int) -> Iterator[bool]:
    """Compare a list that was asked for while the connection is up. Its channels may be such whose events are still
    on their way, so what is unknown is taken up only when it is unknown twice.

    Yields True once, when the events that are on their way should be waited for, and handled, before going on.
    """
    listing = Listing(tracker, at_ms, asked_ns)
    unexplained = set(tracker.strangers)
    for part in parts(frames):
        listing.take(part)
        yield False
    frames = ()  # they go with their rows
    for few in parts(list(tracker.legs.values())):
        listing.look_at(few)
        yield False
    for unknown in core.known_legs(tracker.switch, tracker.legs):
        restore(tracker, unknown)
        listing.doubtful.append(tracker.legs[unknown.leg])
    for few in parts(listing.doubtful):
        for leg in few:
            _look_closer(tracker, listing, leg, core)
        yield False
    strangers: list[Row] = []
    for rows in parts(list(listing.rows.values())):
        strangers += listing.strangers(rows)
        yield False
    untold = [row for row in strangers if not listing.is_told(row.channel)]
    taken = [row for row in untold if row.channel.uniqueid in unexplained]
    again = {row.channel.uniqueid for row in strangers} & unexplained | {row.channel.uniqueid for row in untold}
    again -= {row.channel.uniqueid for row in taken}
    tracker.strangers = (tracker.strangers - unexplained) | again  # a new catalogue may have put some there
    yield from _take_up(tracker, listing, taken, 0)
    yield True
    for channels in parts(list(tracker.channels.live.values())):
        listing.bury_unlisted(channels)
        yield False
    for few in parts([leg for leg in listing.doubtful if _is_left_over(leg)]):
        for leg in few:
            _look_closer(tracker, listing, leg, core)
        yield False
    while listing.release(PART):
        yield False


def _look_closer(tracker: Tracker, listing: Listing, leg: Leg, core: Core) -> None:
    known = core.known_leg(leg.id)
    if known is None:
        end_if_gone(tracker, leg, listing.at_ms)
    else:
        compare(tracker, listing, known)


def _is_left_over(leg: Leg) -> bool:
    witness = leg.billed or leg.caller
    return witness is None or witness.hung_at_ms is not None


def _take_up(tracker: Tracker, listing: Listing, rows: Sequence[Row], arrived_ns: int) -> Iterator[bool]:
    """Who dialled whom is known of all before any is judged: a payer may stand behind several."""
    placed: list[Row] = []
    for part in parts(rows):
        for row in part:
            if row.channel.hung_at_ms is None and row.is_stranger():
                place(listing, row)
                placed.append(row)
        yield False
    for part in parts(placed):
        for row in part:
            if row.channel.hung_at_ms is None and _is_still_nobodys(listing, row):
                take_up(tracker, listing, row, arrived_ns)
        yield False


def _is_still_nobodys(listing: Listing, row: Row) -> bool:
    if row.question is not None:
        return row.is_stranger() and not listing.is_told(row.channel)
    return row.channel.leg is None


def parts(items: Sequence[Item]) -> Iterator[list[Item]]:
    """All of them, so many at a time."""
    for start in range(0, len(items), PART):
        yield list(items[start : start + PART])


class _Stored:
    """The core, as far as a list of its legs tells."""

    def __init__(self, known: Sequence[KnownLeg]) -> None:
        self._legs = {leg.leg: leg for leg in known}

    def known_leg(self, leg: LegId) -> KnownLeg | None:
        return self._legs.get(leg)

    def known_legs(self, switch: SwitchId, but: Container[LegId] = ()) -> list[KnownLeg]:
        return [leg for leg in self._legs.values() if leg.leg not in but]


def resync(
    tracker: Tracker,
    listing: Sequence[Frame],
    known: Sequence[KnownLeg],
    at_ms: int,
    *,
    asked_ns: int,
    arrived_ns: int,
    initial: bool,
) -> list[Signal]:
    """All of `first` (when `initial`) or of `later` in one go: the signals that bring the core up to date."""
    if initial:
        steps = first(tracker, listing, known, at_ms, asked_ns, arrived_ns)
    else:
        steps = later(tracker, listing, _Stored(known), at_ms, asked_ns)
    for _ in steps:
        pass
    return tracker.take_signals()
