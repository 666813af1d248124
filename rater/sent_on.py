"""The timer of a channel that is a leg and the caller of another one: an outside party that was sent on (a
transfer) and dials, or is put through to a line.

A channel has one timer. Until the further leg is answered it must end whichever is due first, the leg that the
channel is or the one that it dials; from then on its own leg alone: the further one has a channel of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rater.calls.commands import AnswerGate, ArmTimer, Party
from rater.calls.session import State
from rater.calls.signals import Direction
from rater.live import LiveLeg

LEAST_MS = 1


def sent_on(record: LiveLeg, call: Iterable[LiveLeg]) -> LiveLeg | None:
    """The leg that this one's caller is, when that is being paid for. `call`: the legs of the conversation."""
    caller = record.session.facts.caller_channel_id
    for other in call:
        own = other.session.facts
        if caller and own.channel_id == caller and own.direction == Direction.OUT and not other.free:
            return other if other.session.state is State.TALKING else None
    return None


def limit(
    command: ArmTimer | AnswerGate, record: LiveLeg, call: Iterable[LiveLeg], now_ms: int
) -> ArmTimer | AnswerGate:
    """The command as it suits both legs of the channel. `now_ms`: switch time."""
    if isinstance(command, ArmTimer) and command.party is Party.BILLED:
        channel = record.session.facts.channel_id
        dialled = [o.session.granted_s * 1000 for o in call if _rings(o, channel)]
        return replace(command, after_ms=min([command.after_ms, *dialled]))
    own = sent_on(record, call)
    if own is None:
        return command
    left_ms = max(LEAST_MS, own.session.paid_until_ms - now_ms)
    if isinstance(command, ArmTimer):
        return replace(command, after_ms=min(command.after_ms, left_ms))
    left_s = max(1, left_ms // 1000)
    return replace(command, seconds=min(command.seconds, left_s) if command.seconds else left_s)


def _rings(record: LiveLeg, caller: str) -> bool:
    session = record.session
    return (
        bool(caller) and session.facts.caller_channel_id == caller and session.state in (State.HELD, State.RINGING)
    )
