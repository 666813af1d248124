"""Compares the switch's own list of channels with the legs that are known. Pure.

After a connection comes up, and from time to time while it is up, ``CoreShowChannels`` tells what really lives:

- a known leg whose channel is listed: `Seen`; answered meanwhile: `Answered`, graded reconciled;
- a gate's leg that was dialled meanwhile: `Dialled` as well, found by its call (Linkedid);
- a known leg that is gone, or of an earlier life of the switch: `Ended`, estimated at its last proof of life;
- a dialled trunk channel that no leg accounts for: an attempt of its own, charged from now on; likewise a line that
  a trunk called; and a dialplan that waits in the gate asks anew.

The list and the events overtake each other. What hung up meanwhile is not believed to live because it is listed,
and what began after the list was asked for is not believed to be gone because it is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rater.calls.signals import Dialled, Direction, Grade, KnownLeg, Mode, Payer, Seen, Signal
from rater.ids import TrunkId
from rater.switch import passage
from rater.switch.ami_parse import TAMPERED, Frame
from rater.switch.channels import STATE_UP, Channel, is_number, number_of
from rater.switch.gate import WAITING, Arguments, is_ours
from rater.switch.legs import Leg
from rater.switch.payer import doubt_own_code, line_payer, payer_of
from rater.switch.tracker import Tracker

SAME_END = 8
"""So many last digits must agree for two forms of one number."""
_OUTGOING = ("AppDial", "AppQueue")
"""How the application of a dialled channel begins, as long as no dialplan runs on it."""


@dataclass(frozen=True, slots=True)
class _Row:
    channel: Channel
    frame: Frame

    @property
    def application(self) -> str:
        return self.frame.get("Application", "")

    @property
    def data(self) -> str:
        return self.frame.get("ApplicationData", "")

    @property
    def is_up(self) -> bool:
        return self.frame.get("ChannelState") == STATE_UP

    @property
    def was_dialled(self) -> bool:
        return self.channel.dialled or self.application.startswith(_OUTGOING)

    @property
    def question(self) -> Arguments | None:
        """What its dialplan asks in the gate, now."""
        if self.application != "AGI" or not self.data.startswith(WAITING):
            return None
        return self.data.split(",")[1:]


def resync(
    tracker: Tracker,
    listing: Iterable[Frame],
    known: Sequence[KnownLeg],
    at_ms: int,
    *,
    asked_ns: int,
    arrived_ns: int,
    initial: bool,
) -> list[Signal]:
    """The signals that bring the core up to date, and the tracker's table with them.

    `listing`: the CoreShowChannel frames. `known`: the core's live legs of this switch. `at_ms`: switch time of the
    list. `asked_ns`: monotonic time at which it was asked for. `arrived_ns`: now. `initial`: the first list of a
    connection, before any of its events; later ones may show a channel whose events are still on their way, so what
    is unknown is taken up only when it is unknown twice.
    """
    rows = _rows(tracker, listing, asked_ns)
    if initial:
        for row in rows.values():
            for gate in (row.channel.gate, row.channel.gate_in):
                if gate is not None and row.question is None:
                    gate.asking = False
    _bury_unlisted(tracker, rows, at_ms, asked_ns)
    named = {leg.leg for leg in known}
    for leg in known:  # all of them first: which channel is whose must be known before one is looked for
        if leg.leg not in tracker.legs:
            _restore(tracker, leg)
    for leg in known:
        _compare(tracker, rows, leg, at_ms)
    for other in [leg for leg in tracker.legs.values() if leg.id not in named]:
        _end_if_gone(tracker, other, at_ms)
    strangers = {row.channel.uniqueid for row in rows.values() if _is_stranger(row)}
    taken = strangers if initial else strangers & tracker.strangers
    for row in [row for row in rows.values() if row.channel.uniqueid in taken]:
        _place(rows, row)
    for row in [row for row in rows.values() if row.channel.uniqueid in taken]:
        _take_up(tracker, rows, row, at_ms, arrived_ns)
    tracker.strangers = set() if initial else strangers - tracker.strangers
    return tracker.take_signals()


# -- the table -----------------------------------------------------------------------------------------------------


def _rows(tracker: Tracker, listing: Iterable[Frame], asked_ns: int) -> dict[str, _Row]:
    """What is listed and lives, by uniqueid; the tracker's channels are brought up to date."""
    rows: dict[str, _Row] = {}
    for frame in listing:
        uniqueid, name = frame.get("Uniqueid", ""), frame.get("Channel", "")
        if not uniqueid or not name or TAMPERED in frame or uniqueid in tracker.channels.gone:
            continue
        channel = tracker.channels.live.get(uniqueid)
        if channel is None:
            channel = tracker.channels.add(uniqueid, name, asked_ns)
            channel.own_account_code = frame.get("AccountCode", "")
            channel.exten = frame.get("Exten", "")
        tracker.channels.rename(channel, name)
        channel.linkedid = frame.get("Linkedid") or channel.linkedid
        channel.account_code = frame.get("AccountCode", channel.account_code)
        channel.caller = channel.caller or frame.get("CallerIDNum", "").replace("<unknown>", "")
        tracker.note_variables(channel, frame.get("ChanVariable"))
        rows[uniqueid] = _Row(channel, frame)
    return rows


def _bury_unlisted(tracker: Tracker, rows: dict[str, _Row], at_ms: int, asked_ns: int) -> None:
    for channel in list(tracker.channels.live.values()):
        if channel.uniqueid not in rows and channel.seen_ns < asked_ns:
            channel.hung_at_ms = at_ms
            tracker.internal.discard(channel.uniqueid)
            tracker.channels.bury(channel)


# -- legs that are known -------------------------------------------------------------------------------------------


def _compare(tracker: Tracker, rows: dict[str, _Row], known: KnownLeg, at_ms: int) -> None:
    """What became of one leg of the core."""
    leg = tracker.legs[known.leg]
    if leg.ended:
        return
    prefix = f"{tracker.switch}.{tracker.boot}."
    if not known.leg.startswith(prefix):
        # Of an earlier life of the switch. Its channels' names may be somebody else's today.
        tracker.end(leg, known.seen_at_ms, 0, "NOANSWER", Grade.ESTIMATED)
        return
    is_lost = leg.billed is None and not _own_channel(tracker, known, known.leg.removeprefix(prefix))
    if is_lost and not _find_billed(rows, leg, known):
        tracker.end(leg, known.seen_at_ms, 0, "NOANSWER", Grade.ESTIMATED)
        return
    if leg.billed is not None and not known.channel_id:
        tracker.emit(leg, Dialled(leg.id, leg.trunk or TrunkId(""), leg.billed.uniqueid, at_ms))
    witness = leg.billed or leg.caller
    if witness is None or witness.hung_at_ms is not None:
        tracker.end(leg, known.seen_at_ms, 0, "NOANSWER", Grade.ESTIMATED)
        return
    row = rows.get(witness.uniqueid)
    if row is None:
        return
    if witness is leg.billed and row.is_up and not leg.answered:
        _answer(tracker, leg, witness, at_ms, Grade.RECONCILED)
    else:
        tracker.emit(leg, Seen(leg.id, at_ms))


def _answer(tracker: Tracker, leg: Leg, billed: Channel, at_ms: int, grade: Grade) -> None:
    """At the moment that an event showed, else now: the list does not tell since when a channel is up."""
    if billed.up_at_ms is not None:
        tracker.answered(leg, billed.up_at_ms)
    else:
        billed.up_at_ms = at_ms
        tracker.answered(leg, at_ms, grade)


def _restore(tracker: Tracker, known: KnownLeg) -> Leg:
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
        return leg
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
    return leg


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


def _find_billed(rows: dict[str, _Row], leg: Leg, known: KnownLeg) -> bool:
    """The trunk's channel of a leg whose dial was missed: of the same call, dialled, and nobody else's. Of several
    the one of its number, else the first: it may have been sent elsewhere since, and have dialled on.

    False when its caller dials another number by now: a party that was sent on while nobody could be asked. The leg
    is over then, and what is dialled is taken up at its own price."""
    if known.channel_id or leg.direction is Direction.IN:
        return True
    linkedid = leg.caller.linkedid if leg.caller is not None else known.call.split(".", 2)[-1]
    free = [row for row in rows.values() if _may_be_of(row, leg, linkedid)]
    free.sort(key=lambda row: _age(row.channel.uniqueid))
    doubts = [_Doubt(rows, row, leg, known) for row in free]
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


def _may_be_of(row: _Row, leg: Leg, linkedid: str) -> bool:
    channel = row.channel
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

    def __init__(self, rows: dict[str, _Row], row: _Row, leg: Leg, known: KnownLeg) -> None:
        dialler = _dialler(rows, row.channel)
        self.row = row
        self.by_its_caller = dialler is not None and dialler.channel is leg.caller and dialler.application == "Dial"
        asked = _digits(known.dialled)
        told = [dialler.channel.exten, dialler.frame.get("Exten", "")] if dialler is not None else []
        told = [number for number in map(_digits, [*told, _number_dialled(dialler, row.channel)]) if number]
        self.is_its_number = bool(asked) and asked in {*told, _digits(row.frame.get("CallerIDNum", ""))}
        moved = leg.caller is not None and leg.caller.moved_by != ""
        alike = _is_longer_form if moved else _ends_alike
        # A caller id may be the trunk's own: it can say that this is the number, not that it is another one.
        self.may_be = not asked or any(alike(asked, number) for number in told) or (not told and not moved)


def _digits(number: str) -> str:
    return number.lstrip("+") if is_number(number) else ""


def _ends_alike(asked: str, told: str) -> bool:
    """Dialplans put codes in front of a number, and take them off."""
    same = min(SAME_END, len(asked), len(told))
    return asked[-same:] == told[-same:]


def _is_longer_form(asked: str, told: str) -> bool:
    return asked.endswith(told) or told.endswith(asked)


def _end_if_gone(tracker: Tracker, leg: Leg, at_ms: int) -> None:
    """A leg that the core no longer counts as live (denied, settling): it only waits to hear that it is over."""
    witness = leg.billed or leg.caller
    if witness is None or witness.hung_at_ms is not None:
        tracker.end(leg, at_ms, 0, "", Grade.ESTIMATED)


# -- channels that no leg accounts for -----------------------------------------------------------------------------


def _is_stranger(row: _Row) -> bool:
    channel = row.channel
    if row.question is not None:
        return channel.gate is None or not channel.gate.asking
    return row.was_dialled and not channel.dialled and channel.leg is None


def _place(rows: dict[str, _Row], row: _Row) -> None:
    """Who dialled it. Known of all before any is judged: a payer may stand behind several."""
    if row.question is None:
        row.channel.dialled = True
        dialler = _dialler(rows, row.channel)
        row.channel.dialler = dialler.channel if dialler is not None else None
        doubt_own_code(row.channel)


def _take_up(tracker: Tracker, rows: dict[str, _Row], row: _Row, at_ms: int, arrived_ns: int) -> None:
    channel = row.channel
    if row.question is not None:
        if is_ours(row.question):
            tracker.ask(channel, row.question, at_ms, arrived_ns)
        return
    if channel.is_local and channel.trunk is None:
        return
    origin = tracker.channels.origin(channel.dialler) if channel.dialler is not None else None
    if channel.trunk is not None:
        payer = payer_of(tracker.channels, channel.dialler, channel)
        dialler = rows.get(channel.dialler.uniqueid) if channel.dialler is not None else None
        number = _number_dialled(dialler, channel) or row.frame.get("CallerIDNum", "")
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
        _answer(tracker, leg, channel, at_ms, Grade.ESTIMATED)


def _dialler(rows: dict[str, _Row], called: Channel) -> _Row | None:
    """Whose application names the channel's endpoint, in the same call."""
    candidates = [
        row
        for row in rows.values()
        if row.channel.linkedid == called.linkedid
        and row.channel is not called
        and not row.application.startswith(_OUTGOING)
    ]
    naming = [row for row in candidates if _names(row.data, called)]
    return next(iter(naming or candidates), None)


def _names(destination: str, called: Channel) -> bool:
    """Whether what an application was given leads to the channel's endpoint."""
    if called.is_local:
        return called.name.removeprefix("Local/").rpartition("-")[0] in destination
    return called.endpoint in re.split(r"[/@;&,]", destination)


def _number_dialled(dialler: _Row | None, called: Channel) -> str:
    """What `Dial` was told for that endpoint."""
    if dialler is None or dialler.application != "Dial":
        return ""
    for destination in dialler.data.split(",", 1)[0].split("&"):
        if _names(destination, called):
            return number_of(destination)
    return ""
