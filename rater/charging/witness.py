"""What the store was seen to hold, kept outside it: notices that it came back as an earlier self.

A Redis that is restarted, or a replica that is promoted, may lack the last writes. Each server has an id of its
own life; when that changes, whether writes are missing is told by the last ledger entry seen of each shard: an
entry that has gone, while older ones are there, was not trimmed away. This covers what others wrote (postings), up
to the last look; what this process wrote is told at once and exactly, see `rater.charging.newest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import RedisCluster

from rater.charging.redis_reads import RedisReads
from rater.ids import Shard


@dataclass(frozen=True, slots=True)
class Seen:
    """`restarted`: another life of the store than at the look before. `lost`: the shards that certainly lack writes
    they had."""

    restarted: bool
    lost: tuple[Shard, ...] = ()


class Witness:
    def __init__(self, store: RedisReads) -> None:
        self._store = store
        self._lives: frozenset[str] = frozenset()
        self._last: dict[Shard, bytes] = {}

    async def look(self) -> Seen:
        """Compare with the look before. Raises RedisError."""
        lives = await self._lives_now()
        restarted = bool(self._lives) and lives != self._lives
        shards = [Shard(shard) for shard in range(self._store.shards)]
        lost = tuple([shard for shard in shards if await self._has_lost(shard)]) if restarted else ()
        for shard in shards:
            newest = await self._store.redis.xrevrange(self._store.keys(shard).ledger, count=1)
            self._last.pop(shard, None)
            if newest:
                self._last[shard] = newest[0][0]
        self._lives = lives
        return Seen(restarted, lost)

    async def _lives_now(self) -> frozenset[str]:
        redis: Any = self._store.redis
        if not isinstance(redis, RedisCluster):
            return frozenset([str((await redis.info("server"))["run_id"])])
        told: Mapping[str, Any] = await redis.info("server", target_nodes=RedisCluster.PRIMARIES)
        nodes = [told] if "run_id" in told else told.values()
        return frozenset(str(node["run_id"]) for node in nodes)

    async def _has_lost(self, shard: Shard) -> bool:
        last = self._last.get(shard)
        if last is None:
            return False
        up_to = await self._store.redis.xrevrange(self._store.keys(shard).ledger, max=last, count=1)
        if up_to:
            return bool(up_to[0][0] != last)
        held = await self._store.redis.xlen(self._store.keys(shard).ledger)
        return not held and not await self._store.redis.exists(self._store.keys(shard).ledger_checkpoint)
