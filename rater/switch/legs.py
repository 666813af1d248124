"""What the tracker keeps of a leg while it lives."""

from __future__ import annotations

from dataclasses import dataclass

from rater.calls.signals import Direction, Disposition, Mode, Payer
from rater.ids import CallId, LegId, TrunkId
from rater.switch.channels import Channel

_IN = Direction.IN


@dataclass(eq=False)
class Leg:
    """`billed` is its own channel, towards the trunk (inbound: the line's); None until it is dialled."""

    id: LegId
    call: CallId
    mode: Mode
    direction: Direction
    payer: Payer
    trunk: TrunkId | None = None
    caller: Channel | None = None
    billed: Channel | None = None
    asking: bool = False
    """The dialplan waits in the gate."""
    open: bool = False
    """A gate's leg that the next dial may take over."""
    answered: bool = False
    ended: bool = False
    forgotten: bool = False
    """The core is done with it."""

    @property
    def passes(self) -> bool:
        """It is the incoming channel of a call that is led outside again; see `rater.switch.passage`."""
        return _passes(self)

    def channels(self) -> LegChannels:
        """Where its actions go, now."""
        return LegChannels(
            _living(self.billed), _living(self.caller), self.asking, self.answered, self.direction, _passes(self)
        )

    def is_dialled_by(self, caller: Channel | None) -> bool:
        return self.caller is caller and self.billed is not None and not _passes(self) and not self.ended


@dataclass(frozen=True)
class LegChannels:
    """The names that actions need; None where there is no such channel (any more)."""

    billed: str | None
    caller: str | None
    asking: bool
    answered: bool
    direction: Direction
    passes: bool = False


def _passes(leg: Leg) -> bool:
    """Apart from the property, through which nothing is called in C."""
    return leg.direction is _IN and leg.billed is not None and leg.billed.trunk is not None


def _living(channel: Channel | None) -> str | None:
    return channel.name if channel is not None and channel.hung_at_ms is None else None


_BY_STATUS = {
    "BUSY": Disposition.BUSY,
    "NOANSWER": Disposition.NO_ANSWER,
    "CANCEL": Disposition.CANCELLED,
    "ABORT": Disposition.CANCELLED,
    "CONGESTION": Disposition.FAILED,
    "CHANUNAVAIL": Disposition.FAILED,
    "INVALIDARGS": Disposition.FAILED,
    "DONTCALL": Disposition.FAILED,
    "TORTURE": Disposition.FAILED,
}
_BY_CAUSE = {
    16: Disposition.CANCELLED,
    17: Disposition.BUSY,
    18: Disposition.NO_ANSWER,
    19: Disposition.NO_ANSWER,
    26: Disposition.CANCELLED,
    127: Disposition.CANCELLED,
}


def disposition(answered: bool, dial_status: str, cause: int) -> Disposition:
    """How an attempt came out: what `Dial` said of it, else the Q.850 cause (26: answered elsewhere)."""
    if answered:
        return Disposition.ANSWERED
    return _BY_STATUS.get(dial_status) or _BY_CAUSE.get(cause, Disposition.FAILED)
