"""Reading the outbox by groups on a real server: nothing skipped, nothing lost, poison set aside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from events.support import CENT, Desk, copies, leg_facts
from rater.charging.embedded import EmbeddedRedis
from rater.charging.redis_store import RedisStore
from rater.events.backlog import outbox_backlog
from rater.events.consumer import OutboxConsumer
from rater.events.stream import dead_key, outbox_key


class Bench:
    """A fresh outbox, and members of a group on it."""

    def __init__(self, store: RedisStore) -> None:
        self.store, self.redis = store, store.redis
        self.key = outbox_key(store.prefix, 0)

    def member(self, name: str, *, batch: int = 100, idle_ms: int = 60_000) -> OutboxConsumer:
        return OutboxConsumer(
            self.redis, prefix=self.store.prefix, shard=0, group="g", name=name, batch=batch, idle_ms=idle_ms
        )

    async def legs(self, count: int) -> list[str]:
        desk = Desk(self.store)
        await desk.credit(10**9)
        await desk.call(10, leg_facts("leg-0"))
        ids = [f"leg-{n}" for n in range(count)]
        await copies(self.redis, self.store.prefix, ids[1:])
        return ids


def bench(server: EmbeddedRedis, prefix: str, work: Callable[[Bench], Awaitable[Any]]) -> None:
    async def run() -> None:
        store = RedisStore(server.url, prefix=prefix)
        await store.start()
        try:
            await work(Bench(store))
        finally:
            await store.close()

    asyncio.run(run())


async def ids_read(member: OutboxConsumer, *, now_ms: int = 0) -> list[str]:
    batch = await member.read(now_ms=now_ms, block_ms=10)
    return [entry.facts["id"] for entry in batch.entries]


def test_entries_come_in_order_and_once_while_acknowledged(server: EmbeddedRedis) -> None:
    async def work(bench: Bench) -> None:
        ids = await bench.legs(25)
        member = bench.member("a", batch=10)
        await member.open()
        seen = []
        for _ in range(4):
            batch = await member.read(now_ms=0, block_ms=10)
            seen += [entry.facts["id"] for entry in batch.entries]
            await member.ack(batch.entries)
        assert seen == ids
        assert (await member.backlog()).entries == 0

    bench(server, "order", work)


def test_what_was_not_acknowledged_comes_again_in_order_before_anything_new(server: EmbeddedRedis) -> None:
    async def work(bench: Bench) -> None:
        ids = await bench.legs(12)
        member = bench.member("a", batch=5)
        await member.open()
        first = await member.read(now_ms=0, block_ms=10)
        await member.ack(first.entries[:2])
        member.again()
        assert await ids_read(member) == ids[2:5]
        assert await ids_read(member) == ids[5:10]
        again = bench.member("a", batch=20)  # the same member, after a restart
        assert await ids_read(again) == ids[2:10]
        assert await ids_read(again) == ids[10:]

    bench(server, "again", work)


def test_41_a_dead_members_entries_are_taken_over(server: EmbeddedRedis) -> None:
    async def work(bench: Bench) -> None:
        ids = await bench.legs(3)
        dead = bench.member("dead")
        await dead.open()
        assert await ids_read(dead) == ids
        hasty = bench.member("hasty", idle_ms=3_600_000)
        assert await ids_read(hasty) == []
        await asyncio.sleep(0.05)
        heir = bench.member("heir", idle_ms=20)
        assert await ids_read(heir) == ids
        assert await ids_read(dead, now_ms=10**9) == []
        pending = await bench.redis.xpending_range(bench.key, "g", "-", "+", 10)
        assert {row["consumer"] for row in pending} == {b"heir"}

    bench(server, "heir", work)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({b"k": b"invented", b"f": b"\x80"}, b"unknown kind"),
        ({b"k": b"rated", b"f": b"\xc1garbage"}, b"field f is no msgpack"),
        ({b"k": b"rated", b"f": b"\x93\x01\x02\x03"}, b"field f holds no map"),
        ({b"x": b"y"}, b"unknown kind"),
    ],
)
def test_42_poison_goes_to_the_dead_letters_and_the_stream_goes_on(
    server: EmbeddedRedis, fields: dict[bytes, bytes], reason: bytes
) -> None:
    async def work(bench: Bench) -> None:
        await bench.redis.flushdb()
        await bench.redis.xadd(bench.key, fields)
        ids = await bench.legs(2)
        member = bench.member("a")
        await member.open()
        batch = await member.read(now_ms=0, block_ms=10)
        assert batch.buried == 1
        assert [entry.facts["id"] for entry in batch.entries] == ids
        await member.ack(batch.entries)
        assert (await member.backlog()).entries == 0
        ((_, letter),) = await bench.redis.xrange(dead_key(bench.store.prefix, 0))
        assert letter[b"reason"].startswith(reason)
        assert letter[b"group"] == b"g"
        assert {name: letter[name] for name in fields} == fields
        ((original, _),) = await bench.redis.xrange(bench.key, letter[b"entry"], letter[b"entry"])
        assert original == letter[b"entry"]

    bench(server, "poison", work)


def test_an_entry_removed_by_hand_is_noted_and_does_not_stop_the_stream(server: EmbeddedRedis) -> None:
    async def work(bench: Bench) -> None:
        ids = await bench.legs(3)
        member = bench.member("a")
        await member.open()
        batch = await member.read(now_ms=0, block_ms=10)
        await bench.redis.xdel(bench.key, batch.entries[1].stream_id)
        member.again()
        assert await ids_read(member) == [ids[0], ids[2]]
        ((_, letter),) = await bench.redis.xrange(dead_key(bench.store.prefix, 0))
        assert b"removed from the outbox" in letter[b"reason"]

    bench(server, "removed", work)


def test_the_backlog_counts_what_is_unread_and_what_is_unacknowledged(server: EmbeddedRedis) -> None:
    async def work(bench: Bench) -> None:
        assert (await bench.member("a").backlog()).entries == 0
        await bench.legs(50)
        await asyncio.sleep(0.05)
        watched = await outbox_backlog(bench.redis, prefix=bench.store.prefix, shard=0, group="g")
        assert watched.entries == 50
        assert watched.age_s >= 0.05
        member = bench.member("a", batch=20)
        await member.open()
        batch = await member.read(now_ms=0, block_ms=10)
        assert (await member.backlog()).entries == 50
        await member.ack(batch.entries)
        assert (await member.backlog()).entries == 30

    bench(server, "backlog", work)


def test_a_large_backlog_is_told_without_reading_it(server: EmbeddedRedis) -> None:
    async def work(bench: Bench) -> None:
        await bench.legs(3000)
        member = bench.member("a", batch=1)
        await member.open()
        assert (await member.backlog()).entries == 3000

    bench(server, "large", work)


def test_credit_alone_leaves_no_record(server: EmbeddedRedis) -> None:
    async def work(bench: Bench) -> None:
        await Desk(bench.store).credit(5 * CENT)
        member = bench.member("a")
        await member.open()
        assert await ids_read(member) == []

    bench(server, "credit", work)
