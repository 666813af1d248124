"""Mails that are still to be sent, in Redis: one box for each account and address.

Crossings of one account within a while become one mail, and no address gets more than so many mails an hour,
however many crossings there are. So records leave the outbox for a box, and the box is emptied when it is due:

    <prefix>:{N}:mail:due                        sorted set: box → when it is due, ms
    <prefix>:{N}:mail:box:<address> <account>    hash: record id → packed entry, at most `BOX_MAX`
    <prefix>:{N}:mail:state:<address> <account>  hash, expires: `tries`, `not_before` (ms), `omitted` (too many)

A record is in its boxes before it is acknowledged to the outbox, and a repeat of it changes nothing there. It
leaves a box when it was sent, or as a dead letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
from redis.asyncio import Redis
from redis.exceptions import WatchError

from rater.events.dead import add_letter
from rater.events.house import DAY_MS
from rater.events.stream import Entry

BOX_MAX = 200
STATE_KEPT_MS = 2 * DAY_MS
LEASE_MS = 180_000
"""A box that is being sent comes up again after so long, should its sender have died."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One record in a box. `raw`: the outbox entry's fields; `entry`: its id there."""

    id: str
    entry: str
    raw: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Box:
    """One address of one account, with what waits for it, in the order of the outbox."""

    shard: int
    address: str
    account: str
    waiting: tuple[Waiting, ...]
    tries: int
    omitted: int

    @property
    def name(self) -> str:
        return f"{self.address} {self.account}"

    @property
    def oldest_ms(self) -> int:
        return min(int(each.entry.split("-")[0]) for each in self.waiting)


class MailBoxes:
    """The boxes of one shard."""

    def __init__(self, redis: Redis, *, prefix: str, shard: int, group: str) -> None:
        self._redis: Any = redis  # redis-py's types differ between commands sync and async
        self._prefix, self._shard, self._group = prefix, shard, group
        tag = f"{prefix}:{{{shard}}}:mail:"
        self._due = f"{tag}due"
        self._box = f"{tag}box:"
        self._state = f"{tag}state:"

    async def put(self, address: str, account: str, record: str, entry: Entry, *, due_ms: int) -> None:
        """Add a record to a box; a repeat changes nothing. The box is due then, or when it may be again."""
        name = f"{address} {account}"
        known, size, not_before = await self._look(name, record)
        async with self._redis.pipeline(transaction=True) as pipe:
            if not known and size >= BOX_MAX:
                pipe.hincrby(self._state + name, "omitted", 1)
                pipe.pexpire(self._state + name, STATE_KEPT_MS)
            else:
                pipe.hsetnx(self._box + name, record, msgpack.packb([entry.stream_id, dict(entry.raw)]))
            pipe.zadd(self._due, {name: max(due_ms, not_before)}, nx=True)
            await pipe.execute()

    async def _look(self, name: str, record: str) -> tuple[bool, int, int]:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hexists(self._box + name, record)
            pipe.hlen(self._box + name)
            pipe.hget(self._state + name, "not_before")
            known, size, not_before = await pipe.execute()
        return bool(known), int(size), int(not_before or 0)

    async def due(self, now_ms: int, count: int) -> Sequence[str]:
        """Names of boxes that are due."""
        names = await self._redis.zrangebyscore(self._due, "-inf", now_ms, start=0, num=count)
        return [name.decode() for name in names]

    async def take(self, name: str, now_ms: int) -> Box | None:
        """The box, for this caller alone for a while; None when it is empty, or somebody else has it."""
        async with self._redis.pipeline(transaction=True) as pipe:
            await pipe.watch(self._due, self._box + name)
            score = await pipe.zscore(self._due, name)
            held = await pipe.hgetall(self._box + name)
            state = await pipe.hgetall(self._state + name)
            if score is None or score > now_ms:
                return None
            pipe.multi()
            if held:
                pipe.zadd(self._due, {name: now_ms + LEASE_MS}, xx=True)
            else:
                pipe.zrem(self._due, name)
            try:
                await pipe.execute()
            except WatchError:
                return None  # it is looked at again with the next round
        if not held:
            return None
        address, _, account = name.partition(" ")
        waiting = [Waiting(record.decode(), *msgpack.unpackb(data, raw=False)) for record, data in held.items()]
        tries, omitted = int(state.get(b"tries", 0)), int(state.get(b"omitted", 0))
        ordered = sorted(waiting, key=lambda each: tuple(map(int, each.entry.split("-"))))
        return Box(self._shard, address, account, tuple(ordered), tries, omitted)

    async def sent(self, box: Box, *, not_before_ms: int) -> None:
        """Its mail is out: what was in it leaves, and the next mail waits until then."""
        async with self._redis.pipeline(transaction=True) as pipe:
            self._leave(pipe, box, not_before_ms)
            await pipe.execute()

    async def again(self, box: Box, *, at_ms: int) -> None:
        """It could not be sent for now."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hincrby(self._state + box.name, "tries", 1)
            pipe.pexpire(self._state + box.name, STATE_KEPT_MS)
            pipe.zadd(self._due, {box.name: at_ms})
            await pipe.execute()

    async def bury(self, box: Box, reason: str, *, now_ms: int) -> None:
        """It will never be taken: its records become dead letters."""
        async with self._redis.pipeline(transaction=True) as pipe:
            for each in box.waiting:
                add_letter(
                    pipe, self._prefix, self._shard, each.raw, reason=reason, group=self._group, entry=each.entry
                )
            self._leave(pipe, box, now_ms)
            await pipe.execute()

    def _leave(self, pipe: Any, box: Box, not_before_ms: int) -> None:
        pipe.hdel(self._box + box.name, *(each.id for each in box.waiting))
        pipe.hdel(self._state + box.name, "tries", "omitted")
        pipe.hset(self._state + box.name, "not_before", not_before_ms)
        pipe.pexpire(self._state + box.name, STATE_KEPT_MS)
        pipe.zadd(self._due, {box.name: not_before_ms})
