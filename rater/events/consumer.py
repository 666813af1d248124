"""Reading a shard's outbox as a member of a consumer group: at least once, in order, nothing skipped unseen.

The group remembers in Redis what it was given and has not acknowledged. So a consumer that dies, or whose target
is away for hours, loses nothing: it (or, once its entries have been idle for long, another) is given them again.
Repeats are absorbed downstream by the record's id.

An entry that nobody can read would stop the stream for ever. It is copied to the shard's dead-letter stream with
the reason, acknowledged, and reading goes on.

Order: entries come in the order of the stream as long as one consumer of the group runs. A second one is of use as
a stand-by; what it takes over from a dead consumer may then come after newer entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from rater.events.backlog import Backlog, outbox_backlog
from rater.events.dead import add_letter
from rater.events.stream import TO, Entry, UnreadableEntry, decode_entry, outbox_key

_Raw = tuple[bytes, dict[bytes, bytes] | None]


@dataclass(slots=True)
class Batch:
    """What one read gave: entries to deliver, in order, and those already set aside as unreadable."""

    entries: list[Entry] = field(default_factory=list)
    buried: int = 0


class OutboxConsumer:
    """One member, `name`, of the group `group` on one shard's outbox.

    `batch`: the most entries given and not acknowledged at a time. `idle_ms`: entries of another member untouched
    for that long are taken over.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        prefix: str,
        shard: int,
        group: str,
        name: str,
        batch: int = 200,
        idle_ms: int = 60_000,
    ) -> None:
        self._redis: Any = redis  # redis-py's types differ between commands sync and async
        self._prefix = prefix
        self._key = outbox_key(prefix, shard)
        self._batch = batch
        self._idle_ms = idle_ms
        self._own_after: str | None = "0"
        self._claim_at_ms = 0
        self.shard = shard
        self.group = group
        self.name = name

    async def open(self) -> None:
        """Make the group, from the beginning of the stream, unless it is there. Harmless to repeat."""
        try:
            await self._redis.xgroup_create(self._key, self.group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def again(self) -> None:
        """Deliveries broke off: the next reads give once more what was given and not acknowledged."""
        self._own_after = "0"

    async def read(self, *, now_ms: int, block_ms: int) -> Batch:
        """The next entries, waiting for new ones for up to `block_ms`; empty when none came.

        First come this member's own unacknowledged ones (after a start or `again`), then those a dead member
        left, then new ones. `now_ms` is monotonic.
        """
        raw: Sequence[_Raw] = ()
        if self._own_after is not None:
            raw = await self._group_read(self._own_after, None)
            self._own_after = raw[-1][0].decode() if raw else None
        if not raw and now_ms >= self._claim_at_ms:
            raw = await self._take_over()
            if not raw:
                self._claim_at_ms = now_ms + self._idle_ms // 2
        if not raw:
            raw = await self._group_read(">", block_ms)
        return await self._decoded(raw)

    async def ack(self, entries: Iterable[Entry]) -> None:
        """They are delivered for good."""
        ids = [entry.stream_id for entry in entries]
        if ids:
            await self._redis.xack(self._key, self.group, *ids)

    async def bury(self, stream_id: str, raw: Mapping[bytes, bytes], reason: str) -> None:
        """Set one entry aside in the dead-letter stream and go on."""
        async with self._redis.pipeline(transaction=True) as pipe:
            add_letter(pipe, self._prefix, self.shard, raw, reason=reason, group=self.group, entry=stream_id)
            pipe.xack(self._key, self.group, stream_id)
            await pipe.execute()

    async def backlog(self) -> Backlog:
        """What is still to be acknowledged by the group."""
        return await outbox_backlog(self._redis, prefix=self._prefix, shard=self.shard, group=self.group)

    async def _group_read(self, after: str, block_ms: int | None) -> Sequence[_Raw]:
        answer = await self._redis.xreadgroup(
            self.group, self.name, {self._key: after}, count=self._batch, block=block_ms
        )
        if not answer:
            return ()
        if isinstance(answer, dict):  # protocol 3
            (pages,) = answer.values()
            return [_pair(item) for page in pages for item in page]
        return [_pair(item) for item in answer[0][1]]

    async def _take_over(self) -> Sequence[_Raw]:
        answer = await self._redis.xautoclaim(
            self._key, self.group, self.name, min_idle_time=self._idle_ms, start_id="0-0", count=self._batch
        )
        return [_pair(item) for item in answer[1] if item and item[0] is not None]

    async def _decoded(self, raw: Iterable[_Raw]) -> Batch:
        batch = Batch()
        for stream_id, fields in raw:
            if fields and fields.get(TO, self.group.encode()) != self.group.encode():
                await self._redis.xack(self._key, self.group, stream_id)
                continue
            try:
                if not fields:
                    raise UnreadableEntry("the entry was removed from the outbox before it was acknowledged")
                batch.entries.append(decode_entry(self.shard, stream_id, fields))
            except UnreadableEntry as error:
                await self.bury(stream_id.decode(), fields or {}, error.message)
                batch.buried += 1
        return batch


def _pair(item: Any) -> _Raw:
    stream_id, fields = item
    return stream_id, fields
