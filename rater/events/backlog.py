"""How far the consumer groups of a shard's outbox are behind: for whoever watches, without being a member."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from rater.events.stream import dead_key, outbox_key
from rater.metrics import Metrics

_COUNTED = 2000
"""On a server older than 7, so many entries behind the group are counted; beyond, their number is estimated."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Entries that the group has not acknowledged, and how old the oldest of them is."""

    entries: int
    age_s: float


async def outbox_backlog(redis: Redis, *, prefix: str, shard: int, group: str) -> Backlog:
    """What a group has still to acknowledge. Everything, while there is no such group."""
    key = outbox_key(prefix, shard)
    nothing = {"name": group.encode(), "pending": 0, "last-delivered-id": b"0-0"}
    info = next((info for info in await _groups(redis, key) if info["name"] == group.encode()), nothing)
    return await _backlog(redis, key, info)


async def report_outbox(redis: Redis, metrics: Metrics, *, prefix: str, shard: int) -> None:
    """Read what there is to tell of one shard's outbox, and tell it."""
    key = outbox_key(prefix, shard)
    groups = {info["name"].decode(): await _backlog(redis, key, info) for info in await _groups(redis, key)}
    metrics.outbox_lag(shard, {group: (log.entries, log.age_s) for group, log in groups.items()})
    entries, dead = await redis.xlen(key), await redis.xlen(dead_key(prefix, shard))
    metrics.outbox(shard, entries, dead)


async def first_pending(redis: Redis, key: str, info: dict[str, Any]) -> list[bytes]:
    """The group's first entry given and not acknowledged; none when all are by now."""
    if not info["pending"]:
        return []
    first = (await _untyped(redis).xpending(key, info["name"]))["min"]
    return [] if first is None else [first]


def id_order(stream_id: bytes) -> tuple[int, int]:
    """What sorts the ids of a stream in its order."""
    millis, _, count = stream_id.partition(b"-")
    return int(millis), int(count or 0)


async def _groups(redis: Redis, key: str) -> list[dict[str, Any]]:
    try:
        groups: list[dict[str, Any]] = await _untyped(redis).xinfo_groups(key)
    except ResponseError:  # no such stream yet
        return []
    return groups


async def _backlog(redis: Redis, key: str, info: dict[str, Any]) -> Backlog:
    delivered = info["last-delivered-id"].decode()
    behind = await _untyped(redis).xrange(key, min=f"({delivered}", count=_COUNTED if _uncounted(info) else 1)
    oldest = [behind[0][0]] if behind else []
    oldest += await first_pending(redis, key, info)
    if not oldest:
        return Backlog(0, 0.0)
    seconds, micros = await redis.time()
    age_s = seconds + micros / 1e6 - min(_at_ms(stream_id) for stream_id in oldest) / 1000
    lag = info["lag"] if not _uncounted(info) else len(behind)
    if lag == _COUNTED and _uncounted(info):
        lag = await _estimated_lag(redis, key, _at_ms(delivered.encode()))
    return Backlog(info["pending"] + lag, max(0.0, age_s))


def _uncounted(info: dict[str, Any]) -> bool:
    """The server counts what a group is behind since version 7, and not after every change of the stream."""
    return not isinstance(info.get("lag"), int)


async def _estimated_lag(redis: Redis, key: str, delivered_ms: int) -> int:
    """Entries not yet given to the group, by the share of the stream's time that they span."""
    stream = await _untyped(redis).xinfo_stream(key)
    first_ms, last_ms = _at_ms(stream["first-entry"][0]), _at_ms(stream["last-entry"][0])
    share = (last_ms - delivered_ms) / max(1, last_ms - first_ms)
    return max(_COUNTED, int(int(stream["length"]) * min(1.0, share)))


def _at_ms(stream_id: bytes) -> int:
    return id_order(stream_id)[0]


def _untyped(redis: Redis) -> Any:
    """redis-py's types differ between commands sync and async."""
    return redis
