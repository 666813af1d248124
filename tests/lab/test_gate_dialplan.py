"""The dialplan snippet alone, on a real Asterisk: the daemon is played by the test's own AMI client."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from rater.switch.actions import DECIDED

from .ami import Ami, Event
from .asterisk import Asterisk
from .sipp import Sipp, Telephony

NUMBER = "551133334444"
AT_ONCE_S = 0.2
GUARD_S = 3.0
Beat = Callable[[], None]


def gate_report(ami: Ami, since: int = 0, timeout_s: float = 5.0) -> Event:
    """What the gate left on the channel, told by the lab's dialplan."""
    return ami.wait("UserEvent", since=since, timeout_s=timeout_s, where=lambda e: e["UserEvent"] == "Gate")


def decision_s(caller: Sipp) -> float:
    """From the INVITE to its final response."""
    (call,) = caller.wait(20)
    assert call.decided_s is not None, f"no final response: {call.messages}"
    return call.decided_s - call.invited_s


def test_allowed_call_is_dialled_and_carries_verdict_and_timer(ami: Ami, phones: Telephony, beat: Beat) -> None:
    trunk = phones.trunk()
    beat()
    caller = phones.caller(1001, NUMBER, talk_ms=300)
    question = ami.question()
    assert question.arguments == [NUMBER, "out"]
    ami.answer(question, "allow", "allowed", 30)
    report = gate_report(ami)
    (call,) = caller.wait(10)
    assert (report["Verdict"], report["Reason"], report["Seconds"]) == ("allow", "allowed", "30")
    assert 29.0 < float(report["Timer"]) <= 30.0
    assert call.status == 200
    assert call.talked_s == pytest.approx(0.3, abs=0.15)
    assert len(trunk.calls()) == 1


def test_allowed_call_ends_with_its_seconds(ami: Ami, phones: Telephony, beat: Beat) -> None:
    """The gate's own guard of 3 s is replaced, by more and by less."""
    phones.trunk(ring_ms=0)
    for seconds in (1, 4):
        beat()
        since = ami.mark()
        caller = phones.caller(1001, NUMBER)
        ami.answer(ami.question(since=since), "allow", "allowed", seconds)
        (call,) = caller.wait(10)
        assert call.was_cut
        assert call.talked_s == pytest.approx(seconds, abs=0.25)


def test_verdict_without_seconds_leaves_no_timer(ami: Ami, phones: Telephony, beat: Beat) -> None:
    phones.trunk(ring_ms=0)
    beat()
    caller = phones.caller(1001, NUMBER, talk_ms=3600)
    ami.answer(ami.question(), "allow", "emergency", 0)
    assert float(gate_report(ami)["Timer"]) == 0
    (call,) = caller.wait(10)
    assert not call.was_cut
    assert call.talked_s > GUARD_S


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("insufficient_credit", 403),
        ("line_limit", 486),
        ("trunk_limit", 503),
        ("unknown_number", 404),
        ("no_rate", 403),
    ],
)
def test_denied_call_never_reaches_the_trunk(
    ami: Ami, phones: Telephony, beat: Beat, reason: str, status: int
) -> None:
    trunk = phones.trunk()
    beat()
    caller = phones.caller(1001, NUMBER)
    ami.answer(ami.question(), "deny", reason, 0)
    report = gate_report(ami)
    (call,) = caller.wait(10)
    assert (report["Verdict"], report["Reason"]) == ("deny", reason)
    assert float(report["Timer"]) == 0, "an announcement after the gate must not be cut by its guard"
    assert call.status == status
    assert not trunk.calls()


@pytest.mark.parametrize("last_beat", ["", "long ago", "in the future"])
def test_daemon_away_refuses_at_once_when_closed(ami: Ami, phones: Telephony, last_beat: str) -> None:
    offsets = {"": "", "long ago": int(time.time()) - 10, "in the future": int(time.time()) + 3600}
    ami.action("Setvar", Variable="RATER_BEAT", Value=offsets[last_beat])
    trunk = phones.trunk()
    assert decision_s(phones.caller(1001, NUMBER)) < AT_ONCE_S
    report = gate_report(ami)
    assert (report["Verdict"], report["Reason"]) == ("deny", "daemon_away")
    assert not trunk.calls()


def test_daemon_away_passes_at_once_when_open(ami: Ami, phones: Telephony) -> None:
    ami.action("Setvar", Variable="RATER_FAIL", Value="open")
    trunk = phones.trunk(ring_ms=0)
    caller = phones.caller(1001, NUMBER, talk_ms=3500)
    report = gate_report(ami)
    (call,) = caller.wait(10)
    assert (report["Verdict"], report["Reason"], report["Seconds"]) == ("allow", "daemon_away", "")
    assert trunk.calls()[0].invited_s - call.invited_s < AT_ONCE_S
    assert not call.was_cut, "the guard of the gate must be off after a pass"
    assert call.talked_s > GUARD_S


@pytest.mark.parametrize("policy", ["open", "closed"])
def test_daemon_dying_while_calls_wait_lets_none_hang(
    asterisk: Asterisk, ami: Ami, phones: Telephony, beat: Beat, policy: str
) -> None:
    ami.action("Setvar", Variable="RATER_FAIL", Value=policy)
    trunk = phones.trunk(ring_ms=0)
    daemon = Ami(asterisk.ami_port)
    beat()
    caller = phones.caller(1001, [NUMBER] * 5, talk_ms=3500)
    ami.until_events("AsyncAGIStart", 5)
    daemon.close()
    calls = caller.wait(20)
    reports = [e for e in ami.events("UserEvent") if e["UserEvent"] == "Gate"]
    assert {(e["Verdict"], e["Reason"]) for e in reports} == {
        ("allow" if policy == "open" else "deny", "no_verdict")
    }
    for call in calls:
        assert call.decided_s is not None
        assert call.decided_s - call.invited_s < GUARD_S + 0.3
        assert call.status == (200 if policy == "open" else 503)
    if policy == "open":
        assert len(trunk.calls()) == 5
        assert all(not call.was_cut and call.talked_s > GUARD_S for call in calls), "the guard must be off"


def test_verdict_whose_way_out_is_lost_still_counts(ami: Ami, phones: Telephony, beat: Beat) -> None:
    """The guard may strike between the verdict and the BREAK: the call passes with the timer that was granted."""
    phones.trunk(ring_ms=0)
    beat()
    caller = phones.caller(1001, NUMBER)
    question = ami.question()
    ami.action("Setvar", Channel=question.channel, Variable=DECIDED, Value="allowed,2,allow")
    (call,) = caller.wait(10)
    assert gate_report(ami)["Verdict"] == "allow"
    assert call.was_cut
    assert call.talked_s == pytest.approx(2.0, abs=0.25)


def test_answer_sent_in_one_go_passes_without_delay(ami: Ami, phones: Telephony, beat: Beat) -> None:
    """The switch looks for AGI commands every 100 ms; the timer, sent last, wakes it."""
    phones.trunk(ring_ms=0)
    for verdict, reason in [("allow", "allowed"), ("deny", "no_rate")] * 5:
        beat()
        since = ami.mark()
        caller = phones.caller(1001, NUMBER, talk_ms=100)
        question = ami.question(since=since)
        ami.answer(question, verdict, reason, 30 if verdict == "allow" else 0)
        end = ami.wait("AsyncAGIEnd", since=since)
        caller.wait(5)
        assert end.switch_s - question.event.switch_s < 0.08


def test_break_without_verdict_follows_the_policy_at_once(ami: Ami, phones: Telephony, beat: Beat) -> None:
    beat()
    caller = phones.caller(1001, NUMBER)
    question = ami.question()
    ami.action("AGI", Channel=question.channel, Command="ASYNCAGI BREAK")
    assert decision_s(caller) < 1.0
    assert (gate_report(ami)["Verdict"], gate_report(ami)["Reason"]) == ("deny", "no_verdict")


def test_caller_giving_up_in_the_gate_leaves_nothing(ami: Ami, phones: Telephony, beat: Beat) -> None:
    trunk = phones.trunk()
    beat()
    caller = phones.canceller(1001, NUMBER, after_ms=200)
    question = ami.question()
    (call,) = caller.wait(10)
    assert call.status == 487
    ami.wait("Hangup", where=lambda e: e["Channel"] == question.channel)
    refusal = ami.action("AGI", Channel=question.channel, Command="ASYNCAGI BREAK")
    assert refusal["Response"] == "Error"
    assert not trunk.calls()


def test_emergency_numbers_pass_with_the_daemon_away_and_closed(ami: Ami, phones: Telephony) -> None:
    ami.action("Setvar", Variable="RATER_FAIL", Value="closed")
    trunk = phones.trunk(ring_ms=0)
    for count, number in enumerate(("112", "911", "190", "193"), start=1):
        since = ami.mark()
        (call,) = phones.caller(1001, number, talk_ms=100).wait(10)
        assert call.status == 200
        report = gate_report(ami, since)
        assert (report["Verdict"], report["Reason"]) == ("allow", "emergency")
        assert len(trunk.calls()) == count


def test_emergency_numbers_do_not_wait_for_a_daemon_that_is_silent(ami: Ami, phones: Telephony, beat: Beat) -> None:
    trunk = phones.trunk(ring_ms=0)
    beat()
    (call,) = phones.caller(1001, "190", talk_ms=100).wait(10)
    assert call.status == 200
    assert trunk.calls()[0].invited_s - call.invited_s < AT_ONCE_S
    assert not ami.events("AsyncAGIStart")


@pytest.mark.parametrize(
    "number",
    ["5511x3334444", "5511%26PJSIP", "5511%2C34", "5511)34", "5511%22%20%3D%20%221", "55+11", "5511%24%7BEPOCH%7D"],
)
def test_number_that_would_be_trimmed_is_refused(ami: Ami, phones: Telephony, beat: Beat, number: str) -> None:
    """What is authorised must be what is dialled: nothing is cut out of a number silently."""
    trunk = phones.trunk()
    beat()
    (call,) = phones.caller(1001, number).wait(10)
    assert call.status in (404, 484)
    if call.status == 484:
        report = gate_report(ami)
        assert (report["Verdict"], report["Reason"]) == ("deny", "malformed_number")
    assert not ami.events("AsyncAGIStart")
    assert not trunk.calls()


def test_second_pass_of_the_gate_forgets_the_first_verdict(ami: Ami, phones: Telephony, beat: Beat) -> None:
    """A dialplan that asks again, for a second number, must not live on the first answer."""
    beat()
    caller = phones.caller(1001, f"twice{NUMBER}")
    first = ami.question()
    since = ami.mark()
    ami.answer(first, "allow", "allowed", 60)
    ami.question(since=since)
    assert ami.action("Getvar", Channel=first.channel, Variable="RATER_VERDICT")["Value"] == ""
    assert ami.action("Getvar", Channel=first.channel, Variable="RATER_SECONDS")["Value"] == ""
    (call,) = caller.wait(10)
    assert call.status == 503
    assert gate_report(ami)["Reason"] == "no_verdict"
