"""What goes into the core. Everything a session learns reaches it as one of these, time included.

Times are the *switch's*: ``at_ms`` is when the event happened, milliseconds since the epoch (AMI
``timestampevents``, else arrival mapped from the monotonic clock; one of the two for the whole connection). What
does not come from the switch (a reply, a wake-up) is handled at ``now_ms``, the engine's estimate of the switch's
clock at that moment, which is handed to the session beside the signal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rater.ids import CallId, LegId, SwitchId, TrunkId
from rater.verdict import Reason


class Mode(StrEnum):
    GATE = "gate"
    """The dialplan waits for the verdict."""
    WATCH = "watch"
    """The leg exists already; a denial hangs it up."""
    SHADOW = "shadow"
    """Decide and report; touch nothing."""


class Direction(StrEnum):
    OUT = "out"
    IN = "in"


class Disposition(StrEnum):
    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    CANCELLED = "cancelled"
    FAILED = "failed"
    DENIED = "denied"


class Grade(StrEnum):
    """How an ending is known."""

    OBSERVED = "observed"
    """The hang-up event was seen."""
    RECONCILED = "reconciled"
    """Other evidence of the switch: a call detail record."""
    ESTIMATED = "estimated"
    """Last seen alive; never later than the paid slice."""


@dataclass(frozen=True)
class Payer:
    """What the switch tells of who dials, in the order in which the switch's rule looks at it. Never caller id."""

    account_code: str = ""
    endpoint: str = ""
    variable: str = ""


@dataclass(frozen=True)
class Attempted:
    """A leg is wanted (gate) or has just begun (watch). `number` is as dialled, for an inbound leg as called."""

    leg: LegId
    call: CallId
    switch: SwitchId
    mode: Mode
    direction: Direction
    payer: Payer
    number: str
    trunk: TrunkId | None
    caller: str
    """The caller's identification as shown, for the record only."""
    at_ms: int
    arrived_ns: int = 0
    """time.monotonic_ns() when the bytes were read, for the decision latency."""
    caller_channel_id: str = ""
    """What the switch calls the dialling channel, so that a restarted daemon finds it again."""


@dataclass(frozen=True)
class Dialled:
    """The leg's own channel towards the trunk exists. `channel_id` is what the switch calls it, opaque here."""

    leg: LegId
    trunk: TrunkId
    channel_id: str
    at_ms: int


@dataclass(frozen=True)
class Answered:
    leg: LegId
    at_ms: int
    grade: Grade = Grade.OBSERVED


@dataclass(frozen=True)
class Ended:
    """The leg is over. `cause` is the Q.850 hang-up cause, 0 when unknown."""

    leg: LegId
    at_ms: int
    cause: int
    disposition: Disposition
    grade: Grade = Grade.OBSERVED


@dataclass(frozen=True)
class Seen:
    """Proof of life, by the switch's list or its word; the leg sets its timer anew."""

    leg: LegId
    at_ms: int


@dataclass(frozen=True)
class Reserved:
    leg: LegId
    reason: Reason
    granted_s: int
    final: bool
    """Nothing more can be had at present; the leg ends with this slice unless money arrives."""
    capped: bool = False
    """Because of a spend cap, not for want of money."""


@dataclass(frozen=True)
class Extended:
    leg: LegId
    granted_s: int
    """In all, since the answer; unchanged when nothing more could be had."""
    final: bool
    capped: bool = False


@dataclass(frozen=True)
class Settled:
    leg: LegId
    amount_micro: int


@dataclass(frozen=True)
class Lost:
    """The store knows nothing of the leg (any more), or a newer leader writes for its switch."""

    leg: LegId


@dataclass(frozen=True)
class Due:
    """A wake-up that the session asked for."""

    leg: LegId


@dataclass(frozen=True)
class MoneyArrived:
    """More may be had now: the account was credited, or another leg gave back."""

    leg: LegId


@dataclass(frozen=True)
class HangupRequested:
    """An operator ends the leg."""

    leg: LegId


Signal = (
    Attempted | Dialled | Answered | Ended | Seen | Reserved | Extended | Settled | Lost | Due | MoneyArrived
    | HangupRequested
)  # fmt: skip


@dataclass(frozen=True)
class KnownLeg:
    """No signal, but what the core knows of a leg when the switch's own list is compared with it."""

    leg: LegId
    call: CallId
    channel_id: str
    caller_channel_id: str
    answered: bool
    direction: Direction
    seen_at_ms: int
    dialled: str = ""
    """The number that it was priced by, as it was dialled."""
