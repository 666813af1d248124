"""Thresholds of plans and of accounts, and the cycles in which they and other things count."""

from __future__ import annotations

from rater.catalog.cycles import WEEKDAYS, Cycle, CycleKind
from rater.catalog.plan import Plan
from rater.catalog.table import Table
from rater.catalog.thresholds import OwnThresholds, Thresholds


def read_cycle(table: Table) -> Cycle:
    """The keys `cycle` and `day`."""
    kind = table.choice("cycle", CycleKind, CycleKind.MONTHLY)
    if kind is CycleKind.MONTHLY:
        return Cycle(kind, table.integer("day", 1, low=1, high=31))
    if kind is CycleKind.WEEKLY:
        day = table.reference("day", WEEKDAYS, "weekday", "mon")
        return Cycle(kind, WEEKDAYS.index(day) if day in WEEKDAYS else 0)
    if "day" in table:
        table.fault("day", "a daily cycle has no day", "no such key", at_key=True)
        table.integer("day", 0, low=0, high=0)
    return Cycle(kind, 0)


def read_thresholds(table: Table) -> Thresholds:
    percent = table.integers("allowance_percent", low=1, high=100)
    below, above = table.amounts("money_below"), table.amounts("money_above")
    spend = {key: table.amounts(key) for key in ("spend_hour", "spend_day", "spend_cycle")}
    recurring = table.flag("recurring", True)
    cycle = read_cycle(table)
    for key, amounts in spend.items():
        for i, amount_micro in enumerate(amounts):
            if not amount_micro:
                table.fault_at((key, i), "nothing spent crosses nothing", "an amount above zero")
    if not recurring and not below and not above:
        table.fault(
            "recurring", "no threshold of the balance stands here; only those recur", "money_below or money_above"
        )
    if "cycle" in table and recurring and not spend["spend_cycle"]:
        table.fault("cycle", "nothing here is counted or told by the cycle", "spend_cycle or recurring = false")
    table.finish()
    hour, day, in_cycle = map(_each_once, spend.values())
    return Thresholds(
        _each_once(percent), _each_once(below), _each_once(above), hour, day, in_cycle, recurring, cycle
    )  # fmt: skip


def read_own_thresholds(table: Table, plan: Plan | None) -> OwnThresholds:
    """Those of an account of the plan; None when that is not known."""
    of_plan = table.flag("of_plan", True)
    if of_plan and "cycle" in table:
        message = "the cycle is the plan's as long as its thresholds are told"
        table.fault("cycle", message, "of_plan = false, or no cycle")
    own = read_thresholds(table)
    if of_plan and own == Thresholds():
        table.fault(None, "thresholds that add nothing to the plan's", "at least one, or of_plan = false")
    if own.allowance_percent and plan is not None and not any(each.allowances for each in plan.versions):
        table.fault(
            "allowance_percent", f"the plan {plan.id!r} has no allowances", "other thresholds, or another plan"
        )
    return OwnThresholds(own, of_plan)


def _each_once(values: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(values)))
