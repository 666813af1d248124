"""`rater ledger status|archive|verify`: the ledger's old entries in files instead of Redis, and proof of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from rater.charging.archive import Archived, archive, check, entries, next_month
from rater.charging.ledger import MONEY, ShardLedger, Sums, add_entry, order
from rater.commands.common import (
    ConfigOption,
    JsonOption,
    console,
    errors,
    open_store,
    print_json,
    settings_of,
)
from rater.errors import InputError
from rater.events.record import iso_ms
from rater.ids import AccountId, Shard
from rater.money import format_amount

group = typer.Typer(help="The ledger: how large, its archives, and whether they are whole.", no_args_is_help=True)
FolderOption = Annotated[
    Path | None, typer.Option("--out", help="The folder of the archives; else [ledger] archive of the settings.")
]


def register(app: typer.Typer) -> None:
    """Adds this module's commands to the command line."""
    app.add_typer(group, name="ledger")


@group.command("status")
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """What the ledger takes in Redis, and up to where it is archived."""
    rows = asyncio.run(_status(config))
    if as_json:
        print_json({"shards": rows})
        return
    for row in rows:
        oldest = f", the oldest of {row['oldest']}" if row["oldest"] else ""
        archived = f" up to {row['archived_until']}" if row["archived_until"] else ""
        console.print(
            f"shard {row['shard']}: {row['entries']} entries in Redis{oldest}, about"
            f" {row['memory_bytes'] >> 10} kiB; {row['archived']} archived{archived}",
            highlight=False,
        )
        if row["under_way"]:
            console.print(f"  a move to {row['under_way']} is under way, or broke off", highlight=False)


async def _status(config: Path | None) -> list[dict[str, Any]]:
    settings, rows = settings_of(config), []
    async with open_store(settings) as store:
        for shard in map(Shard, range(settings.redis.shards)):
            ledger = ShardLedger(store, shard)
            checkpoint, first = await ledger.checkpoint(), await ledger.page("0", 1)
            rows.append({
                "shard": shard,
                "entries": await ledger.entries(),
                "oldest": iso_ms(order(first[0].id)[0]) if first else None,
                "memory_bytes": await ledger.memory_bytes(),
                "archived": checkpoint.entries,
                "archived_until": iso_ms(order(checkpoint.at)[0]) if checkpoint.entries else None,
                "under_way": checkpoint.archive or None,
            })  # fmt: skip
    return rows


@group.command("archive")
def archive_command(
    out: FolderOption = None,
    before: Annotated[
        str | None, typer.Option(help="Months before this one, such as 2026-03; else [ledger] keep_months stay.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move closed months (UTC) from Redis to files, one for each shard and month.

    Each month is first written and checked, then dropped page by page while its sums are kept. A run that broke off
    is taken up by the next.
    """
    files = asyncio.run(_archive(config, out, before, hidden=as_json))
    if as_json:
        print_json({"files": [_row(each) for each in files]})
        return
    for each in files:
        console.print(f"{each.path}: {each.entries} entries", highlight=False)
    if not files:
        console.print("nothing to archive: no closed month is old enough")


async def _archive(config: Path | None, out: Path | None, before: str | None, *, hidden: bool) -> list[Archived]:
    settings = settings_of(config)
    folder = _folder(out, settings.ledger.archive)
    if before is None:
        before = next_month(f"{datetime.now(UTC):%Y-%m}", -settings.ledger.keep_months)
    files: list[Archived] = []
    columns = (SpinnerColumn(), TextColumn("{task.completed} entries moved"))
    with Progress(*columns, console=errors, disable=hidden or not errors.is_terminal) as bar:
        task = bar.add_task("ledger", total=None)
        async with open_store(settings) as store:
            for shard in map(Shard, range(settings.redis.shards)):
                ledger = ShardLedger(store, shard)
                files += await archive(ledger, folder, before, lambda moved: bar.advance(task, moved))
    return files


def _row(archived: Archived) -> dict[str, Any]:
    return {
        "file": str(archived.path), "entries": archived.entries,
        "first": archived.first, "last": archived.last,
    }  # fmt: skip


def _folder(given: Path | None, configured: Path | None) -> Path:
    folder = given or configured
    if folder is None:
        raise InputError("there is no folder for archives", hint="Name one: --out, or [ledger] archive.")
    return folder


# -- verify ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Found:
    entries: int = 0
    faults: list[str] = field(default_factory=list)


@group.command("verify")
def verify(out: FolderOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Read all archives, compare what they add up to with the sums in Redis; exit code 1 if anything differs."""
    found = asyncio.run(_verify(config, out))
    if as_json:
        print_json({"entries": found.entries, "whole": not found.faults, "faults": found.faults})
    else:
        for fault in found.faults:
            console.print(fault, highlight=False)
        console.print(f"{found.entries} archived entries, {len(found.faults)} faults", highlight=False)
    if found.faults:
        raise typer.Exit(1)


async def _verify(config: Path | None, out: Path | None) -> Found:
    settings, found = settings_of(config), Found()
    folder = _folder(out, settings.ledger.archive)
    async with open_store(settings) as store:
        for shard in map(Shard, range(settings.redis.shards)):
            await verify_shard(ShardLedger(store, shard), folder, found)
    return found


def _files(folder: Path, shard: Shard) -> list[Archived]:
    """The shard's archives in their order."""
    return sorted(map(check, folder.glob(f"ledger-{shard}-*.jsonl.gz")), key=lambda file: order(file.after))


async def verify_shard(ledger: ShardLedger, folder: Path, found: Found) -> None:
    """Whether the shard's files follow each other without a gap and add up to the checkpoint's sums."""
    checkpoint = await ledger.checkpoint()
    sums: dict[AccountId, Sums] = defaultdict(dict)
    reached, counted = "0-0", 0
    for file in _files(folder, ledger.shard):
        if file.after != reached:
            found.faults.append(f"{file.path}: begins after {file.after}, the file before it ends at {reached}")
        reached = file.last
        for placed in entries(file.path):
            if order(placed.id) <= order(checkpoint.at):
                counted += 1
                add_entry(sums[placed.entry.account], placed.entry)
    found.entries += counted
    if counted != checkpoint.entries:
        found.faults.append(
            f"shard {ledger.shard}: the files hold {counted} entries, {checkpoint.entries} were archived"
        )
    stored = {account: totals async for account, totals in ledger.each_sums()}
    for account in sorted(sums.keys() | stored.keys()):
        ours, theirs = sums.get(account, {}), stored.get(account, {})
        if ours != theirs:
            found.faults.append(
                f"{account}: the archives come to {format_amount(ours.get(MONEY, 0))}, the checkpoint to"
                f" {format_amount(theirs.get(MONEY, 0))}, or its allowances differ"
            )
