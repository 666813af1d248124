"""A channel that has a timer already and comes to the gate: an outside party that was sent on, whose leg is paid
until then. Whatever the gate hears or does not hear, that timer strikes at its second. The test is the daemon."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from rater.calls.commands import ArmTimer, Party
from rater.calls.signals import Mode, Seen, Signal
from rater.catalog.model import SwitchRules, Trunk
from rater.ids import SwitchId, TrunkId
from rater.switch.actions import Actions
from rater.switch.tracker import Tracker

from .ami import Ami, Event, Question
from .sipp import Sipp, Telephony

NUMBER = "551133334444"
EXACT_S = 0.25
OFF = 0.0


class SentOn:
    """A call of line 1001 whose outside party, with `paid_s` on its timer, is sent to another outside number."""

    def __init__(self, ami: Ami, phones: Telephony, paid_s: float) -> None:
        self._ami = ami
        self.trunk: Sipp = phones.trunk(ring_ms=0)
        caller = phones.caller(1001, f"w{NUMBER}")
        begin = ami.wait("DialBegin")
        caller.until_answered()
        self.channel = begin["DestChannel"]
        self._armed_s = time.time()
        ami.action("AbsoluteTimeout", Channel=self.channel, Timeout=paid_s)
        time.sleep(0.3)
        self.since = ami.mark()
        reply = ami.action("BlindTransfer", Channel=begin["Channel"], Context="from-lines", Exten=NUMBER)
        assert reply["Response"] == "Success", reply

    def question(self) -> Question:
        question = self._ami.question(since=self.since)
        assert question.channel == self.channel
        return question

    def gate_report(self) -> dict[str, str]:
        event = self._ami.wait("UserEvent", since=self.since, where=lambda e: e["UserEvent"] == "Gate")
        return event.headers

    def lasted_s(self) -> float:
        """From the arming of its timer to its end."""
        calls = self.trunk.until(lambda calls: calls[0].ended_s is not None, 12, "its end")
        assert calls[0].was_cut
        assert calls[0].ended_s is not None
        return calls[0].ended_s - self._armed_s


@pytest.mark.parametrize(("granted_s", "lasts_s"), [(30, 4.25), (0, 4.25), (2, 2.0)])
def test_what_is_left_of_its_timer_bounds_what_is_granted(
    ami: Ami, phones: Telephony, beat: Callable[[], None], granted_s: int, lasts_s: float
) -> None:
    """The switch's timer may have been set by rater on the way out; the dialplan has the last word here."""
    beat()
    sent = SentOn(ami, phones, 4.25)
    question = sent.question()
    for name, value in (("VERDICT", "allow"), ("REASON", "allowed"), ("SECONDS", granted_s)):
        ami.send("Setvar", Channel=question.channel, Variable=f"RATER_{name}", Value=value)
    ami.action("AGI", Channel=question.channel, Command="ASYNCAGI BREAK")
    report = sent.gate_report()
    assert (report["Verdict"], report["Reason"]) == ("allow", "allowed")
    sent.trunk.until(lambda calls: len(calls) == 2, 5, "the further call")
    lasted_s = sent.lasted_s()
    if granted_s == 2:
        lasted_s -= 0.3 + 0.1  # until the question; the channel looks for its way out every 100 ms
    assert lasted_s == pytest.approx(lasts_s, abs=EXACT_S)


@pytest.mark.parametrize("paid_s", [1.5, 4.75])
@pytest.mark.parametrize("policy", ["open", "closed"])
def test_unheard_it_keeps_its_timer(
    ami: Ami, phones: Telephony, beat: Callable[[], None], policy: str, paid_s: float
) -> None:
    """Until its timer strikes the party goes on by the policy; not when that is before the guard of 3 s."""
    ami.action("Setvar", Variable="RATER_FAIL", Value=policy)
    beat()
    sent = SentOn(ami, phones, paid_s)
    sent.question()
    report = sent.gate_report()
    assert (report["Verdict"], report["Reason"]) == (
        "allow" if policy == "open" and paid_s > 3 else "deny", "no_verdict"
    )  # fmt: skip
    assert OFF < float(report["Timer"]) < max(paid_s - 3, 0.05)
    lasted_s = sent.lasted_s()
    if policy == "open" or paid_s < 3:
        assert lasted_s == pytest.approx(paid_s, abs=EXACT_S)
    else:
        assert lasted_s == pytest.approx(3.3, abs=EXACT_S), "refused by the policy, after the guard"


@pytest.mark.parametrize("policy", ["open", "closed"])
def test_daemon_away_leaves_its_timer_alone(ami: Ami, phones: Telephony, policy: str) -> None:
    ami.action("Setvar", Variable="RATER_FAIL", Value=policy)
    sent = SentOn(ami, phones, 2.5)
    report = sent.gate_report()
    assert report["Reason"] == "daemon_away"
    assert 1.5 < float(report["Timer"]) <= 2.5
    if policy == "open":
        assert sent.lasted_s() == pytest.approx(2.5, abs=EXACT_S)


def test_denied_it_keeps_its_timer(ami: Ami, phones: Telephony, beat: Callable[[], None]) -> None:
    """It may hear an announcement, and no longer than it is paid for."""
    beat()
    sent = SentOn(ami, phones, 3.0)
    question = sent.question()
    for name, value in (("VERDICT", "deny"), ("REASON", "line_limit")):
        ami.send("Setvar", Channel=question.channel, Variable=f"RATER_{name}", Value=value)
    ami.action("AGI", Channel=question.channel, Command="ASYNCAGI BREAK")
    report = sent.gate_report()
    assert (report["Verdict"], report["Reason"]) == ("deny", "line_limit")
    assert 1.5 < float(report["Timer"]) <= 3.0


def test_what_the_gate_has_granted_is_no_timer_of_the_channels_own(
    ami: Ami, phones: Telephony, beat: Callable[[], None]
) -> None:
    """The first of two passes grants 1 s, the second 4: the second counts, as when a call is tried elsewhere."""
    phones.trunk(ring_ms=0)
    beat()
    caller = phones.caller(1001, f"twice{NUMBER}")
    ami.answer(ami.question(), "allow", "allowed", 1)
    first, second = ami.until_events("AsyncAGIStart", 2)
    assert first["Channel"] == second["Channel"]
    ami.answer(Question(second, second["Channel"]), "allow", "allowed", 4)
    (call,) = caller.wait(10)
    assert call.talked_s == pytest.approx(4.0, abs=EXACT_S)


def test_what_is_paid_while_it_asks_is_armed_behind_the_gate(
    ami: Ami, phones: Telephony, beat: Callable[[], None]
) -> None:
    """The product's timer for a party that asks is put off, so that the guard strikes in time. Behind the gate what
    the dialplan puts back may come last; the dial sets it once more, as the engine does."""
    ami.action("Setvar", Variable="RATER_FAIL", Value="open")
    trunks = [Trunk(TrunkId("t"), None, "PJSIP/trunk-*")]
    tracker = Tracker(SwitchId("lab"), "b", SwitchRules(SwitchId("lab")), trunks, Mode.WATCH)
    tracker.connected(0)
    actions, fed = Actions("lab"), 0

    def told(last: Event) -> list[Signal]:
        nonlocal fed
        events = ami.events()
        fresh, fed = events[fed : events.index(last) + 1], events.index(last) + 1
        return [signal for each in fresh for signal in tracker.feed(each.headers, time.monotonic_ns())]

    def arm(after_ms: int) -> int:
        made = actions.of(ArmTimer(leg, Party.BILLED, after_ms), tracker)
        for action in made:
            ami.send(action.pop("Action"), **action)
        return len(made)

    beat()
    sent = SentOn(ami, phones, 20.0)
    question = sent.question()
    told(question.event)
    [leg] = [leg for leg, known in tracker.legs.items() if known.billed is not None]
    assert arm(25_000) == 0, "the guard stays"
    over = ami.wait("AsyncAGIEnd", since=sent.since)
    assert over.switch_s - question.event.switch_s == pytest.approx(3.0, abs=EXACT_S)
    assert Seen(leg, int(over.switch_s * 1000)) in told(over)
    assert arm(1_500) == 1
    assert sent.gate_report()["Reason"] == "no_verdict"
    told(ami.wait("DialBegin", since=sent.since))
    assert arm(1_500) == 1
    assert sent.lasted_s() == pytest.approx(0.3 + 3.0 + 1.5, abs=2 * EXACT_S)
