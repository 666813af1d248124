"""Scenarios of the suite of moves: calls whose money ends on the way, warned before and cut at the second.

A poor line can pay seven seconds, and is warned four and two seconds before the end.
"""

from __future__ import annotations

from pytest import approx

from .sipp import Sipp
from .sound import Ear
from .stage import EXACT_S, POOR_MICRO, SINGLE, WARN_BEFORE_S, Leg, Stage
from .stage import number as to

PAID_S = POOR_MICRO / 1_000_000
WHISPER_S = 0.5
"""From the warning to its sound: a channel is made, and the sound begins with a little silence."""
CAUSE_OF_CREDIT = "50"
"""As the shipped `rater-cut` has it."""


def listen(stage: Stage, ear: Ear, channel: str) -> None:
    """Give a channel's party an ear and a silent voice."""
    ear.speak(stage.variable(channel, "CHANNEL(rtp,src)"))


def heard_the_warnings(ear: Ear, outside: Sipp) -> None:
    """Both, each in its time before the end, and nothing else."""
    answered_s = outside.calls()[0].answered_s
    assert answered_s is not None
    sounds = [moment - answered_s for moment in ear.sounds()]
    due = [PAID_S - span for span in WARN_BEFORE_S]
    assert len(sounds) == len(due), f"sounds {sounds}, due at {due}, of {ear.frames} frames"
    for sound, moment in zip(sounds, due, strict=True):
        assert moment - 0.05 <= sound <= moment + WHISPER_S + EXACT_S, f"sounds {sounds}, due at {due}"


def is_cut(outside: Sipp) -> None:
    """With its money, at the second."""
    (call,) = outside.until(lambda calls: calls[0].ended_s is not None, PAID_S + 5, "the cut")
    assert call.was_cut
    assert call.talked_s == approx(PAID_S, abs=EXACT_S)


def warned_and_cut(stage: Stage) -> list[Leg]:
    """The caller hears both warnings, the outside party nothing; the dialplan learns why the call was cut."""
    a = stage.poor()
    mine, theirs = stage.ear(), stage.ear()
    outside = stage.trunk(MEDIA_PORT=theirs.port)
    caller = stage.call(a, to(outside), MEDIA_PORT=mine.port)
    begin = stage.dialled(to(outside))
    caller.until_answered()
    listen(stage, mine, begin["Channel"])
    listen(stage, theirs, begin["DestChannel"])
    is_cut(outside)
    (call,) = caller.wait(5)
    assert call.was_cut
    heard_the_warnings(mine, outside)
    assert theirs.frames > 100 and not theirs.sounds(), "the far end must not learn of our customer's money"
    end = stage.ami.wait("Hangup", where=lambda e: e["Channel"] == begin["Channel"])
    assert end["Cause"] == CAUSE_OF_CREDIT
    return [Leg(to(outside), a, outside, cut="credit")]


def warned_and_cut_after_a_transfer(stage: Stage) -> list[Leg]:
    """The line that pays has sent its partner to another line: that one hears the warnings, and is cut."""
    a, b = stage.poor(), stage.lines[0]
    ear, theirs = stage.ear(), stage.ear()
    outside, desk = stage.trunk(MEDIA_PORT=theirs.port), stage.phone(b, MEDIA_PORT=ear.port)
    caller = stage.call(a, to(outside))
    begin = stage.dialled(to(outside))
    stage.talk(caller, 0.5)
    stage.act("BlindTransfer", Channel=begin["Channel"], Context="moves", Exten=b)
    desk.until_answered()
    listen(stage, ear, stage.dialled(str(b))["DestChannel"])
    listen(stage, theirs, begin["DestChannel"])
    is_cut(outside)
    heard_the_warnings(ear, outside)
    answered_s = desk.calls()[0].answered_s
    assert answered_s is not None
    assert all(moment < answered_s + EXACT_S for moment in theirs.sounds()), "it hears the ringing, and no more"
    return [Leg(to(outside), a, outside, cut="credit"), Leg(str(b), b, desk, direction="in")]


def warned_and_cut_in_a_forward(stage: Stage) -> list[Leg]:
    """The forwarding line pays and is not in the call: the caller hears that it ends."""
    b, a = stage.poor(), stage.lines[0]
    ear, theirs = stage.ear(), stage.ear()
    outside = stage.trunk(MEDIA_PORT=theirs.port)
    caller = stage.call(a, f"hop{b}{outside.port}", MEDIA_PORT=ear.port)
    caller.until_answered()
    listen(stage, ear, stage.channel_of(a))
    listen(stage, theirs, stage.dialled(to(outside))["DestChannel"])
    is_cut(outside)
    heard_the_warnings(ear, outside)
    return [Leg(to(outside), b, outside, cut="credit")]


def cut_while_parked(stage: Stage) -> list[Leg]:
    """The timer is on the leg and parks with it."""
    a = stage.poor()
    outside = stage.trunk()
    stage.call(a, to(outside))
    leg = stage.dialled(to(outside))["DestChannel"]
    stage.talk(outside, 0.5)
    stage.act("Park", Channel=leg, Timeout=60000)
    is_cut(outside)
    return [Leg(to(outside), a, outside, cut="credit")]


def cut_while_it_dials_itself(stage: Stage) -> list[Leg]:
    """A transferred party whose own channel rings at a desk: its timer leads to the T extension, which hangs up."""
    a, b = stage.poor(), stage.lines[0]
    outside = stage.trunk()
    stage.phone(b, ring_ms=20_000)
    caller = stage.call(a, to(outside))
    begin = stage.dialled(to(outside))
    stage.talk(caller, 0.5)
    stage.act("BlindTransfer", Channel=begin["Channel"], Context="moves", Exten=b)
    is_cut(outside)
    there = (begin["DestChannel"], "rater-cut", "timer")
    stage.ami.wait("Newexten", where=lambda e: (e["Channel"], e["Context"], e["Extension"]) == there)
    return [Leg(to(outside), a, outside, cut="credit")]


def cut_in_a_conference(stage: Stage) -> list[Leg]:
    """In ConfBridge the leg ends with its money; the line stays."""
    a = stage.poor()
    outside = stage.trunk()
    stage.call(a, to(outside))
    begin = stage.dialled(to(outside))
    stage.talk(outside, 0.5)
    stage.act("Redirect", Channel=begin["DestChannel"], Context="moves", Exten="room2", Priority=1,
              ExtraChannel=begin["Channel"], ExtraContext="moves", ExtraExten="room2", ExtraPriority=1)  # fmt: skip
    is_cut(outside)
    stage.ami.action("Hangup", Channel=begin["Channel"])
    return [Leg(to(outside), a, outside, cut="credit")]


def refused_in_a_transfer(stage: Stage) -> list[Leg]:
    """The line may have one call: the transfer to a second number is refused, and the first leg ends with that."""
    a = SINGLE
    stage.lines.append(a)
    first, second = stage.trunk(), stage.trunk(ring_ms=3000)
    caller = stage.call(a, to(first))
    stage.talk(caller, 1.0)
    stage.holds(**{f"l{a}": 1})
    stage.act("BlindTransfer", Channel=stage.channel_of(a), Context="moves", Exten=to(second))
    first.until(lambda calls: calls[0].ended_s is not None, 5, "the end")
    denial = stage.denial(a)
    assert (denial.reason, denial.number) == ("line_limit", to(second))
    assert not any(call.answered_s for call in second.calls())
    return [Leg(to(first), a, first)]


MOVES = [
    warned_and_cut,
    warned_and_cut_after_a_transfer,
    warned_and_cut_in_a_forward,
    cut_while_parked,
    cut_while_it_dials_itself,
    cut_in_a_conference,
    refused_in_a_transfer,
]
