"""The tracker on frames made by hand: disorder, repeats, tampering, names, times."""

from __future__ import annotations

import itertools
import random
from urllib.parse import quote

import pytest

from rater.calls.signals import Answered, Attempted, Dialled, Disposition, Ended, Grade, Mode, Payer
from rater.catalog.model import SwitchRules, Trunk
from rater.dialled import is_dialled
from rater.ids import SwitchId, TrunkId
from rater.switch.ami_parse import TAMPERED, Frame
from rater.switch.channels import endpoint_of, number_of, variable_of
from rater.switch.gate import gate_arguments
from rater.switch.tracker import Tracker
from tests.switch.support import call_events, capture_events, channel, event, feed, lines, new_tracker, told

PLAIN = ["watch out ACC1001/1001 +33123456789 trunk answered 16 3.0s"]


def test_a_plain_call():
    tracker = new_tracker()
    attempted, dialled, answered, ended = feed(tracker, call_events(), arrived_ns=77)
    assert attempted == Attempted(
        leg="lab.b.1.2", call="lab.b.1.1", switch="lab", mode=Mode.WATCH, direction="out",
        payer=Payer("ACC1001", "1001", ""), number="+33123456789", trunk="trunk", caller="",
        at_ms=1_700_000_001_000, arrived_ns=77, caller_channel_id="1.1",
    )  # fmt: skip
    assert dialled == Dialled("lab.b.1.2", "trunk", "1.2", 1_700_000_001_000)
    assert answered == Answered("lab.b.1.2", 1_700_000_002_000)
    assert ended == Ended("lab.b.1.2", 1_700_000_005_000, 16, Disposition.ANSWERED)


def test_a_channel_that_outlasts_its_far_end_is_charged_up_to_that():
    """A conference says good-bye, or the dialplan's `h` runs, before the channel itself is gone."""
    let_go = event("HangupRequest", 4, **channel("trunk", "1.2", state=6, account="ACC1001"), Cause="16")
    events = call_events()
    for place in (-2, -1):
        mixed = [*events[:place], let_go, *events[place:]]
        expected = PLAIN if place == -1 else [PLAIN[0].replace("3.0s", "2.0s")]
        assert lines(feed(new_tracker(), mixed)) == expected


def test_a_channel_that_is_taken_back_after_its_far_end_let_go_is_charged_to_its_end():
    """Another one takes its place (masquerade) and talks on. Entering a bridge alone is no sign of life: a
    conference lets in who hung up during its greeting, and out again."""
    up = channel("trunk", "1.2", state=6, account="ACC1001")
    let_go = event("HangupRequest", 4, **up, Cause="16")
    renamed = event("Rename", 4.5, Channel=up["Channel"], Newname="PJSIP/trunk-00000009", Uniqueid="1.2")
    entered = event("BridgeEnter", 4.5, **up, BridgeUniqueid="b2")
    for sign, seconds in ((renamed, "3.0s"), (entered, "2.0s")):
        events = call_events()
        events[-2:-2] = [let_go, sign]
        assert lines(feed(new_tracker(), events)) == [PLAIN[0].replace("3.0s", seconds)]


@pytest.mark.parametrize("frame", call_events(), ids=lambda f: f["Event"] + f.get("Uniqueid", ""))
def test_9_an_event_twice_is_a_no_op(frame: Frame):
    events = [copy for f in call_events() for copy in ([f, f] if f == frame else [f])]
    assert lines(feed(new_tracker(), events)) == PLAIN


def test_10_every_order_of_events_of_different_channels_gives_the_same_leg():
    """Per channel the order stands; the dial events belong to the dialling one. Exhaustive."""
    events = call_events()
    line = [f for f in events if f["Uniqueid"] == "1.1"]
    trunk = [f for f in events if f["Uniqueid"] == "1.2"]
    total = len(events)
    for places in itertools.combinations(range(total), len(trunk)):
        queues = {True: iter(trunk), False: iter(line)}
        mixed = [next(queues[i in places]) for i in range(total)]
        signals = feed(new_tracker(), mixed)
        [leg] = told(signals).values()
        assert leg.answered is not None and leg.ended is not None
        assert leg.ended.at_ms - leg.answered.at_ms == 3_000, places
        assert str(leg) == PLAIN[0]


def test_10_any_order_at_all_charges_at_most_the_true_duration():
    dice = random.Random(10)
    for _ in range(500):
        events = call_events()
        dice.shuffle(events)
        for leg in told(feed(new_tracker(), events)).values():
            if leg.answered is not None and leg.ended is not None:
                assert leg.ended.at_ms - leg.answered.at_ms <= 3_000


@pytest.mark.parametrize("name", ["gate", "forward_kept", "queue", "attended", "pickup", "blind_outside"])
def test_10_captures_in_disorder_tell_each_leg_once(name: str):
    dice = random.Random(name)
    for _ in range(50):
        events = capture_events(name)
        for _ in range(10):
            at = dice.randrange(len(events) - 1)
            events[at], events[at + 1] = events[at + 1], events[at]
        told(feed(new_tracker(), events))


def test_13_an_unknown_hangup_is_ignored_and_counted():
    tracker = new_tracker()
    assert feed(tracker, [event("Hangup", **channel("trunk", "9.9"), Cause="16")]) == []
    assert tracker.unknown_hangups == 1
    feed(tracker, call_events() + call_events()[-1:])
    assert tracker.unknown_hangups == 1


def test_17_the_same_uniqueid_on_two_switches_and_in_two_lives_is_three_legs():
    other = Tracker(
        SwitchId("other"), "b", SwitchRules(SwitchId("other")), [Trunk(TrunkId("t"), None, "PJSIP/trunk-*")]
    )
    other.connected(0)
    legs = [next(iter(told(feed(t, call_events())))) for t in (new_tracker(), new_tracker("c"), other)]
    assert legs == ["lab.b.1.2", "lab.c.1.2", "other.b.1.2"]


def test_trunks_of_another_switch_are_none_of_ours():
    tracker = Tracker(
        SwitchId("lab"), "b", SwitchRules(SwitchId("lab")), [Trunk(TrunkId("t"), SwitchId("x"), "PJSIP/trunk-*")]
    )
    assert feed(tracker, call_events()) == []
    assert tracker.internal_calls == 1


def test_12_a_missed_answer_is_known_from_the_hangup_and_graded():
    events = [f for f in call_events() if f["Event"] not in ("Newstate", "DialEnd")]
    [leg] = told(feed(new_tracker(), events)).values()
    assert leg.answered == Answered("lab.b.1.2", 1_700_000_005_000, Grade.ESTIMATED)
    assert leg.ended is not None and leg.ended.disposition is Disposition.ANSWERED


@pytest.mark.parametrize(
    ("status", "cause", "disposition"),
    [
        ("BUSY", "17", "busy"), ("NOANSWER", "19", "no_answer"), ("CANCEL", "26", "cancelled"),
        ("CONGESTION", "34", "failed"), ("CHANUNAVAIL", "20", "failed"), ("", "17", "busy"),
        ("", "19", "no_answer"), ("", "16", "cancelled"), ("", "34", "failed"), ("", "0", "failed"),
        ("", "x", "failed"), ("GOTO", "17", "busy"),
    ],
)  # fmt: skip
def test_how_an_unanswered_attempt_came_out(status: str, cause: str, disposition: str):
    events = [f for f in call_events(answered=False) if f["Event"] != "DialEnd"]
    end = event("DialEnd", 4, **channel("line", "1.1"), **channel("trunk", "1.2", side="Dest"), DialStatus=status)
    events[-2]["Cause"] = cause
    [leg] = told(feed(new_tracker(), [*events[:-2], end, *events[-2:]])).values()
    assert leg.ended is not None and leg.ended.disposition.value == disposition


def test_a_channel_that_appears_without_a_birth_is_known_from_its_dial():
    assert lines(feed(new_tracker(), call_events()[2:])) == PLAIN


def test_names_follow_a_rename():
    tracker = new_tracker()
    feed(tracker, call_events()[:4])
    feed(tracker, [event("Rename", **channel("trunk", "1.2"), Newname="PJSIP/trunk-00000077")])
    channels = tracker.channels_of(next(iter(tracker.legs)))
    assert channels is not None and channels.billed == "PJSIP/trunk-00000077"


def test_a_forgotten_leg_is_told_of_no_more_and_never_begun_again():
    tracker, events = new_tracker(), call_events()
    feed(tracker, events[:4])
    tracker.forget(next(iter(tracker.legs)))
    assert feed(tracker, events[2:]) == []


# -- tampering -----------------------------------------------------------------------------------------------------


def test_8_a_tampered_dial_is_an_attempt_that_nobody_may_make():
    events = call_events()
    events[2] |= {TAMPERED: "a header comes twice: AccountCode"}
    tracker = new_tracker()
    [leg] = told(feed(tracker, events[:4])).values()
    assert (leg.attempted.payer, leg.attempted.number) == (Payer(), "")
    channels = tracker.channels_of(leg.attempted.leg)
    assert channels is not None and channels.billed == "PJSIP/trunk-00000002"


def test_8_a_tampered_question_is_denied_and_its_claims_are_not_believed():
    tracker = new_tracker()
    ask = event("AsyncAGIStart", 1, **channel("line", "6.6", account="VICTIM"), Env=env("+33123456789"))
    feed(tracker, call_events()[:1])
    [leg] = told(feed(tracker, [ask | {TAMPERED: "a header comes twice: Uniqueid"}])).values()
    assert (leg.attempted.leg, leg.attempted.payer, leg.attempted.number) == ("lab.b.1.1", Payer(), "")


@pytest.mark.parametrize("name", ["Newchannel", "Newstate", "NewAccountCode", "Hangup", "DialEnd"])
def test_8_any_other_tampered_event_is_ignored_and_counted(name: str):
    tracker, events = new_tracker(), call_events()
    feed(tracker, events[:4])
    forged = event(name, 3, **channel("trunk", "1.2", state=6, account="VICTIM"), Cause="16", **{TAMPERED: "x"})
    assert feed(tracker, [forged]) == []
    assert tracker.tampered_frames == 1
    assert lines(feed(new_tracker(), events)) == PLAIN


@pytest.mark.parametrize(
    "number", ["", "abc", "1&2", "00;drop", "+", "1" * 33, "12 34", "+1+2", "١٢", "1@evil", "12\u0000"]
)
def test_a_number_that_is_none_is_not_handed_on(number: str):
    [leg] = told(feed(new_tracker(), call_events(number)[:4])).values()
    assert leg.attempted.number in ("", "1")
    assert leg.attempted.number == "" or number == "1@evil"


# -- the gate ------------------------------------------------------------------------------------------------------


def env(*arguments: str, name: str = "Line 1001") -> str:
    text = f"agi_request: async\nagi_callerid: 1001\nagi_calleridname: {name}\nagi_rdnis: \nagi_threadid: 140\n"
    text += "".join(f"agi_arg_{i}: {argument}\n" for i, argument in enumerate(arguments, 1))
    return quote(text + "\n", safe="")


def question(at_s: float, *arguments: str, uniqueid: str = "1.1", name: str = "line") -> Frame:
    line = channel(name, uniqueid, state=4, account="ACC1001", exten="555")
    return event("AsyncAGIStart", at_s, **line, Env=env(*arguments))


@pytest.mark.parametrize(
    ("arguments", "number"),
    [(("+33123456789",), "+33123456789"), (("+33123456789", "out"), "+33123456789"), ((), "555"), (("x",), "")],
)
def test_what_the_gate_asks_for(arguments: tuple[str, ...], number: str):
    [leg] = told(feed(new_tracker(), [question(1, *arguments)])).values()
    assert (leg.attempted.mode, leg.attempted.number) == (Mode.GATE, number)


def test_asyncagi_of_somebody_else_is_left_alone():
    tracker = new_tracker()
    assert feed(tracker, [question(1, "ivr", "menu"), question(2, "1", "in")]) == []
    assert tracker.foreign_questions == 2


def test_shadow_mode_answers_no_gate_and_marks_what_it_sees():
    tracker = new_tracker(mode=Mode.SHADOW)
    assert feed(tracker, [question(1, "+331")]) == []
    assert lines(feed(tracker, call_events()))[0].startswith("shadow out")


def test_a_second_question_of_the_same_channel_is_another_leg_and_frees_the_first():
    tracker = new_tracker()
    over = event("AsyncAGIEnd", 2, **channel("line", "1.1", state=4, account="ACC1001"))
    first, second = told(feed(tracker, [question(1, "+331"), over, question(3, "+332")])).values()
    assert first.ended is not None and first.ended.at_ms == 1_700_000_003_000
    assert (first.attempted.leg, second.attempted.leg) == ("lab.b.1.1", "lab.b.1.1.1")
    [*_, dialled] = feed(tracker, call_events("+332")[2:3])
    assert dialled == Dialled("lab.b.1.1.1", "trunk", "1.2", 1_700_000_001_000)


def test_a_repeated_question_is_a_no_op_even_without_timestamps():
    tracker = new_tracker()
    ask = question(1, "+331")
    del ask["Timestamp"]
    assert len(feed(tracker, [ask, ask])) == 1


def test_a_gate_whose_leg_failed_is_not_used_twice():
    events = [question(0.5, "+33123456789"), *call_events(answered=False)[:-1]]
    again = channel("PJSIP/trunk2-00000005", "1.5", side="Dest")
    dial = event("DialBegin", 6, **channel("line", "1.1", account="ACC1001"), **again, DialString="+331@trunk2")
    first, second = told(feed(new_tracker(), [*events, dial])).values()
    assert (first.attempted.mode, second.attempted.mode) == (Mode.GATE, Mode.WATCH)
    assert first.ended is not None and second.ended is None


def test_behind_a_local_channel_the_gates_attempt_serves_only_the_same_payer():
    for account, modes in (("ACC1001", [Mode.GATE]), ("ACC1003", [Mode.GATE, Mode.WATCH])):
        one = channel("Local/5@x-00000001;1", "2.1", account="ACC1001", side="Dest")
        two = channel("Local/5@x-00000001;2", "2.2", account=account)
        dest = channel("trunk", "1.2", side="Dest")
        tracker = new_tracker()
        signals = feed(tracker, [
            question(1, "+331"),
            event("Newchannel", 1, **two),
            event("DialBegin", 1, **channel("line", "1.1", account="ACC1001"), **one, DialString="5@x"),
            event("DialBegin", 1, **two, **dest, DialString="+331@trunk"),
        ])  # fmt: skip
        assert [leg.attempted.mode for leg in told(signals).values()] == modes


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (env("+331", "out"), ["+331", "out"]),
        (env(), []),
        (env("+331", name="x\nagi_arg_1: +339"), None),
        (env(name="x\nagi_arg_1: +339"), None),
        (env("+331", name="x\nagi_threadid: 1"), None),
        (env("+331", name="x\nno key"), None),
        (quote("agi_threadid: 1\nagi_arg_2: x\n"), None),
        ("", []),
    ],
)
def test_arguments_are_believed_only_where_no_caller_can_put_them(text: str, arguments: list[str] | None):
    assert gate_arguments(text) == arguments


# -- payer ---------------------------------------------------------------------------------------------------------


def test_the_callers_number_never_pays():
    events = call_events()
    for frame in events:
        frame |= {"CallerIDNum": "ACC9999", "AccountCode": "", "DestAccountCode": ""}
    [leg] = told(feed(new_tracker(), events)).values()
    assert leg.attempted.payer == Payer("", "1001", "")
    assert leg.attempted.caller == "ACC9999"


def test_an_inherited_variable_is_read_in_both_styles():
    for headers in (
        {"ChanVariable": "OTHER=1\nRATER_ACCOUNT=V"},
        {"ChanVariable(PJSIP/1001-00000001)": "RATER_ACCOUNT=V"},
    ):
        events = call_events()
        events[2] |= headers
        [leg] = told(feed(new_tracker(), events)).values()
        assert leg.attempted.payer.variable == "V"


def test_the_other_channels_variable_is_not_ours():
    events = call_events()
    events[2] |= {"DestChanVariable": "RATER_ACCOUNT=V", "ChanVariable(PJSIP/trunk-00000002)": "RATER_ACCOUNT=V"}
    [leg] = told(feed(new_tracker(), events)).values()
    assert leg.attempted.payer.variable == ""


# -- time ----------------------------------------------------------------------------------------------------------


def test_without_timestamps_the_arrival_counts_for_the_whole_connection():
    tracker = new_tracker()
    tracker.connected(1_000_000)
    events = [{k: v for k, v in f.items() if k != "Timestamp"} for f in call_events()]
    events[4]["Timestamp"] = "1700000099.5"
    signals = [s for i, f in enumerate(events) for s in tracker.feed(f, i * 1_000_000_000)]
    [leg] = told(signals).values()
    assert tracker.time.source == "arrival"
    assert leg.answered is not None and leg.answered.at_ms == 1_004_000


def test_a_spoilt_timestamp_is_dated_from_the_last_good_one():
    tracker, events = new_tracker(), call_events()
    events[4]["Timestamp"] = "soon"
    signals = [s for i, f in enumerate(events) for s in tracker.feed(f, i * 100_000_000)]
    [leg] = told(signals).values()
    assert tracker.time.source == "switch"
    assert leg.answered is not None and leg.answered.at_ms == 1_700_000_001_500 + 100


@pytest.mark.parametrize("stamp", ["1700000002", "1700000002.0", "1700000002.000999"])
def test_timestamps_have_any_number_of_decimals(stamp: str):
    events = call_events()
    events[4]["Timestamp"] = stamp
    [leg] = told(feed(new_tracker(), events)).values()
    assert leg.answered is not None and leg.answered.at_ms == 1_700_000_002_000


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialled", "number"),
    [
        ("+33123456789@trunk", "+33123456789"),
        ("PJSIP/+33123456789@trunk", "+33123456789"),
        ("trunk/+33123456789", "+33123456789"),
        ("SIP/trunk/0123", "0123"),
        ("trunk/sip:0123@10.0.0.1:5060", "0123"),
        ("trunk/sip:0123@10.0.0.1;user=phone", "0123"),
        ("trunk/sips:0123@10.0.0.1", "0123"),
        ("g1/0123", "0123"),
        ("DAHDI/g1/0123", "0123"),
        ("*31#0123@trunk", "*31#0123"),
        ("trunk", ""),
        ("PJSIP/trunk", ""),
        ("", ""),
        ("sip:@host", ""),
        ("12a@trunk", ""),
        ("1" * 33 + "@trunk", ""),
    ],
)
def test_the_number_in_a_dial_string(dialled: str, number: str):
    assert number_of(dialled) == number


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("PJSIP/1001-0000002f", "1001"),
        ("SIP/a-b-c-0000002f", "a-b-c"),
        ("DAHDI/1-1", "1"),
        ("Local/5@x-00000001;2", ""),
        ("IAX2/peer-12345", "peer"),
    ],
)
def test_the_endpoint_in_a_channel_name(name: str, endpoint: str):
    assert endpoint_of(name) == endpoint


def test_numbers_and_variables():
    assert is_dialled("+0*#") and not is_dialled("++1") and not is_dialled("")
    assert variable_of("A=1\nB=x=y\nC", "B") == "x=y"
    assert variable_of("AB=1", "B") == variable_of("", "B") == ""


def test_a_new_catalogue_shows_a_trunk_where_a_line_seemed_to_be():
    tracker = Tracker(SwitchId("lab"), "b", SwitchRules(SwitchId("lab")), [])
    feed(tracker, call_events()[:5])
    assert tracker.internal == {"1.2"}
    trunks = [Trunk(TrunkId("trunk"), None, "PJSIP/trunk-*")]
    assert tracker.set_rules(SwitchRules(SwitchId("lab")), trunks)
    assert not tracker.internal
    assert not tracker.set_rules(SwitchRules(SwitchId("lab")), trunks)


@pytest.mark.parametrize("told_by", ["variable", "event", "both"])
def test_who_sent_a_caller_outside_is_known_whichever_comes_first(told_by: str):
    """The dial of a transferred caller may come before the BlindTransfer; then its own variable tells."""
    events = capture_events("blind_inbound")
    (transfer,) = [f for f in events if f["Event"] == "BlindTransfer"]
    sent = transfer["TransfereeUniqueid"]
    rest = [f for f in events if f is not transfer]
    (place,) = [i for i, f in enumerate(rest) if f["Event"] == "DialBegin" and f["Uniqueid"] == sent][-1:]
    if told_by != "event":
        rest[place] = {
            **rest[place],
            "ChanVariable": f"RATER_ACCOUNT=\nBLINDTRANSFER={transfer['TransfererChannel']}",
        }
    rest.insert(place if told_by == "event" else place + 1, transfer)
    if told_by == "variable":
        rest.remove(transfer)
    outbound = [line for line in lines(feed(new_tracker(), rest)) if " out " in line]
    assert outbound == ["watch out ACC1002/1002 +33666000001 trunk answered 16 2.0s"]


@pytest.mark.parametrize("on_purpose", [False, True], ids=["the caller's account code", "another account code"])
def test_who_forwards_is_known_before_the_switch_says_that_it_was_a_forward(on_purpose: bool):
    """The Local channel of a forward by a telephone may dial (or ask at the gate) before the events of the forward;
    its own variable names the forwarder. An account code that the dialplan put there goes before that."""
    events = capture_events("moved")
    (end,) = [f for f in events if f.get("Forward")]
    (begin,) = [f for f in events if f["Event"] == "DialBegin" and f["DestChannel"].startswith("Local/")]
    rest = [f for f in events if f is not end and f is not begin]
    (place,) = [
        i for i, f in enumerate(rest) if f.get("Channel", "").startswith("Local/") and f["Event"] == "DialBegin"
    ]
    rest[place] = {**rest[place], "ChanVariable": f"RATER_ACCOUNT=\nFORWARDERNAME={end['DestChannel']}"}
    if on_purpose:
        rest[place] = {**rest[place], "AccountCode": "ACC1005"}
    rest[place + 1 : place + 1] = [end, begin]
    account = "ACC1005" if on_purpose else "ACC1003"
    expected = [f"watch out {account}/1003 +33777000001 trunk answered 16 1.5s"]
    assert lines(feed(new_tracker(), rest)) == expected
