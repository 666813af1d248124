"""A channel that was sent on (a transfer) is a leg and the caller of another one, and has one timer for both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rater.calls.commands import AnswerGate, ArmTimer, Party
from rater.calls.signals import Answered, Attempted, Dialled, Direction, Mode
from rater.ids import CallId, LegId, TrunkId
from rater.sent_on import limit
from rater.verdict import Reason
from tests.limits.site import Site, make
from tests.limits.support import attempt

FIRST_S = 10
"""The first slice of the site."""


def talking(folder: Path) -> Site:
    """Leg `x` talks on channel ``ch-x``, paid for 10 s; 4 s are over, and its line is about to send it on."""
    site = make(folder)
    site.call(attempt(leg="x"), 600)
    site.run(4)
    return site


def onward(site: Site, mode: Mode = Mode.WATCH, direction: Direction = Direction.OUT) -> Attempted:
    """What the sent party dials."""
    wanted = attempt(leg="y", mode=mode, trunk=None if mode is Mode.GATE else "t1")
    return replace(wanted, call=CallId("x"), caller_channel_id="ch-x", direction=direction, at_ms=site.now_ms)


def timers(site: Site, leg: str, party: Party) -> list[int]:
    told = site.switch.touched(leg)
    return [c.after_ms for c in told if isinstance(c, ArmTimer) and c.party is party]


def test_ringing_further_does_not_put_off_the_end_of_what_is_paid(tmp_path: Path) -> None:
    site = talking(tmp_path)
    wanted = onward(site)
    site.engine.on_signal(wanted)
    site.engine.on_signal(Dialled(wanted.leg, TrunkId("t1"), "ch-y", site.now_ms))
    site.engine.flush()
    assert timers(site, "y", Party.CALLER) == [6_000]


def test_the_further_answer_leaves_the_sent_party_its_own_timer(tmp_path: Path) -> None:
    site = talking(tmp_path)
    wanted = onward(site)
    site.engine.on_signal(wanted)
    site.engine.on_signal(Dialled(wanted.leg, TrunkId("t1"), "ch-y", site.now_ms))
    site.engine.on_signal(Answered(wanted.leg, site.now_ms))
    site.engine.flush()
    assert timers(site, "y", Party.CALLER)[-1] == 6_000, "and not a day"
    assert timers(site, "y", Party.BILLED) == [FIRST_S * 1000]


def test_a_line_that_is_put_through_leaves_it_too(tmp_path: Path) -> None:
    """Its inbound leg costs nothing and may last for hours; the party that was sent to it may not."""
    site = talking(tmp_path)
    wanted = onward(site, direction=Direction.IN)
    site.engine.on_signal(wanted)
    site.engine.on_signal(Dialled(wanted.leg, TrunkId("t1"), "ch-y", site.now_ms))
    site.engine.on_signal(Answered(wanted.leg, site.now_ms))
    site.engine.flush()
    assert set(timers(site, "y", Party.CALLER)) == {6_000}


def test_the_gate_is_told_no_more_seconds_than_the_sent_party_has(tmp_path: Path) -> None:
    """The dialplan sets the timer by them, to the second; when it dials, it is set to the millisecond again."""
    site = talking(tmp_path)
    wanted = onward(site, Mode.GATE)
    site.engine.on_signal(wanted)
    site.engine.flush()
    [answer] = [c for c in site.switch.touched("y") if isinstance(c, AnswerGate)]
    assert answer.seconds == 6
    site.engine.on_signal(Dialled(wanted.leg, TrunkId("t1"), "ch-y", site.now_ms))
    site.engine.flush()
    assert timers(site, "y", Party.CALLER) == [6_000]


def test_an_extension_while_it_rings_further_does_not_outlast_what_is_paid_of_that(tmp_path: Path) -> None:
    """Were everything to die now and the further leg to be answered, nothing else would end it."""
    site = talking(tmp_path)
    wanted = onward(site)
    site.engine.on_signal(wanted)
    site.engine.on_signal(Dialled(wanted.leg, TrunkId("t1"), "ch-y", site.now_ms))
    site.engine.flush()
    before = len(timers(site, "x", Party.BILLED))
    site.ends[LegId("y")] = site.now_ms + 60_000
    site.run(4)
    extended = timers(site, "x", Party.BILLED)[before:]
    assert extended and max(extended) == FIRST_S * 1000


def test_denied_the_sent_party_keeps_its_timer(tmp_path: Path) -> None:
    """What the dialplan plays to it is heard no longer than what is paid."""
    site = talking(tmp_path)
    wanted = onward(site, Mode.GATE)
    site.engine.on_signal(wanted)
    site.engine.flush()
    call = site.engine._legs.of_call(wanted.call)
    further = next(record for record in call if record.session.leg == wanted.leg)
    answer = limit(AnswerGate(wanted.leg, Reason.LINE_LIMIT, 0), further, call, site.now_ms)
    assert answer == AnswerGate(wanted.leg, Reason.LINE_LIMIT, 6)
