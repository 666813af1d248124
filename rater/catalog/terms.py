"""What an account may do at a moment: its floor, the allowances of the current cycle, thresholds."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from rater.catalog.cycles import Cycle, CycleKind
from rater.catalog.model import Account, Enforce, Modality, SpendCaps
from rater.catalog.plan import Plan, WhenExhausted
from rater.charging.model import AllowanceTerm, SpendCap, SpendWindow, Terms, Threshold, ThresholdKind, Tier

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class _Cycle:
    """The allowances of one class while none of them is renewed."""

    from_ms: int
    until_ms: int
    allowances: tuple[AllowanceTerm, ...]
    thresholds: tuple[Threshold, ...]


class PlanTerms:
    """Terms for the accounts of one plan. Keeps the current cycle of each class."""

    def __init__(self, plan: Plan, zone: ZoneInfo) -> None:
        self._plan = plan
        self._zone = zone
        self._cycles: dict[str, _Cycle] = {}
        self._hour_ms = self._day_ms = (0, 0)
        self._money = tuple(
            Threshold(f"money_below:{value}", ThresholdKind.MONEY_BELOW, value)
            for value in plan.thresholds.money_below_micro
        )

    def terms(self, account: Account, destination_class: str, at_ms: int) -> Terms:
        cycle = self._cycles.get(destination_class)
        if cycle is None or not cycle.from_ms <= at_ms < cycle.until_ms:
            cycle = self._cycle(destination_class, at_ms)
            self._cycles[destination_class] = cycle
        floor_micro, use_money = floor(account, self._plan.when_exhausted)
        spend = self._spend(account.spend, at_ms)
        return Terms(floor_micro, use_money, cycle.allowances, cycle.thresholds, self._plan.currency, spend)

    def _spend(self, caps: SpendCaps, at_ms: int) -> tuple[SpendCap, ...]:
        if caps.hour_micro is None and caps.day_micro is None:
            return ()
        if not self._hour_ms[0] <= at_ms < self._hour_ms[1]:
            self._hour_ms = hour_bounds(at_ms, self._zone)
        shadow = caps.enforce is Enforce.SHADOW
        found = []
        if caps.hour_micro is not None:
            found.append(SpendCap(SpendWindow.HOUR, caps.hour_micro, self._hour_ms[0], shadow))
        if caps.day_micro is not None:
            if not self._day_ms[0] <= at_ms < self._day_ms[1]:
                self._day_ms = Cycle(CycleKind.DAILY, 0).bounds(at_ms, self._zone)
            found.append(SpendCap(SpendWindow.DAY, caps.day_micro, self._day_ms[0], shadow))
        return tuple(found)

    def _cycle(self, destination_class: str, at_ms: int) -> _Cycle:
        found = []
        for allowance in self._plan.allowances_for(destination_class):
            from_ms, until_ms = allowance.cycle.bounds(at_ms, self._zone)
            _, next_until_ms = allowance.cycle.bounds(until_ms, self._zone)
            tier = Tier.OWN if destination_class in allowance.classes else Tier.LINKED
            found.append(
                AllowanceTerm(
                    allowance.grant, allowance.seconds, allowance.cadence, from_ms, until_ms, tier,
                    next_until_ms=next_until_ms,
                )
            )  # fmt: skip
        percents = tuple(
            Threshold(f"{term.grant}:{percent}", ThresholdKind.ALLOWANCE_PERCENT, percent, term.grant)
            for term in found
            for percent in self._plan.thresholds.allowance_percent
        )
        return _Cycle(
            max((term.valid_from_ms for term in found), default=0),
            min((term.valid_until_ms for term in found), default=2**62),
            tuple(found),
            self._money + percents,
        )


def hour_bounds(at_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    """The clock hour of the zone that holds a moment, as lasting an hour even where the clock is set in it."""
    offset = dt.datetime.fromtimestamp(at_ms / 1000, zone).utcoffset() or dt.timedelta()
    offset_ms = offset // dt.timedelta(milliseconds=1)
    start_ms = (at_ms + offset_ms) // HOUR_MS * HOUR_MS - offset_ms
    return start_ms, start_ms + HOUR_MS


def floor(account: Account, when_exhausted: WhenExhausted) -> tuple[int, bool]:
    """(How far down the balance may go, whether money pays at all)."""
    if account.modality is Modality.PREPAID:
        return 0, True
    if account.modality is Modality.POSTPAID:
        return -account.credit_limit_micro, True
    if when_exhausted is WhenExhausted.POSTPAID:
        return -account.credit_limit_micro, True
    return 0, when_exhausted is WhenExhausted.CREDIT
