"""`rater account show|credit|debit` and `rater audit`: balances, by hand and against their ledger."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from rater.catalog.model import Account
from rater.catalog.publish import load_current
from rater.charging.model import AccountState, Post, PostKind, Reply, Status
from rater.charging.redis_store import RedisStore
from rater.commands.common import ConfigOption, JsonOption, console, open_store, print_json, settings_of
from rater.errors import InputError, RaterError
from rater.ids import AccountId, OpId, Shard
from rater.metrics import write_audit
from rater.money import format_amount, parse_amount

LOOK_AGAIN = 2
AccountArgument = Annotated[str, typer.Argument(help="The account's id, as in the catalogue.")]
AmountArgument = Annotated[str, typer.Argument(help="A positive decimal, such as 12.50.")]
OpOption = Annotated[str, typer.Option("--op-id", help="Names the operation: repeating it changes nothing more.")]

group = typer.Typer(help="Balances: look, credit, debit.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds this module's commands to the command line."""
    app.add_typer(group, name="account")
    app.command("audit")(audit)


@group.command("show")
def show(account: AccountArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Balance, what live calls hold of it, totals, allowances."""
    state = asyncio.run(_show(AccountId(account), config))
    if as_json:
        print_json(describe(state))
        return
    for name, value in describe(state).items():
        console.print(f"{name:>12}  {value}", highlight=False)


@group.command("credit")
def credit(
    account: AccountArgument,
    amount: AmountArgument,
    op_id: OpOption,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add money; running calls may have it at once."""
    _report(asyncio.run(_post(PostKind.CREDIT, AccountId(account), amount, op_id, config)), account, as_json)


@group.command("debit")
def debit(
    account: AccountArgument,
    amount: AmountArgument,
    op_id: OpOption,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take money, never what live calls hold, and never below the account's floor."""
    _report(asyncio.run(_post(PostKind.DEBIT, AccountId(account), amount, op_id, config)), account, as_json)


def describe(state: AccountState) -> dict[str, Any]:
    """One account for people and programs; amounts as decimal strings."""
    return {
        "account": state.account,
        "balance": format_amount(state.balance_micro),
        "reserved": format_amount(state.reserved_micro),
        "opening": format_amount(state.opening_micro),
        "credits": format_amount(state.credits_micro),
        "debits": format_amount(state.debits_micro),
        "charges": format_amount(state.charges_micro),
        "allowances": [
            {
                "grant": grant.grant,
                "granted_s": grant.granted_s,
                "used_s": grant.used_s,
                "reserved_s": grant.reserved_s,
                "remaining_s": grant.remaining_s,
            }
            for grant in state.grants
        ],
    }


async def _known(store: RedisStore, account: AccountId) -> tuple[Account, Any]:
    """The account as the published catalogue has it, and that catalogue. Raises InputError for another."""
    catalog = await load_current(store.redis, store.prefix)
    if catalog is None:
        raise InputError("no catalogue is published", hint="Publish one: rater catalog load DIR.")
    known = catalog.accounts.get(account)
    if known is None:
        raise InputError(
            f"the catalogue (version {catalog.version}) has no account {account!r}",
            hint="Look at accounts.toml; after a change: rater catalog load DIR.",
        )
    return known, catalog


async def _show(account: AccountId, config: Path | None) -> AccountState:
    async with open_store(settings_of(config)) as store:
        known, _ = await _known(store, account)
        return await store.account(known.shard, account) or AccountState(account)


async def _post(kind: PostKind, account: AccountId, amount: str, op_id: str, config: Path | None) -> Reply:
    amount_micro = parse_amount(amount)
    if amount_micro <= 0:
        raise InputError(f"the amount must be more than nothing, not {amount}", hint="To take money: debit.")
    if not op_id.strip():
        raise InputError("the operation id is empty", hint="Give each operation a name of its own: --op-id.")
    async with open_store(settings_of(config)) as store:
        known, catalog = await _known(store, account)
        now_ms = time.time_ns() // 1_000_000
        terms = catalog.terms(account, "", now_ms)
        return await store.ask(Post(OpId(op_id), known.shard, account, kind, amount_micro, now_ms, terms))


def _report(reply: Reply, account: str, as_json: bool) -> None:
    if reply.status is Status.CONFLICT:
        raise InputError(
            "this operation id was used before for another account, amount or direction; nothing was changed",
            hint="Choose a new --op-id, or repeat the first operation exactly.",
        )
    balance = format_amount(reply.balance_micro)
    if reply.status is not Status.OK:
        raise RaterError(
            f"{account}: refused, {reply.reason.code}; the balance is {balance},"
            f" of which live calls hold {format_amount(reply.reserved_micro)}",
            hint="Nothing was changed.",
        )
    if as_json:
        moved = format_amount(reply.amount_micro)
        print_json({"account": account, "moved": moved, "balance": balance, "repeated": reply.repeated})
    else:
        console.print(f"{account}: balance {balance}{' (done before)' if reply.repeated else ''}", highlight=False)


# -- audit -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Books:
    """What the ledger and the live legs of one shard say, by account."""

    moved_micro: dict[str, int]
    held_micro: dict[str, int]


def audit(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    metrics_file: Annotated[
        Path | None, typer.Option(help="Also write what was found here, NAME.prom, for Prometheus.")
    ] = None,
) -> None:
    """Every balance against its ledger, every reservation against the live legs; exit code 1 if any differs.

    An account that differs is read up to twice more, since calls may settle meanwhile: what still differs, does.
    """
    count, faults = asyncio.run(_audit(config))
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


async def _audit(config: Path | None) -> tuple[int, list[str]]:
    settings = settings_of(config)
    count, faults = 0, []
    async with open_store(settings) as store:
        for shard in map(Shard, range(settings.redis.shards)):
            states, differing = await _compare(store, shard)
            count += states
            for _ in range(LOOK_AGAIN):
                if differing:
                    _, now = await _compare(store, shard)
                    differing = {account: now[account] for account in differing.keys() & now.keys()}
            faults += [fault for account in sorted(differing) for fault in differing[account]]
    return count, faults


async def _compare(store: RedisStore, shard: Shard) -> tuple[int, dict[AccountId, list[str]]]:
    """How many accounts a shard has, and what differs of those of which anything does."""
    books = await read_books(store, shard)
    states = await store.accounts(shard)
    found = {state.account: differences(state, books) for state in states}
    return len(states), {account: faults for account, faults in found.items() if faults}


async def read_books(store: RedisStore, shard: Shard) -> Books:
    """The whole ledger of a shard, page by page, and what its live legs hold."""
    moved: dict[str, int] = defaultdict(int)
    async for entry in store.ledger(shard):
        for line in entry.lines:
            if not line.resource:
                moved[entry.account] += line.after - line.before
    held: dict[str, int] = defaultdict(int)
    for leg in await store.legs(shard):
        held[leg.account] += sum(piece.amount for piece in leg.pieces if piece.grant is None)
    return Books(moved, held)


def differences(state: AccountState, books: Books) -> list[str]:
    """What of one account does not agree, in words."""
    totals = state.opening_micro + state.credits_micro - state.debits_micro - state.charges_micro
    compared = (
        ("the sum of its totals", totals, state.balance_micro),
        ("the sum of its ledger", books.moved_micro.get(state.account, 0), state.balance_micro),
        ("what its live legs hold", books.held_micro.get(state.account, 0), state.reserved_micro),
    )
    return [
        f"{state.account}: {name} is {format_amount(found)}, recorded is {format_amount(recorded)}"
        for name, found, recorded in compared
        if found != recorded
    ]
