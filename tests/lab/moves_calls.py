"""Scenarios of the suite of moves: calls that are made, shared out and answered in every other way."""

from __future__ import annotations

import time

from .stage import FOLLOWED, SINGLE_TOO, Leg, Stage
from .stage import number as to

OPERATOR_ROOM = "1"


def forwarded_by_the_dialplan(stage: Stage) -> list[Leg]:
    """A line calls another one, whose dialplan leads outside through a Local channel: the forwarder pays."""
    a, b, *_ = stage.lines
    outside = stage.trunk()
    caller = stage.call(a, f"hop{b}{outside.port}", talk_ms=2000)
    caller.until_answered()
    stage.holds(**{f"l{a}": 0, f"l{b}": 1})
    caller.wait(8)
    return [Leg(to(outside), b, outside)]


def forwarded_through_a_local_channel_that_stays(stage: Stage) -> list[Leg]:
    """The same with /n: the Local channel is not optimised away."""
    a, b, *_ = stage.lines
    outside = stage.trunk(talk_ms=2000)
    caller = stage.call(a, f"keep{b}{outside.port}")
    caller.until_answered()
    stage.holds(**{f"l{a}": 0, f"l{b}": 1})
    caller.wait(8)
    return [Leg(to(outside), b, outside)]


def forwarded_by_the_telephone(stage: Stage) -> list[Leg]:
    """The telephone answers 302 with an outside number: its line pays."""
    a, b, *_ = stage.lines
    outside = stage.trunk()
    stage.phone(b, scenario="callee_moved", FORWARD_TO=stage.uri(to(outside)))
    caller = stage.call(a, str(b), talk_ms=2000)
    caller.until_answered()
    stage.holds(**{f"l{a}": 0, f"l{b}": 1})
    caller.wait(8)
    return [Leg(to(outside), b, outside)]


def follow_me(stage: Stage) -> list[Leg]:
    """FollowMe looks for the line outside: the line pays."""
    a, *_ = stage.lines
    stage.lines.append(FOLLOWED)
    outside = stage.trunk()
    stage.set_global(f"FOLLOW_{FOLLOWED}", outside.port)
    caller = stage.call(a, f"follow{FOLLOWED}", talk_ms=4000)
    outside.until_answered(timeout_s=15)
    stage.holds(**{f"l{a}": 0, f"l{FOLLOWED}": 1})
    caller.wait(15)
    return [Leg(to(outside), FOLLOWED, outside)]


def ring_group_from_outside(stage: Stage) -> list[Leg]:
    """Two telephones ring, one answers: one inbound leg, nothing paid."""
    a, b, *_ = stage.lines
    slow, quick = stage.phone(a, ring_ms=8000), stage.phone(b, ring_ms=500)
    stranger = stage.call_in(f"5511600group{a}{b}", talk_ms=1500)
    stranger.until_answered()
    stage.holds(**{f"l{a}": 0, f"l{b}": 1})
    stranger.wait(8)
    slow.until(lambda calls: bool(calls) and calls[0].status == 487, 3, "the CANCEL")
    return [Leg(str(b), b, quick, direction="in")]


def ring_group_with_an_outside_member(stage: Stage) -> list[Leg]:
    """A desk and an outside telephone ring at once; the outside one answers, and its line pays."""
    a, b, c, *_ = stage.lines
    stage.phone(b, ring_ms=8000)
    outside = stage.trunk(ring_ms=500)
    caller = stage.call(a, f"both{b}{c}{outside.port}", talk_ms=2000)
    caller.until_answered()
    stage.holds(**{f"l{a}": 0, f"l{b}": 0, f"l{c}": 1})
    caller.wait(8)
    return [Leg(to(outside), c, outside)]


def parallel_fork_over_two_trunks(stage: Stage) -> list[Leg]:
    """Both ring and hold a slot each; the one that is not answered costs nothing."""
    a, *_ = stage.lines
    slow, quick = stage.trunk(ring_ms=8000), stage.trunk(ring_ms=1000)
    caller = stage.call(a, f"fork{slow.port}{quick.port}", talk_ms=2000)
    quick.until(bool, 5, "the INVITE")
    stage.holds(**{f"l{a}": 2})
    caller.until_answered()
    stage.holds(**{f"l{a}": 1})
    caller.wait(8)
    return [Leg(to(slow), a, slow, disposition="cancelled"), Leg(to(quick, 2), a, quick, trunk="second")]


def serial_fail_over_to_the_second_trunk(stage: Stage) -> list[Leg]:
    """The first trunk refuses: an event of zero; the second one carries the call."""
    a, *_ = stage.lines
    broken = stage.phones.listener("broken", "refuser", {"CODE": 503})
    working = stage.trunk()
    caller = stage.call(a, f"over{broken.port}{working.port}", talk_ms=1500)
    caller.until_answered()
    stage.holds(**{f"l{a}": 1})
    caller.wait(8)
    return [Leg(to(broken), a, broken, disposition="failed"), Leg(to(working, 2), a, working, trunk="second")]


def queue_with_an_agent(stage: Stage) -> list[Leg]:
    """From outside into a queue, answered by an agent's desk: one inbound leg."""
    a, *_ = stage.lines
    desk = stage.phone(a, ring_ms=300)
    member = f"PJSIP/{a}/sip:{a}@127.0.0.1:{desk.port}"
    stage.act("QueueAdd", Queue="moves1", Interface=member, StateInterface="Custom:unknown")
    stranger = stage.call_in("5511600queue1")
    stage.talk(desk, 1.5)
    stage.holds(**{f"l{a}": 1})
    stage.ami.action("Hangup", Channel=stage.dialled(str(a))["DestChannel"])
    stranger.wait(8)
    stage.act("QueueRemove", Queue="moves1", Interface=member)
    return [Leg(str(a), a, desk, direction="in")]


def queue_with_an_outside_agent(stage: Stage) -> list[Leg]:
    """The agent sits outside, behind a Local channel: the agent's line pays, and has the inbound leg. The desk
    rings in vain."""
    a, b, *_ = stage.lines
    queue = "5511600queue2"
    desk, outside = stage.phone(a, ring_ms=8000), stage.trunk(ring_ms=400, talk_ms=2000)
    members = [f"PJSIP/{a}/sip:{a}@127.0.0.1:{desk.port}", f"Local/{b}{outside.port}@moves-forward/n"]
    for member in members:
        stage.act("QueueAdd", Queue="moves2", Interface=member, StateInterface="Custom:unknown")
    stranger = stage.call_in(queue)
    outside.until_answered()
    stage.holds(**{f"l{a}": 0, f"l{b}": 2})
    stranger.wait(10)
    for member in members:
        stage.act("QueueRemove", Queue="moves2", Interface=member)
    return [Leg(to(outside), b, outside), Leg("", b, stranger, direction="in", dialled=queue)]


def picked_up_by_another_line(stage: Stage) -> list[Leg]:
    """A call from outside rings at one line and is taken at another: the leg is that line's."""
    a, b, *_ = stage.lines
    stage.phone(a, ring_ms=8000)
    called = f"551140000{a}"
    stranger = stage.call_in(called)
    stage.dialled(str(a))
    stage.holds(**{f"l{a}": 1})
    stage.call(b, f"pick{a}", talk_ms=1500)
    stranger.until_answered()
    stage.holds(**{f"l{a}": 0, f"l{b}": 1})
    stranger.wait(8)
    return [Leg(called, b, stranger, direction="in", dialled=called)]


def click_to_call(stage: Stage) -> list[Leg]:
    """The switch calls the line's telephone and then dials for it."""
    a, *_ = stage.lines
    desk, outside = stage.phone(a), stage.trunk(talk_ms=2000)
    stage.act("Originate", Channel=f"PJSIP/{a}/sip:{a}@127.0.0.1:{desk.port}", Context="moves",
              Exten=to(outside), Priority=1, Async="true")  # fmt: skip
    outside.until_answered()
    stage.holds(**{f"l{a}": 1})
    return [Leg(to(outside), a, outside)]


def callback(stage: Stage) -> list[Leg]:
    """The switch calls an outside party for an account and then another one: two legs of that account."""
    a, *_ = stage.lines
    first, second = stage.trunk(), stage.trunk(talk_ms=2000)
    stage.act("Originate", Channel=f"PJSIP/trunk/sip:{to(first)}@127.0.0.1:{first.port}", Context="moves",
              Exten=to(second), Priority=1, Account=f"A{a}", Async="true")  # fmt: skip
    second.until_answered()
    stage.holds(**{f"l{a}": 2})
    return [Leg(to(first), a, first), Leg(to(second), a, second)]


def conference_with_two_outside_parties(stage: Stage) -> list[Leg]:
    """A line and two outside parties in ConfBridge: each of the two is a leg of the line's account."""
    a, *_ = stage.lines
    first, second = stage.trunk(talk_ms=3500), stage.trunk(talk_ms=2000)
    stage.call(a, to(first))
    leg = stage.dialled(to(first))["DestChannel"]
    stage.talk(first, 0.7)
    room = f"room{OPERATOR_ROOM}"
    stage.act("Redirect", Channel=leg, Context="moves", Exten=room, Priority=1, ExtraChannel=stage.channel_of(a),
              ExtraContext="moves", ExtraExten=room, ExtraPriority=1)  # fmt: skip
    stage.act("Originate", Channel=f"PJSIP/trunk/sip:{to(second)}@127.0.0.1:{second.port}", Context="moves",
              Exten=room, Priority=1, Account=f"A{a}", Async="true")  # fmt: skip
    second.until_answered()
    stage.holds(**{f"l{a}": 2})
    first.until(lambda calls: calls[0].ended_s is not None, 8, "the end")
    second.until(lambda calls: calls[0].ended_s is not None, 8, "the end")
    stage.ami.action("Hangup", Channel=stage.channel_of(a))
    return [Leg(to(first), a, first), Leg(to(second), a, second)]


def early_media(stage: Stage) -> list[Leg]:
    """183 with sound for 1.5 s before the answer: not charged."""
    a, *_ = stage.lines
    outside = stage.trunk(ring_ms=1500, scenario="callee_early")
    caller = stage.call(a, to(outside), talk_ms=1500)
    stage.dialled(to(outside))
    stage.holds(**{f"l{a}": 1})
    caller.wait(8)
    return [Leg(to(outside), a, outside)]


def call_waiting(stage: Stage) -> list[Leg]:
    """A line that talks outside is called from outside, takes that call too, and goes on with the first."""
    a, *_ = stage.lines
    outside, desk = stage.trunk(), stage.phone(a, ring_ms=300, talk_ms=2500)
    mine = stage.call(a, to(outside), talk_ms=6000)
    mine.until_answered()
    called = f"551140000{a}"
    second = stage.call_in(called)
    second.until_answered()
    stage.holds(**{f"l{a}": 2})
    second.wait(10)
    mine.wait(10)
    return [Leg(to(outside), a, outside), Leg(called, a, desk, direction="in")]


def hold_and_resume(stage: Stage) -> list[Leg]:
    """Hold by re-INVITE, and back: the leg stands all the time."""
    a, *_ = stage.lines
    outside = stage.trunk()
    caller = stage.call(a, to(outside), talk_ms=1000, scenario="caller_holds")
    stage.ami.wait("Hold", where=lambda e: e["Channel"] == stage.channel_of(a))
    stage.holds(**{f"l{a}": 1})
    stage.ami.wait("Unhold", where=lambda e: e["Channel"] == stage.channel_of(a))
    caller.wait(8)
    return [Leg(to(outside), a, outside)]


def answered_and_dropped_at_once(stage: Stage) -> list[Leg]:
    """The trunk hangs up within 100 ms of its answer: one second, the least there is."""
    a, *_ = stage.lines
    outside = stage.trunk(talk_ms=30)
    stage.call(a, to(outside)).wait(5)
    (seen,) = outside.until(lambda calls: calls[0].ended_s is not None, 3, "the end")
    assert seen.talked_s < 0.1
    return [Leg(to(outside), a, outside)]


def called_from_outside(stage: Stage) -> list[Leg]:
    """The plain inbound call: one leg of the line, free, one slot."""
    a, *_ = stage.lines
    desk = stage.phone(a)
    called = f"551140000{a}"
    stranger = stage.call_in(called, talk_ms=1500)
    stranger.until_answered()
    stage.holds(**{f"l{a}": 1})
    stranger.wait(5)
    return [Leg(called, a, desk, direction="in")]


def from_outside_and_out_again(stage: Stage) -> list[Leg]:
    """A number of the line that leads straight outside: both channels are legs of the line, which pays for one."""
    a, *_ = stage.lines
    outside = stage.trunk(ring_ms=600)
    called = f"5511500{a}{outside.port}"
    stranger = stage.call_in(called, talk_ms=2000)
    stage.dialled(to(outside))
    stage.holds(**{f"l{a}": 2})
    stranger.until_answered()
    stage.holds(**{f"l{a}": 2})
    stranger.wait(8)
    return [Leg(to(outside), a, outside), Leg(called, a, stranger, direction="in", dialled=called)]


def from_outside_to_a_desk_and_out_again(stage: Stage) -> list[Leg]:
    """The desk rings in vain, then another line's outside telephone is tried: that line has both legs."""
    a, b, *_ = stage.lines
    stage.phone(a, ring_ms=8000)
    outside = stage.trunk(talk_ms=2000)
    called = f"5511700{a}{b}{outside.port}"
    stranger = stage.call_in(called)
    stage.dialled(str(a))
    stage.holds(**{f"l{a}": 1, f"l{b}": 0})
    outside.until_answered()
    stage.holds(**{f"l{a}": 0, f"l{b}": 2})
    stranger.wait(10)
    return [Leg(to(outside), b, outside), Leg(called, b, stranger, direction="in", dialled=called)]


def from_outside_and_out_again_for_one_call(stage: Stage) -> list[Leg]:
    """A line that may have one call has no slot for the second leg: refused as busy while it rings outside."""
    a = SINGLE_TOO
    stage.lines.append(a)
    outside = stage.trunk(ring_ms=8000)
    called = f"5511500{a}{outside.port}"
    (seen,) = stage.call_in(called).wait(8)
    assert seen.status == 486
    denial = stage.denial(a)
    assert (denial.reason, denial.number) == ("line_limit", called)
    return [Leg(to(outside), a, outside, disposition="cancelled")]


def switchboard_that_answers_first(stage: Stage) -> list[Leg]:
    """Answer() before Dial: the caller's call stands, the leg only rings, and ringing is not charged."""
    a, *_ = stage.lines
    outside = stage.trunk(ring_ms=1500, talk_ms=1500)
    caller = stage.call(a, f"ivr{outside.port}")
    (mine,) = caller.wait(12)
    (seen,) = outside.calls()
    assert mine.talked_s - seen.talked_s > 2.2
    return [Leg(to(outside), a, outside)]


def caller_hangs_up_while_it_rings(stage: Stage) -> list[Leg]:
    a, *_ = stage.lines
    outside = stage.trunk(ring_ms=8000)
    caller = stage.phones.canceller(a, to(outside), after_ms=700)
    stage.dialled(to(outside))
    stage.holds(**{f"l{a}": 1})
    caller.wait(5)
    return [Leg(to(outside), a, outside, disposition="cancelled")]


def two_lines_of_the_house(stage: Stage) -> list[Leg]:
    """Line to line, and handed to a third line: nothing is charged, no slot is taken."""
    a, b, c, *_ = stage.lines
    stage.phone(b)
    desk = stage.phone(c)
    caller = stage.call(a, str(b), talk_ms=800, scenario="caller_refers", REFER_TO=stage.uri(str(c)))
    desk.until_answered()
    stage.holds(**{f"l{line}": 0 for line in (a, b, c)})
    caller.wait(5)
    time.sleep(0.3)
    stage.ami.action("Hangup", Channel=stage.dialled(str(c))["DestChannel"])
    return []


MOVES = [
    forwarded_by_the_dialplan,
    forwarded_through_a_local_channel_that_stays,
    forwarded_by_the_telephone,
    follow_me,
    ring_group_from_outside,
    ring_group_with_an_outside_member,
    parallel_fork_over_two_trunks,
    serial_fail_over_to_the_second_trunk,
    queue_with_an_agent,
    queue_with_an_outside_agent,
    picked_up_by_another_line,
    click_to_call,
    callback,
    conference_with_two_outside_parties,
    early_media,
    call_waiting,
    hold_and_resume,
    answered_and_dropped_at_once,
    called_from_outside,
    from_outside_and_out_again,
    from_outside_to_a_desk_and_out_again,
    from_outside_and_out_again_for_one_call,
    switchboard_that_answers_first,
    caller_hangs_up_while_it_rings,
    two_lines_of_the_house,
]
