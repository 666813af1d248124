"""Legs of the core beside the switch's own list: which channel is whose, and what became of them. Pure."""

from __future__ import annotations

from rater.calls.signals import Dialled, Direction, Grade, KnownLeg, Mode, Payer, Seen
from rater.dialled import is_dialled
from rater.ids import TrunkId
from rater.switch.legs import Leg
from rater.switch.listing import Listing, Row, number_dialled
from rater.switch.tracker import Tracker

SAME_END = 8
"""So many last digits must agree for two forms of one number."""


def compare(tracker: Tracker, listing: Listing, known: KnownLeg) -> None:
    """What became of one leg of the core."""
    leg = tracker.legs.get(known.leg)
    if leg is None or leg.ended:
        return
    prefix = f"{tracker.switch}.{tracker.boot}."
    if not known.leg.startswith(prefix):
        # Of an earlier life of the switch. Its channels' names may be somebody else's today.
        tracker.end(leg, known.seen_at_ms, 0, "NOANSWER", Grade.ESTIMATED)
        return
    is_lost = leg.billed is None and not _own_channel(tracker, known, known.leg.removeprefix(prefix))
    if is_lost and leg.caller is not None and listing.is_told(leg.caller):
        is_lost = False  # what it does now its events tell
    if is_lost and not _find_billed(listing, leg, known):
        tracker.end(leg, known.seen_at_ms, 0, "NOANSWER", Grade.ESTIMATED)
        return
    if leg.billed is not None and not known.channel_id:
        tracker.emit(leg, Dialled(leg.id, leg.trunk or TrunkId(""), leg.billed.uniqueid, listing.at_ms))
    witness = leg.billed or leg.caller
    if witness is None or witness.hung_at_ms is not None:
        tracker.end(leg, known.seen_at_ms, 0, "NOANSWER", Grade.ESTIMATED)
        return
    row = listing.rows.get(witness.uniqueid)
    if row is None:
        return
    if witness is leg.billed and row.is_up and not leg.answered and not listing.is_told(witness):
        listing.answer(leg, witness, Grade.RECONCILED)
    else:
        tracker.emit(leg, Seen(leg.id, listing.at_ms))


def end_if_gone(tracker: Tracker, leg: Leg, at_ms: int) -> None:
    """A leg that the core no longer counts as live (denied, settling): it only waits to hear that it is over."""
    witness = leg.billed or leg.caller
    if witness is None or witness.hung_at_ms is not None:
        tracker.end(leg, at_ms, 0, "", Grade.ESTIMATED)


def restore(tracker: Tracker, known: KnownLeg) -> None:
    """A leg of the store, taken up again after a restart of ours."""
    channels = tracker.channels
    leg = Leg(
        id=known.leg,
        call=known.call,
        mode=Mode.WATCH,
        direction=known.direction,
        payer=Payer(),
        answered=known.answered,
    )
    tracker.legs[known.leg] = leg
    prefix = f"{tracker.switch}.{tracker.boot}."
    if not known.leg.startswith(prefix):
        return
    _count_name(tracker, known.leg.removeprefix(prefix))
    leg.caller = channels.find(known.caller_channel_id)
    own = _own_channel(tracker, known, known.leg.removeprefix(prefix))
    if own:
        billed = channels.find(own)
        if billed is None:
            leg.caller = None
        else:
            leg.billed = billed
            leg.trunk = billed.trunk or (leg.caller.trunk if leg.caller is not None else None)
            billed.leg = leg
            billed.dialled = not leg.passes
    elif leg.caller is not None:
        if leg.direction is Direction.IN:
            leg.caller.gate_in = leg
        else:
            leg.caller.gate = leg
        leg.open = True


def _own_channel(tracker: Tracker, known: KnownLeg, name: str) -> str:
    """The channel that a leg is, as far as its record or its name tells. One that did not pass the gate has its own
    channel's name, before its dial is written down."""
    asked_by = known.caller_channel_id
    if known.channel_id or name == asked_by or (asked_by and name.startswith(f"{asked_by}.")):
        return known.channel_id
    return name if tracker.channels.find(name) is not None else name.rpartition(".")[0]


def _count_name(tracker: Tracker, name: str) -> None:
    """Keep the numbering of further legs of the same channel going (``<uniqueid>[.<n>]``)."""
    count = 0
    channel = tracker.channels.live.get(name)
    if channel is None:
        name, _, number = name.rpartition(".")
        channel = tracker.channels.live.get(name)
        count = int(number) if number.isdecimal() else 0
    if channel is not None:
        channel.legs_named = max(channel.legs_named, count + 1)


def _find_billed(listing: Listing, leg: Leg, known: KnownLeg) -> bool:
    """The trunk's channel of a leg whose dial was missed: of the same call, dialled, and nobody else's. Of several
    the one of its number, else the first: it may have been sent elsewhere since, and have dialled on.

    False when its caller dials another number by now: a party that was sent on while nobody could be asked. The leg
    is over then, and what is dialled is taken up at its own price."""
    if known.channel_id or leg.direction is Direction.IN:
        return True
    linkedid = leg.caller.linkedid if leg.caller is not None else known.call.split(".", 2)[-1]
    free = [row for row in listing.of_call(linkedid) if _may_be_of(listing, row, leg, linkedid)]
    free.sort(key=lambda row: _age(row.channel.uniqueid))
    doubts = [_Doubt(listing, row, leg, known) for row in free]
    found = next((d for d in doubts if d.is_its_number), None) or next((d for d in doubts if d.may_be), None)
    if found is None:
        return not any(doubt.by_its_caller for doubt in doubts)
    channel = found.row.channel
    leg.billed = channel
    leg.trunk = channel.trunk
    leg.open = leg.asking = False
    channel.leg = leg
    channel.dialled = True
    return True


def _may_be_of(listing: Listing, row: Row, leg: Leg, linkedid: str) -> bool:
    channel = row.channel
    if channel.hung_at_ms is not None or listing.is_told(channel):
        return False
    dialled = row.was_dialled or channel.uniqueid != channel.linkedid
    return bool(
        channel.linkedid == linkedid and channel.trunk and dialled and not channel.leg and channel is not leg.caller
    )


def _age(uniqueid: str) -> tuple[int, int]:
    """Uniqueids in the order in which they were given: a moment, and a number that counts on."""
    moment, _, number = uniqueid.rpartition("-")[2].partition(".")
    return (int(moment) if moment.isdecimal() else 0, int(number) if number.isdecimal() else 0)


class _Doubt:
    """Whether a trunk's channel was dialled for the number of a leg, as far as a list of channels tells."""

    def __init__(self, listing: Listing, row: Row, leg: Leg, known: KnownLeg) -> None:
        dialler = listing.dialler(row.channel)
        self.row = row
        self.by_its_caller = dialler is not None and dialler.channel is leg.caller and dialler.application == "Dial"
        asked = _digits(known.dialled)
        told = [dialler.channel.exten, dialler.frame.get("Exten", "")] if dialler is not None else []
        told = [number for number in map(_digits, [*told, number_dialled(dialler, row.channel)]) if number]
        self.is_its_number = bool(asked) and asked in {*told, _digits(row.frame.get("CallerIDNum", ""))}
        moved = leg.caller is not None and leg.caller.moved_by != ""
        alike = _is_longer_form if moved else _ends_alike
        # A caller id may be the trunk's own: it can say that this is the number, not that it is another one.
        self.may_be = not asked or any(alike(asked, number) for number in told) or (not told and not moved)


def _digits(number: str) -> str:
    return number.lstrip("+") if is_dialled(number) else ""


def _ends_alike(asked: str, told: str) -> bool:
    """Dialplans put codes in front of a number, and take them off."""
    same = min(SAME_END, len(asked), len(told))
    return asked[-same:] == told[-same:]


def _is_longer_form(asked: str, told: str) -> bool:
    return asked.endswith(told) or told.endswith(asked)
