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
from rater.charging.records import AccountState
from rater.charging.redis_store import RedisStore
from rater.charging.states import holdings, recorded
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
Held = dict[str, int]
"""What live legs hold of one account, by grant; "" for the balance."""


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
    count, moving, faults = asyncio.run(_audit(config, hidden=as_json))
    if metrics_file is not None:
        _write_metrics(metrics_file, count, len(faults))
    if as_json:
        print_json({"accounts": count, "moving": moving, "balanced": not faults, "faults": faults})
    else:
        for fault in faults:
            console.print(fault, highlight=False, markup=False, soft_wrap=True)
        on_their_way = f", {moving} on their way to another shard" if moving else ""
        console.print(f"{count} accounts{on_their_way}, {len(faults)} differences", highlight=False)
    if faults:
        raise typer.Exit(1)


def _write_metrics(path: Path, accounts: int, faults: int) -> None:
    try:
        write_audit(path, accounts=accounts, differences=faults, at_s=time.time())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", hint="Name another: --metrics-file.") from error


async def _audit(config: Path | None, *, hidden: bool) -> tuple[int, int, list[str]]:
    """How many accounts there are, how many are on their way, what differs."""
    settings = settings_of(config)
    count, moving, faults = 0, 0, []
    async with open_store(settings) as store:
        for shard in map(Shard, range(settings.redis.shards)):
            states, found = await audit_shard(store, shard, hidden=hidden)
            count += states
            faults += found
            moving += len(await store.moves(shard))
        faults += [
            f"{move.account}: lost by shard {move.to} after it arrived there; bring it back: rater account restore"
            for move in await store.lost()
        ]
    return count, moving, faults


async def audit_shard(store: RedisStore, shard: Shard, *, hidden: bool = True) -> tuple[int, list[str]]:
    """How many accounts the shard has, and what differs, in words. One on its way to another shard is in neither:
    its ledger is at zero then.

    The first pass reads pages while calls settle. Those that differ in it are looked at again: balance and ledger
    as of one moment, what live legs hold several times, since no moment is common to all legs.
    """
    ledger, count = ShardLedger(store, shard), 0
    differing: dict[AccountId, list[str]] = {}
    seen: set[AccountId] = set()
    with _progress(await _size(store, shard), shard, hidden=hidden) as advance:
        totals, last = await ledger.total()
        held = await _held(store, shard)
        async for state in store.each_account(shard):
            count += 1
            advance(1)
            seen.add(state.account)
            if differences(state, totals.get(state.account, {}), held):
                differing[state.account] = []
    differing |= {account: [] for account, sums in totals.items() if sums and account not in seen}
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
    held: Mapping[AccountId, Held],
) -> tuple[dict[AccountId, list[str]], str]:
    found: dict[AccountId, list[str]] = {}
    for start in range(0, len(accounts), PAGE):
        page = accounts[start : start + PAGE]
        states, last = await ledger.states(page, totals, last)
        found |= {state.account: differences(state, totals[state.account], held) for state in states}
        absent = set(page) - found.keys()
        found |= {
            account: [f"{account}: its ledger is not at zero, and it is not here"]
            for account in absent
            if totals.get(account)
        }
    return {account: faults for account, faults in found.items() if faults}, last


async def _size(store: RedisStore, shard: Shard) -> int:
    return int(await store.redis.scard(store.keys(shard).accounts))


async def _held(store: RedisStore, shard: Shard) -> dict[AccountId, Held]:
    """What live legs hold, by account and grant."""
    held: dict[AccountId, Held] = defaultdict(lambda: defaultdict(int))
    for leg in await store.legs(shard):
        for account, grant, amount in holdings(leg):
            held[account][grant] += amount
    return held


def differences(state: AccountState, ledger: Sums, held: Mapping[AccountId, Held]) -> list[str]:
    """What of one account does not agree, in words."""
    totals = state.opening_micro + state.credits_micro - state.debits_micro - state.charges_micro
    holds = dict(held.get(state.account, {}))
    compared = [
        ("the sum of its totals", totals, state.balance_micro, True),
        ("the sum of its ledger", ledger.get(MONEY, 0), state.balance_micro, True),
        ("what its live legs hold", holds.pop("", 0), state.reserved_micro, True),
    ]
    sums = {resource: total for resource, total in ledger.items() if resource != MONEY}
    reserved: dict[str, int] = defaultdict(int)
    money: dict[str, bool] = {}
    for entry in recorded(state):
        reserved[entry.grant] += entry.reserved
        money[entry.grant] = entry.money
        found = sums.pop((entry.grant, entry.cycle_ms), 0)
        compared.append((f"the ledger's sum for {entry.grant}", found, entry.held, entry.money))
    for (grant, _), total in sums.items():
        compared.append((f"the ledger's sum for {grant}", total, 0, False))
    compared += [
        (f"what live legs hold of {grant}", holds.get(grant, 0), reserved.get(grant, 0), money.get(grant, False))
        for grant in dict.fromkeys((*reserved, *holds))
    ]
    return [
        f"{state.account}: {name} is {_amount(found, in_money)}, recorded is {_amount(recorded_, in_money)}"
        for name, found, recorded_, in_money in compared
        if found != recorded_
    ]


def _amount(amount: int, in_money: bool) -> str:
    return format_amount(amount) if in_money else f"{amount} s"


@contextmanager
def _progress(total: int, shard: Shard, *, hidden: bool) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, disable=hidden or not errors.is_terminal) as bar:
        task = bar.add_task(f"accounts of shard {shard}", total=total)
        yield lambda done: bar.advance(task, done)
