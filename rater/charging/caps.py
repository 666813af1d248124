"""Leases, call rates and spend caps, readable: the reference of lua/limits.lua, lua/spend.lua, lua/lease.lua."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rater.charging.books import Leg
from rater.charging.model import Reply, Reserve, Status, TakeLeases
from rater.charging.rules import lease_expiry_ms, lease_needed_ms
from rater.charging.terms import CallRate, SpendCap, SpendWindow, Threshold
from rater.ids import AccountId, LegId, Shard
from rater.verdict import Reason

RATE_WINDOW_MS = 1000


class Broken:
    """The rules that an attempt breaks: of those that deny, and of those in shadow, the first by precedence."""

    def __init__(self) -> None:
        self.reason = self.would = Reason.ALLOWED

    def note(self, reason: Reason, *, shadow: bool) -> None:
        if reason is Reason.ALLOWED:
            return
        if shadow:
            self.would = min(self.would or reason, reason)
        else:
            self.reason = min(self.reason or reason, reason)


@dataclass(slots=True)
class Spent:
    """What an account was charged in the present clock hour, day and cycle (start of the window, micro-units), and
    what its live legs hold, whichever grant or balance pays; of a group's owner also what members take of it.
    `told`: thresholds that are told once in a cycle, with the start of the last one in which they were."""

    windows: dict[SpendWindow, tuple[int, int]] = field(default_factory=dict)
    held_micro: int = 0
    told: dict[str, int] = field(default_factory=dict)

    def charged_micro(self, cap: SpendCap) -> int:
        from_ms, charged_micro = self.windows.get(cap.window, (0, 0))
        return 0 if cap.from_ms > from_ms else charged_micro

    def note(self, caps: Iterable[SpendCap], charged_micro: int, held_micro: int) -> None:
        """So much more was charged, so much more is held (less, when negative)."""
        for cap in caps:
            from_ms = self.windows.get(cap.window, (0, 0))[0]
            self.windows[cap.window] = (max(cap.from_ms, from_ms), self.charged_micro(cap) + charged_micro)
        self.held_micro = max(0, self.held_micro + held_micro)

    def left_micro(self, caps: Iterable[SpendCap]) -> int | None:
        """What may still be reserved under the caps in force; None: any amount."""
        lefts = [
            cap.limit_micro - self.charged_micro(cap) - self.held_micro
            for cap in caps
            if cap.limit_micro is not None and not cap.shadow
        ]
        return max(0, min(lefts)) if lefts else None

    def beyond_shadow(self, caps: Iterable[SpendCap]) -> bool:
        """Whether a cap in shadow is exceeded."""
        return any(
            cap.limit_micro is not None
            and cap.shadow
            and self.charged_micro(cap) + self.held_micro > cap.limit_micro
            for cap in caps
        )

    def tell(self, threshold: Threshold) -> bool:
        """Whether a crossing is to be told; one that is told once in a cycle is noted."""
        cycle_ms = threshold.once_from_ms
        if not cycle_ms:
            return True
        if self.told.get(threshold.id, 0) >= cycle_ms:
            return False
        self.told = {name: at_ms for name, at_ms in self.told.items() if at_ms >= cycle_ms} | {
            threshold.id: cycle_ms
        }
        return True


def recent(passed: Sequence[int], now_ms: int, rate: CallRate) -> list[int]:
    """The attempts that still count, at most the latest `rate.calls`; those of a clock set back do not."""
    kept = [at_ms for at_ms in passed if now_ms - RATE_WINDOW_MS < at_ms <= now_ms + RATE_WINDOW_MS]
    return kept[max(0, len(kept) - rate.calls) :]


class LimitBooks:
    """What the reference store keeps for limits."""

    def __init__(self) -> None:
        self._leases: dict[tuple[Shard, str], dict[LegId, int]] = defaultdict(dict)
        self._rates: dict[tuple[Shard, str], list[int]] = defaultdict(list)
        self._spent: dict[tuple[Shard, AccountId], Spent] = defaultdict(Spent)

    # -- leases ----------------------------------------------------------------------------------------------------

    def live(self, shard: Shard, scope: str, now_ms: int, *, but: LegId | None = None) -> int:
        """How many slots of a limit are taken, not counting that of one leg."""
        return sum(until > now_ms for leg, until in self._leases[shard, scope].items() if leg != but)

    def renew(self, leg: Leg, now_ms: int, elapsed_s: int = 0) -> None:
        """Only when they do not outlast by a good while what is paid ahead: renewing is what most of an extension
        would be."""
        if leg.leased_until_ms >= lease_needed_ms(now_ms, leg.granted_s, elapsed_s):
            return
        leg.leased_until_ms = lease_expiry_ms(now_ms, leg.granted_s)
        for scope in leg.leases:
            self._leases[leg.shard, scope][leg.id] = leg.leased_until_ms

    def free(self, shard: Shard, leg: LegId, scopes: Iterable[str]) -> None:
        for scope in scopes:
            self._leases[shard, scope].pop(leg, None)

    def take(self, request: TakeLeases) -> Reply:
        broken = Broken()
        for lease in () if request.forced else request.leases:
            if self.live(request.shard, lease.scope, request.now_ms, but=request.leg) >= lease.limit:
                broken.note(lease.reason, shadow=lease.shadow)
        if not broken.reason.allows:
            return Reply(Status.DENIED, broken.reason)
        for lease in request.leases:
            self._leases[request.shard, lease.scope][request.leg] = request.until_ms
        return Reply(Status.OK, broken.would)

    # -- attempts --------------------------------------------------------------------------------------------------

    def broken(self, request: Reserve) -> Broken:
        """All limits that are reached, but for those of money."""
        broken, shadow = Broken(), request.terms.shadow
        broken.note(request.broken, shadow=shadow)
        for lease in request.leases:
            if self.live(request.shard, lease.scope, request.now_ms) >= lease.limit:
                broken.note(lease.reason, shadow=lease.shadow or shadow)
        for rate in request.rates:
            if len(recent(self._rates[request.shard, rate.scope], request.now_ms, rate)) >= rate.calls:
                broken.note(rate.reason, shadow=rate.shadow or shadow)
        return broken

    def note_attempt(self, request: Reserve) -> None:
        """One that passed."""
        for rate in () if request.exempt else request.rates:
            passed = recent(self._rates[request.shard, rate.scope], request.now_ms, rate)
            kept = passed[1:] if len(passed) >= rate.calls else passed
            self._rates[request.shard, rate.scope] = [*kept, request.now_ms]

    # -- money -----------------------------------------------------------------------------------------------------

    def spent(self, shard: Shard, account: AccountId) -> Spent:
        return self._spent[shard, account]

    def hold(self, spent: Spent, caps: Sequence[SpendCap], more_micro: int, broken: Broken) -> None:
        """Count what a leg holds more, and note when that goes beyond a cap in shadow."""
        if any(cap.limit_micro is not None for cap in caps):
            spent.note(caps, 0, more_micro)
            if spent.beyond_shadow(caps):
                broken.note(Reason.SPEND_LIMIT, shadow=True)

    def settle(
        self, spent: Spent, caps: Sequence[SpendCap], charged_micro: int, held_micro: int, *, idle: bool
    ) -> None:
        """Count what a leg was charged, and no longer what it held. `idle`: no other leg holds anything now: what a
        change of the caps may have left is put right."""
        if caps:
            spent.note(caps, charged_micro, -held_micro)
            if idle:
                spent.held_micro = 0

    # -- accounts that move ----------------------------------------------------------------------------------------

    def lift(self, leg: Leg) -> dict[str, int]:
        """Take the leg's leases off its shard: scope and expiry."""
        held = {scope: self._leases[leg.shard, scope].pop(leg.id, None) for scope in leg.leases}
        return {scope: until_ms for scope, until_ms in held.items() if until_ms is not None}

    def lay(self, leg: Leg, leases: Mapping[str, int]) -> None:
        for scope, until_ms in leases.items():
            self._leases[leg.shard, scope][leg.id] = until_ms

    def lift_spent(self, shard: Shard, account: AccountId) -> Spent | None:
        return self._spent.pop((shard, account), None)

    def lay_spent(self, shard: Shard, account: AccountId, spent: Spent | None) -> None:
        if spent is not None:
            self._spent[shard, account] = spent
