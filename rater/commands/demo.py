"""`rater demo`: everything at once on one machine, against a simulated switch."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from rater.commands.common import JsonOption, console, errors, print_json
from rater.errors import InputError
from rater.money import format_amount

if TYPE_CHECKING:
    from rater.commands.demo_run import Outcome

FAULTS_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Adds this module's commands to the command line."""
    app.command("demo")(demo)


def demo(
    seconds: Annotated[float | None, typer.Option(min=1, help="Stop after so long; else with Ctrl-C.")] = None,
    as_json: JsonOption = False,
    lines: Annotated[int | None, typer.Option(min=1, help="Call from so many lines; else from all.")] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=500, help="Calls begun per second.")] = 4.0,
    seed: Annotated[int, typer.Option(help="The same seed plans the same calls.")] = 1,
    data_dir: Annotated[Path | None, typer.Option(help="Keep the data here; else in a temporary folder.")] = None,
    catalog: Annotated[Path | None, typer.Option(help="Another catalogue than config/catalog.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Write the live view at the end into this SVG file.")] = None,
) -> None:
    """A simulated switch with believable traffic, an embedded Redis, the daemon, and the live view.

    At the end the calls are hung up, the books are audited and a summary is printed. Exit code 1 when they do not
    balance. --json: no live view; the last line is one object.
    """
    import uvloop

    from rater.commands.demo_run import Options, run

    if picture is not None and not picture.parent.is_dir():
        raise InputError(f"there is no folder {picture.parent} for the picture", hint="Make it, or name another.")
    folder = data_dir if data_dir is not None else Path(tempfile.mkdtemp(prefix="rater-demo-"))
    live_view = console.is_terminal and not as_json
    try:
        outcome = uvloop.run(run(Options(seconds, live_view, lines, rate, seed, folder, catalog, picture)))
    except BaseException as error:
        if isinstance(error, InputError):
            _remove(folder, data_dir)
        else:
            errors.print(f"The data and the log are kept in {folder}.", highlight=False)
        raise
    _remove(folder, data_dir)
    if as_json:
        print_json(as_record(outcome))
    else:
        _print_summary(outcome, kept=data_dir)
    if not outcome.good:
        raise typer.Exit(1)


def _remove(folder: Path, kept: Path | None) -> None:
    """Clear a temporary folder away."""
    if kept is None:
        shutil.rmtree(folder, ignore_errors=True)


def as_record(outcome: Outcome) -> dict[str, Any]:
    """The summary for programs. `charged`: decimal text; an object by currency when there are several."""
    books = outcome.books
    charged = {currency: format_amount(amount) for currency, amount in sorted(books.charged_micro.items())}
    return {
        "calls": outcome.calls,
        "answered": books.answered,
        "unanswered": books.unanswered,
        "denied": dict(sorted(books.denied.items())),
        "cut": books.cut.total(),
        "charged": charged if len(charged) > 1 else next(iter(charged.values()), "0.00"),
        "top_ups": outcome.top_ups,
        "accounts": books.accounts,
        "seconds": round(outcome.seconds, 3),
        "unsettled": outcome.unsettled,
        "books_balance": outcome.good,
        "faults": books.faults,
    }


def _print_summary(outcome: Outcome, *, kept: Path | None) -> None:
    record, books = as_record(outcome), outcome.books
    table = Table(title=f"{outcome.seconds:.0f} s of traffic", show_header=False, title_justify="left")
    table.add_column(style="grey58")
    table.add_column(justify="right")
    table.add_row("calls placed", str(outcome.calls))
    table.add_row("legs answered", str(books.answered))
    table.add_row("legs not answered", str(books.unanswered))
    for reason, count in record["denied"].items():
        table.add_row(f"denied: {reason.replace('_', ' ')}", str(count))
    table.add_row("cut while talking", str(record["cut"]))
    table.add_row("top-ups", str(outcome.top_ups))
    for currency, amount_micro in sorted(books.charged_micro.items()):
        table.add_row(f"charged, {currency}", format_amount(amount_micro))
    table.add_row("books", "[green]balance[/green]" if outcome.good else "[bold red]DO NOT BALANCE[/bold red]")
    console.print(table)
    for fault in books.faults[:FAULTS_SHOWN]:
        console.print(fault, style="red", markup=False)
    if outcome.unsettled:
        console.print(f"{outcome.unsettled} legs were not settled in time.", style="red")
    if kept is not None:
        console.print(f"The data is in {kept}, the log in {kept / 'demo.log'}.", style="grey58", highlight=False)
