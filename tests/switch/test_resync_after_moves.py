"""Rater comes back while calls that were sent elsewhere are still on: found by simulated worlds."""

from __future__ import annotations

import pytest

from rater.calls.signals import Answered, Dialled, Direction, Grade, Seen
from tests.switch.support import call_events, channel, event, feed, first_list, known, lines, new_tracker, row

SENT = row("trunk", "1.2", app="Dial", data="PJSIP/+33666000001@trunk,60", exten="+33666000001")
"""An outside party that line 1001 called and sent on: it dials now, and the line is gone."""
SECOND = row("trunk", "1.3", app="AppDial", data="(Outgoing Line)") | {"Channel": "PJSIP/trunk-00000009"}
GATE = "lab.b.1.1"
WATCHED = "lab.b.1.2"


def test_a_leg_named_after_its_own_channel_is_that_channel_and_not_what_it_dialled_since():
    signals = first_list(new_tracker(), [SENT, SECOND], [known("b.1.2", caller="1.1")])
    assert signals[:2] == [Dialled(WATCHED, "trunk", "1.2", 5_000), Answered(WATCHED, 5_000, Grade.RECONCILED)]


def test_a_gates_leg_is_the_first_channel_that_its_caller_dialled():
    signals = first_list(new_tracker(), [SENT, SECOND], [known("b.1.1", caller="1.1")])
    assert signals[:2] == [Dialled(GATE, "trunk", "1.2", 5_000), Answered(GATE, 5_000, Grade.RECONCILED)]


def test_a_watched_leg_whose_channel_is_gone_is_over_though_its_caller_lives():
    caller = row("line", "1.1", state=4, app="Playback")
    [ended] = first_list(new_tracker(), [caller], [known("b.1.2", caller="1.1")])
    assert type(ended).__name__ == "Ended"


def test_an_inbound_leg_that_was_taken_up_before_its_dial_was_written_down_is_told_as_dialled():
    caller = row("trunk", "1.1", app="Dial", data="PJSIP/1002,20", exten="+33140000001")
    called = row("line2", "1.2", state=5, app="AppDial", data="(Outgoing Line)")
    stored = [known("b.1.2", caller="1.1", direction=Direction.IN)]
    assert first_list(new_tracker(), [caller, called], stored) == [
        Dialled(WATCHED, "trunk", "1.2", 5_000),
        Seen(WATCHED, 5_000),
    ]


def test_a_line_that_was_dialled_under_anothers_account_code_is_known_by_its_endpoint():
    """1001 called outside and sent the party there to 1002: the switch wrote 1001's code on both channels."""
    sent = row("trunk", "1.2", app="Dial", data="PJSIP/1002,20", account="ACC1001", exten="1002")
    called = row("line2", "1.3", app="AppDial", data="(Outgoing Line)", account="ACC1001")
    stored = [known("b.1.2", channel_id="1.2", caller="1.1", answered=True)]
    seen, *taken_up = first_list(new_tracker(), [sent, called], stored)
    assert seen == Seen(WATCHED, 5_000)
    assert lines(taken_up) == ["watch in 1002 1002 trunk alive"]


def test_a_line_that_left_before_anything_was_heard_of_it_still_pays_for_where_it_sent_its_caller():
    sent = SENT | {"Uniqueid": "1.1", "ChanVariable": "BLINDTRANSFER=PJSIP/1003-00000077"}
    [attempted, *_] = first_list(new_tracker(), [sent, SECOND])
    assert attempted.payer.endpoint == "1003"


def test_a_sent_party_that_no_leg_accounts_for_is_not_taken_for_one_that_called_in():
    """It would be an inbound leg of its own, and free."""
    assert [line.split()[1] for line in lines(first_list(new_tracker(), [SENT, SECOND]))] == ["out"]


def test_an_answer_that_only_a_later_event_shows_is_not_called_observed():
    """So that the timer counts from when it may have been: nobody talks longer than what is paid."""
    tracker = new_tracker()
    feed(tracker, call_events()[:4])
    late = event("AsyncAGIStart", 9, **channel("trunk", "1.2", state=6), Env="")
    assert feed(tracker, [late])[0] == Answered(WATCHED, 1_700_000_009_000, Grade.RECONCILED)


def test_a_watched_leg_that_is_gone_is_not_what_its_caller_dialled_since():
    """Its outside party sent the line elsewhere and hung up; the line's channel dials the next number."""
    line = row("line", "1.1", app="Dial", data="PJSIP/+33666000001@trunk,60")
    signals = first_list(new_tracker(), [line, SECOND], [known("b.1.2", caller="1.1")])
    assert [type(signal).__name__ for signal in signals if signal.leg == WATCHED] == ["Ended"]


def test_a_sent_party_that_asks_the_gate_is_not_what_it_will_dial():
    """Its own leg is known; the one that it asks for has no channel yet."""
    asking = row("trunk", "1.2", app="AGI", data="agi:async,+33666000001,out", exten="s")
    own = known("b.1.1", channel_id="1.2", caller="1.1", answered=True)
    asked = known("b.1.2", caller="1.2")
    signals = first_list(new_tracker(), [asking], [asked, own])
    assert [signal for signal in signals if isinstance(signal, Dialled)] == []
    assert Seen(GATE, 5_000) in signals


def moved(exten: str, data: str, by: str = "PJSIP/trunk-00000008") -> dict[str, str]:
    """Line 1001, sent on by whom it had called; nobody could be asked at the gate, and it dials again."""
    line = row("line", "1.1", app="Dial", data=data, exten=exten)
    return line | {"ChanVariable": f"BLINDTRANSFER={by}"} if by else line


def own(signals, leg):
    return [type(signal).__name__ for signal in signals if signal.leg == leg]


@pytest.mark.parametrize("by", ["PJSIP/trunk-00000008", ""])
def test_a_gates_leg_is_not_what_its_caller_was_sent_to_since(by: str) -> None:
    """It would be charged at the first number's price. With or without the switch's word that it was sent on."""
    line = moved("+33666000001", "PJSIP/+33666000001@trunk,60", by)
    stored = [known("b.1.1", caller="1.1", dialled="+33140000001")]
    signals = first_list(new_tracker(), [line, SECOND], stored)
    assert own(signals, GATE) == ["Ended"]
    assert signals[0].grade is Grade.ESTIMATED
    assert lines(signals[1:]) == ["watch out 1001 +33666000001 trunk alive"]


@pytest.mark.parametrize(
    ("asked", "exten", "data"),
    [
        ("+33140000001", "+33140000001", "PJSIP/trunk/sip:0033140000001@carrier"),
        ("+33140000001", "s", "PJSIP/trunk/sip:33140000001@carrier"),
        ("0140000001", "90140000001", "PJSIP/trunk"),
    ],
)
@pytest.mark.parametrize("by", ["PJSIP/1002-00000008", ""])
def test_a_gates_leg_is_what_its_caller_dials_for_its_number(by: str, asked: str, exten: str, data: str) -> None:
    """Also when the caller had been sent there before it asked."""
    signals = first_list(
        new_tracker(), [moved(exten, data, by), SECOND], [known("b.1.1", caller="1.1", dialled=asked)]
    )
    assert own(signals, GATE) == ["Dialled", "Answered"]


def test_a_dialplan_that_dials_in_another_form_is_believed_while_nobody_was_sent_on() -> None:
    line = moved("sales", "PJSIP/trunk/sip:01140000001@carrier", "")
    signals = first_list(new_tracker(), [line, SECOND], [known("b.1.1", caller="1.1", dialled="+33140000001")])
    assert own(signals, GATE) == ["Dialled", "Answered"]
    line = moved("s", "PJSIP/trunk", "")
    signals = first_list(new_tracker(), [line, SECOND], [known("b.1.1", caller="1.1", dialled="+33140000001")])
    assert own(signals, GATE) == ["Dialled", "Answered"], "nothing tells another number"


def test_of_several_the_channel_of_the_legs_number_is_the_leg() -> None:
    """Whatever order the list has."""
    first = SENT | {"CallerIDNum": "+33140000001"}
    signals = first_list(new_tracker(), [SECOND, first], [known("b.1.1", caller="1.1", dialled="+33140000001")])
    assert signals[0] == Dialled(GATE, "trunk", "1.2", 5_000)
    signals = first_list(new_tracker(), [SECOND, SENT], [known("b.1.1", caller="1.1")])
    assert signals[0] == Dialled(GATE, "trunk", "1.2", 5_000), "else the oldest"


def test_a_caller_that_still_waits_has_not_dialled_another_number() -> None:
    asking = row("line", "1.1", app="AGI", data="agi:async,+33140000001,out", exten="s")
    signals = first_list(new_tracker(), [asking, SECOND], [known("b.1.1", caller="1.1", dialled="+33140000001")])
    assert "Ended" not in own(signals, GATE)
