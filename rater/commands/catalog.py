"""`rater catalog check`, `rater catalog load`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from rater.clock import SystemClock
from rater.commands.common import ConfigOption, JsonOption, console, errors, open_store, print_json, settings_of
from rater.errors import CatalogError

if TYPE_CHECKING:
    from rater.catalog.publish import Published
    from rater.catalog.snapshot import Snapshot
    from rater.config import Settings

Folder = Annotated[Path, typer.Argument(help="Folder with plans.toml, accounts.toml, lines.csv, decks/ …")]


def register(app: typer.Typer) -> None:
    """Adds this module's commands to the command line."""
    group = typer.Typer(name="catalog", help="Check and publish a catalogue kept in files.", no_args_is_help=True)
    group.command("check")(check)
    group.command("load")(load)
    app.add_typer(group)


def check(folder: Folder, as_json: JsonOption = False) -> None:
    """Read a whole catalogue and name every mistake with file, line and column. Changes nothing."""
    snapshot = read(folder, as_json)
    summary = describe(snapshot)
    if as_json:
        print_json({"ok": True, "folder": str(folder), **summary})
    else:
        counts = ", ".join(f"{n} {what}" for what, n in summary.items())
        console.print(f"{escape(str(folder))}: good. {counts}", soft_wrap=True)


def load(folder: Folder, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check a catalogue, open its new accounts, publish it as the next version. Running daemons take it at once."""
    settings = settings_of(config)
    snapshot = read(folder, as_json)
    with steps() as step:
        published = asyncio.run(_publish(settings, snapshot, step))
    summary = describe(snapshot)
    if as_json:
        result = {
            "opened": list(published.opened),
            "moved": list(published.moved),
            "notes": list(published.notes),
        }
        print_json({"ok": True, "version": published.version, "folder": str(folder), **summary, **result})
        return
    console.print(
        f"version {published.version}: " + ", ".join(f"{n} {what}" for what, n in summary.items()), soft_wrap=True
    )
    if published.opened:
        console.print(f"{len(published.opened)} accounts opened: {escape(', '.join(published.opened[:20]))}"
                      + (" …" if len(published.opened) > 20 else ""))  # fmt: skip
    if published.moved:
        console.print(
            f"{len(published.moved)} accounts moved to the shard of their group's owner: "
            f"{escape(', '.join(published.moved[:20]))}" + (" …" if len(published.moved) > 20 else "")
        )
    for note in published.notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)


async def _publish(settings: Settings, snapshot: Snapshot, step: Callable[[str], None]) -> Published:
    from rater.catalog.publish import publish

    async with open_store(settings) as store:
        return await publish(
            store.redis,
            store,
            snapshot,
            prefix=settings.redis.prefix,
            shards=settings.redis.shards,
            now_ms=SystemClock().wall_ms(),
            progress=step,
        )


def read(folder: Path, as_json: bool) -> Snapshot:
    """The catalogue of a folder; exits with 2 and all problems when it has any."""
    from rater.catalog.files import read_catalog

    try:
        with steps() as step:
            return read_catalog(folder, step)
    except CatalogError as error:
        if not as_json:
            raise
        problems: list[dict[str, Any]] = [
            {"file": p.file, "line": p.line, "column": p.column, "message": p.message, "expected": p.expected}
            for p in error.problems
        ]
        print_json({"ok": False, "folder": str(folder), "problems": problems})
        raise typer.Exit(2) from error


def describe(snapshot: Snapshot) -> dict[str, int]:
    return {
        "plans": len(snapshot.plans),
        "rates": snapshot.rows,
        "accounts": len(snapshot.accounts),
        "lines": len(snapshot.lines),
        "trunks": len(snapshot.trunks),
        "switches": len(snapshot.switches),
    }


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """Shows what is being done, on a terminal only."""
    if not errors.is_terminal:
        yield lambda step: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda step: progress.update(task, description=escape(step))
