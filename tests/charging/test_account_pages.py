"""Every account of a shard, page by page, while the set of their names grows under the reader."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count

from rater.charging.model import Post, PostKind
from rater.charging.moves import move_account
from rater.charging.redis_reads import PAGE, account_pages
from rater.charging.redis_store import RedisStore
from rater.charging.terms import Terms
from rater.ids import AccountId, OpId, Shard
from tests.servers import RedisServer

PREFIXES = count(1)


async def post(store: RedisStore, names: list[str]) -> None:
    posts = [Post(OpId(name), Shard(0), AccountId(name), PostKind.OPENING, 1, 1, Terms()) for name in names]
    await asyncio.gather(*map(store.ask, posts))


def test_each_account_comes_once_also_when_the_set_is_rearranged_meanwhile(server: RedisServer) -> None:
    async def main() -> None:
        store = RedisStore(server.url, prefix=f"pages{next(PREFIXES)}", shards=2)
        await store.start()
        keys, early = store.keys(Shard(0)), [f"early{n}" for n in range(3 * PAGE)]
        await post(store, early)
        seen: Counter[str] = Counter()
        raw: Counter[bytes] = Counter()
        redis = store.redis

        class Spied:
            """What the server gives, which repeats itself."""

            mget = staticmethod(redis.mget)

            @staticmethod
            async def sscan(*words: object, **options: object) -> tuple[int, list[bytes]]:
                cursor, names = await redis.sscan(*words, **options)
                raw.update(names)
                return cursor, names

        pages = 0
        async for page in account_pages(Spied, keys):
            assert all(data for _, data in page)
            seen.update(account for account, _ in page)
            if not pages:  # the set grows, so that its order is another
                await post(store, [f"late{n}" for n in range(20 * PAGE)])
            pages += 1
        assert pages > 3
        assert set(early) <= seen.keys()
        assert set(seen.values()) == {1}
        assert raw.keys() == {name.encode() for name in seen}
        await store.close()

    asyncio.run(main())


def test_one_that_is_elsewhere_by_now_has_no_value(server: RedisServer) -> None:
    async def main() -> None:
        store = RedisStore(server.url, prefix=f"pages{next(PREFIXES)}", shards=2)
        await store.start()
        await post(store, ["stays", "goes"])
        await store.redis.sadd(store.keys(Shard(0)).accounts, "gone")

        async def having(shard: int) -> dict[str, bool]:
            pages = account_pages(store.redis, store.keys(Shard(shard)))
            return {account: data is not None async for page in pages for account, data in page}

        assert await having(0) == {"stays": True, "goes": True, "gone": False}
        assert await move_account(store, Shard(0), AccountId("goes"), Shard(1)) is None
        assert await having(0) == {"stays": True, "gone": False}
        assert await having(1) == {"goes": True}
        assert [state.account for state in await store.accounts(Shard(0))] == ["stays"]
        await store.close()

    asyncio.run(main())
