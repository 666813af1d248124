"""What the switch's own timer does: the product's last word when everything else is dead rests on these facts."""

from __future__ import annotations

import time

import pytest

from .ami import Ami
from .sipp import Telephony

NUMBER = "w551133334444"
"""Without the gate: here only the timer is under test."""
FAR_S = 86_400
EXACT_S = 0.25


def trunk_leg(ami: Ami) -> str:
    """The name of the leg's channel, once it is dialled."""
    return ami.wait("DialBegin")["DestChannel"]


def arm(ami: Ami, channel: str, seconds: float) -> None:
    reply = ami.action("AbsoluteTimeout", Channel=channel, Timeout=seconds)
    assert reply["Response"] == "Success", reply


def test_timer_on_the_answered_leg_cuts_the_call(ami: Ami, phones: Telephony) -> None:
    phones.trunk()
    caller = phones.caller(1001, NUMBER)
    leg = trunk_leg(ami)
    caller.until_answered()
    arm(ami, leg, 1.5)
    (call,) = caller.wait(10)
    assert call.was_cut
    assert call.talked_s == pytest.approx(1.5, abs=EXACT_S)


def test_timer_is_replaced_by_a_later_one(ami: Ami, phones: Telephony) -> None:
    phones.trunk()
    caller = phones.caller(1001, NUMBER)
    leg = trunk_leg(ami)
    (call,) = caller.until_answered()
    arm(ami, leg, 1.5)
    assert call.answered_s is not None
    time.sleep(max(0.0, call.answered_s + 1.0 - time.time()))
    arm(ami, leg, 2.25)
    (call,) = caller.wait(10)
    assert call.talked_s == pytest.approx(3.25, abs=EXACT_S)


def test_timer_set_on_the_ringing_leg_stays_with_the_answer(ami: Ami, phones: Telephony) -> None:
    """It counts from when it was set. (Dial clears what was set before it has called, not later.)"""
    phones.trunk(ring_ms=500)
    caller = phones.caller(1001, NUMBER)
    arm(ami, trunk_leg(ami), 1.5)
    (call,) = caller.wait(10)
    assert call.was_cut
    assert call.talked_s == pytest.approx(1.0, abs=EXACT_S)


def test_timer_on_the_caller_counts_the_ringing_and_can_be_put_far_away(ami: Ami, phones: Telephony) -> None:
    """Before the answer the caller is armed, after it the leg."""
    phones.trunk(ring_ms=600)
    caller = phones.caller(1001, NUMBER)
    begin = ami.wait("DialBegin")
    arm(ami, begin["Channel"], 1.0)
    caller.until_answered()
    arm(ami, begin["DestChannel"], 1.5)
    arm(ami, begin["Channel"], FAR_S)
    (call,) = caller.wait(10)
    assert call.talked_s == pytest.approx(1.5, abs=EXACT_S)

    since = ami.mark()
    caller = phones.caller(1001, NUMBER)
    arm(ami, ami.wait("DialBegin", since=since)["Channel"], 1.0)
    (call,) = caller.wait(10)
    assert call.talked_s == pytest.approx(0.4, abs=EXACT_S)


def test_timer_on_the_caller_ends_the_ringing(ami: Ami, phones: Telephony) -> None:
    trunk = phones.trunk(ring_ms=10_000)
    caller = phones.caller(1001, NUMBER)
    arm(ami, ami.wait("DialBegin")["Channel"], 0.7)
    (call,) = caller.wait(10)
    assert call.status is not None and call.status >= 400
    assert call.decided_s is not None
    assert call.decided_s - call.invited_s == pytest.approx(0.7, abs=EXACT_S)
    trunk.until(lambda calls: calls[0].status == 487, 2, "the CANCEL")


def test_timer_of_zero_is_refused(ami: Ami, phones: Telephony) -> None:
    phones.trunk(ring_ms=5000)
    phones.caller(1001, NUMBER)
    reply = ami.action("AbsoluteTimeout", Channel=trunk_leg(ami), Timeout=0)
    assert reply["Response"] == "Error"


def test_timer_on_the_leg_survives_a_blind_transfer(ami: Ami, phones: Telephony) -> None:
    trunk = phones.trunk()
    phone = phones.telephone()
    caller = phones.caller(1001, NUMBER)
    begin = ami.wait("DialBegin")
    caller.until_answered()
    arm(ami, begin["DestChannel"], 3.0)
    time.sleep(0.7)
    reply = ami.action("BlindTransfer", Channel=begin["Channel"], Context="from-lines", Exten="1002")
    assert reply["Response"] == "Success", reply
    (call,) = caller.wait(5)
    assert call.was_cut and call.talked_s < 1.5, "the line that transferred is out of the call"
    phone.until_answered()
    (carried,) = trunk.until(lambda calls: calls[0].ended_s is not None, 10, "the cut")
    assert carried.talked_s == pytest.approx(3.0, abs=EXACT_S)


def test_timer_on_the_leg_survives_parking(ami: Ami, phones: Telephony) -> None:
    trunk = phones.trunk()
    caller = phones.caller(1001, NUMBER)
    begin = ami.wait("DialBegin")
    caller.until_answered()
    arm(ami, begin["DestChannel"], 2.5)
    reply = ami.action("Park", Channel=begin["DestChannel"], TimeoutChannel=begin["Channel"], Timeout=40_000)
    assert reply["Response"] == "Success", reply
    ami.wait("ParkedCall")
    (parked,) = trunk.until(lambda calls: calls[0].ended_s is not None, 10, "the cut")
    assert parked.talked_s == pytest.approx(2.5, abs=EXACT_S)


def test_timer_survives_the_reloading_of_the_dialplan(ami: Ami, phones: Telephony) -> None:
    phones.trunk()
    caller = phones.caller(1001, NUMBER)
    leg = trunk_leg(ami)
    caller.until_answered()
    arm(ami, leg, 1.5)
    ami.command("dialplan reload")
    ami.command("manager reload")
    (call,) = caller.wait(10)
    assert call.was_cut
    assert call.talked_s == pytest.approx(1.5, abs=EXACT_S)
