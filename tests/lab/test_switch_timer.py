"""What the switch's own timer does: the product's last word when everything else is dead rests on these facts.

A timer counts from when the switch took it, which lies between the action and its reply; when it strikes is told by
the switch's own clock. So nothing here depends on how fast the test is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from .ami import Ami, Event
from .sipp import Telephony

NUMBER = "w551133334444"
"""Without the gate: here only the timer is under test."""
FAR_S = 86_400
EXACT_S = 0.25
PATIENCE_S = 15.0
RINGS_MS = 1500


def dialled(ami: Ami, since: int = 0) -> Event:
    return ami.wait("DialBegin", since=since, timeout_s=PATIENCE_S)


@dataclass(frozen=True)
class Armed:
    """A timer that a channel has, set between two moments of the clock that the switch has too."""

    ami: Ami
    channel: str
    seconds: float
    asked_s: float
    replied_s: float

    def strikes(self, name: str = "Hangup") -> None:
        """It does, or did, when it is due; `name`: the event of the channel that tells of it."""
        end = self.ami.wait(name, timeout_s=PATIENCE_S, where=lambda e: e["Channel"] == self.channel)
        set_s = end.switch_s - self.seconds
        assert self.asked_s - EXACT_S <= set_s <= self.replied_s + EXACT_S, (
            f"{set_s - self.asked_s:.3f} s after it was asked for, {set_s - self.replied_s:.3f} s after the reply"
        )


def arm(ami: Ami, channel: str, seconds: float) -> Armed:
    asked_s = time.time()
    reply = ami.action("AbsoluteTimeout", Channel=channel, Timeout=seconds)
    assert reply["Response"] == "Success", reply
    return Armed(ami, channel, seconds, asked_s, time.time())


def test_timer_on_the_answered_leg_cuts_the_call(ami: Ami, phones: Telephony) -> None:
    phones.trunk()
    caller = phones.caller(1001, NUMBER)
    leg = dialled(ami)["DestChannel"]
    caller.until_answered()
    arm(ami, leg, 1.5).strikes()
    (call,) = caller.wait(10)
    assert call.was_cut


def test_timer_is_replaced_by_a_later_one(ami: Ami, phones: Telephony) -> None:
    phones.trunk()
    caller = phones.caller(1001, NUMBER)
    leg = dialled(ami)["DestChannel"]
    caller.until_answered()
    arm(ami, leg, 3.0)
    time.sleep(1.0)
    arm(ami, leg, 3.5).strikes()
    (call,) = caller.wait(10)
    assert call.was_cut


def test_timer_set_on_the_ringing_leg_stays_with_the_answer(ami: Ami, phones: Telephony) -> None:
    """It counts from when it was set. (Dial clears what was set before it has called, not later.)"""
    phones.trunk(ring_ms=RINGS_MS)
    caller = phones.caller(1001, NUMBER)
    armed = arm(ami, dialled(ami)["DestChannel"], 3.0)
    armed.strikes()
    (call,) = caller.wait(10)
    assert call.was_cut
    assert call.answered_s is not None and armed.replied_s < call.answered_s


def test_timer_on_the_caller_counts_the_ringing_and_can_be_put_far_away(ami: Ami, phones: Telephony) -> None:
    """Before the answer the caller is armed, after it the leg."""
    phones.trunk(ring_ms=RINGS_MS)
    caller = phones.caller(1001, NUMBER)
    begin = dialled(ami)
    first = arm(ami, begin["Channel"], 4.0)
    caller.until_answered()
    arm(ami, begin["Channel"], FAR_S)
    second = arm(ami, begin["DestChannel"], 4.0)
    assert second.asked_s - first.replied_s > 2 * EXACT_S, "one can be told from the other"
    second.strikes()
    (call,) = caller.wait(10)
    assert call.was_cut

    since = ami.mark()
    caller = phones.caller(1001, NUMBER)
    armed = arm(ami, dialled(ami, since)["Channel"], 3.0)
    armed.strikes()
    (call,) = caller.wait(10)
    assert call.was_cut
    assert call.answered_s is not None and armed.replied_s < call.answered_s


def test_timer_on_the_caller_ends_the_ringing(ami: Ami, phones: Telephony) -> None:
    trunk = phones.trunk(ring_ms=10_000)
    caller = phones.caller(1001, NUMBER)
    arm(ami, dialled(ami)["Channel"], 0.7).strikes("DialEnd")
    (call,) = caller.wait(10)
    assert call.status is not None and call.status >= 400
    trunk.until(lambda calls: calls[0].status == 487, PATIENCE_S, "the CANCEL")


def test_timer_of_zero_is_refused(ami: Ami, phones: Telephony) -> None:
    phones.trunk(ring_ms=5000)
    phones.caller(1001, NUMBER)
    reply = ami.action("AbsoluteTimeout", Channel=dialled(ami)["DestChannel"], Timeout=0)
    assert reply["Response"] == "Error"


def test_timer_on_the_leg_survives_a_blind_transfer(ami: Ami, phones: Telephony) -> None:
    trunk = phones.trunk()
    phone = phones.telephone()
    caller = phones.caller(1001, NUMBER)
    begin = dialled(ami)
    caller.until_answered()
    ami.wait("BridgeEnter", timeout_s=PATIENCE_S, where=lambda e: e["Channel"] == begin["Channel"])
    ami.wait("BridgeEnter", timeout_s=PATIENCE_S, where=lambda e: e["Channel"] == begin["DestChannel"])
    armed = arm(ami, begin["DestChannel"], 5.0)
    reply = ami.action("BlindTransfer", Channel=begin["Channel"], Context="from-lines", Exten="1002")
    assert reply["Response"] == "Success", reply
    (call,) = caller.wait(PATIENCE_S)
    phone.until_answered()
    armed.strikes()
    (carried,) = trunk.until(lambda calls: calls[0].ended_s is not None, 10, "the cut")
    assert carried.was_cut and carried.ended_s is not None
    assert call.was_cut and call.ended_s is not None
    assert call.ended_s < carried.ended_s - 1, "the line that transferred was out of the call by then"


def test_timer_on_the_leg_survives_parking(ami: Ami, phones: Telephony) -> None:
    trunk = phones.trunk()
    caller = phones.caller(1001, NUMBER)
    begin = dialled(ami)
    caller.until_answered()
    armed = arm(ami, begin["DestChannel"], 4.0)
    reply = ami.action("Park", Channel=begin["DestChannel"], TimeoutChannel=begin["Channel"], Timeout=40_000)
    assert reply["Response"] == "Success", reply
    ami.wait("ParkedCall")
    armed.strikes()
    (parked,) = trunk.until(lambda calls: calls[0].ended_s is not None, 10, "the cut")
    assert parked.was_cut


def test_timer_survives_the_reloading_of_the_dialplan(ami: Ami, phones: Telephony) -> None:
    phones.trunk()
    caller = phones.caller(1001, NUMBER)
    leg = dialled(ami)["DestChannel"]
    caller.until_answered()
    armed = arm(ami, leg, 4.0)
    ami.command("dialplan reload")
    ami.command("manager reload")
    armed.strikes()
    (call,) = caller.wait(10)
    assert call.was_cut
