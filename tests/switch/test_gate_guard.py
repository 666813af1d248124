"""A channel that asks at the gate has the gate's guard on its timer; one of ours would take its place, and nobody
would let the caller go should no verdict come. So it waits until the gate is passed."""

from __future__ import annotations

from typing import Any

from rater.calls.commands import AnswerGate, ArmTimer, Party
from rater.calls.signals import Attempted, Direction, Payer, Seen, Signal
from rater.config import SwitchSettings
from rater.ids import LegId
from rater.metrics import Metrics
from rater.switch.actions import Actions
from rater.switch.adapter import SwitchAdapter
from rater.switch.ami_parse import Frame
from rater.switch.frames import Action
from rater.switch.tracker import Tracker
from rater.verdict import Reason
from tests.switch.support import call_events, channel, event, feed, first_list, later_list, new_tracker
from tests.switch.test_resync import known, row
from tests.switch.test_tracker import env

LINE, TRUNK = "PJSIP/1001-00000001", "PJSIP/trunk-00000002"
ASKED = LegId("lab.b.1.1")
WATCHED = LegId("lab.b.1.2")


def asks(name: str, uniqueid: str, at_s: float = 1) -> Frame:
    return event("AsyncAGIStart", at_s, **channel(name, uniqueid, state=4), Env=env("+331", "out"))


def goes_on(name: str, uniqueid: str, at_s: float = 4) -> Frame:
    return event("AsyncAGIEnd", at_s, **channel(name, uniqueid, state=4))


def timers(actions: list[Action]) -> list[tuple[str, str]]:
    return [(a["Channel"], a["Timeout"]) for a in actions if a["Action"] == "AbsoluteTimeout"]


def arm(tracker: Tracker, leg: LegId, party: Party, after_ms: int = 30_000) -> list[tuple[str, str]]:
    return timers(Actions("x").of(ArmTimer(leg, party, after_ms), tracker))


def asking() -> Tracker:
    tracker = new_tracker()
    feed(tracker, [asks("line", "1.1")])
    return tracker


def test_while_it_asks_a_caller_keeps_the_guard_and_behind_the_gate_it_gets_its_timer() -> None:
    tracker = asking()
    assert arm(tracker, ASKED, Party.CALLER) == []
    assert feed(tracker, [goes_on("line", "1.1")]) == [Seen(ASKED, 1_700_000_004_000)], "it is to set what is right"
    assert arm(tracker, ASKED, Party.CALLER, 27_000) == [(LINE, "27.000")]


def test_a_gate_that_is_passed_without_a_timer_put_off_tells_nothing() -> None:
    tracker = asking()
    assert feed(tracker, [goes_on("line", "1.1")]) == []
    assert arm(tracker, ASKED, Party.CALLER) == [(LINE, "30.000")]


def test_the_verdict_itself_sets_the_timer_of_who_waits_for_it() -> None:
    tracker = asking()
    assert timers(Actions("x").of(AnswerGate(ASKED, Reason.ALLOWED, 30), tracker)) == [(LINE, "30.000")]


def test_it_is_told_once() -> None:
    tracker = asking()
    arm(tracker, ASKED, Party.CALLER)
    arm(tracker, ASKED, Party.CALLER)
    ends = [goes_on("line", "1.1"), goes_on("line", "1.1"), asks("line", "1.1", 5), goes_on("line", "1.1", 6)]
    assert [type(signal).__name__ for signal in feed(tracker, ends)] == ["Seen", "Ended", "Attempted"]


def test_a_leg_of_the_store_whose_caller_asks_anew_leaves_the_guard_alone() -> None:
    """After a restart: as stored it is held, and its timer would be that of a call that was let pass."""
    tracker = new_tracker()
    waiting = row("line", "1.1", state=4, app="AGI", data="agi:async,+331,out", account="ACC1001")
    first_list(tracker, [waiting], [known("b.1.1", caller="1.1")])
    assert arm(tracker, ASKED, Party.CALLER) == []
    assert arm(tracker, LegId("lab.b.1.1.1"), Party.CALLER) == []
    assert feed(tracker, [goes_on("line", "1.1")]) == [Seen(LegId("lab.b.1.1.1"), 1_700_000_004_000)], (
        "the leg that was stored is over"
    )


def test_a_party_that_was_sent_on_keeps_the_guard_while_it_asks_and_then_gets_what_was_paid_meanwhile() -> None:
    """It is the leg itself, paid for, and extended while it asks whether it may go elsewhere."""
    tracker = new_tracker()
    feed(tracker, call_events()[:5])
    assert arm(tracker, WATCHED, Party.BILLED) == [(TRUNK, "30.000")]
    feed(tracker, [asks("trunk", "1.2", 5)])
    assert arm(tracker, WATCHED, Party.BILLED) == []
    assert feed(tracker, [goes_on("trunk", "1.2", 8)]) == [Seen(WATCHED, 1_700_000_008_000)]
    assert arm(tracker, WATCHED, Party.BILLED, 22_000) == [(TRUNK, "22.000")]


def test_a_dial_shows_that_the_gate_is_passed() -> None:
    """Its end was missed."""
    tracker = asking()
    assert arm(tracker, ASKED, Party.CALLER) == []
    dial = event(
        "DialBegin",
        3,
        **channel("line", "1.1", state=4),
        **channel("trunk", "1.2", side="Dest"),
        DialString="+331@t",
    )
    told = feed(tracker, [dial])
    assert [type(signal).__name__ for signal in told] == ["Seen", "Dialled"]
    assert arm(tracker, ASKED, Party.CALLER) == [(LINE, "30.000")]


class Nobody:
    """In the engine's place."""

    catalog = None

    def collect(self) -> None:
        pass

    flush = collect

    def on_signal(self, signal: Signal) -> None:
        pass


def test_a_verdict_is_kept_until_the_gate_is_passed() -> None:
    """To be told again should it have been lost."""
    settings = SwitchSettings.model_validate({"id": "lab", "secret": {"file": "x"}})
    engine: Any = Nobody()
    adapter = SwitchAdapter(settings, "secret", engine, Metrics())
    adapter.tracker, adapter.synced = asking(), True
    verdict = AnswerGate(ASKED, Reason.ALLOWED, 30)
    adapter.execute(verdict)
    adapter._outgoing.clear()
    list(adapter._look_at_lost())
    assert adapter._outgoing, "told again"
    adapter._outgoing.clear()
    adapter.on_frames([goes_on("line", "1.1")], 1)
    assert not adapter._gates
    list(adapter._look_at_lost())
    assert not adapter._outgoing


def test_of_a_call_that_is_over_or_forgotten_nothing_is_told() -> None:
    tracker = asking()
    arm(tracker, ASKED, Party.CALLER)
    tracker.forget(ASKED)
    assert feed(tracker, [goes_on("line", "1.1")]) == []
    tracker = asking()
    arm(tracker, ASKED, Party.CALLER)
    hung = event("Hangup", 2, **channel("line", "1.1", state=4), Cause="16")
    assert [type(signal).__name__ for signal in feed(tracker, [hung, goes_on("line", "1.1")])] == ["Ended"]


def test_timers_put_off_are_set_in_the_order_in_which_they_were_put_off() -> None:
    """And so in the same order in every process."""
    tracker = asking()
    caller = tracker.channels.live["1.1"]
    legs = [tracker.attempt(caller, caller, Payer(), Direction.OUT, "", None, 1, 1).id for _ in range(9)]
    tracker.take_signals()
    for leg in reversed(legs):
        assert arm(tracker, leg, Party.CALLER) == []
    told = feed(tracker, [goes_on("line", "1.1")])
    assert [signal.leg for signal in told if isinstance(signal, Seen)] == legs[::-1]


LISTED_MS = 1_700_000_006_000


def listed(tracker: Tracker, asked_ns: int, application: str, data: str) -> list[Signal]:
    """A later list, in which the far end of the talking leg is where this says."""
    talking = known("b.1.2", channel_id="1.2", caller="1.1", answered=True)
    return later_list(
        tracker, [row("trunk", "1.2", app=application, data=data)], [talking], LISTED_MS, asked_ns=asked_ns
    )


def sent_on_unheard() -> Tracker:
    """The far end asks whether it may go elsewhere, and only the list shows it: the event was lost, or is late."""
    tracker = new_tracker()
    feed(tracker, call_events()[:5])
    assert arm(tracker, WATCHED, Party.BILLED) == [(TRUNK, "30.000")]
    assert listed(tracker, 50, "AGI", "agi:async,+331,out") == [Seen(WATCHED, LISTED_MS)]
    return tracker


def test_a_question_that_only_a_list_shows_keeps_the_guard_too() -> None:
    tracker = sent_on_unheard()
    assert arm(tracker, WATCHED, Party.BILLED) == []
    assert feed(tracker, [goes_on("trunk", "1.2", 8)]) == [Seen(WATCHED, 1_700_000_008_000)]
    assert arm(tracker, WATCHED, Party.BILLED, 22_000) == [(TRUNK, "22.000")]


def test_when_its_event_comes_after_all_it_is_as_any_other() -> None:
    tracker = sent_on_unheard()
    assert arm(tracker, WATCHED, Party.BILLED) == []
    [attempt] = feed(tracker, [asks("trunk", "1.2", 5)])
    assert isinstance(attempt, Attempted)
    assert arm(tracker, WATCHED, Party.BILLED) == []
    assert feed(tracker, [goes_on("trunk", "1.2", 8)]) == [Seen(WATCHED, 1_700_000_008_000)]


def test_a_list_that_no_longer_shows_it_lets_the_timer_be_set() -> None:
    tracker = sent_on_unheard()
    assert arm(tracker, WATCHED, Party.BILLED) == []
    assert Seen(WATCHED, LISTED_MS) in listed(tracker, 100, "Playback", "bye")
    assert arm(tracker, WATCHED, Party.BILLED, 22_000) == [(TRUNK, "22.000")]


def test_a_dial_shows_that_an_unheard_question_is_over() -> None:
    tracker = sent_on_unheard()
    assert arm(tracker, WATCHED, Party.BILLED) == []
    dial = event(
        "DialBegin", 9, **channel("trunk", "1.2"), **channel("line", "1.3", side="Dest"), DialString="1001"
    )
    assert Seen(WATCHED, 1_700_000_009_000) in feed(tracker, [dial])
    assert arm(tracker, WATCHED, Party.BILLED, 21_000) == [(TRUNK, "21.000")]


def test_a_question_of_another_program_is_none_of_ours() -> None:
    tracker = new_tracker()
    feed(tracker, call_events()[:5])
    listed(tracker, 50, "AGI", "agi:async,menu,main")
    assert arm(tracker, WATCHED, Party.BILLED) == [(TRUNK, "30.000")]
