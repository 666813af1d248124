"""What calls do: believable kinds of calls as lists of steps, and how often each comes.

Every call asks the gate first. `ALLOWED` and `DENIED` follow its verdict; then the steps, each after a wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache, cached_property

from bench.load.captures import Burst, Frame, bursts, compile_burst, identities_of, join


class Wait(IntEnum):
    """What passes before a step."""

    SOON = 0
    """20 ms: a network answers."""
    RING = 1
    HALF = 2
    """Half of the talk."""
    TALK = 3


class Who(IntEnum):
    """Whose telephone a kind of call comes from, and whom it calls."""

    USUAL = 0
    POOR = 1
    """An account that has money for three seconds, once."""
    BLOCKED = 2
    """A usual account, to a number that its plan blocks."""


@dataclass(frozen=True)
class Step:
    """`answers`: with it the billed channel is up. `ends`: the call is over with it."""

    burst: Burst
    wait: Wait
    answers: bool = False
    ends: bool = False

    @cached_property
    def dials(self) -> bool:
        """Whether a further channel comes into the call: a second trunk, or the line that it is sent to."""
        return self.burst.holds(b"Event: Newchannel")


@dataclass(frozen=True)
class Kind:
    """`billed`: which of the call's channels is the leg that talks, 1 or 2."""

    name: str
    share: float
    allowed: Burst
    steps: tuple[Step, ...]
    who: Who = Who.USUAL
    billed: int = 1

    @cached_property
    def first_trunk(self) -> bytes:
        """What the name of its first trunk's channel begins with."""
        return b"PJSIP/trunk2-" if self.allowed.holds(b"trunk2") else b"PJSIP/trunk-"


@dataclass(frozen=True, slots=True)
class Mix:
    """`begin`: a call comes in and asks. `denied`, `guard`: the gate refused; nobody answered it. `away`: it was
    not even asked, for nobody is there. `cut`: the switch's timer, or somebody, ended the talk; `dropped`:
    somebody ended the call before the answer."""

    begin: Burst
    denied: Burst
    guard: Burst
    away: Burst
    cut: Burst
    dropped: Burst
    kinds: tuple[Kind, ...]


@cache
def mix() -> Mix:
    """From the captures."""
    begin, asked, dial, ring, answer, end = bursts("gate")
    _, refused = bursts("gate_denied")
    new, _, busy_end = bursts("busy")
    *_, cancel_end = bursts("cancel")
    *_, cut_end = bursts("cut")
    _, asked_f, dial_f, refused_f, dial_f2, ring_f, answer_f, end_f = bursts("gate_failover")
    _, asked_n, dial_n, ring_n, silent, dial_n2, ring_n2, answer_n, end_n = bursts("noanswer")
    _, dial_t, ring_t, answer_t, leave, dial_t2, ring_t2, answer_t2, end_t = bursts("blind_line")
    of_gate, of_busy, of_cut = identities_of("gate"), identities_of("busy"), identities_of("cut")
    of_cancel, of_denied = identities_of("cancel"), identities_of("gate_denied")
    of_failover, of_silent, of_transfer = (
        identities_of("gate_failover"), identities_of("noanswer"), identities_of("blind_line"),
    )  # fmt: skip
    allowed = compile_burst(join(asked, dial), of_gate)
    ringing = Step(compile_burst(ring, of_gate), Wait.SOON)
    answered = Step(compile_burst(answer, of_gate), Wait.RING, answers=True)
    over = Step(compile_burst(end, of_gate), Wait.TALK, ends=True)
    caller_gone = _retold(busy_end[-2:], b"17", b"19", b"User busy", b"User alerting, no answer")
    kinds = (
        Kind("answered", 0.66, allowed, (ringing, answered, over)),
        Kind("busy", 0.07, allowed, (Step(compile_burst(busy_end, of_busy), Wait.SOON, ends=True),)),
        Kind(
            "cancelled", 0.07, allowed,
            (ringing, Step(compile_burst(cancel_end, of_cancel), Wait.RING, ends=True)),
        ),
        Kind(
            "no_answer", 0.05, compile_burst(join(asked_n, dial_n), of_silent),
            (
                Step(compile_burst(ring_n, of_silent), Wait.SOON),
                Step(compile_burst(silent, of_silent).then(compile_burst(caller_gone, of_busy)), Wait.RING,
                     ends=True),
            ),
        ),
        Kind(
            "second_trunk", 0.04, compile_burst(join(asked_f, dial_f), of_failover),
            (
                Step(compile_burst(join(refused_f, dial_f2, ring_f), of_failover), Wait.SOON),
                Step(compile_burst(answer_f, of_failover), Wait.RING, answers=True),
                Step(compile_burst(end_f, of_failover), Wait.TALK, ends=True),
            ),
            billed=2,
        ),
        Kind(
            "no_answer_then_second", 0.02, compile_burst(join(asked_n, dial_n), of_silent),
            (
                Step(compile_burst(ring_n, of_silent), Wait.SOON),
                Step(compile_burst(join(silent, dial_n2, ring_n2), of_silent), Wait.RING),
                Step(compile_burst(answer_n, of_silent), Wait.RING, answers=True),
                Step(compile_burst(end_n, of_silent), Wait.TALK, ends=True),
            ),
            billed=2,
        ),
        Kind(
            "transfer", 0.04, compile_burst(asked, of_gate).then(compile_burst(dial_t, of_transfer)),
            (
                Step(compile_burst(ring_t, of_transfer), Wait.SOON),
                Step(compile_burst(answer_t, of_transfer), Wait.RING, answers=True),
                Step(compile_burst(join(leave, dial_t2, ring_t2), of_transfer), Wait.HALF),
                Step(compile_burst(answer_t2, of_transfer), Wait.SOON),
                Step(compile_burst(end_t, of_transfer), Wait.HALF, ends=True),
            ),
        ),
        Kind("runs_dry", 0.02, allowed, (ringing, answered, over), who=Who.POOR),
        Kind("blocked", 0.03, allowed, (ringing, answered, over), who=Who.BLOCKED),
    )  # fmt: skip
    ended_asking = [frame for frame in refused if frame[0] in ("AsyncAGIEnd", "SoftHangupRequest", "Hangup")]
    return Mix(
        begin=compile_burst(begin, of_gate),
        denied=compile_burst(refused, of_denied),
        guard=compile_burst(ended_asking, of_denied),
        away=compile_burst(new, of_busy).then(compile_burst(caller_gone, of_busy)),
        cut=compile_burst(cut_end, of_cut),
        dropped=compile_burst(cancel_end, of_cancel),
        kinds=kinds,
    )


def _retold(frames: list[Frame], *pairs: bytes) -> list[Frame]:
    """With one Q.850 cause for another."""
    cause, other, text, other_text = pairs
    swaps = ((b"\nCause: " + cause, b"\nCause: " + other), (text, other_text))
    told = []
    for name, frame in frames:
        if name == "Hangup":
            for before, after in swaps:
                frame = frame.replace(before, after)
        told.append((name, frame))
    return told
