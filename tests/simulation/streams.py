"""The outbox and its dead letters as the publisher reads them: the stream commands of Redis that it uses, over
virtual time. What the charging server appends is put in by `Streams.feed`."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any

from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import ResponseError

from .virtual import VirtualTime

Id = tuple[int, int]
Fields = Mapping[bytes, bytes]


@dataclass
class Group:
    """`pending`: what was given and not acknowledged: to whom, and when on the virtual clock."""

    last: Id = (0, 0)
    pending: dict[Id, tuple[str, float]] = field(default_factory=dict)
    returned: set[Id] = field(default_factory=set)
    """Those of them of which an acknowledgement may have been lost with the last writes: whoever holds them may
    think that it is done with them, until it reads them again."""


@dataclass
class Stream:
    entries: dict[Id, Fields] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    last: Id = (0, 0)


class Streams:
    """`most_pending`: the most that any consumer held unacknowledged at a time, by group."""

    def __init__(self, clock: VirtualTime) -> None:
        self.clock = clock
        self.streams: dict[str, Stream] = {}
        self.most_pending: dict[str, int] = {}
        self.more = asyncio.Event()
        self.dropped: list[Fields] = []
        """What was trimmed away."""

    def feed(self, key: str, fields: Fields) -> Id:
        stream = self.streams.setdefault(key, Stream())
        now_ms = self.clock.wall_ms()
        stream.last = (now_ms, 0) if now_ms > stream.last[0] else (stream.last[0], stream.last[1] + 1)
        stream.entries[stream.last] = fields
        self.more.set()
        self.more = asyncio.Event()
        return stream.last

    def entries(self, key: str) -> list[Fields]:
        return list(self.streams.get(key, Stream()).entries.values())

    def copy(self) -> Any:
        return {key: Stream(dict(s.entries), copy.deepcopy(s.groups), s.last) for key, s in self.streams.items()}

    def become(self, copied: Any) -> None:
        self.streams = copied
        for stream in self.streams.values():
            for group in stream.groups.values():
                group.returned |= group.pending.keys()


class StreamClient:
    """As `redis.asyncio.Redis`, as far as `rater.events` and `rater.notify` ask. `trouble`: what the server answers
    to everything (``away``), or to what it would have to write (``refuses``)."""

    def __init__(self, streams: Streams, random: Random, trouble: Callable[[], str]) -> None:
        self._streams, self._random, self._trouble = streams, random, trouble

    async def _reach(self, *, write: bool = True) -> None:
        await asyncio.sleep(self._random.uniform(0.0003, 0.003))
        trouble = self._trouble()
        if trouble == "away":
            raise RedisAway("the server is away")
        if trouble == "refuses" and write:
            raise ResponseError("MISCONF errors writing to the append-only file")

    def _group(self, key: str, group: str | bytes) -> tuple[Stream, Group]:
        name = group.decode() if isinstance(group, bytes) else group
        stream = self._streams.streams.get(key)
        if stream is None or name not in stream.groups:
            raise ResponseError("NOGROUP no such key or consumer group")
        return stream, stream.groups[name]

    async def xgroup_create(self, key: str, group: str, *, id: str, mkstream: bool) -> None:
        await self._reach()
        stream = self._streams.streams.setdefault(key, Stream())
        if group in stream.groups:
            raise ResponseError("BUSYGROUP Consumer Group name already exists")
        stream.groups[group] = Group()

    async def xreadgroup(
        self, group: str, name: str, streams: dict[str, str], *, count: int, block: int | None
    ) -> list[Any]:
        [(key, after)] = streams.items()
        until_s = self._streams.clock.monotonic() + (block or 0) / 1000
        while True:
            await self._reach()
            more = self._streams.more
            stream, known = self._group(key, group)
            if after != ">":
                held = sorted(i for i, (whose, _) in known.pending.items() if whose == name and i > _id(after))
                found = [(_name(i), stream.entries.get(i)) for i in held[:count]]
                return [[key.encode(), found]] if found else []
            fresh = [i for i in stream.entries if i > known.last][:count]
            if fresh or self._streams.clock.monotonic() >= until_s:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(more.wait(), until_s - self._streams.clock.monotonic())
        for i in fresh:
            known.pending[i] = (name, self._streams.clock.monotonic())
            known.last = i
        most = self._streams.most_pending
        mine = sum(whose == name for i, (whose, _) in known.pending.items() if i not in known.returned)
        most[group] = max(most.get(group, 0), mine)
        return [[key.encode(), [(_name(i), stream.entries[i]) for i in fresh]]] if fresh else []

    async def xack(self, key: str, group: str, *ids: str | bytes) -> int:
        await self._reach()
        return self._ack(key, group, ids)

    def _ack(self, key: str, group: str, ids: tuple[str | bytes, ...]) -> int:
        _, known = self._group(key, group)
        return sum(known.pending.pop(_id(each), None) is not None for each in ids)

    async def xautoclaim(
        self, key: str, group: str, name: str, *, min_idle_time: int, start_id: str, count: int
    ) -> list[Any]:
        await self._reach()
        stream, known = self._group(key, group)
        now_s = self._streams.clock.monotonic()
        idle = [i for i, (_, at_s) in sorted(known.pending.items()) if now_s - at_s >= min_idle_time / 1000]
        for i in idle[:count]:
            known.pending[i] = (name, now_s)
        return [b"0-0", [(_name(i), stream.entries[i]) for i in idle[:count] if i in stream.entries], []]

    async def xinfo_groups(self, key: str) -> list[dict[str, Any]]:
        await self._reach(write=False)
        stream = self._streams.streams.get(key)
        if stream is None:
            raise ResponseError("ERR no such key")
        return [
            {"name": name.encode(), "pending": len(g.pending), "last-delivered-id": _name(g.last)}
            for name, g in stream.groups.items()
        ]

    async def xpending(self, key: str, group: str | bytes) -> dict[str, Any]:
        await self._reach(write=False)
        _, known = self._group(key, group)
        return {"min": _name(min(known.pending)) if known.pending else None}

    async def xtrim(self, key: str, *, minid: str, approximate: bool) -> int:
        await self._reach()
        stream = self._streams.streams.setdefault(key, Stream())
        doomed = [i for i in stream.entries if i < _id(minid)]
        self._streams.dropped += [stream.entries.pop(i) for i in doomed]
        return len(doomed)

    async def time(self) -> tuple[int, int]:
        await self._reach(write=False)
        now_ms = self._streams.clock.wall_ms()
        return now_ms // 1000, now_ms % 1000 * 1000

    def pipeline(self, transaction: bool = True) -> _Transaction:
        return _Transaction(self)


class _Transaction:
    """Both commands of a dead letter, or neither."""

    def __init__(self, client: StreamClient) -> None:
        self._client = client
        self._calls: list[Callable[[], Any]] = []

    async def __aenter__(self) -> _Transaction:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._calls.clear()

    def xadd(self, key: str, fields: Fields) -> None:
        self._calls.append(lambda: self._client._streams.feed(key, fields))

    def xack(self, key: str, group: str, *ids: str | bytes) -> None:
        self._calls.append(lambda: self._client._ack(key, group, ids))

    async def execute(self) -> list[Any]:
        await self._client._reach()
        return [call() for call in self._calls]


def _id(text: str | bytes) -> Id:
    millis, _, count = (text.decode() if isinstance(text, bytes) else text).partition("-")
    return int(millis), int(count or 0)


def _name(place: Id) -> bytes:
    return f"{place[0]}-{place[1]}".encode()
