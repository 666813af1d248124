"""The switch's list against what is known."""

from __future__ import annotations

import pytest

from rater.calls.signals import (
    Answered,
    Attempted,
    Dialled,
    Direction,
    Disposition,
    Ended,
    Grade,
    Mode,
    Payer,
    Seen,
)
from rater.switch.ami_parse import Frame
from tests.switch.support import (
    call_events,
    channel,
    event,
    feed,
    first_list,
    known,
    later_list,
    lines,
    new_tracker,
    row,
)

LINE = row(
    "line", "1.1", app="Dial", data="PJSIP/+33123456789@trunk,30,tT", account="ACC1001", exten="+33123456789"
)
TRUNK = row("trunk", "1.2", app="AppDial", data="(Outgoing Line)", account="ACC1001", caller="0033")
RINGING = TRUNK | {"ChannelState": "5"}
LEG = "lab.b.1.2"


def gone(leg: str, disposition: Disposition, at_ms: int = 4_000) -> Ended:
    return Ended(leg, at_ms, 0, disposition, Grade.ESTIMATED)


# -- after a restart of ours ---------------------------------------------------------------------------------------


def test_a_stored_leg_that_lives_is_seen():
    stored = [known("b.1.2", channel_id="1.2", caller="1.1", answered=True)]
    assert first_list(new_tracker(), [LINE, TRUNK], stored) == [Seen(LEG, 5_000)]


def test_1_a_stored_leg_that_is_gone_ends_at_its_last_proof_of_life():
    stored = [known("b.1.2", channel_id="1.2", caller="1.1", answered=True)]
    assert first_list(new_tracker(), [], stored) == [gone(LEG, Disposition.ANSWERED)]
    assert first_list(new_tracker(), [LINE], stored) == [gone(LEG, Disposition.ANSWERED)]


def test_12_a_stored_leg_that_was_answered_meanwhile_is_reconciled():
    stored = [known("b.1.2", channel_id="1.2", caller="1.1")]
    assert first_list(new_tracker(), [LINE, TRUNK], stored) == [Answered(LEG, 5_000, Grade.RECONCILED)]
    assert first_list(new_tracker(), [LINE, RINGING], stored) == [Seen(LEG, 5_000)]


def test_a_gates_leg_that_was_dialled_meanwhile_is_found_by_its_call():
    stored = [known("b.1.1", caller="1.1")]
    leg = "lab.b.1.1"
    assert first_list(new_tracker(), [LINE, RINGING], stored) == [
        Dialled(leg, "trunk", "1.2", 5_000),
        Seen(leg, 5_000),
    ]
    assert first_list(new_tracker(), [LINE, TRUNK], stored) == [
        Dialled(leg, "trunk", "1.2", 5_000),
        Answered(leg, 5_000, Grade.RECONCILED),
    ]


def test_it_is_found_even_when_the_caller_has_left_it_behind():
    stored = [known("b.1.1", caller="1.1")]
    assert first_list(new_tracker(), [TRUNK], stored)[0] == Dialled("lab.b.1.1", "trunk", "1.2", 5_000)


def test_a_gates_leg_that_is_still_held_is_seen_and_may_be_dialled_later():
    tracker = new_tracker()
    held = row("line", "1.1", state=4, app="Playback", account="ACC1001")
    assert first_list(tracker, [held], [known("b.1.1", caller="1.1")]) == [Seen("lab.b.1.1", 5_000)]
    assert feed(tracker, call_events()[2:3]) == [Dialled("lab.b.1.1", "trunk", "1.2", 1_700_000_001_000)]


def test_a_gates_leg_whose_caller_has_gone_is_over():
    assert first_list(new_tracker(), [], [known("b.1.1", caller="1.1")]) == [
        gone("lab.b.1.1", Disposition.NO_ANSWER)
    ]


def test_15_legs_of_an_earlier_life_are_over_though_a_channel_has_the_same_name():
    stored = [known("a.1.2", channel_id="1.2", caller="1.1", answered=True), known("a.1.1", caller="1.1")]
    assert first_list(new_tracker(), [LINE, TRUNK], stored)[:2] == [
        gone("lab.a.1.2", Disposition.ANSWERED),
        gone("lab.a.1.1", Disposition.NO_ANSWER),
    ]


def test_what_a_stored_leg_goes_through_afterwards_is_told():
    tracker = new_tracker()
    first_list(tracker, [LINE, RINGING], [known("b.1.2", channel_id="1.2", caller="1.1")])
    assert feed(tracker, call_events()[2:]) == [
        Answered(LEG, 1_700_000_002_000),
        Ended(LEG, 1_700_000_005_000, 16, Disposition.ANSWERED),
    ]


def test_further_legs_of_a_channel_go_on_counting():
    tracker = new_tracker()
    listed = row("line", "1.1", state=4, app="Playback", account="ACC1001")
    first_list(tracker, [listed], [known("b.1.1", caller="1.1"), known("b.1.1.3", caller="1.1")])
    [found] = list(tracker.channels.live.values())
    assert tracker.name_leg(found) == "lab.b.1.1.4"


# -- what nobody knows ---------------------------------------------------------------------------------------------


def test_an_outbound_leg_that_nobody_accounts_for_is_charged_from_now():
    attempted, dialled, answered = first_list(new_tracker(), [LINE, TRUNK])
    assert attempted == Attempted(
        LEG, "lab.b.1.1", "lab", Mode.WATCH, Direction.OUT, Payer("ACC1001", "1001", ""), "+33123456789", "trunk",
        "", 5_000, 20, "1.1",
    )  # fmt: skip
    assert dialled == Dialled(LEG, "trunk", "1.2", 5_000)
    assert answered == Answered(LEG, 5_000, Grade.ESTIMATED)


def test_a_dial_seen_again_later_is_not_a_second_leg():
    tracker = new_tracker()
    first_list(tracker, [LINE, RINGING])
    assert feed(tracker, call_events()[:4]) == []


def test_a_leg_without_a_dialling_channel_has_the_number_that_the_switch_called():
    [attempted, *_] = first_list(new_tracker(), [TRUNK])
    assert isinstance(attempted, Attempted)
    assert (attempted.number, attempted.payer) == ("0033", Payer("ACC1001", "", ""))


def test_several_destinations_are_told_apart():
    line = LINE | {"ApplicationData": "PJSIP/+331@trunk2&PJSIP/+332@trunk,30"}
    [attempted, *_] = first_list(new_tracker(), [line, RINGING])
    assert isinstance(attempted, Attempted) and attempted.number == "+332"


def test_a_line_that_a_trunk_called_is_an_inbound_leg():
    caller = row("trunk", "1.1", app="Dial", data="PJSIP/1002,20", exten="+33140000001")
    called = row("line2", "1.2", app="AppDial", data="(Outgoing Line)", account="ACC1002")
    assert lines(first_list(new_tracker(), [caller, called])) == ["watch in ACC1002/1002 +33140000001 trunk alive"]


def test_line_to_line_is_only_counted():
    tracker = new_tracker()
    called = row("line2", "1.2", app="AppDial", data="(Outgoing Line)")
    assert first_list(tracker, [LINE | {"ApplicationData": "PJSIP/1002"}, called]) == []
    assert tracker.internal == {"1.2"}


def test_an_inbound_trunk_channel_is_no_outbound_leg():
    assert first_list(new_tracker(), [row("trunk", "1.1", app="Queue", data="sales")]) == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("agi:async,+331,out", ["gate out ACC1001/1001 +331 undialled alive"]),
        ("agi:async,+331", ["gate out ACC1001/1001 +331 undialled alive"]),
        ("agi:async,ivr,menu", []),
        ("other.sh", []),
    ],
)
def test_a_dialplan_that_waits_in_the_gate_asks_anew(data: str, expected: list[str]):
    waiting = row("line", "1.1", state=4, app="AGI", data=data, account="ACC1001")
    assert lines(first_list(new_tracker(), [waiting])) == expected


def test_a_stored_leg_whose_dialplan_still_waits_is_replaced_by_a_new_question():
    waiting = row("line", "1.1", state=4, app="AGI", data="agi:async,+331,out", account="ACC1001")
    seen, ended, attempted = first_list(new_tracker(), [waiting], [known("b.1.1", caller="1.1")])
    assert isinstance(seen, Seen) and isinstance(ended, Ended) and isinstance(attempted, Attempted)
    assert (ended.leg, attempted.leg) == ("lab.b.1.1", "lab.b.1.1.1")


def test_a_spoilt_row_is_passed_over():
    assert first_list(new_tracker(), [{"Event": "CoreShowChannel"}, TRUNK | {"!tampered": "x"}]) == []


# -- while the connection was away, or is up -----------------------------------------------------------------------


def live(frames: list[Frame], arrived_ns: int = 1):
    tracker = new_tracker()
    feed(tracker, frames, arrived_ns)
    return tracker


def test_1_a_connection_lost_in_mid_call_costs_nothing_but_time():
    for cut in range(2, 7):
        tracker = live(call_events()[:cut])
        stored = [known("b.1.2", channel_id="1.2", caller="1.1", answered=cut > 4)] if cut > 2 else []
        tracker.connected(0)
        first_list(tracker, [LINE, TRUNK], stored)
        ends = [s for s in feed(tracker, call_events()[7:]) if isinstance(s, Ended)]
        assert [(e.leg, e.disposition) for e in ends] == [(LEG, Disposition.ANSWERED)], cut


def test_11_a_missed_hangup_is_found():
    tracker = live(call_events()[:7])
    stored = [known("b.1.2", channel_id="1.2", caller="1.1", answered=True)]
    assert later_list(tracker, [], stored, 9_000, asked_ns=50) == [gone(LEG, Disposition.ANSWERED)]
    assert not tracker.channels.live
    assert feed(tracker, call_events()[7:]) == []


def test_a_channel_younger_than_the_question_is_not_gone_because_it_is_not_listed():
    tracker = live(call_events()[:7], arrived_ns=60)
    stored = [known("b.1.2", channel_id="1.2", caller="1.1", answered=True)]
    assert later_list(tracker, [], stored, 9_000, asked_ns=50) == []
    assert len(tracker.channels.live) == 2


def test_a_channel_that_hung_up_does_not_live_because_it_is_listed():
    tracker = live(call_events())
    assert later_list(tracker, [LINE, TRUNK], [], 9_000, asked_ns=50) == []
    assert not tracker.channels.live


def test_an_unknown_channel_is_given_the_time_of_one_list_to_explain_itself():
    tracker = new_tracker()
    assert later_list(tracker, [LINE, RINGING], [], 9_000, asked_ns=50) == []
    assert lines(feed(tracker, call_events())) == ["watch out ACC1001/1001 +33123456789 trunk answered 16 3.0s"]
    tracker = new_tracker()
    later_list(tracker, [LINE, RINGING], [], 9_000, asked_ns=50)
    signals = later_list(tracker, [LINE, RINGING], [], 9_900, asked_ns=60)
    assert lines(signals) == ["watch out ACC1001/1001 +33123456789 trunk alive"]


def test_a_denied_leg_that_the_core_no_longer_lists_hears_of_its_end():
    tracker = live(call_events()[:4])
    assert later_list(tracker, [LINE], [], 9_000, asked_ns=50) == [
        Ended(LEG, 9_000, 0, Disposition.FAILED, Grade.ESTIMATED)
    ]


def test_a_dialplan_that_left_the_gate_while_we_were_away_is_asked_nothing():
    tracker = live([event("AsyncAGIStart", 1, **channel("line", "1.1", account="ACC1001"), Env="")])
    [leg] = tracker.legs
    first_list(tracker, [row("line", "1.1", state=4, app="Playback")], [known("b.1.1", caller="1.1")])
    channels = tracker.channels_of(leg)
    assert channels is not None and not channels.asking
