"""One process that moves the account from shard to shard without a pause: arguments URL, prefix, number, and how
many shards a cluster has (0: one server, three shards). It may be killed at any point. After the first it says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys

from rater.charging.moves import move_account
from rater.charging.redis_store import RedisStore
from rater.errors import StoreError
from rater.ids import AccountId, Shard
from tests.charging.hasty import at_work

SHARDS = 3


async def work(url: str, prefix: str, number: int, shards: int) -> None:
    store = RedisStore(url, prefix=prefix, shards=shards or SHARDS, cluster=shards > 0)
    await store.start()
    chance = random.Random(number)
    while True:
        with contextlib.suppress(StoreError, OSError):
            await move_account(store, Shard(0), AccountId("ACME"), Shard(chance.randrange(store.shards)))
        at_work()
        await asyncio.sleep(chance.uniform(0, 0.02))


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
