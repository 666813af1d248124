"""The live view: one look at the running system as a picture of exactly the terminal's size.

Pure rendering; `live_data` reads. Wide terminals get calls beside balances and denials, narrow ones get them
stacked; columns that do not fit are left out, never squeezed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.layout import Layout
from rich.panel import Panel
from rich.style import Style
from rich.table import Table
from rich.text import Text

from rater.commands.live_data import BalanceRow, EventRow, LiveState
from rater.money import MICRO, format_amount, parse_amount

WIDE = 116
ROOMY_ASIDE = 54
BORDER = "grey35"
DIM = "grey58"
NEAR_END_S = 5
FRAME_ROWS = 3
"""The panel's two borders and the table's heading."""

_DISPOSITION = {
    "answered": ("●", "green"),
    "busy": ("◌", DIM),
    "no_answer": ("◌", DIM),
    "cancelled": ("◌", DIM),
    "failed": ("✗", "yellow"),
}
_UNPAID = {"money": "", "allowance": ("minutes", "cyan"), "free": ("free", DIM)}
"""What stands for an amount of 0: who paid instead."""
BAR = 6
BAR_S = 30
"""A full bar: so many seconds paid ahead, or more."""


@dataclass(frozen=True, slots=True)
class LiveView:
    """A renderable that fills whatever console it is printed on. `title`: whose system this is."""

    state: LiveState
    title: str = "rater"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.height or console.height
        yield from console.render(self._layout(width, height), options.update(width=width, height=height))

    def _layout(self, width: int, height: int) -> Layout:
        rows = max(0, height - 1)
        root = Layout()
        if width >= WIDE:
            events = _share(rows, 0.32)
            upper = Layout(name="upper")
            aside = max(ROOMY_ASIDE, width * 36 // 100)
            right = Layout(name="right", size=aside)
            balances = _share(rows - events, 0.6)
            right.split_column(
                Layout(self._balances(balances, aside), size=balances), Layout(self._denials(rows, aside))
            )
            upper.split_row(Layout(self._calls(rows - events, width - aside)), right)
            root.split_column(
                Layout(self._header(width), size=1), upper, Layout(self._events(events, width), size=events)
            )
        else:
            events, middle = _share(rows, 0.3), _share(rows, 0.32)
            pair = Layout(size=middle)
            pair.split_row(Layout(self._balances(middle, width // 2)), Layout(self._denials(middle, width // 2)))
            root.split_column(
                Layout(self._header(width), size=1),
                Layout(self._calls(rows - events - middle, width)),
                pair,
                Layout(self._events(events, width), size=events),
            )
        return root

    # -- the line on top -----------------------------------------------------------------------------------------

    def _header(self, width: int) -> Text:
        state, totals, rates = self.state, self.state.totals, self.state.rates
        talking = sum(call["state"] == "talking" for call in state.calls)
        parts = [
            (f" {self.title} ", "bold black on green"),
            (f" {talking} talking", "bold green"),
            (f" {len(state.calls) - talking} ringing", "cyan"),
            (f"  {rates.ended:.1f} ended/s", "white"),
            (f"  {rates.denied:.1f} denied/s", "red" if rates.denied else DIM),
        ]
        parts.append((f"  {totals.cut} cut", "magenta" if totals.cut else DIM))
        parts += [
            (f"  {amount * 60 / MICRO:.2f} {currency}/min", "yellow")
            for currency, amount in rates.charged_micro.items()
        ]
        line = Text(no_wrap=True, overflow="ellipsis")
        for text, style in parts:
            line.append(text, style)
        clock = time.strftime("%H:%M:%S", time.localtime(state.at_ms / 1000))
        version = f"catalogue {state.catalog_version}  " if state.catalog_version is not None else ""
        right = Text(f"{version if width >= WIDE else ''}{clock} ", DIM)
        line.truncate(max(0, width - len(right) - 1), overflow="ellipsis")
        line.append(" " * max(1, width - line.cell_len - right.cell_len))
        return line.append_text(right)

    # -- panels --------------------------------------------------------------------------------------------------

    def _calls(self, rows: int, width: int) -> Panel:
        calls = self.state.calls
        roomy = width >= 84
        table = _table()
        table.add_column("", width=1)
        table.add_column("line", no_wrap=True, min_width=4, max_width=8)
        if roomy:
            table.add_column("account", no_wrap=True, max_width=14, style=DIM)
        table.add_column("to", no_wrap=True, max_width=16)
        table.add_column("destination", no_wrap=True, ratio=1, overflow="ellipsis", style=DIM)
        table.add_column("talked", justify="right", width=6)
        table.add_column("cost", justify="right", no_wrap=True, min_width=7)
        table.add_column("paid ahead" if roomy else "left", justify="right", no_wrap=True, width=12 if roomy else 6)
        for call in calls[: max(0, rows - FRAME_ROWS)]:
            table.add_row(*_call_cells(call, roomy=roomy))
        hidden = len(calls) - max(0, rows - FRAME_ROWS)
        more = f" +{hidden} more" if hidden > 0 else ""
        return _panel(table, f"Calls  {len(calls)}{more}", empty="" if calls else "No calls at this moment.")

    def _balances(self, rows: int, width: int) -> Panel:
        balances = self.state.balances
        roomy = width >= ROOMY_ASIDE
        table = _table()
        table.add_column("account", no_wrap=True, ratio=1, min_width=10, overflow="ellipsis")
        if roomy:
            table.add_column("", no_wrap=True, width=9, style=DIM)
        table.add_column("balance", justify="right", no_wrap=True)
        table.add_column("reserved", justify="right", no_wrap=True, style=DIM)
        if any(row.left_s is not None for row in balances) and roomy:
            table.add_column("minutes", justify="right", no_wrap=True, style=DIM)
        for row in balances[: max(0, rows - FRAME_ROWS)]:
            table.add_row(*_balance_cells(row, roomy=roomy, columns=len(table.columns)))
        return _panel(table, "Balances", empty="" if balances else "No account yet.")

    def _denials(self, rows: int, width: int) -> Panel:
        roomy = width >= ROOMY_ASIDE
        denied = self.state.totals.denied
        table = _table()
        table.add_column("", width=8, no_wrap=True, style=DIM)
        table.add_column("line", no_wrap=True, max_width=8)
        if roomy:
            table.add_column("to", no_wrap=True, max_width=16)
        table.add_column("reason", no_wrap=True, ratio=1, overflow="ellipsis")
        for row in self.state.denials[: max(0, rows - FRAME_ROWS)]:
            to = [row.number or "—"] if roomy else []
            table.add_row(_clock(row.at_ms), row.line or "—", *to, Text(row.text.replace("_", " "), "red"))
        title = f"Denials  {denied.total()}" if denied else "Denials"
        return _panel(table, title, empty="" if self.state.denials else "None denied.")

    def _events(self, rows: int, width: int) -> Panel:
        roomy = width >= WIDE
        totals = self.state.totals
        table = _table()
        table.add_column("", width=8, no_wrap=True, style=DIM)
        table.add_column("", width=1)
        table.add_column("line", no_wrap=True, max_width=8)
        if roomy:
            table.add_column("account", no_wrap=True, max_width=16, style=DIM)
        table.add_column("number", no_wrap=True, max_width=16)
        table.add_column("what", no_wrap=True, ratio=1, overflow="ellipsis")
        table.add_column("talked", justify="right", width=6)
        table.add_column("amount", justify="right", no_wrap=True, min_width=11)
        for row in self.state.events[: max(0, rows - FRAME_ROWS)]:
            table.add_row(*_event_cells(row, roomy=roomy))
        charged = " ".join(f"{_money(amount)} {currency}" for currency, amount in totals.charged_micro.items())
        counted = totals.answered or totals.unanswered
        title = f"Events  {totals.answered} answered  {totals.unanswered} not" if counted else "Events"
        return _panel(
            table,
            title + (f"  {charged}" if charged else ""),
            empty="" if self.state.events else "No leg has ended yet.",
        )


def _call_cells(call: dict[str, Any], *, roomy: bool) -> Sequence[str | Text]:
    talking = call["state"] == "talking"
    inbound = call["direction"] == "in"
    mark = Text("●" if talking else "○", "green" if talking else "cyan")
    who = [call["account"]] if roomy else []
    destination = "inbound" if inbound else call["destination"] or call["class"]
    cost = _cost(parse_amount(call["cost"]), call["paid_by"]) if talking else Text("—", DIM)
    talked = Text(_span(call["talked_s"]) if talking else "rings", "white" if talking else "cyan")
    left = _left(call, roomy=roomy) if talking else Text("")
    line = Text(("→" if inbound else "") + call["line"])
    return [mark, line, *who, call["number"], destination, talked, cost, left]


def _cost(amount_micro: int, paid_by: str, currency: str = "") -> Text:
    """The amount; where none was taken, what paid instead."""
    if amount_micro or not _UNPAID[paid_by]:
        unit = f" {currency}" if currency else ""
        return Text(f"{_money(amount_micro)}{unit}", "yellow" if amount_micro else DIM)
    return Text(*_UNPAID[paid_by])


def _left(call: dict[str, Any], *, roomy: bool) -> Text:
    """Seconds paid ahead, with a bar of them where there is room. Red and marked when nothing follows."""
    left_s = call["seconds_left"]
    if call["paid_by"] == "free":
        return Text("∞", DIM)
    last = call["last_slice"]
    style = "bold red" if last and left_s <= NEAR_END_S else "red" if last else "green"
    text = Text(_span(left_s), style)
    if not roomy:
        return Text("✂" if last else "", style).append_text(text)
    filled = min(BAR, -(-left_s * BAR // BAR_S))
    bar = Text("▰" * filled, style).append("▱" * (BAR - filled), "grey30")
    return bar.append(f"{_span(left_s):>6}", style)


def _balance_cells(row: BalanceRow, *, roomy: bool, columns: int) -> list[str | Text]:
    spent = row.headroom_micro <= 0 and not row.left_s
    style = "red" if spent else "yellow" if row.balance_micro < 0 else "green"
    cells: list[str | Text] = [row.account]
    if roomy:
        cells.append(row.modality)
    balance = f"{_money(row.balance_micro)} {row.currency}" if roomy else _money(row.balance_micro)
    cells += [Text(balance, style), _money(row.reserved_micro) if row.reserved_micro else ""]
    if len(cells) < columns:
        cells.append("" if row.left_s is None else _span(row.left_s))
    return cells


def _event_cells(row: EventRow, *, roomy: bool) -> list[str | Text]:
    who = [row.account] if roomy else []
    if row.kind == "threshold":
        whose = [row.account, ""] if roomy else [row.account]
        return [_clock(row.at_ms), Text("▲", "magenta"), "", *whose, Text(row.text, "magenta"), "", ""]
    mark, colour = _DISPOSITION.get(row.text, ("◌", DIM))
    what_text = Text("inbound" if row.direction == "in" else row.destination, DIM if not row.duration_s else "")
    if row.cut:
        mark, colour = "✂", "magenta"
        what_text.append(f"  cut: {row.cut.replace('_', ' ')}", "magenta")
    elif not row.duration_s:
        what_text.append(f"  {row.text.replace('_', ' ')}", DIM)
    amount = _cost(row.amount_micro, row.paid_by, row.currency) if row.duration_s else Text("—", DIM)
    talked = _span(row.duration_s) if row.duration_s else ""
    return [_clock(row.at_ms), Text(mark, colour), row.line, *who, row.number, what_text, talked, amount]


def _table() -> Table:
    return Table(
        box=None,
        expand=True,
        padding=(0, 1, 0, 0),
        show_edge=False,
        header_style=Style(color="grey50"),
        collapse_padding=True,
    )


def _panel(content: Table, title: str, *, empty: str) -> Panel:
    return Panel(
        Text(empty, f"italic {DIM}", justify="center") if empty else content,
        title=Text(f" {title} ", "bold white"),
        title_align="left",
        border_style=BORDER,
        box=box.ROUNDED,
        padding=(0, 0, 0, 1),
    )


def _share(rows: int, part: float) -> int:
    return max(FRAME_ROWS, round(rows * part))


def _money(amount: int | str) -> str:
    """Four decimals, so that columns line up: a view cuts the rest off, the records do not."""
    text = amount if isinstance(amount, str) else format_amount(amount)
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals[:4]:0<4}"


def _span(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}" if hours else f"{minutes}:{rest:02d}"


def _clock(at_ms: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_ms / 1000))
