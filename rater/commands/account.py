"""`rater account show|credit|debit`: balances, by hand. The other movements: `rater.commands.account_moves`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from rater.catalog.model import Account
from rater.catalog.plan import Plan
from rater.catalog.publish import load_current
from rater.charging.grants import ROLLED
from rater.charging.model import Post, PostKind, Reply, Status
from rater.charging.records import AccountState, GrantState, MoneyGrantState
from rater.charging.redis_store import RedisStore
from rater.charging.terms import FOREVER_MS, Terms
from rater.commands.common import ConfigOption, JsonOption, console, open_store, print_json, settings_of
from rater.errors import InputError, RaterError
from rater.events.record import iso_ms
from rater.ids import AccountId, GrantId, OpId
from rater.money import format_amount, parse_amount
from rater.notify.thresholds import describe as describe_threshold

AccountArgument = Annotated[str, typer.Argument(help="The account's id, as in the catalogue.")]
AmountArgument = Annotated[str, typer.Argument(help="A positive decimal, such as 12.50.")]
OpOption = Annotated[str, typer.Option("--op-id", help="Names the operation: repeating it changes nothing more.")]

group = typer.Typer(help="Balances and grants: look, and move by hand.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds this module's commands to the command line."""
    from rater.commands import account_moves, account_shard

    account_moves.register(group)
    account_shard.register(group)
    app.add_typer(group, name="account")


@group.command("show")
def show(account: AccountArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Balance, what live calls hold of it, totals, thresholds, grants; as of now, though nobody called since."""
    described = describe(*asyncio.run(_show(AccountId(account), config)))
    if as_json:
        print_json(described)
        return
    for name, value in described.items():
        for line in value if isinstance(value, list) else [value]:
            text = _line(line) if isinstance(line, dict) else line
            console.print(f"{name:>12}  {text}", highlight=False)


@group.command("credit")
def credit(
    account: AccountArgument,
    amount: AmountArgument,
    op_id: OpOption,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add money; running calls may have it at once."""
    report(asyncio.run(_post(PostKind.CREDIT, AccountId(account), amount, op_id, config)), account, as_json)


@group.command("debit")
def debit(
    account: AccountArgument,
    amount: AmountArgument,
    op_id: OpOption,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take money, never what live calls hold, and never below the account's floor."""
    report(asyncio.run(_post(PostKind.DEBIT, AccountId(account), amount, op_id, config)), account, as_json)


def describe(state: AccountState, terms: Terms, plan: Plan, now_ms: int) -> dict[str, Any]:
    """One account for people and programs; amounts as decimal strings. `terms`: with all allowances of the plan."""
    hours = _Hours(terms, plan, now_ms)
    return {
        "account": state.account,
        "balance": format_amount(state.balance_micro),
        "reserved": format_amount(state.reserved_micro),
        "opening": format_amount(state.opening_micro),
        "credits": format_amount(state.credits_micro),
        "debits": format_amount(state.debits_micro),
        "charges": format_amount(state.charges_micro),
        "thresholds": [
            {
                "threshold": threshold.id,
                "told_when": describe_threshold(threshold),
                "recurring": not threshold.once_from_ms,
            }
            for threshold in terms.thresholds
        ],
        "allowances": [
            {
                "grant": grant.grant,
                "source": grant.source,
                "granted_s": grant.granted_s,
                "used_s": grant.used_s,
                "reserved_s": grant.reserved_s,
                "remaining_s": grant.remaining_s,
                "valid_from": iso_ms(grant.valid_from_ms),
                "valid_until": _end(grant.valid_until_ms),
                **hours.of(grant),
            }
            for grant in state.grants
            if not grant.closed
        ],
        "money_grants": [
            {
                "grant": grant.grant,
                "source": grant.source,
                "granted": format_amount(grant.granted_micro),
                "used": format_amount(grant.used_micro),
                "reserved": format_amount(grant.reserved_micro),
                "remaining": format_amount(grant.remaining_micro),
                "valid_from": iso_ms(grant.valid_from_ms),
                "valid_until": _end(grant.valid_until_ms),
                **hours.of(grant),
            }
            for grant in state.money_grants
            if not grant.closed
        ],
    }


class _Hours:
    """Of grants, as the account's plan has them now."""

    def __init__(self, terms: Terms, plan: Plan, now_ms: int) -> None:
        self._of_plan = {term.grant: term.hours for term in terms.allowances}
        self._now_ms = now_ms
        self._band = next((band for from_ms, band in reversed(terms.bands) if from_ms <= now_ms), "")
        self._known = {band.name for band in plan.bands}

    def of(self, grant: GrantState | MoneyGrantState) -> dict[str, Any]:
        """`hours`: its bands, none for always; `unknown_hours`: those that never come, as the plan has no such
        band. `open`: whether it may be drawn on now."""
        base = GrantId(grant.grant.removesuffix(ROLLED))
        hours = grant.hours or self._of_plan.get(base, ())
        valid = grant.valid_from_ms <= self._now_ms < grant.valid_until_ms
        unknown = [name for name in hours if name not in self._known]
        told = {"unknown_hours": unknown} if unknown else {}
        return {"hours": list(hours), **told, "open": valid and (not hours or self._band in hours)}


def _line(shown: dict[str, Any]) -> str:
    return _grant_line(shown) if "grant" in shown else _threshold_line(shown)


def _threshold_line(threshold: dict[str, Any]) -> str:
    return f"{threshold['told_when']}{'' if threshold['recurring'] else ', once in a cycle'}"


def _grant_line(grant: dict[str, Any]) -> str:
    shown = {key: ", ".join(value) if isinstance(value, list) else value for key, value in grant.items()}
    closed = "" if shown.pop("open") else ", closed now"
    if not shown["hours"]:
        del shown["hours"]
    return ", ".join(f"{key} {value}" for key, value in shown.items()) + closed


def _end(at_ms: int) -> str | None:
    return None if at_ms >= FOREVER_MS else iso_ms(at_ms)


async def known_account(store: RedisStore, account: AccountId) -> tuple[Account, Any]:
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


async def _show(account: AccountId, config: Path | None) -> tuple[AccountState, Terms, Plan, int]:
    async with open_store(settings_of(config)) as store:
        known, catalog = await known_account(store, account)
        now_ms = time.time_ns() // 1_000_000
        terms = catalog.terms(account, "", now_ms)
        state = await store.account(known.shard, account, terms, now_ms) or AccountState(account)
        return state, terms, catalog.plans[known.plan].at(now_ms).plan, now_ms


def check_op(op_id: str) -> None:
    """Raises InputError for one that names nothing."""
    if not op_id.strip():
        raise InputError("the operation id is empty", hint="Give each operation a name of its own: --op-id.")


async def _post(kind: PostKind, account: AccountId, amount: str, op_id: str, config: Path | None) -> Reply:
    amount_micro = parse_amount(amount)
    if amount_micro <= 0:
        raise InputError(f"the amount must be more than nothing, not {amount}", hint="To take money: debit.")
    check_op(op_id)
    async with open_store(settings_of(config)) as store:
        known, catalog = await known_account(store, account)
        now_ms = time.time_ns() // 1_000_000
        terms = catalog.terms(account, "", now_ms)
        return await store.ask(Post(OpId(op_id), known.shard, account, kind, amount_micro, now_ms, terms))


def report(reply: Reply, account: str, as_json: bool, *, unit: Callable[[int], str] = format_amount) -> None:
    """Tell how it went. Raises InputError for a conflict, RaterError for a refusal. `unit` writes what was
    moved."""
    if reply.status is Status.CONFLICT:
        raise InputError(
            "this operation id was used before for something else; nothing was changed",
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
        moved = unit(reply.amount_micro)
        print_json({"account": account, "moved": moved, "balance": balance, "repeated": reply.repeated})
    else:
        console.print(f"{account}: balance {balance}{' (done before)' if reply.repeated else ''}", highlight=False)
