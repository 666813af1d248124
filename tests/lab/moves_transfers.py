"""Scenarios of the suite of moves: calls that are handed on. Each plays on its own stage and says what it expects.

A scenario's name is its row in docs/conformance.md. All numbers of the first trunk cost one euro a second.
"""

from __future__ import annotations

import time

from .stage import Leg, Stage
from .stage import number as to


def blind_transfer_by_the_caller(stage: Stage) -> list[Leg]:
    """A REFER of the line sends its outside party to another line; the leg goes on, and its line pays on."""
    a, b, *_ = stage.lines
    outside, desk = stage.trunk(talk_ms=3500), stage.phone(b)
    stage.call(a, to(outside), talk_ms=1000, scenario="caller_refers", REFER_TO=stage.uri(str(b)))
    desk.until_answered()
    stage.holds(**{f"l{a}": 1, f"l{b}": 1})
    return [Leg(to(outside), a, outside), Leg(str(b), b, desk, direction="in")]


def blind_transfer_by_the_caller_over_ami(stage: Stage) -> list[Leg]:
    a, b, *_ = stage.lines
    outside, desk = stage.trunk(talk_ms=3000), stage.phone(b)
    caller = stage.call(a, to(outside))
    stage.talk(caller, 1.0)
    stage.act("BlindTransfer", Channel=stage.channel_of(a), Context="moves", Exten=b)
    (mine,) = caller.wait(5)
    assert mine.was_cut, "the line that transferred is out of the call"
    desk.until_answered()
    stage.holds(**{f"l{a}": 1})
    return [Leg(to(outside), a, outside), Leg(str(b), b, desk, direction="in")]


def blind_transfer_by_the_callee(stage: Stage) -> list[Leg]:
    """The outside party that was called refers the line to another one: its leg ends with that."""
    a, b, *_ = stage.lines
    outside = stage.trunk(talk_ms=1000, scenario="callee_refers", REFER_TO=stage.uri(f"5511600{b}"))
    desk = stage.phone(b)
    caller = stage.call(a, to(outside), talk_ms=3000)
    desk.until_answered()
    stage.holds(**{f"l{a}": 0, f"l{b}": 0})
    caller.wait(8)
    return [Leg(to(outside), a, outside)]


def blind_transfer_by_the_callee_over_ami(stage: Stage) -> list[Leg]:
    """The same by the switch's own word about the outside party's channel."""
    a, b, *_ = stage.lines
    outside, desk = stage.trunk(), stage.phone(b)
    caller = stage.call(a, to(outside), talk_ms=4000)
    stage.talk(caller, 1.0)
    stage.act("BlindTransfer", Channel=stage.dialled(to(outside))["DestChannel"], Context="moves", Exten=b)
    desk.until_answered()
    stage.holds(**{f"l{a}": 0, f"l{b}": 0})
    caller.wait(8)
    return [Leg(to(outside), a, outside)]


def blind_transfer_by_a_called_line(stage: Stage) -> list[Leg]:
    """A line that was called from outside sends the caller outside again: it pays for that."""
    a, *_ = stage.lines
    outside = stage.trunk(talk_ms=2000)
    desk = stage.phone(a, talk_ms=1000, scenario="callee_refers", REFER_TO=stage.uri(to(outside)))
    called = f"551140000{a}"
    stranger = stage.call_in(called)
    outside.until_answered()
    stage.holds(**{f"l{a}": 1})
    stranger.wait(8)
    return [Leg(called, a, desk, direction="in"), Leg(to(outside), a, outside)]


def transfer_to_another_outside_number(stage: Stage) -> list[Leg]:
    """Both legs are the line's, though it has left: two slots, two events."""
    a, *_ = stage.lines
    first, second = stage.trunk(), stage.trunk(talk_ms=2000)
    caller = stage.call(a, to(first), talk_ms=1000, scenario="caller_refers", REFER_TO=stage.uri(to(second)))
    second.until_answered()
    caller.wait(5)
    stage.holds(**{f"l{a}": 2})
    return [Leg(to(first), a, first), Leg(to(second), a, second)]


def transfer_over_ami_to_the_second_trunk(stage: Stage) -> list[Leg]:
    a, *_ = stage.lines
    first, second = stage.trunk(), stage.trunk(talk_ms=2000)
    caller = stage.call(a, to(first))
    stage.talk(caller, 1.0)
    stage.act("BlindTransfer", Channel=stage.channel_of(a), Context="moves", Exten=to(second, 2))
    second.until_answered()
    stage.holds(**{f"l{a}": 2})
    return [Leg(to(first), a, first), Leg(to(second, 2), a, second, trunk="second")]


def blind_transfer_to_a_number_that_is_busy(stage: Stage) -> list[Leg]:
    """The transfer leads nowhere: the outside party is hung up, nothing is charged for the second number."""
    a, *_ = stage.lines
    first, busy = stage.trunk(), stage.phones.listener("busy", "refuser", {"CODE": 486})
    stage.call(a, to(first), talk_ms=1000, scenario="caller_refers", REFER_TO=stage.uri(to(busy)))
    first.until(lambda calls: bool(calls) and calls[0].ended_s is not None, 8, "the end")
    return [Leg(to(first), a, first), Leg(to(busy), a, busy, disposition="busy")]


def attended_transfer_by_the_caller(stage: Stage) -> list[Leg]:
    """The line calls two outside numbers and joins them (REFER with Replaces): both legs stay its own."""
    a, *_ = stage.lines
    first, second = stage.trunk(), stage.trunk(talk_ms=3500)
    mine = stage.call(a, to(first))
    stage.talk(mine, 0.3)
    where = stage.uri(to(first)) + stage.replaces(stage.channel_of(a))
    consult = stage.call(a, to(second), talk_ms=1000, scenario="caller_refers", REFER_TO=where)
    consult.wait(10)
    mine.wait(5)
    stage.holds(**{f"l{a}": 2})
    return [Leg(to(first), a, first), Leg(to(second), a, second)]


def attended_transfer_by_the_callee(stage: Stage) -> list[Leg]:
    """A line that was called from outside consults an outside number and joins both: it pays for that number."""
    a, *_ = stage.lines
    outside, desk = stage.trunk(talk_ms=3000), stage.phone(a)
    called = f"551140000{a}"
    stranger = stage.call_in(called)
    stage.talk(stranger, 0.3)
    where = stage.uri(str(a)) + stage.replaces(stage.dialled(str(a))["DestChannel"])
    stage.call(a, to(outside), talk_ms=1000, scenario="caller_refers", REFER_TO=where).wait(10)
    stage.holds(**{f"l{a}": 1})
    stranger.wait(8)
    return [Leg(called, a, desk, direction="in"), Leg(to(outside), a, outside)]


def attended_transfer_over_ami(stage: Stage) -> list[Leg]:
    """By the switch's own feature, with a Local channel for the consultation."""
    a, *_ = stage.lines
    first, second = stage.trunk(), stage.trunk(talk_ms=3000)
    caller = stage.call(a, to(first), talk_ms=2000)
    stage.talk(caller, 0.5)
    stage.act("Atxfer", Channel=stage.channel_of(a), Context="moves", Exten=to(second))
    second.until_answered(timeout_s=15)
    caller.wait(8)
    stage.holds(**{f"l{a}": 2})
    return [Leg(to(first), a, first), Leg(to(second), a, second)]


def attended_transfer_given_up(stage: Stage) -> list[Leg]:
    """The consultation is cancelled while it rings: the first call goes on, the second costs nothing."""
    a, *_ = stage.lines
    first, second = stage.trunk(), stage.trunk(ring_ms=8000)
    caller = stage.call(a, to(first), talk_ms=6000)
    stage.talk(caller, 0.5)
    stage.act("Atxfer", Channel=stage.channel_of(a), Context="moves", Exten=to(second))
    second.until(bool, 15, "the consultation")
    stage.holds(**{f"l{a}": 2})
    stage.act("CancelAtxfer", Channel=stage.channel_of(a))
    stage.holds(**{f"l{a}": 1})
    (mine,) = caller.wait(12)
    assert not mine.was_cut
    return [Leg(to(first), a, first), Leg(to(second), a, second, disposition="cancelled")]


def attended_transfer_given_up_after_the_consultation(stage: Stage) -> list[Leg]:
    """The line talks to the second party, hangs up on it and goes back to the first."""
    a, *_ = stage.lines
    first, second = stage.trunk(), stage.trunk()
    mine = stage.call(a, to(first), talk_ms=4000)
    stage.talk(mine, 0.3)
    stage.call(a, to(second), talk_ms=1200).wait(8)
    stage.holds(**{f"l{a}": 1})
    mine.wait(8)
    return [Leg(to(first), a, first), Leg(to(second), a, second)]


def parked_and_retrieved(stage: Stage) -> list[Leg]:
    """The outside party is parked by its line, and another line takes it: the leg is one, its payer the first."""
    a, b, *_ = stage.lines
    outside = stage.trunk()
    stage.call(a, to(outside))
    leg = stage.dialled(to(outside))["DestChannel"]
    stage.talk(outside, 0.7)
    stage.act("Park", Channel=leg, Timeout=30000)
    place = stage.ami.wait("ParkedCall", where=lambda e: e["ParkeeChannel"] == leg)["ParkingSpace"]
    stage.holds(**{f"l{a}": 1})
    time.sleep(0.5)
    fetching = stage.call(b, f"retr{place}", talk_ms=1500)
    fetching.until_answered()
    stage.holds(**{f"l{a}": 1, f"l{b}": 0})
    fetching.wait(8)
    return [Leg(to(outside), a, outside)]


def parked_and_given_up(stage: Stage) -> list[Leg]:
    """The outside party tires of the music: charged for all of it, since its leg stood all the time."""
    a, *_ = stage.lines
    outside = stage.trunk(talk_ms=2500)
    stage.call(a, to(outside))
    leg = stage.dialled(to(outside))["DestChannel"]
    stage.talk(outside, 0.7)
    stage.act("Park", Channel=leg, Timeout=30000)
    stage.ami.wait("ParkedCallGiveUp", where=lambda e: e["ParkeeChannel"] == leg)
    return [Leg(to(outside), a, outside)]


def redirected_by_masquerade(stage: Stage) -> list[Leg]:
    """AMI Redirect takes the outside party out of its bridge and has it dial on: the switch masquerades."""
    a, *_ = stage.lines
    first, second = stage.trunk(), stage.trunk(talk_ms=1500)
    stage.call(a, to(first))
    leg = stage.dialled(to(first))["DestChannel"]
    stage.talk(first, 1.0)
    stage.act("Redirect", Channel=leg, Context="moves", Exten=to(second), Priority=1)
    second.until_answered()
    stage.holds(**{f"l{a}": 2})
    return [Leg(to(first), a, first), Leg(to(second), a, second)]


def bridged_by_masquerade(stage: Stage) -> list[Leg]:
    """AMI Bridge joins one line's outside party to another line: the leg goes on under its payer."""
    a, b, *_ = stage.lines
    outside = stage.trunk(talk_ms=3000)
    stage.call(b, "still").until_answered()
    caller = stage.call(a, to(outside))
    leg = stage.dialled(to(outside))["DestChannel"]
    stage.talk(outside, 1.0)
    stage.act("Bridge", Channel1=leg, Channel2=stage.channel_of(b))
    caller.wait(5)
    stage.holds(**{f"l{a}": 1, f"l{b}": 0})
    return [Leg(to(outside), a, outside)]


MOVES = [
    blind_transfer_by_the_caller,
    blind_transfer_by_the_caller_over_ami,
    blind_transfer_by_the_callee,
    blind_transfer_by_the_callee_over_ami,
    blind_transfer_by_a_called_line,
    transfer_to_another_outside_number,
    transfer_over_ami_to_the_second_trunk,
    blind_transfer_to_a_number_that_is_busy,
    attended_transfer_by_the_caller,
    attended_transfer_by_the_callee,
    attended_transfer_over_ami,
    attended_transfer_given_up,
    attended_transfer_given_up_after_the_consultation,
    parked_and_retrieved,
    parked_and_given_up,
    redirected_by_masquerade,
    bridged_by_masquerade,
]
