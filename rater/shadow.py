"""What is told of a leg that a rule in shadow would have denied or ended; what of its commands is left. Pure."""

from __future__ import annotations

from dataclasses import replace

from rater.calls.commands import AnswerGate, ArmTimer, HangUp
from rater.charging.model import Deny
from rater.events.facts import LegFacts
from rater.ids import OpId, Shard
from rater.verdict import Reason


def soften(command: AnswerGate | ArmTimer | HangUp, facts: LegFacts) -> AnswerGate | HangUp | None:
    """The command as it reaches the switch for a leg in shadow: a gate that waits is told to go on without a
    timer; only an operator ends the leg."""
    if isinstance(command, AnswerGate):
        return replace(command, reason=Reason.ALLOWED, seconds=0)
    if isinstance(command, HangUp) and facts.cut == "operator":
        return command
    facts.cut = ""
    return None


def report(facts: LegFacts, reason: Reason, at_s: int | None, shard: Shard, now_ms: int) -> Deny | None:
    """The record of the first thing that would have happened to the leg: denied (`at_s` None), or ended after so
    many seconds of talk. Nothing for what would have happened after that."""
    if facts.shadow:
        return None
    facts.shadow, facts.shadow_at_s = reason.code, at_s
    return Deny(OpId(f"{facts.id}:shadow"), shard, now_ms, replace(facts, reason=reason.code).pack())
