"""What calls on a real switch come out as; every row is a capture, every line one leg:

mode, direction, payer (account code/endpoint/variable), number, trunk, disposition, Q.850 cause, seconds talked.
"""

from __future__ import annotations

import pytest

from rater.calls.signals import Answered, Attempted, Direction, Grade, Mode
from tests.switch.support import (
    capture_events,
    capture_frames,
    capture_names,
    feed,
    first_list,
    lines,
    new_tracker,
    told,
)

LEGS = {
    "attended": [
        "watch out ACC1001/1001 +33123456789 trunk answered 16 7.0s",
        "watch out ACC1001/1001 +33666000001 trunk answered 16 6.1s",
    ],
    "blind_inbound": [
        "watch in ACC1002/1002 +33140000001 trunk answered 16 0.8s",
        "watch out ACC1002/1002 +33666000001 trunk answered 16 2.0s",
    ],
    "blind_line": [
        "watch out ACC1001/1001 +33123456789 trunk answered 16 2.8s",
        "watch in ACC1002/1002 1002 trunk answered 16 2.0s",
    ],
    "blind_outside": [
        "watch out ACC1001/1001 +33123456789 trunk answered 16 2.8s",
        "watch out ACC1001/1001 +33666000001 trunk answered 16 2.0s",
    ],
    "busy": ["watch out ACC1001/1001 +33123456789 trunk busy 17"],
    "cancel": ["watch out ACC1001/1001 +33123456789 trunk cancelled 127"],
    "click": ["watch out ACC1002/1002 +33123456789 trunk answered 16 1.5s"],
    "click_local": [
        "watch out ACC1005 +33123456789 trunk answered 16 1.5s",
        "watch in ACC1002/1002 1002 trunk answered 16 1.5s",
    ],
    "click_trunk": [
        "watch out ACC1005 +33123456789 trunk answered 16 1.5s",
        "watch in ACC1002/1002 1002 trunk answered 16 1.5s",
    ],
    "conference": ["watch out ACC1001 +33123456789 trunk answered 16 3.0s"],
    "cut": ["watch out ACC1001/1001 +33123456789 trunk answered 16 1.5s"],
    "fork": [
        "watch out ACC1001/1001 +33123456789 trunk cancelled 26",
        "watch out ACC1001/1001 +33123456789 trunk2 answered 16 0.7s",
    ],
    "forward_gate": ["gate out ACC1003/1001 +33777000001 trunk answered 16 1.5s"],
    "forward_kept": ["watch out ACC1003/1001 +33777000001 trunk answered 16 1.5s"],
    "forward_optimised": ["watch out ACC1003/1001 +33777000001 trunk answered 16 1.5s"],
    "gate": ["gate out ACC1001/1001 +33123456789 trunk answered 16 1.5s"],
    "gate_abandoned": ["gate out ACC1001/1001 +33123456789 undialled cancelled 127"],
    "gate_denied": ["gate out ACC1001/1001 +33123456789 undialled cancelled 21"],
    "gate_failover": [
        "gate out ACC1001/1001 +33123456789 trunk2 failed 34",
        "watch out ACC1001/1001 +33123456789 trunk answered 16 0.7s",
    ],
    "gate_guard": ["gate out ACC1001/1001 +33123456789 undialled cancelled 34"],
    "gate_then_local": ["gate out ACC1001/1001 +33777000001 trunk answered 16 0.7s"],
    "group": [],
    "inbound": ["watch in ACC1002/1002 +33140000001 trunk answered 16 1.2s"],
    "inbound_forward": [
        "watch out ACC1003 +33777000001 trunk answered 16 1.2s",
        "watch in ACC1003 +33140000002 trunk answered 16 1.2s",
    ],
    "inbound_gate": ["gate in 1002 +33140000006 trunk answered 16 1.2s"],
    "inbound_queue": [
        "watch out ACC1003 +33811000001 trunk cancelled 26",
        "watch in ACC1003 +33140000004 trunk cancelled 16",
        "watch in ACC1002/1002 +33140000004 trunk answered 16 1.2s",
    ],
    "inbound_transit": [
        "watch out ACC1003 +33777000001 trunk answered 16 1.2s",
        "watch in ACC1003 +33140000003 trunk answered 16 1.2s",
    ],
    "internal": [],
    "moved": ["watch out ACC1003/1003 +33777000001 trunk answered 16 1.5s"],
    "noanswer": [
        "gate out ACC1001/1001 +33123456789 trunk2 no_answer 0",
        "watch out ACC1001/1001 +33123456789 trunk answered 16 0.7s",
    ],
    "park": ["watch out ACC1001/1001 +33123456789 trunk answered 16 2.0s"],
    "pickup": [
        "watch in ACC1003/1003 +33140000005 trunk cancelled 26",
        "watch in ACC1002/1002 +33140000005 trunk answered 16 0.5s",
    ],
    "plain": ["watch out ACC1001/1001 +33123456789 trunk answered 16 2.0s"],
    "queue": ["watch out ACC1003/1001 +33811000001 trunk cancelled 26"],
    "queue_outside": ["watch out ACC1003/1001 +33811000001 trunk answered 16 1.2s"],
    "redirect": [
        "watch out ACC1001/1001 +33123456789 trunk answered 16 1.6s",
        "watch out ACC1001/1001 +33666000001 trunk answered 16 1.0s",
    ],
    "star": ["watch out ACC1001/1001 +33123456789 trunk answered 16 0.7s"],
    "unavailable": ["watch out ACC1001/1001 +33123456789 trunk failed 34"],
    "variable": ["watch out 1001/VAR1 +33123456789 trunk answered 16 0.7s"],
}
INTERNAL_CALLS = {"internal": 1, "group": 2, "queue": 1, "moved": 1, "click": 1}


def test_every_capture_has_its_row():
    assert sorted([*LEGS, "late"]) == capture_names()


@pytest.mark.parametrize("name", LEGS)
def test_legs_of_a_real_call(name: str):
    tracker = new_tracker()
    assert lines(feed(tracker, capture_events(name))) == LEGS[name]
    assert tracker.internal_calls == INTERNAL_CALLS.get(name, 0)


@pytest.mark.parametrize("name", LEGS)
def test_nothing_is_left_when_all_have_hung_up(name: str):
    tracker = new_tracker()
    feed(tracker, capture_events(name))
    assert not tracker.channels.live
    assert not tracker.internal
    assert tracker.unknown_hangups == 0
    for leg in list(tracker.legs):
        tracker.forget(leg)
    assert not tracker.legs


@pytest.mark.parametrize("name", LEGS)
def test_every_event_twice_changes_nothing(name: str):
    twice = [frame for frame in capture_events(name) for _ in range(2)]
    assert lines(feed(new_tracker(), twice)) == LEGS[name]


@pytest.mark.parametrize("name", LEGS)
def test_the_whole_capture_once_more_changes_nothing(name: str):
    events = capture_events(name)
    assert lines(feed(new_tracker(), events + events)) == LEGS[name]


@pytest.mark.parametrize("name", LEGS)
def test_a_leg_is_told_at_most_once_whatever_event_is_missing(name: str):
    events = capture_events(name)
    for missing in range(len(events)):
        told(feed(new_tracker(), events[:missing] + events[missing + 1 :]))


@pytest.mark.parametrize("name", ["plain", "gate", "inbound", "forward_kept"])
def test_an_answered_leg_ends_answered_whatever_state_event_is_missing(name: str):
    """Each of several events shows the answer; without any, the hang-up still tells that there was one."""
    events = capture_events(name)
    for missing, frame in enumerate(events):
        if frame["Event"] in ("Newstate", "DialEnd", "BridgeEnter", "DialState"):
            legs = told(feed(new_tracker(), events[:missing] + events[missing + 1 :]))
            assert all(leg.answered is not None and leg.ended is not None for leg in legs.values())


def test_times_are_the_switchs():
    tracker = new_tracker()
    [leg] = told(feed(tracker, capture_events("plain"), arrived_ns=999)).values()
    assert tracker.time.source == "switch"
    assert leg.attempted.at_ms // 1000 == 1795486937
    assert leg.answered is not None and leg.ended is not None
    assert leg.ended.at_ms - leg.answered.at_ms == 2012


def test_recording_begun_in_mid_call_takes_up_what_lives():
    tracker = new_tracker()
    listing = [f for f in capture_frames("late") if f.get("Event") == "CoreShowChannel"]
    signals = first_list(tracker, listing, at_ms=1795487615642)
    assert sorted(lines(signals)) == [
        "gate out ACC1003/1003 +33123456789 undialled alive",
        "watch in ACC1002/1002 +33140000001 trunk alive",
        "watch out ACC1001/1001 +33123456789 trunk alive",
        "watch out ACC1003/1004 +33777000001 trunk alive",
    ]
    answers = [s for s in signals if isinstance(s, Answered)]
    assert [(a.at_ms, a.grade) for a in answers] == [(1795487615642, Grade.ESTIMATED)] * 3
    asked = [s for s in signals if isinstance(s, Attempted) and s.mode is Mode.GATE]
    assert [(a.direction, a.trunk) for a in asked] == [(Direction.OUT, None)]
    later = feed(tracker, capture_events("late"))
    assert len(later) == 4
    assert not tracker.channels.live
