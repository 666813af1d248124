"""`rater account adjust|transfer|refund|grant|expire`: what else is done to an account by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from rater.catalog.classes import NEVER_IN_A_DECK, STANDARD
from rater.catalog.plan import Plan
from rater.catalog.read_bands import ever_in_force
from rater.charging.model import ExpireGrant, Post, PostGrant, PostKind, Reply, Status
from rater.charging.redis_store import RedisStore
from rater.charging.terms import FOREVER_MS, GrantSpec, Resource
from rater.charging.transfers import transfer as move_between
from rater.commands.account import AccountArgument, AmountArgument, OpOption, check_op, known_account, report
from rater.commands.common import ConfigOption, JsonOption, open_store, settings_of
from rater.errors import InputError
from rater.ids import AccountId, GrantId, LegId, OpId
from rater.money import Cadence, format_amount, parse_amount
from rater.rating.moments import EXPECTED, parse_moment

NoteOption = Annotated[str, typer.Option("--note", help="Why; kept in the ledger.")]


def register(group: typer.Typer) -> None:
    """Adds this module's commands to the group."""
    for command in (adjust, transfer, refund, grant, expire):
        group.command(command.__name__, context_settings={"ignore_unknown_options": command is adjust})(command)


def adjust(
    account: AccountArgument,
    amount: Annotated[str, typer.Argument(help="A decimal, such as 2.50 or -2.50.")],
    op_id: OpOption,
    note: NoteOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Correct the balance up or down; down never below what live calls hold and the account's floor."""

    async def work(store: RedisStore) -> Reply:
        return await store.ask(await _post(store, PostKind.ADJUST, account, _amount(amount), op_id, note))

    _run(work, account, op_id, config, as_json)


def transfer(
    account: AccountArgument,
    to: Annotated[str, typer.Argument(help="The account that gets the money.")],
    amount: AmountArgument,
    op_id: OpOption,
    note: NoteOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move money to another account. Repeat it with the same operation id when it was interrupted."""

    async def work(store: RedisStore) -> Reply:
        post = await _post(store, PostKind.TRANSFER, account, _positive(amount), op_id, note)
        other, catalog = await known_account(store, AccountId(to))
        terms = catalog.terms(other.id, "", post.now_ms)
        return await move_between(
            store, replace(post, other=other.id, other_shard=other.shard, other_terms=terms)
        )  # fmt: skip

    _run(work, account, op_id, config, as_json)


def refund(
    account: AccountArgument,
    event: Annotated[str, typer.Argument(help="The rated event's id.")],
    amount: AmountArgument,
    op_id: OpOption,
    note: NoteOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give back what a call was charged, or part of it; never more in all its refunds."""

    async def work(store: RedisStore) -> Reply:
        post = await _post(store, PostKind.REFUND, account, _positive(amount), op_id, note)
        charged_micro = await store.charged_micro(post.shard, post.account, LegId(event))
        if charged_micro is None:
            raise InputError(
                f"the ledger knows of no charge to {account} for the event {event!r}",
                hint="Look at rater events tail; what was archived can be adjusted: rater account adjust.",
            )
        return await store.ask(replace(post, event=LegId(event), charged_micro=charged_micro))

    _run(work, account, op_id, config, as_json)


def grant(  # each is an option of the command
    account: AccountArgument,
    amount: Annotated[str, typer.Argument(help="Seconds such as 600s, minutes such as 10m, or money: 12.50.")],
    op_id: OpOption,
    name: Annotated[str | None, typer.Option("--id", help="The grant's id; the operation's without it.")] = None,
    valid_from: Annotated[str | None, typer.Option("--from", help="Date or time; now without it.")] = None,
    valid_until: Annotated[str | None, typer.Option("--until", help="Date or time; without it, for ever.")] = None,
    priority: Annotated[int, typer.Option(help="The lower is used first.")] = 0,
    source: Annotated[str, typer.Option(help="Where it came from: voucher, gift, top_up …")] = "gift",
    classes: Annotated[list[str] | None, typer.Option("--class", help="What it is for; all without.")] = None,
    also: Annotated[list[str] | None, typer.Option(help="A class that may draw on it after its own.")] = None,
    cadence: Annotated[str, typer.Option(help="How seconds are counted: free/first/next.")] = "0/1/1",
    hours: Annotated[list[str] | None, typer.Option(help="A band of the plan, for use in it only.")] = None,
    note: NoteOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give seconds, or money that ends; 0s or 0.00 makes a blocker, which stops what would be used after it."""

    async def work(store: RedisStore) -> Reply:
        known, catalog = await known_account(store, AccountId(account))
        plan = catalog.plans[known.plan]
        now_ms = time.time_ns() // 1_000_000
        resource, size = _size(amount)
        among = {*catalog_classes(catalog)} - NEVER_IN_A_DECK
        for each in (*(classes or ()), *(also or ())):
            if each not in among:
                raise InputError(f"{each!r} is no class", hint=f"One of: {', '.join(sorted(among))}.")
        from_ms = _moment(valid_from, plan.zone, now_ms)
        check_hours(plan.at(max(now_ms, from_ms)).plan, hours or ())
        spec = GrantSpec(
            GrantId(name or op_id), resource, size, from_ms, _moment(valid_until, plan.zone, FOREVER_MS), priority,
            source, tuple(classes or ()), tuple(also or ()), _cadence(cadence), size == 0, tuple(hours or ()),
        )  # fmt: skip
        return await store.ask(PostGrant(OpId(op_id), known.shard, known.id, spec, now_ms, note))

    _run(work, account, op_id, config, as_json, unit=_written(_size(amount)[0]))


def expire(
    account: AccountArgument,
    name: Annotated[str, typer.Argument(metavar="GRANT", help="The grant's id, as account show has it.")],
    op_id: OpOption,
    note: NoteOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a grant: what is left of it is void; what live calls hold stays theirs."""
    resource = Resource.SECONDS

    async def work(store: RedisStore) -> Reply:
        nonlocal resource
        known, _ = await known_account(store, AccountId(account))
        state = await store.account(known.shard, known.id)
        if state is not None and any(each.grant == name for each in state.money_grants):
            resource = Resource.MONEY
        now_ms = time.time_ns() // 1_000_000
        reply = await store.ask(ExpireGrant(OpId(op_id), known.shard, known.id, GrantId(name), now_ms, note))
        if reply.status is Status.GONE:
            raise InputError(f"{account} has no valid grant {name!r}", hint="See rater account show.")
        return reply

    _run(work, account, op_id, config, as_json, unit=lambda amount: _written(resource)(amount))


def check_hours(plan: Plan, names: Sequence[str]) -> None:
    """Raises InputError for a name that no band of the plan has, or a band that is never in force."""
    among = [band.name for band in plan.bands]
    ever = ever_in_force(plan.bands)
    for name in names:
        if name not in among:
            raise InputError(
                f"the plan {plan.id} has no band {name!r}",
                hint=f"Give hours that it has: {', '.join(among)}." if among else "It has no bands at all.",
            )
        if name not in ever:
            raise InputError(
                f"the band {name!r} of the plan {plan.id} is never in force",
                hint=f"One of: {', '.join(sorted(ever))}.",
            )


def catalog_classes(catalog: Any) -> set[str]:
    """Every class that a deck of the catalogue or the product knows."""
    return {*STANDARD, *(c for plan in catalog.plans.values() for a in plan.plan.allowances for c in a.classes)}


def _run(
    work: Callable[[RedisStore], Awaitable[Reply]],
    account: str,
    op_id: str,
    config: Path | None,
    as_json: bool,
    *,
    unit: Callable[[int], str] = format_amount,
) -> None:
    """Carry `work` out on the store of the settings, and tell how it went."""
    check_op(op_id)

    async def run() -> Reply:
        async with open_store(settings_of(config)) as store:
            return await work(store)

    reply = asyncio.run(run())
    report(reply, account, as_json, unit=unit)


def _written(resource: Resource) -> Callable[[int], str]:
    """How an amount of it reads."""
    return format_amount if resource is Resource.MONEY else lambda amount: f"{amount} s"


async def _post(store: RedisStore, kind: PostKind, account: str, amount_micro: int, op_id: str, note: str) -> Post:
    known, catalog = await known_account(store, AccountId(account))
    now_ms = time.time_ns() // 1_000_000
    terms = catalog.terms(known.id, "", now_ms)
    return Post(OpId(op_id), known.shard, known.id, kind, amount_micro, now_ms, terms, note)


def _amount(text: str) -> int:
    return parse_amount(text)


def _positive(text: str) -> int:
    amount_micro = parse_amount(text)
    if amount_micro <= 0:
        raise InputError(f"the amount must be more than nothing, not {text}", hint="Write digits, such as 12.50.")
    return amount_micro


def _size(text: str) -> tuple[Resource, int]:
    number, unit = text[:-1], text[-1:].lower()
    if unit in ("s", "m"):
        if not (number.isascii() and number.isdigit() and len(number) <= 10):
            raise InputError(f"{text!r} is no length", hint="Write seconds such as 600s or minutes such as 10m.")
        return Resource.SECONDS, int(number) * (60 if unit == "m" else 1)
    return Resource.MONEY, parse_amount(text)


def _moment(text: str | None, zone: ZoneInfo, default_ms: int) -> int:
    if text is None:
        return default_ms
    at_ms = parse_moment(text, zone)
    if at_ms is None:
        raise InputError(f"{text!r} is no moment", hint=f"Write {EXPECTED}.")
    return at_ms


def _cadence(text: str) -> Cadence:
    parts = text.split("/")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 5 for part in parts):
        raise InputError(f"{text!r} is no cadence", hint="Write free/first/next in seconds, such as 3/30/6.")
    free_s, first_s, next_s = map(int, parts)
    if not first_s or not next_s:
        raise InputError(f"{text!r} is no cadence", hint="Increments are at least a second.")
    return Cadence(free_s, first_s, next_s)
