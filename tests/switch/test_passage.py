"""A call from outside that is led outside again, on frames made by hand. The real ones: test_captures.py."""

from __future__ import annotations

import pytest

from rater.calls.commands import AnswerGate, ArmTimer, HangUp, Party
from rater.calls.signals import Answered, Direction, Grade
from rater.switch.actions import Actions
from rater.switch.ami_parse import Frame
from rater.switch.tracker import Tracker
from rater.verdict import Reason
from tests.switch.support import channel, event, feed, first_list, known, lines, new_tracker, row
from tests.switch.test_actions import brief

CALLER, WAY_OUT, DESK = "PJSIP/trunk-00000001", "PJSIP/trunk2-00000002", "PJSIP/1002-00000003"
DID, MOBILE = "+33140000003", "+33777000001"
OUT = f"watch out ACC1003 {MOBILE} trunk2"
IN = f"watch in ACC1003 {DID} trunk"


def caller(state: int = 4, account: str = "ACC1003", side: str = "") -> dict[str, str]:
    return channel(CALLER, "1.1", state=state, account=account, exten=DID, side=side)


def arrives() -> list[Frame]:
    return [event("Newchannel", 1, **caller(account=""))]


def dials(name: str, uniqueid: str, dialled: str, at_s: float = 2, account: str = "ACC1003") -> list[Frame]:
    other = channel(name, uniqueid, account=account, side="Dest")
    return [
        event("Newchannel", at_s, **channel(name, uniqueid, account=account)),
        event("DialBegin", at_s, **caller(account=account), **other, DialString=dialled),
    ]


def answers(name: str, uniqueid: str, at_s: float, account: str = "ACC1003") -> list[Frame]:
    other = channel(name, uniqueid, state=6, account=account, side="Dest")
    return [
        event("Newstate", at_s, **channel(name, uniqueid, state=6, account=account)),
        event("DialEnd", at_s, **caller(), **other, DialStatus="ANSWER"),
        event("Newstate", at_s + 0.1, **caller(state=6)),
    ]


def fails(name: str, uniqueid: str, at_s: float, status: str = "BUSY") -> list[Frame]:
    other = channel(name, uniqueid, side="Dest")
    return [event("DialEnd", at_s, **caller(), **other, DialStatus=status), *hangs_up(name, uniqueid, at_s, 17, 5)]


def hangs_up(name: str, uniqueid: str, at_s: float, cause: int = 16, state: int = 6) -> list[Frame]:
    return [event("Hangup", at_s, **channel(name, uniqueid, state=state), Cause=str(cause))]


def out_dial(at_s: float = 2) -> list[Frame]:
    return dials(WAY_OUT, "1.2", f"{MOBILE}@trunk2", at_s)


def talking() -> Tracker:
    tracker = new_tracker()
    feed(tracker, arrives() + out_dial() + answers(WAY_OUT, "1.2", 3))
    return tracker


def the_legs(frames: list[Frame]) -> list[str]:
    return lines(feed(new_tracker(), frames))


def test_both_channels_are_legs_of_whoever_pays_for_the_way_out():
    events = arrives() + out_dial() + answers(WAY_OUT, "1.2", 3)
    events += hangs_up(WAY_OUT, "1.2", 8) + hangs_up(CALLER, "1.1", 8.5)
    assert the_legs(events) == [f"{OUT} answered 16 5.0s", f"{IN} answered 16 5.5s"]


def test_a_switchboard_that_answered_long_before_does_not_begin_it():
    events = [*arrives(), event("Newstate", 1.2, **caller(state=6)), *out_dial(10), *answers(WAY_OUT, "1.2", 12)]
    events += hangs_up(WAY_OUT, "1.2", 15) + hangs_up(CALLER, "1.1", 15)
    assert the_legs(events) == [f"{OUT} answered 16 3.0s", f"{IN} answered 16 3.0s"]


def test_a_way_out_that_fails_and_a_second_one_are_one_inbound_leg():
    events = arrives() + out_dial() + fails(WAY_OUT, "1.2", 3)
    events += dials("PJSIP/trunk2-00000009", "1.9", f"{MOBILE}@trunk2", 3)
    events += answers("PJSIP/trunk2-00000009", "1.9", 4)
    events += hangs_up("PJSIP/trunk2-00000009", "1.9", 6) + hangs_up(CALLER, "1.1", 6)
    assert the_legs(events) == [f"{OUT} busy 17", f"{IN} answered 16 2.0s", f"{OUT} answered 16 2.0s"]


def test_a_way_out_that_is_not_answered_leaves_the_inbound_leg_unanswered():
    events = arrives() + out_dial() + fails(WAY_OUT, "1.2", 3) + hangs_up(CALLER, "1.1", 4, 17, 4)
    assert the_legs(events) == [f"{OUT} busy 17", f"{IN} busy 17"]


def test_a_line_that_takes_the_call_takes_the_inbound_leg_over():
    """The mobile rings in vain, then the desk answers: that leg is the desk's, and only that is answered."""
    events = (
        arrives() + out_dial() + fails(WAY_OUT, "1.2", 3, "NOANSWER") + dials(DESK, "1.3", "1002", 3, "ACC1002")
    )
    events += answers(DESK, "1.3", 4, "ACC1002") + hangs_up(DESK, "1.3", 9) + hangs_up(CALLER, "1.1", 9)
    assert the_legs(events) == [
        f"{OUT} no_answer 17",
        f"{IN} cancelled 16",
        f"watch in ACC1002/1002 {DID} trunk answered 16 5.0s",
    ]


def test_a_desk_that_rings_in_vain_before_is_no_hindrance():
    events = arrives() + dials(DESK, "1.3", "1002", 2, "ACC1002") + fails(DESK, "1.3", 3, "NOANSWER")
    events += out_dial(3) + answers(WAY_OUT, "1.2", 4) + hangs_up(WAY_OUT, "1.2", 6) + hangs_up(CALLER, "1.1", 6)
    assert the_legs(events) == [
        f"watch in ACC1002/1002 {DID} trunk no_answer 17",
        f"{OUT} answered 16 2.0s",
        f"{IN} answered 16 2.0s",
    ]


def test_of_several_payers_it_is_the_one_who_is_answered():
    """Two forwards of two accounts ring at once: nobody knows whose call it becomes before one of them answers."""
    second = "PJSIP/trunk2-00000007"
    events = arrives() + out_dial() + dials(second, "1.7", "+33666000001@trunk2", 2, "ACC1004")
    events += answers(second, "1.7", 3, "ACC1004") + hangs_up(WAY_OUT, "1.2", 3, 26, 5)
    events += hangs_up(second, "1.7", 6) + hangs_up(CALLER, "1.1", 6)
    assert the_legs(events) == [
        f"{OUT} cancelled 26",
        f"{IN} cancelled 16",
        "watch out ACC1004 +33666000001 trunk2 answered 16 3.0s",
        f"watch in ACC1004 {DID} trunk answered 16 3.0s",
    ]


def test_without_a_payer_there_is_one_denial_and_not_two():
    assert the_legs(arrives() + dials(WAY_OUT, "1.2", f"{MOBILE}@trunk2", 2, "")) == [
        f"watch out nobody {MOBILE} trunk2 alive"
    ]


def asks(*arguments: str) -> Frame:
    env = "agi_threadid: 1\n" + "".join(f"agi_arg_{n}: {a}\n" for n, a in enumerate(arguments, 1)) + "\n"
    return event("AsyncAGIStart", 1.5 + len(arguments) / 100, **caller(), Env=env.replace("\n", "%0A"))


def test_the_line_that_the_inbound_gate_was_asked_for_has_the_inbound_leg():
    """Both questions stand: the second one does not give the first one up."""
    events = [*arrives(), asks(DID, "in", "1002"), asks(MOBILE), *out_dial(), *answers(WAY_OUT, "1.2", 3)]
    events += hangs_up(WAY_OUT, "1.2", 5) + hangs_up(CALLER, "1.1", 5)
    assert the_legs(events) == [
        f"gate in 1002 {DID} trunk answered 16 2.0s",
        f"gate out ACC1003 {MOBILE} trunk2 answered 16 2.0s",
    ]


def test_an_inbound_question_that_leads_nowhere_is_over_with_its_caller():
    events = [*arrives(), asks(DID, "in", "1002"), asks(MOBILE), *hangs_up(CALLER, "1.1", 3, 16, 4)]
    assert the_legs(events) == [
        f"gate in 1002 {DID} undialled cancelled 16",
        f"gate out ACC1003 {MOBILE} undialled cancelled 16",
    ]


def test_its_channels_timer_is_the_outbound_legs():
    tracker = talking()
    out, passing = tracker.legs
    assert brief(Actions("x").of(ArmTimer(out, Party.CALLER, 5000), tracker)) == [f"AbsoluteTimeout {CALLER} 5.000"]
    for party in Party:
        assert Actions("x").of(ArmTimer(passing, party, 5000), tracker) == []
    assert Actions("x").of(AnswerGate(passing, Reason.ALLOWED, 30), tracker) == []


def test_denied_it_ends_the_call():
    tracker = talking()
    _, passing = tracker.legs
    assert brief(Actions("x").of(HangUp(passing, 17), tracker)) == [f"Hangup {CALLER} 17"]


def test_an_outbound_leg_that_is_denied_takes_the_caller_with_it():
    """The inbound leg is not another destination that rings for the same caller."""
    tracker = new_tracker()
    feed(tracker, arrives() + out_dial())
    out = next(iter(tracker.legs))
    assert brief(Actions("x").of(HangUp(out, 50), tracker)) == [f"Hangup {WAY_OUT} 50", f"Hangup {CALLER} 50"]


LISTED = [
    row(CALLER, "1.1", app="Dial", data=f"PJSIP/trunk2/sip:{MOBILE}@h", account="ACC1003", exten=DID),
    row(WAY_OUT, "1.2", app="AppDial", data="(Outgoing Line)", account="ACC1003"),
]


def test_a_connection_that_comes_up_in_mid_call_takes_up_both():
    tracker = new_tracker()
    signals = first_list(tracker, LISTED)
    assert lines(signals) == [f"{OUT} alive", f"{IN} alive"]
    assert [s.grade for s in signals if isinstance(s, Answered)] == [Grade.ESTIMATED] * 2
    later = feed(tracker, hangs_up(WAY_OUT, "1.2", 6) + hangs_up(CALLER, "1.1", 6))
    assert len(later) == 2


@pytest.mark.parametrize("lives", [True, False])
def test_a_stored_one_is_seen_or_over(lives: bool):
    tracker = new_tracker()
    stored = [
        known("b.1.2", channel_id="1.2", caller="1.1", answered=True),
        known("b.1.1", channel_id="1.1", caller="1.1", answered=True, direction=Direction.IN),
    ]
    signals = first_list(tracker, LISTED if lives else [], stored)
    assert [type(s).__name__ for s in signals] == (["Seen"] * 2 if lives else ["Ended"] * 2)
    assert {s.leg for s in signals} == {"lab.b.1.1", "lab.b.1.2"}  # type: ignore[attr-defined]
