"""A call from outside that is led straight outside again: its incoming channel is a leg too. Pure.

Such a call has two channels between the switch and a trunk, and each is a leg. The one that was dialled is as
every outbound leg. The one it came in on is an *inbound* leg of whoever pays for the way out, or of the line for
which the dialplan asked the inbound gate. No line's channel stands for it, so it is the incoming channel itself:

- it begins with the first dial to the outside, and is answered when an outbound leg of the call is; of several that
  ring for different payers it is the one's who is answered;
- it is over when its channel is, or when a line of the house takes the call: that line's inbound leg follows it;
- a call that a line has sent outside (transfer) was that line's inbound leg already, and is not counted again.

Its channel's timer belongs to the outbound leg, which limits the ringing by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rater.calls.signals import Dialled, Direction, Grade, Mode, Payer
from rater.dialled import is_dialled
from rater.switch.channels import Channel
from rater.switch.legs import Leg

if TYPE_CHECKING:
    from rater.switch.leg_table import LegTable

NORMAL_CLEARING = 16
_IN, _GATE = Direction.IN, Mode.GATE


def begin(tracker: LegTable, outbound: Leg, at_ms: int) -> None:
    """An outbound leg was dialled: what it came in on is a leg from now on, if it came in from outside."""
    incoming = _incoming(tracker, outbound.caller)
    if incoming is None or not _names_somebody(outbound.payer):
        return
    assert incoming.trunk is not None
    current = incoming.leg
    if current is not None and not current.ended:
        return
    leg = incoming.gate_in
    if leg is None or not leg.open:
        number = incoming.exten if is_dialled(incoming.exten) else ""
        payer, trunk = outbound.payer, incoming.trunk
        leg = tracker.attempt(incoming, incoming, payer, _IN, number, trunk, at_ms, 0)
    leg.open = False
    leg.billed = incoming
    leg.trunk = incoming.trunk
    incoming.leg = leg
    tracker.emit(leg, Dialled(leg.id, incoming.trunk, incoming.uniqueid, at_ms))
    if outbound.answered and outbound.billed is not None and outbound.billed.up_at_ms is not None:
        tracker.answered(leg, outbound.billed.up_at_ms)


def answered(tracker: LegTable, leg: Leg, at_ms: int, grade: Grade) -> None:
    """Another leg of the call was answered: by the outside, or by a line that has it from now on."""
    incoming = _incoming(tracker, leg.caller) if not leg.passes else None
    if incoming is None:
        return
    passing = incoming.leg
    if leg.direction is _IN:
        if passing is not None:
            tracker.end(passing, at_ms, NORMAL_CLEARING, "CANCEL")
        return
    if passing is not None and not passing.answered and _is_anothers(passing, leg):
        tracker.end(passing, at_ms, NORMAL_CLEARING, "CANCEL")
        begin(tracker, leg, at_ms)
    if incoming.leg is not None:
        tracker.answered(incoming.leg, at_ms, grade)


def _incoming(tracker: LegTable, caller: Channel | None) -> Channel | None:
    """The channel of an outside caller at the head of a dial; None when a line, the switch itself or somebody whom
    we called stands there."""
    if caller is None:
        return None
    head = tracker.channels.origin(caller)
    if head.trunk is None or head.dialled or head.hung_at_ms is not None or head.is_local:
        return None
    if head.sent_by is not None or caller.sent_by is not None or not head.may_have_come_in:
        return None
    leg = head.leg
    return head if leg is None or leg.passes else None


def _names_somebody(payer: Payer) -> bool:
    return bool(payer.account_code or payer.endpoint or payer.variable)


def _is_anothers(passing: Leg, leg: Leg) -> bool:
    """Not what the dialplan asked for itself; a leg of the store comes back without its payer."""
    return passing.mode is not _GATE and Payer() not in (passing.payer, leg.payer) and passing.payer != leg.payer
