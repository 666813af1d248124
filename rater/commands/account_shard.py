"""`rater account move|restore`: an account to another shard, and back from what a fail-over lost of that."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from rater.catalog.snapshot import Snapshot
from rater.charging.moves import Move, move_account, stands_in
from rater.commands.account import AccountArgument, known_account
from rater.commands.common import ConfigOption, JsonOption, console, open_store, print_json, settings_of
from rater.errors import InputError, RaterError
from rater.ids import AccountId, Shard


def register(group: typer.Typer) -> None:
    """Adds this module's commands to the group."""
    group.command("move")(move)
    group.command("restore")(restore)


def move(
    account: AccountArgument,
    to: Annotated[int, typer.Option("--to", help="The shard, from 0.", show_default=False)],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move an account to another shard, with its live calls. Repeat it when it was interrupted."""
    before, after = asyncio.run(_move(AccountId(account), to, config))
    if as_json:
        print_json({"account": account, "from": before, "shard": after, "moved": before != after})
    else:
        done = f"from shard {before} to shard {after}" if before != after else f"was in shard {after} already"
        console.print(f"{account}: {done}", highlight=False)


async def _move(account: AccountId, to: int, config: Path | None) -> tuple[Shard, Shard]:
    settings = settings_of(config)
    if not 0 <= to < settings.redis.shards:
        raise InputError(
            f"there is no shard {to}",
            hint=f"The settings have {settings.redis.shards}, 0 to {settings.redis.shards - 1}: [redis] shards.",
        )
    async with open_store(settings) as store:
        known, catalog = await known_account(store, account)
        _check_group(catalog, account, Shard(to))
        before = await stands_in(store, known.shard, account)
        refusal = await move_account(store, before, account, Shard(to))
        if refusal is not None:
            raise RaterError(
                f"{account} stays in shard {before}: {refusal}",
                hint="Nothing was changed. Try again when these calls have ended: rater calls.",
            )
        return before, Shard(to)


def _check_group(catalog: Snapshot, account: AccountId, to: Shard) -> None:
    """A group lives in one shard. Raises InputError."""
    owner = catalog.sharing.owner(account)
    if owner is not None and catalog.accounts[owner].shard != to:
        raise InputError(
            f"{account} is in the group of {owner}, which lives in shard {catalog.accounts[owner].shard}",
            hint="Take it out of the group first, in accounts.toml.",
        )
    members = [name for name in catalog.accounts if catalog.sharing.owner(name) == account]
    if members and catalog.accounts[account].shard != to:
        raise InputError(
            f"{account} owns the group of {', '.join(members[:5])}{' …' if len(members) > 5 else ''}",
            hint="Members live in their owner's shard. Take them out of the group first, in accounts.toml.",
        )


def restore(account: AccountArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Bring back an account that a fail-over lost right after its move, as it was when it moved.

    rater audit names such accounts. For a week the shard that it left keeps what it left with.
    """
    found = asyncio.run(_restore(AccountId(account), config))
    if as_json:
        print_json({"account": account, "from": found.shard, "shard": found.to, "restored": True})
    else:
        console.print(f"{account}: restored in shard {found.to}, as it left shard {found.shard}", highlight=False)


async def _restore(account: AccountId, config: Path | None) -> Move:
    async with open_store(settings_of(config)) as store:
        found = next((move for move in await store.lost() if move.account == account), None)
        if found is None:
            raise InputError(
                f"no move of {account} was lost",
                hint="Accounts that can be brought back are named by rater audit, for a week after their move.",
            )
        await store.restore(found)
        return found
