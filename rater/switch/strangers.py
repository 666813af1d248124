"""Listed channels that no leg accounts for, taken up. Pure."""

from __future__ import annotations

from rater.calls.signals import Direction, Grade
from rater.switch import passage
from rater.switch.gate import is_ours
from rater.switch.listing import Listing, Row, number_dialled
from rater.switch.payer import doubt_own_code, line_payer, payer_of
from rater.switch.tracker import Tracker


def place(listing: Listing, row: Row) -> None:
    """Who dialled it. Known of all before any is judged: a payer may stand behind several."""
    if row.question is None:
        row.channel.dialled = True
        dialler = listing.dialler(row.channel)
        row.channel.dialler = dialler.channel if dialler is not None else None
        doubt_own_code(row.channel)


def take_up(tracker: Tracker, listing: Listing, row: Row, arrived_ns: int) -> None:
    channel, at_ms = row.channel, listing.at_ms
    if row.question is not None:
        if is_ours(row.question):
            tracker.ask(channel, row.question, at_ms, arrived_ns)
        return
    if channel.is_local and channel.trunk is None:
        return
    origin = tracker.channels.origin(channel.dialler) if channel.dialler is not None else None
    if channel.trunk is not None:
        payer = payer_of(tracker.channels, channel.dialler, channel)
        dialler = listing.rows.get(channel.dialler.uniqueid) if channel.dialler is not None else None
        number = number_dialled(dialler, channel) or row.frame.get("CallerIDNum", "")
        leg = tracker.attempt(
            channel, channel.dialler, payer, Direction.OUT, number, channel.trunk, at_ms, arrived_ns
        )
        tracker.own(leg, channel, channel.trunk, at_ms)
        passage.begin(tracker, leg, at_ms)
    elif origin is not None and origin.trunk is not None:
        payer = line_payer(channel)
        leg = tracker.attempt(channel, origin, payer, Direction.IN, origin.exten, origin.trunk, at_ms, arrived_ns)
        tracker.own(leg, channel, origin.trunk, at_ms)
    else:
        tracker.internal.add(channel.uniqueid)
        return
    if row.is_up:
        listing.answer(leg, channel, Grade.ESTIMATED)
