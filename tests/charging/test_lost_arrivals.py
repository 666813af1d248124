"""An account arrives in a shard whose master dies before its replica has it: it is missed, and brought back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rater.charging.embedded import EmbeddedRedis
from rater.charging.model import Post, PostKind, Status
from rater.charging.moves import Move, move_account
from rater.charging.redis_store import RedisStore
from rater.charging.terms import Terms
from rater.commands.audit import audit_shard
from rater.errors import StoreUnavailable
from rater.ids import AccountId, OpId, Shard
from tests.contract.desk import CENT

HERE, THERE, THIRD = Shard(0), Shard(1), Shard(2)
ANA = AccountId("ANA")
NOW_MS = 1_790_000_000_000


@asynccontextmanager
async def store_on(folder: Path) -> AsyncIterator[RedisStore]:
    redis = EmbeddedRedis(folder / "redis")
    await asyncio.to_thread(redis.start)
    try:
        store = RedisStore(redis.url, prefix="t", shards=3)
        await store.start()
        try:
            yield store
        finally:
            await store.close()
    finally:
        await asyncio.to_thread(redis.stop)


def credit(shard: Shard, micro: int, op: str) -> Post:
    return Post(OpId(op), shard, ANA, PostKind.CREDIT, micro, NOW_MS, Terms())


async def fail_over(store: RedisStore, shard: Shard) -> None:
    """To a replica that had nothing of the shard yet."""
    async for name in store.redis.scan_iter(match=store.keys(shard).tag + "*"):
        await store.redis.delete(name)


def test_what_a_fail_over_lost_of_a_move_is_brought_back_once(tmp_path: Path) -> None:
    async def case() -> None:
        async with store_on(tmp_path) as store:
            await store.ask(credit(HERE, 300 * CENT, "a"))
            assert await move_account(store, HERE, ANA, THERE) is None
            assert await store.lost() == []
            await fail_over(store, THERE)
            lost = await store.lost()
            assert lost == [Move(ANA, HERE, THERE, 1)]
            await store.restore(lost[0])
            await store.restore(lost[0])
            assert await store.lost() == []
            reply = await store.ask(credit(HERE, 10 * CENT, "b"))
            assert (reply.status, reply.balance_micro) == (Status.OK, 310 * CENT)
            assert [await audit_shard(store, shard) for shard in (HERE, THERE)] == [(0, []), (1, [])]

    asyncio.run(case())


def test_one_that_has_moved_on_since_is_not_brought_back_where_it_was(tmp_path: Path) -> None:
    async def case() -> None:
        async with store_on(tmp_path) as store:
            await store.ask(credit(HERE, 300 * CENT, "a"))
            assert await move_account(store, HERE, ANA, THERE) is None
            assert await move_account(store, THERE, ANA, THIRD) is None
            await fail_over(store, THERE)
            assert await store.lost() == [], "it would have its money twice"

    asyncio.run(case())


def test_an_account_made_there_meanwhile_is_left_alone_and_the_old_balance_told(tmp_path: Path) -> None:
    async def case() -> None:
        async with store_on(tmp_path) as store:
            await store.ask(credit(HERE, 300 * CENT, "a"))
            assert await move_account(store, HERE, ANA, THERE) is None
            await fail_over(store, THERE)
            await store.ask(credit(THERE, 50 * CENT, "c"))
            (lost,) = await store.lost()
            with pytest.raises(StoreUnavailable, match=r"another account of that name .* 3\.00"):
                await store.restore(lost)
            assert await audit_shard(store, THERE) == (1, [])

    asyncio.run(case())
