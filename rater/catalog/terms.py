"""What an account may do at a moment: its floor, the allowances of the current cycle, thresholds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Hashable
from zoneinfo import ZoneInfo

from rater.attributes import Attribute
from rater.catalog.cycles import Cycle, CycleKind
from rater.catalog.hours import PlanHours
from rater.catalog.model import Account, Enforce, Modality, SpendCaps
from rater.catalog.plan import Allowance, Plan, WhenExhausted
from rater.catalog.thresholds import OwnThresholds, Thresholds, in_force, told
from rater.charging.terms import (
    AllowanceTerm,
    PastCycle,
    Rollover,
    SpendCap,
    SpendWindow,
    Terms,
    Threshold,
    Tier,
)
from rater.kept import Kept
from rater.limits.off_hours import holds, tighter
from rater.money import MAX_AMOUNT_MICRO

HOUR_MS = 3_600_000
_CYCLES_KEPT = 10_000
_TERMS_KEPT = 1_000
_PREPAID, _POSTPAID = Modality.PREPAID, Modality.POSTPAID
_OWN_THRESHOLDS, _SINCE, _CAPS, _OFF_HOURS, _MODALITY, _CREDIT_LIMIT = [
    Attribute(Account, name)
    for name in ("thresholds", "since_ms", "spend", "off_hours", "modality", "credit_limit_micro")
]
_HOUR_CAP, _DAY_CAP = Attribute(SpendCaps, "hour_micro"), Attribute(SpendCaps, "day_micro")
_POSTPAID_WHEN_EXHAUSTED, _CREDIT_WHEN_EXHAUSTED = WhenExhausted.POSTPAID, WhenExhausted.CREDIT


class _Cycle:
    """The allowances of one class while none of them is renewed and the same band is in force. `since_ms`: an
    account that began later has others: part of a cycle, or fewer cycles before."""

    def __init__(
        self, from_ms: int, until_ms: int, since_ms: int, allowances: tuple[AllowanceTerm, ...],
        thresholds: tuple[Threshold, ...], bands: tuple[tuple[int, str], ...],
    ) -> None:  # fmt: skip
        self.from_ms, self.until_ms, self.since_ms = from_ms, until_ms, since_ms
        self.allowances, self.thresholds, self.bands = allowances, thresholds, bands
        self.prepaid: Terms | None = None
        """Of accounts that may spend what they have, and have no caps: most are such."""
        self.terms = Kept(_TERMS_KEPT)
        """By floor, whether money pays, and caps, or, where money pays and nothing is capped, by floor alone: many
        accounts have the same, and are given the same object."""


class PlanTerms:
    """Terms for the accounts of one plan. Keeps the current cycle of each class."""

    def __init__(self, plan: Plan, zone: ZoneInfo) -> None:
        self._plan = plan
        self._when_exhausted = plan.when_exhausted
        watched = plan.thresholds
        self._watches = bool(watched.spend_hour_micro or watched.spend_day_micro or watched.spend_cycle_micro)
        self._zone = zone
        self._hours = PlanHours(plan.bands, zone)
        self._cycles, self._rules = Kept(_CYCLES_KEPT), Kept(_CYCLES_KEPT)
        self._hour_ms = self._day_ms = (0, 0)
        self._spend_ms: dict[Cycle, tuple[int, int]] = {}

    def terms(self, account: Account, destination_class: str, at_ms: int) -> Terms:
        own = _OWN_THRESHOLDS.of(account)
        cycle = self._kept(destination_class, 0, own, at_ms)
        since_ms = _SINCE.of(account)
        if since_ms > cycle.since_ms:
            cycle = self._kept(destination_class, since_ms, own, at_ms)
        caps = _CAPS.of(account) if _OFF_HOURS.of(account) is None else _caps_at(account, at_ms, self._zone)
        if own is not None or self._watches or _HOUR_CAP.of(caps) is not None or _DAY_CAP.of(caps) is not None:
            floor_micro, use_money = floor(account, self._when_exhausted)
            spend = self._spend(caps, self._told(own), at_ms)
            return self._of(cycle, (floor_micro, use_money, spend), floor_micro, use_money, spend)
        if _MODALITY.of(account) is not _PREPAID:
            floor_micro, use_money = floor(account, self._when_exhausted)
            key: Hashable = floor_micro if use_money else (floor_micro, use_money, ())
            return self._of(cycle, key, floor_micro, use_money, ())
        if cycle.prepaid is None:
            cycle.prepaid = self._of(cycle, 0, 0, True, ())
        return cycle.prepaid

    def _of(
        self, cycle: _Cycle, key: Hashable, floor_micro: int, use_money: bool, spend: tuple[SpendCap, ...]
    ) -> Terms:
        terms: Terms | None = cycle.terms.get(key)
        if terms is None:
            terms = Terms(
                floor_micro, use_money, cycle.allowances, cycle.thresholds, self._plan.currency, spend,
                seconds_order=self._plan.seconds_order, money_order=self._plan.money_order, bands=cycle.bands,
            )  # fmt: skip
            cycle.terms.put(key, terms)
        return terms

    def _told(self, own: OwnThresholds | None) -> tuple[Thresholds, ...]:
        rules: tuple[Thresholds, ...] | None = self._rules.get(own)
        if rules is None:
            rules = in_force(self._plan.thresholds, own)
            self._rules.put(own, rules)
        return rules

    def _kept(self, destination_class: str, since_ms: int, own: OwnThresholds | None, at_ms: int) -> _Cycle:
        key: Hashable = (destination_class, since_ms, own) if since_ms or own is not None else destination_class
        cycle: _Cycle | None = self._cycles.get(key)
        now_ms = at_ms
        if cycle is None or not cycle.from_ms <= now_ms < cycle.until_ms:
            cycle = self._cycle(destination_class, since_ms, self._told(own), at_ms)
            self._cycles.put(key, cycle)
        return cycle

    def _spend(self, caps: SpendCaps, rules: tuple[Thresholds, ...], at_ms: int) -> tuple[SpendCap, ...]:
        """The windows in which what is charged counts: for a cap of the account, or a threshold."""
        shadow = caps.enforce is Enforce.SHADOW
        found = []
        if caps.hour_micro is not None or any(rule.spend_hour_micro for rule in rules):
            if not self._hour_ms[0] <= at_ms < self._hour_ms[1]:
                self._hour_ms = hour_bounds(at_ms, self._zone)
            found.append(SpendCap(SpendWindow.HOUR, caps.hour_micro, self._hour_ms[0], shadow))
        if caps.day_micro is not None or any(rule.spend_day_micro for rule in rules):
            if not self._day_ms[0] <= at_ms < self._day_ms[1]:
                self._day_ms = Cycle(CycleKind.DAILY, 0).bounds(at_ms, self._zone)
            found.append(SpendCap(SpendWindow.DAY, caps.day_micro, self._day_ms[0], shadow))
        counted = next((rule.cycle for rule in rules if rule.spend_cycle_micro), None)
        if counted is not None:
            from_ms, until_ms = self._spend_ms.get(counted, (0, 0))
            if not from_ms <= at_ms < until_ms:
                from_ms, _ = self._spend_ms[counted] = counted.bounds(at_ms, self._zone)
            found.append(SpendCap(SpendWindow.CYCLE, None, from_ms))
        return tuple(found)

    def _cycle(self, destination_class: str, since_ms: int, rules: tuple[Thresholds, ...], at_ms: int) -> _Cycle:
        found, oldest_ms = [], 0
        hours_from_ms, hours_until_ms, bands = self._hours.around(at_ms)
        bounds_ms = [(hours_from_ms, hours_until_ms)]
        for allowance, tier in self._plan.allowances_for(destination_class):
            from_ms, until_ms = allowance.cycle.bounds(at_ms, self._zone)
            bounds_ms.append((max(from_ms, since_ms if since_ms <= at_ms else from_ms), until_ms))
            edges_ms = self._edges(allowance, from_ms, until_ms)
            oldest_ms = max(oldest_ms, edges_ms[0])
            if since_ms <= at_ms:
                found.append(_term(allowance, tier, edges_ms, since_ms))
            else:
                bounds_ms.append((from_ms, since_ms))
        once: list[tuple[Thresholds, int]] = []
        for rule in rules:
            if not rule.recurring:
                bounds_ms.append(rule.cycle.bounds(at_ms, self._zone))
            once.append((rule, 0 if rule.recurring else bounds_ms[-1][0]))
        return _Cycle(
            max(from_ms for from_ms, _ in bounds_ms),
            min(until_ms for _, until_ms in bounds_ms),
            oldest_ms,
            tuple(found),
            told(once, found),
            bands,
        )

    def _edges(self, allowance: Allowance, from_ms: int, until_ms: int) -> list[int]:
        """Where the cycles begin: as many before the present one as may roll over, it, and as many after, at least
        the next."""
        count = allowance.rollover.cycles if allowance.rollover is not None else 0
        edges_ms = [from_ms, until_ms]
        for _ in range(count):
            edges_ms.insert(0, allowance.cycle.bounds(edges_ms[0] - 1, self._zone)[0])
        for _ in range(max(1, count)):
            edges_ms.append(allowance.cycle.bounds(edges_ms[-1], self._zone)[1])
        return edges_ms


def _term(allowance: Allowance, tier: Tier, edges_ms: list[int], since_ms: int) -> AllowanceTerm:
    rule = allowance.rollover
    count = rule.cycles if rule is not None else 0
    rollover = None
    if rule is not None:
        past = tuple(
            PastCycle(
                max(edges_ms[i], since_ms), _part(allowance, edges_ms[i], edges_ms[i + 1], since_ms),
                edges_ms[i + 1], edges_ms[i + 1 + count],
            )
            for i in range(count)
            if edges_ms[i + 1] > since_ms
        )  # fmt: skip
        rollover = Rollover(rule.max_s, rule.min_s, past)
    from_ms, until_ms, next_until_ms = edges_ms[count], edges_ms[count + 1], edges_ms[count + 2]
    seconds = _part(allowance, from_ms, until_ms, since_ms)
    return AllowanceTerm(
        allowance.grant, seconds, allowance.cadence, max(from_ms, since_ms), until_ms, tier, allowance.priority,
        next_until_ms, rollover, allowance.hours,
    )  # fmt: skip


def _part(allowance: Allowance, from_ms: int, until_ms: int, since_ms: int) -> int:
    """The seconds of a cycle for an account that began at `since_ms`; the part of a second is given."""
    if not allowance.prorate or since_ms <= from_ms:
        return allowance.seconds
    return -(-allowance.seconds * (until_ms - since_ms) // (until_ms - from_ms))


def hour_bounds(at_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    """The clock hour of the zone that holds a moment, as lasting an hour even where the clock is set in it."""
    offset = dt.datetime.fromtimestamp(at_ms / 1000, zone).utcoffset() or dt.timedelta()
    offset_ms = offset // dt.timedelta(milliseconds=1)
    start_ms = (at_ms + offset_ms) // HOUR_MS * HOUR_MS - offset_ms
    return start_ms, start_ms + HOUR_MS


def _caps_at(account: Account, at_ms: int, zone: ZoneInfo) -> SpendCaps:
    """Those of the account, tightened in its off-hours. Outside them a cap that is for off-hours alone stands at
    what nobody can spend: what is spent is counted all day, so that the books are right when the hours begin."""
    caps, rule = account.spend, account.off_hours
    if rule is None or (rule.spend.hour_micro is None and rule.spend.day_micro is None):
        return caps
    if holds(rule.windows, at_ms, zone):
        own = SpendCaps() if caps.enforce is Enforce.SHADOW else caps
        return SpendCaps(
            tighter(own.hour_micro, rule.spend.hour_micro), tighter(own.day_micro, rule.spend.day_micro)
        )
    return SpendCaps(
        _uncapped(caps.hour_micro, rule.spend.hour_micro),
        _uncapped(caps.day_micro, rule.spend.day_micro),
        caps.enforce,
    )


def _uncapped(own_micro: int | None, off_hours_micro: int | None) -> int | None:
    return MAX_AMOUNT_MICRO if own_micro is None and off_hours_micro is not None else own_micro


def floor(account: Account, when_exhausted: WhenExhausted) -> tuple[int, bool]:
    """(How far down the balance may go, whether money pays at all)."""
    modality = _MODALITY.of(account)
    if modality is _PREPAID:
        return 0, True
    if modality is _POSTPAID or when_exhausted is _POSTPAID_WHEN_EXHAUSTED:
        return -_CREDIT_LIMIT.of(account), True
    return 0, when_exhausted is _CREDIT_WHEN_EXHAUSTED
