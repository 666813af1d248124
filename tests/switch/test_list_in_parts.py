"""A list that is gone through a part at a time, while events go on: whatever happens in between, every leg is told
once, and as the events tell it."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator
from dataclasses import replace

import pytest

from rater.calls.signals import Answered, Attempted, Dialled, Direction, Ended, Grade, KnownLeg, Seen, Signal
from rater.ids import LegId, SwitchId
from rater.switch import resync
from rater.switch.ami_parse import Frame
from rater.switch.tracker import Tracker
from tests.switch.support import call_events, channel, event, feed, known, lines, new_tracker, row, told

ASKED_NS, LATER_NS = 50, 60
LISTED_MS = 1_700_000_009_000
PLAIN = ["watch out ACC1001/1001 +33123456789 trunk answered 16 3.0s"]
LEG = LegId("lab.b.1.2")
LINE = row("line", "1.1", app="Dial", data="PJSIP/+33123456789@trunk,30", account="ACC1001", exten="+33123456789")
TRUNK = row("trunk", "1.2", app="AppDial", data="(Outgoing Line)", account="ACC1001", caller="0033")
EVENTS = call_events()


@pytest.fixture(autouse=True)
def every_item_is_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resync, "PART", 1)


class Core:
    """What a core knows that was told these signals, and forgets a leg that has ended."""

    def __init__(self, tracker: Tracker) -> None:
        self.legs: dict[LegId, KnownLeg] = {}
        self.signals: list[Signal] = []
        self._tracker = tracker

    def take(self, signals: list[Signal]) -> None:
        for signal in signals:
            self.signals.append(signal)
            if isinstance(signal, Attempted):
                leg = signal
                self.legs[leg.leg] = KnownLeg(
                    leg.leg, leg.call, "", leg.caller_channel_id, False, leg.direction, 4_000, leg.number
                )
                continue
            assert signal.leg in self.legs, f"{signal} of a leg that is over"
            if isinstance(signal, Dialled):
                self.legs[signal.leg] = replace(self.legs[signal.leg], channel_id=signal.channel_id)
            elif isinstance(signal, Answered):
                self.legs[signal.leg] = replace(self.legs[signal.leg], answered=True)
            elif isinstance(signal, Ended):
                del self.legs[signal.leg]
                self._tracker.forget(signal.leg)

    def known_leg(self, leg: LegId) -> KnownLeg | None:
        return self.legs.get(leg)

    def known_legs(self, switch: SwitchId, but: Container[LegId] = ()) -> list[KnownLeg]:
        return [leg for leg in self.legs.values() if leg.leg not in but]

    def ends(self) -> list[Ended]:
        return [signal for signal in self.signals if isinstance(signal, Ended)]


def listed_after(events: list[Frame]) -> list[Frame]:
    """The rows of the call once these of its events have happened."""
    rows = []
    for name, uniqueid, listed in (("line", "1.1", LINE), ("trunk", "1.2", TRUNK)):
        own = [e for e in events if e.get("Uniqueid") == uniqueid]
        if own and own[-1]["Event"] != "Hangup":
            dials = name == "line" and any(e["Event"] == "DialBegin" for e in events)
            state = max(e["ChannelState"] for e in own)
            bare = {} if dials or name == "trunk" else {"Application": "NoOp", "ApplicationData": ""}
            rows.append(listed | bare | {"ChannelState": state})
    return rows


def begun(events: list[Frame], rows: list[Frame], *, arrived_ns: int = 1) -> tuple[Tracker, Core, Iterator[bool]]:
    tracker = new_tracker()
    core = Core(tracker)
    core.take(feed(tracker, events, arrived_ns))
    return tracker, core, resync.later(tracker, rows, core, LISTED_MS, ASKED_NS)


def go_on(core: Core, tracker: Tracker, steps: Iterator[bool], count: int = 1_000) -> None:
    for _ in itertools.islice(steps, count):
        core.take(tracker.take_signals())
    core.take(tracker.take_signals())


def test_whenever_events_come_a_call_is_told_as_without_a_list() -> None:
    """All moments at which the list is made, and all parts between which the events come that follow."""
    tries = 0
    for made in range(len(EVENTS) + 1):
        rows = listed_after(EVENTS[:made])
        for first, second in itertools.combinations_with_replacement(range(14), 2):
            for cut in range(made, len(EVENTS) + 1):
                tracker, core, steps = begun(EVENTS[:made], rows)
                go_on(core, tracker, steps, first)
                core.take(feed(tracker, EVENTS[made:cut], LATER_NS))
                go_on(core, tracker, steps, second - first)
                core.take(feed(tracker, EVENTS[cut:], LATER_NS + 1))
                go_on(core, tracker, steps)
                where = (made, first, cut, second)
                assert lines(core.signals) == PLAIN, where
                assert [end.grade for end in core.ends()] == [Grade.OBSERVED], where
                assert not tracker.channels.live and not tracker.strangers - {"1.1", "1.2"}, where
                tries += 1
    assert tries > 4_000


def test_and_so_are_events_that_waited_while_the_list_was_made() -> None:
    """They came before it was asked for, and it is newer than they are; an answer may be reconciled from it, never
    for more than was talked."""
    for made in range(len(EVENTS) + 1):
        for late in range(made + 1):
            for first in range(14):
                tracker, core, steps = begun(EVENTS[:late], listed_after(EVENTS[:made]))
                go_on(core, tracker, steps, first)
                core.take(feed(tracker, EVENTS[late:], 2))
                go_on(core, tracker, steps)
                [leg] = told(core.signals).values()
                assert leg.ended is not None, (made, late, first)
                if leg.answered is not None and leg.ended.at_ms >= leg.answered.at_ms:
                    assert leg.ended.at_ms - leg.answered.at_ms <= 3_000, (made, late, first)


def at_rest(core: Core, tracker: Tracker, steps: Iterator[bool]) -> None:
    """Up to where the events that are on their way are waited for."""
    for comes_to_rest in steps:
        core.take(tracker.take_signals())
        if comes_to_rest:
            return
    raise AssertionError("nothing was waited for")


def test_a_hangup_on_its_way_when_the_list_is_made_is_observed_and_not_estimated() -> None:
    tracker, core, steps = begun(EVENTS[:7], [])
    at_rest(core, tracker, steps)
    assert not core.ends(), "nobody is believed gone yet"
    core.take(feed(tracker, EVENTS[7:], LATER_NS))
    go_on(core, tracker, steps)
    assert [end.grade for end in core.ends()] == [Grade.OBSERVED]
    assert lines(core.signals) == PLAIN


def test_a_hangup_that_never_comes_is_estimated_afterwards() -> None:
    tracker, core, steps = begun(EVENTS[:7], [])
    go_on(core, tracker, steps)
    assert [end.grade for end in core.ends()] == [Grade.ESTIMATED]
    assert not tracker.channels.live


def test_a_channel_renamed_meanwhile_keeps_its_new_name() -> None:
    tracker, core, steps = begun(EVENTS[:7], [LINE, TRUNK])
    renamed = event("Rename", 3, **channel("trunk", "1.2"), Newname="PJSIP/trunk-00000077")
    feed(tracker, [renamed], LATER_NS)
    go_on(core, tracker, steps)
    channels = tracker.channels_of(LEG)
    assert channels is not None and channels.billed == "PJSIP/trunk-00000077"


def test_a_channel_whose_row_is_newer_takes_its_name() -> None:
    tracker, core, steps = begun(EVENTS[:7], [LINE, TRUNK | {"Channel": "PJSIP/trunk-00000077"}])
    go_on(core, tracker, steps)
    channels = tracker.channels_of(LEG)
    assert channels is not None and channels.billed == "PJSIP/trunk-00000077"


def test_an_answer_in_between_is_dated_by_its_event() -> None:
    tracker, core, steps = begun(EVENTS[:4], [LINE, TRUNK])
    core.take(feed(tracker, EVENTS[4:7], LATER_NS))
    go_on(core, tracker, steps)
    [answered] = [signal for signal in core.signals if isinstance(signal, Answered)]
    assert answered == Answered(LEG, 1_700_000_002_000, Grade.OBSERVED)


def test_a_missed_answer_is_reconciled() -> None:
    tracker, core, steps = begun(EVENTS[:4], [LINE, TRUNK])
    go_on(core, tracker, steps)
    assert core.signals[-1] == Answered(LEG, LISTED_MS, Grade.RECONCILED)


def test_a_state_that_came_on_the_way_of_a_newer_one_leaves_the_answer_to_its_event() -> None:
    """It rang when the list was asked for and talked when it was made: first the ringing is told, then the list
    comes to its part, then the answer is told."""
    tracker, core, steps = begun(EVENTS[:3], [LINE, TRUNK])
    core.take(feed(tracker, EVENTS[3:4], LATER_NS))
    at_rest(core, tracker, steps)
    core.take(feed(tracker, EVENTS[4:], LATER_NS))
    go_on(core, tracker, steps)
    assert lines(core.signals) == PLAIN


def test_nor_is_a_leg_of_the_cores_alone_answered_by_a_list_that_an_event_has_overtaken() -> None:
    tracker, core, steps = begun([], [LINE, TRUNK])
    stored = known("b.1.2", channel_id="1.2", caller="1.1")
    core.legs[stored.leg] = stored
    feed(tracker, EVENTS[3:4], LATER_NS)
    go_on(core, tracker, steps)
    assert core.signals == [Seen(LEG, LISTED_MS)]


def test_one_of_two_that_are_not_listed_hangs_up_before_its_turn() -> None:
    for first in range(12):
        tracker, core, steps = begun(EVENTS[:7], [])
        at_rest(core, tracker, steps)
        go_on(core, tracker, steps, first)
        before = set(tracker.channels.live)
        core.take(feed(tracker, EVENTS[7:], LATER_NS))
        go_on(core, tracker, steps)
        for uniqueid in before:
            assert tracker.channels.gone[uniqueid].hung_at_ms == 1_700_000_005_000, first
        assert len(core.ends()) == 1


ASKS = event("AsyncAGIStart", 1, **channel("line", "1.1", account="ACC1001"), Env="agi_threadid: 1")
LEFT = event("AsyncAGIEnd", 2, **channel("line", "1.1", account="ACC1001"))
WAITS = row("line", "1.1", state=4, app="AGI", data="agi:async,+331,out", account="ACC1001")


def test_a_dialplan_that_left_the_gate_meanwhile_is_not_taken_to_wait_there() -> None:
    for first in range(10):
        tracker, core, steps = begun([], [WAITS])
        tracker.strangers.add("1.1")
        go_on(core, tracker, steps, first)
        before = len(core.signals)
        core.take(feed(tracker, [ASKS, LEFT], LATER_NS))
        asked = len(core.signals)
        go_on(core, tracker, steps)
        assert [type(signal) for signal in core.signals[asked:]] in ([], [Seen])
        assert asked > before


def test_nor_is_it_a_stranger_of_the_next_list() -> None:
    tracker, core, steps = begun([], [WAITS])
    core.take(feed(tracker, [ASKS, LEFT], LATER_NS))
    go_on(core, tracker, steps)
    assert not tracker.strangers


def test_a_dialplan_that_is_known_to_wait_is_seen() -> None:
    tracker, core, steps = begun([ASKS], [WAITS])
    go_on(core, tracker, steps)
    assert core.signals[-1] == Seen(LegId("lab.b.1.1"), LISTED_MS)


def test_a_leg_forgotten_meanwhile_stays_forgotten() -> None:
    for first in range(10):
        tracker, core, steps = begun(EVENTS[:7], [LINE, TRUNK])
        go_on(core, tracker, steps, first)
        del core.legs[LEG]
        tracker.forget(LEG)
        go_on(core, tracker, steps)
        assert LEG not in tracker.legs
        assert not core.ends()


def test_a_gates_leg_that_asks_meanwhile_is_not_sought_in_an_older_list() -> None:
    """Its caller dialled another number before: that channel is nobody's, and not this leg's either."""
    tracker, core, steps = begun([], [LINE, TRUNK])
    next(steps)
    core.take(feed(tracker, [ASKS], LATER_NS))
    go_on(core, tracker, steps)
    assert not [signal for signal in core.signals if isinstance(signal, Dialled | Ended)]


def test_a_channel_that_hung_up_meanwhile_is_not_found_to_be_a_lost_leg() -> None:
    """The dial of a gate's leg was missed; what it dialled is listed, and gone before the leg's turn comes."""
    for first in range(1, 5):
        tracker, core, steps = begun([ASKS], [TRUNK | {"ChannelState": "5"}, LINE])
        go_on(core, tracker, steps, first)
        sought = [type(signal) for signal in core.signals] != [Attempted]
        core.take(feed(tracker, EVENTS[7:8], LATER_NS))
        go_on(core, tracker, steps)
        assert sought or not core.ends(), first
        assert sought == (first == 4)


def test_a_stranger_that_hangs_up_before_its_turn_is_not_taken_up() -> None:
    hangups = [EVENTS[0], EVENTS[1], *EVENTS[7:]]
    for first in range(12):
        tracker, core, steps = begun([], [LINE, TRUNK])
        tracker.strangers.add("1.2")
        steps = resync.later(tracker, [LINE, TRUNK], core, LISTED_MS, ASKED_NS)
        go_on(core, tracker, steps, first)
        core.take(feed(tracker, hangups, LATER_NS))
        go_on(core, tracker, steps)
        ends = core.ends()
        assert len(ends) == len(core.signals and told(core.signals)), "what was taken up has ended"
        assert not tracker.channels.live


def test_a_catalogue_that_comes_meanwhile_keeps_its_strangers_for_the_next_list() -> None:
    tracker, core, steps = begun(EVENTS[:7], [LINE, TRUNK])
    next(steps)
    tracker.strangers.add("9.9")
    go_on(core, tracker, steps)
    assert "9.9" in tracker.strangers


def test_a_leg_that_only_the_core_knows_is_taken_up_and_told_as_dialled() -> None:
    tracker, core, _ = begun([], [])
    stored = known("b.1.2", caller="1.1")
    core.legs[stored.leg] = stored
    rows = [LINE, TRUNK | {"ChannelState": "5"}]
    go_on(core, tracker, resync.later(tracker, rows, core, LISTED_MS, ASKED_NS))
    assert core.signals == [Dialled(LEG, "trunk", "1.2", LISTED_MS), Seen(LEG, LISTED_MS)]


def test_a_leg_of_the_cores_alone_whose_channel_is_gone_is_over() -> None:
    tracker, core, _ = begun([], [])
    stored = known("b.1.2", channel_id="1.2", caller="1.1", answered=True, direction=Direction.OUT)
    core.legs[stored.leg] = stored
    go_on(core, tracker, resync.later(tracker, [], core, LISTED_MS, ASKED_NS))
    assert [end.grade for end in core.ends()] == [Grade.ESTIMATED]


def test_the_first_list_tells_nothing_before_all_of_it_is_known() -> None:
    """A leg's timer would be set over the guard of its channel, which is found to wait at the gate last of all."""
    waits = TRUNK | {"Application": "AGI", "ApplicationData": "agi:async,+331,out"}
    tracker = new_tracker()
    stored = [known("b.1.2", channel_id="1.2", caller="1.1", answered=True)]
    for _ in resync.first(tracker, [LINE, waits], stored, LISTED_MS, ASKED_NS, LATER_NS):
        assert tracker.take_signals() == []
    seen, asked = tracker.take_signals()
    assert isinstance(seen, Seen) and isinstance(asked, Attempted)
    assert tracker.puts_off(seen.leg, waits["Channel"])
