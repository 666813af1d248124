"""What comes out of the core. Adapters carry these out; the core never awaits an outcome, it gets a signal."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rater.ids import LegId
from rater.verdict import Reason

CAUSE_NORMAL = 16
CAUSE_BUSY = 17
CAUSE_REJECTED = 21
CAUSE_CONGESTION = 34
CAUSE_NOT_SUBSCRIBED = 50


class Party(StrEnum):
    BILLED = "billed"
    """The leg itself: the channel towards the trunk."""
    CALLER = "caller"
    """The channel that dials; before the answer the timer is there."""


@dataclass(frozen=True)
class AnswerGate:
    """Give the waiting dialplan its verdict, and arm the caller's timer with `seconds`. Denied, it has some only
    where the channel is a leg already."""

    leg: LegId
    reason: Reason
    seconds: int


@dataclass(frozen=True)
class ArmTimer:
    """Have the switch end the channel `after_ms` from now, whatever happens to us. Replaces an earlier timer."""

    leg: LegId
    party: Party
    after_ms: int


@dataclass(frozen=True)
class HangUp:
    """End the leg now. Before the answer the caller hears the cause."""

    leg: LegId
    cause: int


@dataclass(frozen=True)
class Warn:
    """Tell the paying side, in the call and nobody else, that the leg ends in about so many seconds."""

    leg: LegId
    seconds: int


@dataclass(frozen=True)
class AnnounceEnd:
    """Tell the dialplan of the channel that dials why and when, by the switch's clock, the leg will be cut; empty
    and 0: it will not, as things stand."""

    leg: LegId
    cut: str
    at_ms: int


@dataclass(frozen=True)
class Forget:
    """The leg is settled; the adapter may drop what it kept of it."""

    leg: LegId


SwitchCommand = AnswerGate | ArmTimer | HangUp | Warn | AnnounceEnd | Forget


@dataclass(frozen=True)
class ReserveSlice:
    """Ask limits and money; answered by `Reserved`."""

    leg: LegId


@dataclass(frozen=True)
class PersistAnswer:
    """Write down when the leg was answered; no answer is awaited."""

    leg: LegId
    answered_at_ms: int


@dataclass(frozen=True)
class ExtendSlice:
    """Ask for more; answered by `Extended`. `renew_only`: keep the leases alive, take nothing more."""

    leg: LegId
    elapsed_s: int
    renew_only: bool = False


@dataclass(frozen=True)
class SettleLeg:
    """Charge and release; answered by `Settled`. `duration_s`: None when it was not answered. `emit`: whether it
    ever was a leg, so that it leaves an event."""

    leg: LegId
    duration_s: int | None
    emit: bool


@dataclass(frozen=True)
class WakeAt:
    """Send `Due` at that switch time; replaces an earlier wake-up of the leg."""

    leg: LegId
    at_ms: int


ChargeCommand = ReserveSlice | PersistAnswer | ExtendSlice | SettleLeg
Command = SwitchCommand | ChargeCommand | WakeAt
