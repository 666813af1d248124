"""What of an account's money and minutes is told when it is reached: of a plan, and of single accounts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from rater.catalog.cycles import Cycle
from rater.charging.terms import AllowanceTerm, Threshold, ThresholdKind


@dataclass(frozen=True, slots=True)
class Thresholds:
    """`allowance_percent`: of each allowance. `money_…`: of the balance. `spend_…`: charged in a clock hour, a day,
    or in a `cycle` of their own. `recurring`: those of the balance are told with each crossing, else once in a
    cycle."""

    allowance_percent: tuple[int, ...] = ()
    money_below_micro: tuple[int, ...] = ()
    money_above_micro: tuple[int, ...] = ()
    spend_hour_micro: tuple[int, ...] = ()
    spend_day_micro: tuple[int, ...] = ()
    spend_cycle_micro: tuple[int, ...] = ()
    recurring: bool = True
    cycle: Cycle = field(default_factory=Cycle)


@dataclass(frozen=True, slots=True)
class OwnThresholds:
    """Those of one account. `of_plan`: its plan's are told too, and give the cycle in which both count."""

    own: Thresholds
    of_plan: bool = True


def in_force(of_plan: Thresholds, of_account: OwnThresholds | None) -> tuple[Thresholds, ...]:
    """What an account is told of; the first counts where two tell of the same."""
    if of_account is None:
        return (of_plan,)
    if not of_account.of_plan:
        return (of_account.own,)
    return replace(of_account.own, cycle=of_plan.cycle), of_plan


def told(rules: Iterable[tuple[Thresholds, int]], allowances: Iterable[AllowanceTerm]) -> tuple[Threshold, ...]:
    """Each value once, however many rules name it: a crossing is told once. With each rule the moment from which on
    those of the balance are told once, or 0."""
    found: dict[str, Threshold] = {}
    for rule, once_from_ms in rules:
        percents = [
            Threshold(f"{term.grant}:{percent}", ThresholdKind.ALLOWANCE_PERCENT, percent, term.grant)
            for term in allowances
            for percent in rule.allowance_percent
        ]
        for threshold in (*_of_money(rule, once_from_ms), *percents):
            found.setdefault(threshold.id, threshold)
    return tuple(found.values())


def _of_money(rule: Thresholds, once_from_ms: int) -> tuple[Threshold, ...]:
    """Those on the balance, and on what is spent: which is crossed once in its window anyway."""
    balance = {
        ThresholdKind.MONEY_BELOW: rule.money_below_micro,
        ThresholdKind.MONEY_ABOVE: rule.money_above_micro,
    }
    spent = {
        ThresholdKind.SPEND_HOUR: rule.spend_hour_micro,
        ThresholdKind.SPEND_DAY: rule.spend_day_micro,
        ThresholdKind.SPEND_CYCLE: rule.spend_cycle_micro,
    }
    return (
        *(Threshold(f"{kind}:{v}", kind, v, once_from_ms=once_from_ms) for kind, vs in balance.items() for v in vs),
        *(Threshold(f"{kind}:{v}", kind, v) for kind, vs in spent.items() for v in vs),
    )  # fmt: skip
