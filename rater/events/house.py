"""What keeps the streams bounded without losing anything unseen.

The outbox is trimmed up to the first entry that any consumer group has not acknowledged, and not before an entry is
`keep_hours` old. A group that nobody reads any more therefore holds it for ever, and so does the lack of any group:
that is told, again and again, and left to a person, since what is dropped is gone. Only for an outbox without any
group a limit can be set (`drop_unread_days`).

Dead letters are kept by number and age; each that goes is told.

Any number of processes may do this at the same time.
"""

from __future__ import annotations

import time
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from rater.config import PublishSettings, RedisSettings
from rater.events.backlog import first_pending, id_order, outbox_backlog
from rater.events.stream import dead_key, outbox_key
from rater.metrics import Metrics

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
STUCK_S = 86_400.0
TOLD_EVERY_S = 3600.0
log = structlog.get_logger(__name__)


async def trim_outbox(redis: Redis, *, prefix: str, shard: int, keep_ms: int) -> int:
    """Drop entries older than `keep_ms` that every group has acknowledged; how many went. None, without a group."""
    client: Any = redis
    key = outbox_key(prefix, shard)
    floors = []
    for info in await _groups(client, key):
        floors += await first_pending(redis, key, info) or [info["last-delivered-id"]]
    if not floors:
        return 0
    floors.append(f"{await _now_ms(client) - keep_ms}-0".encode())
    return int(await client.xtrim(key, minid=min(floors, key=id_order).decode(), approximate=True))


class House:
    """Keeps the streams of all shards."""

    def __init__(self, redis: Redis, metrics: Metrics, bounds: PublishSettings, where: RedisSettings) -> None:
        self._redis: Any = redis  # redis-py's types differ between commands sync and async
        self._metrics = metrics
        self._bounds = bounds
        self._prefix = where.prefix
        self._shards = where.shards
        self._told_s: dict[str, float] = {}
        for shard in range(where.shards):
            for stream in ("outbox", "dead"):
                metrics.dropped(shard, stream, 0)

    async def step(self) -> None:
        """Trim what may go, tell of what may not. Raises RedisError."""
        for shard in range(self._shards):
            await self._outbox(shard)
            await self._dead(shard)

    async def _outbox(self, shard: int) -> None:
        key = outbox_key(self._prefix, shard)
        groups = await _groups(self._redis, key)
        if not groups:
            await self._unread(shard, key)
            return
        keep_ms = self._bounds.keep_hours * HOUR_MS
        await trim_outbox(self._redis, prefix=self._prefix, shard=shard, keep_ms=keep_ms)
        for info in groups:
            name = info["name"].decode("utf-8", "replace")
            backlog = await outbox_backlog(self._redis, prefix=self._prefix, shard=shard, group=name)
            if backlog.age_s > STUCK_S and self._tells(f"{shard}/{name}"):
                log.warning(
                    "a consumer group holds the outbox",
                    shard=shard, group=name, entries=backlog.entries, hours=round(backlog.age_s / 3600),
                    hint=f"Run its consumer; if it is no longer wanted: XGROUP DESTROY {key} {name}",
                )  # fmt: skip

    async def _unread(self, shard: int, key: str) -> None:
        """Nobody is known to read this outbox."""
        days = self._bounds.drop_unread_days
        if days is not None:
            floor = f"{await _now_ms(self._redis) - days * DAY_MS}-0"
            went = int(await self._redis.xtrim(key, minid=floor, approximate=False))
            if went:
                self._metrics.dropped(shard, "outbox", went)
                log.error("unread entries were dropped from the outbox", shard=shard, entries=went)
        entries = int(await self._redis.xlen(key))
        if entries and self._tells(f"{shard}/"):
            log.warning(
                "nobody reads the outbox: it only grows",
                shard=shard, entries=entries, kilobytes=(await self._memory(key)) >> 10,
                hint="Configure a target (docs/notifications.md), or set [publish] drop_unread_days.",
            )  # fmt: skip

    async def _dead(self, shard: int) -> None:
        key, bounds = dead_key(self._prefix, shard), self._bounds
        floor = f"{await _now_ms(self._redis) - bounds.dead_letter_days * DAY_MS}-0"
        old = int(await self._redis.xtrim(key, minid=floor, approximate=False))
        many = int(await self._redis.xtrim(key, maxlen=bounds.dead_letters, approximate=False))
        if old or many:
            self._metrics.dropped(shard, "dead", old + many)
            log.error(
                "dead letters were dropped", shard=shard, too_old=old, too_many=many, hint="rater events dead"
            )

    async def _memory(self, key: str) -> int:
        return int(await self._redis.memory_usage(key, samples=5) or 0)

    def _tells(self, what: str) -> bool:
        """Whether it is time to say that again."""
        now_s = time.monotonic()
        if now_s - self._told_s.get(what, -TOLD_EVERY_S) < TOLD_EVERY_S:
            return False
        self._told_s[what] = now_s
        return True


async def _groups(redis: Any, key: str) -> list[dict[str, Any]]:
    try:
        groups: list[dict[str, Any]] = await redis.xinfo_groups(key)
    except ResponseError:  # no such stream yet
        return []
    return groups


async def _now_ms(redis: Any) -> int:
    """By the clock that numbers the entries."""
    seconds, micros = await redis.time()
    return int(seconds) * 1000 + int(micros) // 1000
