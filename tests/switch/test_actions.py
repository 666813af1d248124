"""Commands as AMI actions, and actions as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rater_native import actionbytes

from rater.calls.commands import AnnounceEnd, AnswerGate, ArmTimer, Forget, HangUp, Party, Warn
from rater.calls.signals import Direction
from rater.ids import LegId
from rater.switch import frames
from rater.switch.actions import DECIDED, Actions
from rater.switch.frames import ACTION_HEADER_LIMIT, ACTION_LINE_LIMIT, Action, serialize
from rater.switch.tracker import Tracker
from rater.verdict import Reason
from tests.switch.support import call_events, capture_events, channel, event, feed, new_tracker

LINE, TRUNK = "PJSIP/1001-00000001", "PJSIP/trunk-00000002"
WATCHED = LegId("lab.b.1.2")


def at(stop: str, name: str) -> tuple[Tracker, LegId]:
    """A tracker fed with a capture up to the first event of a kind, and its first leg."""
    tracker = new_tracker()
    events = capture_events(name)
    feed(tracker, events[: next(i for i, f in enumerate(events) if f["Event"] == stop) + 1])
    return tracker, next(iter(tracker.legs))


def brief(actions: list[Action]) -> list[str]:
    return [" ".join(v for k, v in action.items() if k != "ActionID") for action in actions]


def ringing() -> Tracker:
    tracker = new_tracker()
    feed(tracker, call_events()[:4])
    return tracker


def talking() -> Tracker:
    tracker = new_tracker()
    feed(tracker, call_events()[:5])
    return tracker


def test_an_allowed_gate_gets_its_variables_then_goes_on_then_its_timer():
    tracker, leg = at("AsyncAGIStart", "gate")
    actions = Actions("x").of(AnswerGate(leg, Reason.ALLOWED, 30), tracker)
    name = actions[0]["Channel"]
    assert brief(actions) == [
        f"Setvar {name} {DECIDED} allowed,30,allow",
        f"AGI {name} ASYNCAGI BREAK",
        f"AbsoluteTimeout {name} 30.000",
    ]


def test_a_denied_gate_is_told_why_and_has_its_timer_taken_off():
    tracker, leg = at("AsyncAGIStart", "gate")
    actions = Actions("x").of(AnswerGate(leg, Reason.INSUFFICIENT_CREDIT, 0), tracker)
    assert [line.split(" ", 2)[::2] for line in brief(actions)] == [
        ["Setvar", f"{DECIDED} insufficient_credit,0,deny"],
        ["AGI", "ASYNCAGI BREAK"],
        ["AbsoluteTimeout", "86400.000"],
    ]


def test_a_denied_gate_keeps_the_timer_of_a_channel_that_is_a_leg_already():
    tracker, leg = at("AsyncAGIStart", "gate")
    lines = brief(Actions("x").of(AnswerGate(leg, Reason.INSUFFICIENT_CREDIT, 6), tracker))
    assert lines[0].endswith(" insufficient_credit,0,deny")
    assert lines[-1].endswith(" 6.000")


def test_an_emergency_has_no_limit():
    tracker, leg = at("AsyncAGIStart", "gate")
    lines = brief(Actions("x").of(AnswerGate(leg, Reason.EMERGENCY, 0), tracker))
    assert lines[0].endswith(" emergency,0,allow")
    assert lines[-1].endswith(" 86400.000")


@pytest.mark.parametrize("reason", Reason)
def test_no_reason_has_what_parts_the_variables(reason):
    assert not set(reason.code) & set(',"\\|() ')


def test_a_denied_attempt_is_not_taken_over_by_a_dial_that_comes_all_the_same():
    tracker = new_tracker()
    events = capture_events("gate")
    asked = next(i for i, f in enumerate(events) if f["Event"] == "AsyncAGIStart") + 1
    feed(tracker, events[:asked])
    [gate] = tracker.legs
    Actions("x").of(AnswerGate(gate, Reason.LINE_LIMIT, 0), tracker)
    feed(tracker, events[asked:])
    assert [leg.mode.value for leg in tracker.legs.values()] == ["gate", "watch"]


def test_a_verdict_that_comes_too_late_says_nothing_to_a_dialplan_that_went_on():
    tracker, leg = at("AsyncAGIEnd", "gate")
    assert Actions("x").of(AnswerGate(leg, Reason.ALLOWED, 30), tracker) == []


def test_a_late_denial_ends_the_call_that_the_dialplan_let_pass():
    tracker, leg = at("DialBegin", "gate")
    actions = brief(Actions("x").of(AnswerGate(leg, Reason.LINE_LIMIT, 0), tracker))
    assert [line.split("-")[0] for line in actions] == ["Hangup PJSIP/trunk", "Hangup PJSIP/1001"]


def test_a_late_permission_limits_the_call_that_the_dialplan_let_pass():
    tracker, leg = at("DialBegin", "gate")
    [action] = Actions("x").of(AnswerGate(leg, Reason.ALLOWED, 30), tracker)
    assert action["Action"] == "AbsoluteTimeout" and action["Channel"].startswith("PJSIP/1001-")


@pytest.mark.parametrize(
    ("after_ms", "seconds"),
    [(2_250, "2.250"), (7_000, "7.000"), (1, "0.001"), (0, "0.001"), (-5, "0.001"), (86_400_000, "86400.000")],
)
def test_timers_have_fractions_and_are_never_zero(after_ms: int, seconds: str):
    command = ArmTimer(WATCHED, Party.BILLED, after_ms)
    assert brief(Actions("x").of(command, talking())) == [f"AbsoluteTimeout {TRUNK} {seconds}"]


def test_the_timer_goes_where_the_core_says():
    command = ArmTimer(WATCHED, Party.CALLER, 1_000)
    assert brief(Actions("x").of(command, ringing())) == [f"AbsoluteTimeout {LINE} 1.000"]


def test_before_the_answer_the_caller_is_hung_up_too():
    assert brief(Actions("x").of(HangUp(WATCHED, 50), ringing())) == [f"Hangup {TRUNK} 50", f"Hangup {LINE} 50"]


def test_after_the_answer_only_the_leg_is():
    assert brief(Actions("x").of(HangUp(WATCHED, 16), talking())) == [f"Hangup {TRUNK} 16"]


def test_a_caller_that_rings_elsewhere_too_is_not_hung_up():
    tracker = ringing()
    line = channel("line", "1.1", state=4, account="ACC1001")
    second = channel("PJSIP/trunk2-00000009", "1.9", side="Dest")
    feed(tracker, [event("DialBegin", 2, **line, **second, DialString="+33123456789@trunk2")])
    assert brief(Actions("x").of(HangUp(WATCHED, 17), tracker)) == [f"Hangup {TRUNK} 17"]
    feed(tracker, [event("Hangup", 3, **channel("trunk", "1.2"), Cause="17")])
    other = LegId("lab.b.1.9")
    assert brief(Actions("x").of(HangUp(other, 17), tracker)) == [
        "Hangup PJSIP/trunk2-00000009 17",
        f"Hangup {LINE} 17",
    ]


def test_the_outside_caller_of_a_line_at_its_limit_may_ring_on_at_others():
    tracker, leg = at("DialBegin", "inbound")
    [action] = Actions("x").of(HangUp(leg, 17), tracker)
    assert action["Channel"].startswith("PJSIP/1002-")


def test_what_is_gone_is_not_told_anything():
    tracker = new_tracker()
    feed(tracker, call_events())
    for command in (
        HangUp(WATCHED, 16),
        ArmTimer(WATCHED, Party.BILLED, 5),
        AnswerGate(WATCHED, Reason.ALLOWED, 5),
    ):
        assert Actions("x").of(command, tracker) == []
    assert Actions("x").of(HangUp(LegId("lab.b.9.9"), 16), tracker) == []
    assert Actions("x").of(Forget(WATCHED), tracker) == []


def test_action_ids_are_unique():
    actions, tracker = Actions("x"), ringing()
    made = [a for _ in range(20) for a in actions.of(HangUp(WATCHED, 16), tracker)] + [actions.beat(1)]
    assert len({action["ActionID"] for action in made}) == len(made)


def test_the_heartbeat_and_the_policy_are_global_variables():
    assert brief([Actions("x").beat(1795486937), Actions("x").fail_policy("open")]) == [
        "Setvar RATER_BEAT 1795486937",
        "Setvar RATER_FAIL open",
    ]


# -- bytes ---------------------------------------------------------------------------------------------------------


def test_an_action_as_bytes():
    assert serialize({"Action": "Setvar", "Value": "café"}) == "Action: Setvar\r\nValue: café\r\n\r\n".encode()


@pytest.mark.parametrize("bad", ["a\r\nAction: Logoff", "a\nb", "a\rb", "a\0b"])
def test_a_value_that_would_become_another_header_is_refused(bad: str):
    with pytest.raises(ValueError, match="CR, LF, NUL or other"):
        serialize({"Action": "Setvar", "Value": bad})


@pytest.mark.parametrize("bad", ["A: b\r\nC", "A\n", "", "A B", "A:", "É"])
def test_a_key_that_is_no_word_is_refused(bad: str):
    with pytest.raises(ValueError, match="plain word"):
        serialize({"Action": "Setvar", bad: "x"})


def test_a_line_of_1024_bytes_is_refused():
    longest = "x" * (1024 - len("Value: \r\n") - 1)
    assert len(serialize({"Action": "Setvar", "Value": longest})) > 1024
    with pytest.raises(ValueError, match="1024"):
        serialize({"Action": "Setvar", "Value": longest + "x"})
    with pytest.raises(ValueError, match="1024"):
        serialize({"Action": "Setvar", "Value": "é" * (len(longest) // 2 + 1)})


def test_more_headers_than_the_switch_reads_are_refused():
    headers = {f"H{i}": "x" for i in range(ACTION_HEADER_LIMIT)}
    serialize(headers)
    with pytest.raises(ValueError, match="128"):
        serialize(headers | {"Action": "x"})
    with pytest.raises(ValueError, match="128"):
        serialize({})


_ANYTHING = st.text(st.one_of(st.characters(), st.characters(max_codepoint=127)), max_size=30)


@given(st.dictionaries(st.sampled_from(["Action", "Channel", "Value"]) | _ANYTHING, _ANYTHING, max_size=6))
def test_what_is_plainly_good_is_written_the_same_by_both(action: dict[str, str]):
    plain = actionbytes.serialize(action)
    assert plain is None or plain == frames._checked(action)


_ACTION = st.dictionaries(
    st.sampled_from(["Action", "Channel", "Value"]), st.text("ab\x7f\u00e9", max_size=3), max_size=3
)


@given(st.lists(_ACTION, max_size=4))
def test_several_are_written_one_after_the_other(actions: list[dict[str, str]]):
    each = [actionbytes.serialize(action) for action in actions]
    assert actionbytes.serialize_all(actions) == (None if None in each else b"".join(map(frames._checked, actions)))


@pytest.mark.parametrize("length", [1014, 1015, 1016, 1017])
def test_both_know_how_long_a_line_may_be(length: int):
    action = {"Action": "Setvar", "Value": "x" * length}
    plain = actionbytes.serialize(action)
    if length <= 1024 - len("Value: \r\n") - 1:
        assert plain == frames._checked(action)
    else:
        assert plain is None
    assert (actionbytes.LINE_LIMIT, actionbytes.HEADERS) == (ACTION_LINE_LIMIT, ACTION_HEADER_LIMIT)


def whispered_to(tracker: Tracker, leg: LegId) -> str:
    """The channel that a warning goes to; empty when nobody is told."""
    actions = Actions("x").of(Warn(leg, 10), tracker)
    return actions[0]["Data"].split(",")[0] if actions else ""


def test_a_warning_is_whispered_to_the_caller_alone():
    [action] = Actions("x").of(Warn(WATCHED, 60), talking())
    assert brief([action]) == [f"Originate Local/60@rater-warning/n ChanSpy {LINE},quWES 3000 true"]


@pytest.mark.parametrize(
    ("name", "moment", "listener"),
    [
        ("plain", "BridgeEnter", "PJSIP/1001-"),
        ("forward_kept", "BridgeEnter", "PJSIP/1001-"),
        ("moved", "BridgeEnter", "PJSIP/1001-"),
        ("click", "BridgeEnter", "PJSIP/1002-"),
        ("click_trunk", "BridgeEnter", "PJSIP/1002-"),
        ("blind_outside", "BlindTransfer", ""),
        ("inbound_transit", "BridgeEnter", ""),
    ],
)
def test_the_paying_side_hears_the_warning(name: str, moment: str, listener: str):
    """Up to the last event of that kind; then the leg that was dialled last."""
    tracker = new_tracker()
    events = capture_events(name)
    last = max(i for i, f in enumerate(events) if f["Event"] == moment)
    if moment == "BlindTransfer":
        last = max(i for i, f in enumerate(events) if f["Event"] == "BridgeEnter")
    feed(tracker, events[: last + 1])
    leg = [leg for leg in tracker.legs.values() if leg.direction is Direction.OUT][-1]
    assert whispered_to(tracker, leg.id).startswith(listener)
    assert bool(whispered_to(tracker, leg.id)) == bool(listener)


def test_a_leg_that_was_handed_to_another_line_warns_that_line():
    tracker = new_tracker()
    events = capture_events("blind_line")
    last = max(i for i, f in enumerate(events) if f["Event"] == "BridgeEnter")
    feed(tracker, events[: last + 1])
    outbound = next(leg for leg in tracker.legs.values() if leg.direction is Direction.OUT)
    assert whispered_to(tracker, outbound.id).startswith("PJSIP/1002-")


def test_a_certain_end_is_written_on_the_dialling_channel_and_taken_off_again():
    actions = Actions("x")
    told = brief(actions.of(AnnounceEnd(WATCHED, "credit", 1_700_000_009_000), talking()))
    assert told == [f"Setvar {LINE} ARRAY(RATER_CUT_AT,RATER_CUT) 1700000009000,credit"]
    assert brief(actions.of(AnnounceEnd(WATCHED, "", 0), talking())) == [
        f"Setvar {LINE} ARRAY(RATER_CUT_AT,RATER_CUT) ,"
    ]
