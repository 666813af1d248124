"""Catalogues in Redis: published as numbered versions, one of them current.

    <prefix>:catalog:last      counter of versions, only grows
    <prefix>:catalog:v:<n>     a snapshot in pieces (`rater.catalog.stored`); the last KEPT versions stay
    <prefix>:catalog:current   the number in force; setting it is the publication
    <prefix>:catalog           channel: the number, when it changes
    <prefix>:shards            hash: account → shard, given once and changed only by moving the account
    <prefix>:opened            hash: account → opening balance as posted, micro-units

A publication first checks and places everything; the last step is the one key that makes it count, so whatever
breaks before leaves the old catalogue in force. No two of these keys need be in one slot of a cluster.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, WatchError

from rater.catalog.gather import finish_all, gather_groups
from rater.catalog.model import Account
from rater.catalog.snapshot import Snapshot
from rater.catalog.stored import current_key, read_version, version_key, write_version
from rater.charging.keys import places_key
from rater.charging.model import Post, PostKind, Reply, Request, Status
from rater.charging.moves import MovingStore
from rater.errors import CatalogError, ConfigError, InputError, StoreError
from rater.ids import AccountId, OpId, ResellerId, Shard
from rater.money import format_amount

KEPT = 5
POLL_S = 3.0
_BATCH = 500
log = structlog.get_logger(__name__)


class PublishingStore(MovingStore, Protocol):
    """What is needed of a store."""

    async def ask(self, request: Request) -> Reply: ...


@dataclass(frozen=True, slots=True)
class Published:
    """`opened`: accounts whose opening balance was posted now. `moved`: those that came to another shard, where the
    owner of their group lives. `notes`: what the user should know."""

    version: int
    opened: tuple[AccountId, ...]
    notes: tuple[str, ...]
    moved: tuple[AccountId, ...] = ()


async def publish(
    redis: Redis,
    store: PublishingStore,
    snapshot: Snapshot,
    *,
    prefix: str,
    shards: int,
    now_ms: int,
    progress: Callable[[str], None] = lambda step: None,
) -> Published:
    """Make `snapshot` the catalogue in force, after opening its new accounts.

    Raises StoreError when Redis fails on the way, or live calls keep an account from joining its group: the old
    catalogue is still in force, and doing it again is safe. Raises ConfigError when the settings no longer have an
    account's shard.
    """
    try:
        progress("accounts")
        await finish_all(store, shards)
        owner_of = snapshot.sharing.owner
        places = await place_accounts(redis, prefix, list(snapshot.accounts), shards, owner_of)
        places, moved = await gather_groups(store, places, owner_of, progress=progress)
        resellers = await place_resellers(redis, prefix, list(snapshot.resellers), shards)
        placed = snapshot.placed(places, 0)
        opened, notes = await _open_accounts(redis, store, placed, prefix, now_ms)
        progress("snapshot")
        notes += await _hours_gone(redis, prefix, snapshot, now_ms)
        version = await _next_version(redis, prefix)
        await write_version(redis, prefix, snapshot.placed(places, version, resellers))
        progress("publication")
        if not await _make_current(redis, prefix, version):
            notes += (f"version {version} was overtaken by another publication at the same time",)
        await redis.publish(f"{prefix}:catalog", version)
        await _trim(redis, prefix, version)
    except (RedisError, OSError) as error:
        raise StoreError(
            f"the catalogue could not be published: {error}", hint="The old one is still in force. Load it again."
        ) from error
    return Published(version, opened, notes, moved)


async def place_accounts(
    redis: Redis,
    prefix: str,
    accounts: Sequence[AccountId],
    shards: int,
    owner_of: Callable[[AccountId], AccountId | None] = lambda account: None,
) -> dict[AccountId, Shard]:
    """The shard of each account; new accounts are spread by name, new members of a sharing group live with its
    owner. Whoever comes first decides. Raises ConfigError when the settings do not have an account's shard."""
    members = [account for account in accounts if owner_of(account) is not None]
    places = await _place(redis, prefix, [account for account in accounts if owner_of(account) is None], shards, {})
    beside = {member: places[owner] for member in members if (owner := owner_of(member)) is not None}
    return places | await _place(redis, prefix, members, shards, beside)


async def _place(
    redis: Redis, prefix: str, accounts: Sequence[AccountId], shards: int, beside: Mapping[AccountId, Shard]
) -> dict[AccountId, Shard]:
    key = places_key(prefix)
    places: dict[AccountId, Shard] = {}
    for batch in _batches(accounts):
        pipe = redis.pipeline(transaction=False)
        for name in batch:
            pipe.hsetnx(key, name, beside.get(name, zlib.crc32(name.encode()) % shards))
        pipe.hmget(key, batch)
        places |= {name: Shard(int(value)) for name, value in zip(batch, (await pipe.execute())[-1], strict=True)}
    astray = sorted(name for name, shard in places.items() if shard >= shards)
    if astray:
        raise ConfigError(
            f"{len(astray)} accounts live in shards that the settings do not have, such as {astray[0]} in shard "
            f"{places[astray[0]]}",
            hint=f"Set [redis] shards to at least {max(places.values()) + 1}, or move the accounts first: "
            "rater account move.",
        )
    return places


async def place_resellers(
    redis: Redis, prefix: str, resellers: Sequence[ResellerId], shards: int
) -> dict[ResellerId, Shard]:
    """The shard in which each reseller's calls are counted, given once like an account's."""
    names = [AccountId(f"reseller:{name}") for name in resellers]
    places = await place_accounts(redis, prefix, names, shards)
    return {reseller: places[name] for reseller, name in zip(resellers, names, strict=True)}


async def _open_accounts(
    redis: Redis, store: PublishingStore, snapshot: Snapshot, prefix: str, now_ms: int
) -> tuple[tuple[AccountId, ...], tuple[str, ...]]:
    """Post the opening balance of each account not yet opened. Repeating it posts nothing twice."""
    key = f"{prefix}:opened"
    opened: list[AccountId] = []
    notes: list[str] = []
    for batch in _batches(list(snapshot.accounts)):
        known = dict(zip(batch, await redis.hmget(key, batch), strict=True))
        new = [snapshot.accounts[name] for name in batch if known[name] is None]
        for name in batch:
            before = known[name]
            if before is not None and int(before) != snapshot.accounts[name].opening_micro:
                notes.append(
                    f"account {name} was opened with {format_amount(int(before))}; its new opening balance is not "
                    "posted: use rater account credit or debit"
                )
        replies = await asyncio.gather(*(store.ask(_opening(snapshot, account, now_ms)) for account in new))
        for account, reply in zip(new, replies, strict=True):
            if reply.status is Status.CONFLICT:
                notes.append(f"account {account.id} was opened before with another balance, which it keeps")
            elif reply.status is not Status.OK:
                raise StoreError(
                    f"account {account.id} could not be opened: {reply.reason.code}",
                    hint="Load the catalogue again.",
                )
            elif not reply.repeated:
                opened.append(account.id)
        if new:
            await redis.hset(key, mapping={account.id: account.opening_micro for account in new})
    return tuple(opened), tuple(notes)


async def _hours_gone(redis: Redis, prefix: str, snapshot: Snapshot, now_ms: int) -> tuple[str, ...]:
    """What is told of bands that accounts had until now: grants given by hand may be bound to them."""
    try:
        before = await load_current(redis, prefix)
    except CatalogError:
        return ()
    if before is None:
        return ()
    old, new, notes = before.accounts, snapshot.accounts, []
    for was, now in sorted({(old[name].plan, new[name].plan) for name in old.keys() & new.keys()}):
        bands = {band.name for band in before.plans[was].at(now_ms).plan.bands}
        kept = snapshot.plans[now].bands_from(now_ms)
        whose = f"the plan {now}" if was == now else f"the plan {now}, in which accounts are that were in {was},"
        notes += [
            f"{whose} has no band {name!r} (any more): grants given by hand for these hours are closed"
            for name in sorted(bands - kept)
        ]
    return tuple(notes)


def _opening(snapshot: Snapshot, account: Account, now_ms: int) -> Post:
    return Post(
        op=OpId(f"opening:{account.id}"),
        shard=account.shard,
        account=account.id,
        kind=PostKind.OPENING,
        amount_micro=account.opening_micro,
        now_ms=now_ms,
        terms=snapshot.terms(account.id, "", now_ms),
        cause="opening balance of the catalogue",
    )


async def _next_version(redis: Redis, prefix: str) -> int:
    """Larger than any before, even when the counter was lost and the current version was not."""
    version = int(await redis.incr(f"{prefix}:catalog:last"))
    current = int(await redis.get(current_key(prefix)) or 0)
    if version <= current:
        version = int(await redis.incrby(f"{prefix}:catalog:last", current - version + 1))
    return version


async def _make_current(redis: Redis, prefix: str, version: int) -> bool:
    """Point to the version unless a newer one is in force."""
    key = current_key(prefix)
    while True:
        async with redis.pipeline(transaction=True) as pipe:
            await pipe.watch(key)
            if int(await pipe.get(key) or 0) > version:
                return False
            pipe.multi()  # type: ignore[no-untyped-call]  # redis-py left it without types
            pipe.set(key, version)
            try:
                await pipe.execute()
            except WatchError:
                continue
            return True


async def _trim(redis: Redis, prefix: str, version: int) -> None:
    """Delete what is older than the last KEPT versions; the range allows for earlier deletions that failed."""
    last = version - KEPT
    for old in range(max(1, last - 20), last + 1):
        await redis.unlink(version_key(prefix, old))


def _batches(names: Sequence[AccountId]) -> Iterable[Sequence[AccountId]]:
    return (names[at : at + _BATCH] for at in range(0, len(names), _BATCH))


async def load_current(redis: Redis, prefix: str) -> Snapshot | None:
    """The catalogue in force; None when none was ever published.

    When it is damaged, the newest readable one before it is given, and an error is logged. Raises CatalogError when
    none is readable, RedisError when Redis fails.
    """
    current = await _current_version(redis, prefix)
    if not current:
        return None
    damaged: CatalogError | None = None
    for version in range(current, max(0, current - KEPT), -1):
        try:
            snapshot = await read_version(redis, prefix, version)
        except CatalogError as error:
            log.error("catalogue refused, trying the one before", version=version, error=error.message)
            damaged = error
        else:
            if snapshot is not None:
                return snapshot
    if damaged is not None:
        raise damaged
    return None


async def load_version(redis: Redis, prefix: str, version: int) -> Snapshot:
    """A published version. Raises InputError when it is not kept (any more), CatalogError when it is damaged."""
    snapshot = await read_version(redis, prefix, version)
    if snapshot is None:
        current = await _current_version(redis, prefix)
        kept = [n for n in range(max(1, current - KEPT), current + 1) if await redis.exists(version_key(prefix, n))]
        versions = ", ".join(map(str, kept)) or "none"
        raise InputError(f"version {version} of the catalogue is not in Redis", hint=f"Those kept: {versions}.")
    return snapshot


async def watch(redis: Redis, prefix: str, *, known: int = 0, poll_s: float = POLL_S) -> AsyncIterator[Snapshot]:
    """Each catalogue that comes into force after version `known`, for ever. A damaged one is logged and left out.

    Publications are heard at once; should a message be lost, the number is looked at every `poll_s` seconds. Lost
    connections are taken up again.
    """
    seen = known
    while True:
        try:
            async with redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                await pubsub.subscribe(f"{prefix}:catalog")
                while True:
                    current = await _current_version(redis, prefix)
                    if current and current != seen:
                        seen = current
                        snapshot = await _read(redis, prefix, current)
                        if snapshot is not None:
                            yield snapshot
                    await pubsub.get_message(timeout=poll_s)
        except (RedisError, OSError) as error:
            log.warning("cannot watch the catalogue", error=str(error))
            await asyncio.sleep(min(1.0, poll_s))


async def _current_version(redis: Redis, prefix: str) -> int:
    value: Any = await redis.get(current_key(prefix))
    try:
        return int(value or 0)
    except ValueError:
        log.error("the key of the current catalogue holds no number", key=current_key(prefix))
        return 0


async def _read(redis: Redis, prefix: str, version: int) -> Snapshot | None:
    try:
        snapshot = await read_version(redis, prefix, version)
    except CatalogError as error:
        log.error("catalogue refused; the old one stays", version=version, error=error.message)
        return None
    if snapshot is None:
        log.error("the current catalogue is missing; the old one stays", version=version)
    return snapshot
