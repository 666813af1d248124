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
from rater.switch.actions import DECIDED, Actions
from rater.switch.tracker import Tracker

from .ami import Ami, Event, Question
from .sipp import Sipp, Telephony

NUMBER = "551133334444"
EXACT_S = 0.25
PATIENCE_S = 15.0
"""For whatever comes when the machine gets to it."""
OFF = 0.0


class SentOn:
    """A call of line 1001 whose outside party, with `paid_s` on its timer, is sent to another outside number.

    `beat`: just before it is sent on, however long that took to come about. When its timer was set is known to lie
    between the action and its reply; everything else is told by the switch's own clock.
    """

    def __init__(self, ami: Ami, phones: Telephony, paid_s: float, beat: Callable[[], None] = lambda: None) -> None:
        self._ami = ami
        self._paid_s = paid_s
        self.trunk: Sipp = phones.trunk(ring_ms=0)
        caller = phones.caller(1001, f"w{NUMBER}")
        begin = ami.wait("DialBegin", timeout_s=PATIENCE_S)
        caller.until_answered()
        self.channel = begin["DestChannel"]
        ami.wait("BridgeEnter", timeout_s=PATIENCE_S, where=lambda e: e["Channel"] == self.channel)
        ami.wait("BridgeEnter", timeout_s=PATIENCE_S, where=lambda e: e["Channel"] == begin["Channel"])
        asked_s = time.time()
        ami.action("AbsoluteTimeout", Channel=self.channel, Timeout=paid_s)
        self._armed_s = (asked_s, time.time())
        time.sleep(0.3)
        beat()
        self.since = ami.mark()
        reply = ami.action("BlindTransfer", Channel=begin["Channel"], Context="from-lines", Exten=NUMBER)
        assert reply["Response"] == "Success", reply

    def question(self) -> Question:
        question = self._ami.question(since=self.since, timeout_s=PATIENCE_S)
        assert question.channel == self.channel
        return question

    def gate_report(self) -> Event:
        return self._ami.wait(
            "UserEvent", since=self.since, timeout_s=PATIENCE_S, where=lambda e: e["UserEvent"] == "Gate"
        )

    def end(self) -> Event:
        """Its hanging up, which it did not do itself."""
        calls = self.trunk.until(lambda calls: calls[0].ended_s is not None, 12, "its end")
        assert calls[0].was_cut
        return self._ami.wait("Hangup", since=self.since, where=lambda e: e["Channel"] == self.channel)

    def is_cut_when_its_timer_strikes(self) -> None:
        asked_s, replied_s = self._armed_s
        lasted_s = self.end().switch_s - self._paid_s
        assert asked_s - EXACT_S <= lasted_s <= replied_s + EXACT_S, (lasted_s - asked_s, lasted_s - replied_s)

    def has_what_is_left(self, report: Event) -> None:
        """Its timer behind the gate is the one that it came with."""
        asked_s, replied_s = self._armed_s
        strikes_s = report.switch_s + float(report["Timer"]) - self._paid_s
        assert asked_s - EXACT_S <= strikes_s <= replied_s + EXACT_S, report.headers


def verdict(ami: Ami, question: Question, *told: object) -> None:
    """As the product tells it, but without the timer: what the dialplan makes of it is to be seen."""
    ami.send("Setvar", Channel=question.channel, Variable=DECIDED, Value=",".join(map(str, told)))
    ami.action("AGI", Channel=question.channel, Command="ASYNCAGI BREAK")


@pytest.mark.parametrize(("granted_s", "lasts_s"), [(30, 4.25), (0, 4.25), (2, 2.0)])
def test_what_is_left_of_its_timer_bounds_what_is_granted(
    ami: Ami, phones: Telephony, beat: Callable[[], None], granted_s: int, lasts_s: float
) -> None:
    """The switch's timer may have been set by rater on the way out; the dialplan has the last word here."""
    sent = SentOn(ami, phones, 4.25, beat)
    verdict(ami, sent.question(), "allowed", granted_s, "allow")
    report = sent.gate_report()
    assert (report["Verdict"], report["Reason"]) == ("allow", "allowed")
    sent.trunk.until(lambda calls: len(calls) == 2, PATIENCE_S, "the further call")
    if lasts_s == 4.25:
        sent.has_what_is_left(report)
        sent.is_cut_when_its_timer_strikes()
    else:
        over = ami.wait("AsyncAGIEnd", since=sent.since)
        assert sent.end().switch_s - over.switch_s == pytest.approx(lasts_s, abs=EXACT_S)


@pytest.mark.parametrize("paid_s", [1.5, 4.75])
@pytest.mark.parametrize("policy", ["open", "closed"])
def test_unheard_it_keeps_its_timer(
    ami: Ami, phones: Telephony, beat: Callable[[], None], policy: str, paid_s: float
) -> None:
    """Until its timer strikes the party goes on by the policy; not when that is before the guard of 3 s."""
    ami.action("Setvar", Variable="RATER_FAIL", Value=policy)
    sent = SentOn(ami, phones, paid_s, beat)
    question = sent.question()
    report = sent.gate_report()
    assert (report["Verdict"], report["Reason"]) == (
        "allow" if policy == "open" and paid_s > 3 else "deny", "no_verdict"
    )  # fmt: skip
    assert OFF < float(report["Timer"]) < max(paid_s - 3, 0.05)
    if policy == "open" or paid_s < 3:
        sent.is_cut_when_its_timer_strikes()
    else:
        guarded_s = sent.end().switch_s - question.event.switch_s
        assert guarded_s == pytest.approx(3.0, abs=EXACT_S), "refused by the policy, after the guard"


@pytest.mark.parametrize("policy", ["open", "closed"])
def test_daemon_away_leaves_its_timer_alone(ami: Ami, phones: Telephony, policy: str) -> None:
    ami.action("Setvar", Variable="RATER_FAIL", Value=policy)
    sent = SentOn(ami, phones, 2.5)
    report = sent.gate_report()
    assert report["Reason"] == "daemon_away"
    sent.has_what_is_left(report)
    if policy == "open":
        sent.is_cut_when_its_timer_strikes()


def test_denied_it_keeps_its_timer(ami: Ami, phones: Telephony, beat: Callable[[], None]) -> None:
    """It may hear an announcement, and no longer than it is paid for."""
    sent = SentOn(ami, phones, 3.0, beat)
    verdict(ami, sent.question(), "line_limit", 0, "deny")
    report = sent.gate_report()
    assert (report["Verdict"], report["Reason"]) == ("deny", "line_limit")
    sent.has_what_is_left(report)


def test_what_the_gate_has_granted_is_no_timer_of_the_channels_own(
    ami: Ami, phones: Telephony, beat: Callable[[], None]
) -> None:
    """The first of two passes grants 1 s, the second 4: the second counts, as when a call is tried elsewhere."""
    phones.trunk(ring_ms=0)
    beat()
    caller = phones.caller(1001, f"twice{NUMBER}")
    ami.answer(ami.question(timeout_s=PATIENCE_S), "allow", "allowed", 1)
    first, second = ami.until_events("AsyncAGIStart", 2, timeout_s=PATIENCE_S)
    assert first["Channel"] == second["Channel"]
    ami.answer(Question(second, second["Channel"]), "allow", "allowed", 4)
    _, over = ami.until_events("AsyncAGIEnd", 2)
    (call,) = caller.wait(10)
    assert call.was_cut
    end = ami.wait("Hangup", where=lambda e: e["Channel"] == first["Channel"])
    assert end.switch_s - over.switch_s == pytest.approx(4.0, abs=EXACT_S)


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
            headers = dict(action)
            ami.send(headers.pop("Action"), **headers)
        return len(made)

    sent = SentOn(ami, phones, 20.0, beat)
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
    asked_s = time.time()
    assert arm(1_500) == 1
    ami.action("Ping")  # which is answered after what was sent before it
    replied_s = time.time()
    assert asked_s - EXACT_S <= sent.end().switch_s - 1.5 <= replied_s + EXACT_S
