"""What the engine keeps of a switch that it leads and of each live leg."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from rater.admission import first, is_free
from rater.calls.commands import SwitchCommand
from rater.calls.session import Session
from rater.calls.signals import Direction, KnownLeg, Mode
from rater.catalog.model import SHARD_ZERO, Enforce, SwitchRules, Trunk
from rater.charging.records import LegState
from rater.charging.terms import CallRate, Lease, Terms
from rater.clock import Clock
from rater.ids import AccountId, CallId, Shard, SwitchId, TrunkId
from rater.limits.slots import TrunkSlots
from rater.money import Quote
from rater.verdict import Reason

CLOCK_SET_MS = 120_000
"""A signal this much older than the clock estimate was not delayed: the switch's clock was set."""
UNMEASURED_MS = -(1 << 62)


class SwitchPort(Protocol):
    """The way to one switch. `execute` collects, `flush` writes."""

    def execute(self, command: SwitchCommand) -> None: ...

    def flush(self) -> None: ...


@dataclass
class LiveSwitch:
    id: SwitchId
    port: SwitchPort
    rules: SwitchRules
    fails_open: bool
    epoch: int
    warn_s: tuple[int, ...] = ()
    measured_ms: int = UNMEASURED_MS
    """Switch time less our monotonic time, from the least delayed signal."""
    active: dict[str, int] = field(default_factory=lambda: {"out": 0, "in": 0})
    """How many live legs it has, by direction."""
    calls: int = 0
    """And of how many calls they are."""
    slots: TrunkSlots = field(default_factory=TrunkSlots)
    told: bool = False
    """Commands wait in its port for the next flush."""

    def note_time(self, at_ms: int, monotonic_ms: int) -> None:
        """Delays only make a signal look older: the largest difference is the truest, until the clock is set."""
        sample_ms = at_ms - monotonic_ms
        if not 0 <= self.measured_ms - sample_ms < CLOCK_SET_MS:
            self.measured_ms = sample_ms

    def offset_ms(self, clock: Clock) -> int:
        """Until the switch has said its time, ours stands for it."""
        if self.measured_ms == UNMEASURED_MS:
            return clock.wall_ms() - clock.monotonic_ms()
        return self.measured_ms


@dataclass
class LiveLeg:
    """A session with what charging needs to speak for it."""

    session: Session
    switch: LiveSwitch
    account: AccountId
    shard: Shard
    quote: Quote
    terms: Terms
    leases: tuple[Lease, ...]
    exempt: bool
    free: bool
    next_op: int
    arrived_ns: int
    rates: tuple[CallRate, ...] = ()
    outside: tuple[Lease, ...] = ()
    """A reseller's, kept in its shard."""
    outside_shard: Shard = SHARD_ZERO
    broken: Reason = Reason.ALLOWED
    """A limit kept outside the account's shard that is reached."""
    would: Reason = Reason.ALLOWED
    """What a rule in shadow would have denied it for; told when the leg begins."""
    shadow: bool = False
    """Nothing is enforced on the leg."""
    owner: AccountId | None = None
    """Of the sharing group that it draws on: its money is waited for too."""
    wake: int = 0
    """The number of its valid wake-up; older ones in the heap are void."""

    def take_slot(self, trunk: TrunkId, known: Trunk | None) -> bool:
        """Take the trunk's slot; whether the leg may go on. A limit that is reached is noted."""
        forced = self.exempt or self.shadow or (known is not None and known.enforce is Enforce.SHADOW)
        most = known.max_calls if known is not None else None
        within = self.switch.slots.take(trunk, self.session.leg, most, forced)
        if not within and not forced:
            self.broken = first(self.broken, Reason.TRUNK_LIMIT)
        elif not within and not self.exempt:
            self.would = first(self.would, Reason.TRUNK_LIMIT)
        return within or forced


def resumed(session: Session, switch: LiveSwitch, state: LegState) -> LiveLeg:
    """A leg of the store, taken up again; its terms are the catalogue's to say."""
    return LiveLeg(
        session=session,
        switch=switch,
        account=state.account,
        shard=state.shard,
        quote=state.quote,
        terms=Terms(),
        leases=(),
        exempt=state.exempt,
        free=is_free(state.quote),
        next_op=state.next_op,
        arrived_ns=0,
        shadow=session.facts.mode == Mode.SHADOW,
    )


def known_leg(session: Session) -> KnownLeg:
    """What of a leg is compared with the switch's own list."""
    facts = session.facts
    return KnownLeg(
        leg=session.leg,
        call=CallId(facts.call),
        channel_id=facts.channel_id,
        caller_channel_id=facts.caller_channel_id,
        answered=session.answered_at_ms is not None,
        direction=Direction(facts.direction),
        seen_at_ms=session.seen_at_ms,
        dialled=facts.dialled,
    )
