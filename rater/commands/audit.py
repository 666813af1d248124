"""`rater audit`: every balance against its ledger, every reservation against the live legs."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rater.charging.ledger import MONEY, PAGE, ShardLedger, Sums
from rater.charging.model import AccountState
from rater.charging.redis_store import RedisStore
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
from rater.ids import AccountId, Shard
from rater.metrics import write_audit
from rater.money import format_amount

LOOK_AGAIN = 3


def register(app: typer.Typer) -> None:
    """Adds this module's commands to the command line."""
    app.command("audit")(audit)


def audit(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    metrics_file: Annotated[
        Path | None, typer.Option(help="Also write what was found here, NAME.prom, for Prometheus.")
    ] = None,
) -> None:
    """Every balance against its ledger, every reservation against the live legs; exit code 1 if any differs.

    Calls may go on meanwhile. The ledger is its archived part (rater ledger archive) and the entries in Redis.
    """
    count, faults = asyncio.run(_audit(config, hidden=as_json))
    if metrics_file is not None:
        _write_metrics(metrics_file, count, len(faults))
    if as_json:
        print_json({"accounts": count, "balanced": not faults, "faults": faults})
    else:
        for fault in faults:
            console.print(fault, highlight=False)
        console.print(f"{count} accounts, {len(faults)} differences", highlight=False)
    if faults:
        raise typer.Exit(1)


def _write_metrics(path: Path, accounts: int, faults: int) -> None:
    try:
        write_audit(path, accounts=accounts, differences=faults, at_s=time.time())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", hint="Name another: --metrics-file.") from error


async def _audit(config: Path | None, *, hidden: bool) -> tuple[int, list[str]]:
    settings = settings_of(config)
    count, faults = 0, []
    async with open_store(settings) as store:
        for shard in map(Shard, range(settings.redis.shards)):
            states, found = await audit_shard(store, shard, hidden=hidden)
            count += states
            faults += found
    return count, faults


async def audit_shard(store: RedisStore, shard: Shard, *, hidden: bool = True) -> tuple[int, list[str]]:
    """How many accounts the shard has, and what differs, in words.

    The first pass reads pages while calls settle. Those that differ in it are looked at again: balance and ledger
    as of one moment, what live legs hold several times, since no moment is common to all legs.
    """
    ledger, count = ShardLedger(store, shard), 0
    differing: dict[AccountId, list[str]] = {}
    with _progress(await _size(store, shard), shard, hidden=hidden) as advance:
        totals, last = await ledger.total()
        held = await _held(store, shard)
        async for state in store.each_account(shard):
            count += 1
            advance(1)
            if differences(state, totals.get(state.account, {}), held):
                differing[state.account] = []
    for _ in range(LOOK_AGAIN):
        if differing:
            held = await _held(store, shard)
            differing, last = await _again(ledger, list(differing), totals, last, held)
    return count, [fault for account in sorted(differing) for fault in differing[account]]


async def _again(
    ledger: ShardLedger,
    accounts: list[AccountId],
    totals: dict[AccountId, Sums],
    last: str,
    held: Mapping[AccountId, int],
) -> tuple[dict[AccountId, list[str]], str]:
    found: dict[AccountId, list[str]] = {}
    for start in range(0, len(accounts), PAGE):
        states, last = await ledger.states(accounts[start : start + PAGE], totals, last)
        found |= {state.account: differences(state, totals[state.account], held) for state in states}
    return {account: faults for account, faults in found.items() if faults}, last


async def _size(store: RedisStore, shard: Shard) -> int:
    return int(await store.redis.scard(store.keys(shard).accounts))


async def _held(store: RedisStore, shard: Shard) -> dict[AccountId, int]:
    """Money that live legs hold, by account."""
    held: dict[AccountId, int] = defaultdict(int)
    for leg in await store.legs(shard):
        held[leg.account] += sum(piece.amount for piece in leg.pieces if piece.grant is None)
    return held


def differences(state: AccountState, ledger: Sums, held: Mapping[AccountId, int]) -> list[str]:
    """What of one account does not agree, in words."""
    totals = state.opening_micro + state.credits_micro - state.debits_micro - state.charges_micro
    compared = (
        ("the sum of its totals", totals, state.balance_micro),
        ("the sum of its ledger", ledger.get(MONEY, 0), state.balance_micro),
        ("what its live legs hold", held.get(state.account, 0), state.reserved_micro),
    )
    return [
        f"{state.account}: {name} is {format_amount(found)}, recorded is {format_amount(recorded)}"
        for name, found, recorded in compared
        if found != recorded
    ]


@contextmanager
def _progress(total: int, shard: Shard, *, hidden: bool) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, disable=hidden or not errors.is_terminal) as bar:
        task = bar.add_task(f"accounts of shard {shard}", total=total)
        yield lambda done: bar.advance(task, done)
