"""How `rater rerate` shows a comparison: as records for programs, as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from rater.commands.common import console
from rater.money import format_amount
from rater.rerate.model import UNPRICED
from rater.rerate.tally import Key, Sums, Tally

SHOWN = 15


def sums_record(sums: Sums) -> dict[str, Any]:
    amounts = {
        "old": sums.old_micro, "new": sums.new_micro, "difference": sums.difference_micro,
        "unpriced_old": sums.unpriced_micro,
    }  # fmt: skip
    return {
        "events": sums.events,
        "seconds": sums.seconds,
        "unpriced_events": sums.unpriced,
        **{name: format_amount(micro) for name, micro in amounts.items()},
        **{f"{name}_micro": micro for name, micro in amounts.items()},
    }


def view_records(view: str, sums: Mapping[Key, Sums]) -> list[dict[str, Any]]:
    """In order of the key."""
    return [{view: name, "currency": currency, **sums_record(s)} for (name, currency), s in sorted(sums.items())]


def show(tally: Tally, summary: Mapping[str, Any]) -> None:
    """The comparison for a person: totals, classes, the accounts and prefixes that change most, what is missing."""
    console.print(
        f"{summary['events']} events, {summary['from']} to {summary['to']}, under {escape(summary['catalog'])}: "
        f"{summary['changed']} would cost something else",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if not summary["events"]:
        return
    console.print(_table("total", {("", currency): sums for currency, sums in tally.totals.items()}))
    console.print(_table("class", tally.views["class"]))
    for view in ("account", "prefix"):
        if any(sums.difference_micro for sums in tally.views[view].values()):
            console.print(_table(view, tally.views[view]))
    _show_outcomes(tally, summary)
    if summary["out"]:
        console.print(f"report with {summary['adjustments']} adjustments proposed: {escape(summary['out'])}",
                      highlight=False, soft_wrap=True)  # fmt: skip
    elif summary["adjustments"]:
        console.print(f"{summary['adjustments']} accounts would be adjusted; --out DIR writes them down",
                      highlight=False)  # fmt: skip


def _table(view: str, sums: Mapping[Key, Sums]) -> Table:
    """The largest differences first."""
    rows = sorted(sums.items(), key=lambda item: (-abs(item[1].difference_micro), item[0]))
    rest = len(rows) - SHOWN
    table = Table(caption=f"and {rest} more" if rest > 0 else None)
    for name in (view, "currency", "events", "old", "new", "difference", "unpriced"):
        table.add_column(name, justify="left" if name in (view, "currency") else "right", overflow="fold")
    for (name, currency), s in rows[:SHOWN]:
        colour = "red" if s.difference_micro > 0 else "green" if s.difference_micro else "dim"
        table.add_row(
            escape(name or "-"), escape(currency or "-"), str(s.events), format_amount(s.old_micro),
            format_amount(s.new_micro), f"[{colour}]{_signed(s.difference_micro)}[/{colour}]",
            format_amount(s.unpriced_micro) if s.unpriced else "",
        )  # fmt: skip
    return table


def _signed(micro: int) -> str:
    return f"{'+' if micro > 0 else ''}{format_amount(micro)}"


def _show_outcomes(tally: Tally, summary: Mapping[str, Any]) -> None:
    kept = [f"{count} {name}" for name, count in summary["outcomes"].items() if name not in (*UNPRICED, "rerated")]
    if kept:
        console.print(f"not touched: {', '.join(kept)}", highlight=False)
    for outcome in UNPRICED:
        count = tally.outcomes[outcome]
        if count:
            charged = ", ".join(
                f"{format_amount(micro)} {escape(currency)}"
                for (name, currency), micro in sorted(tally.outcomes_micro.items())
                if name == outcome
            )
            console.print(f"[yellow]no new price[/yellow]: {count} {outcome}, for which {charged} was charged",
                          highlight=False)  # fmt: skip
    if summary["beyond_limit"]:
        console.print(f"{summary['beyond_limit']} legs are longer than their new plan allows; priced up to there",
                      highlight=False)  # fmt: skip
    passed = {name: count for name, count in summary["passed_over"].items() if count}
    if passed:
        told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in passed.items())
        console.print(f"passed over: {told}", highlight=False)
