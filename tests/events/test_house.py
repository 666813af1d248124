"""Nothing grows without end, and nothing goes unseen: trimming on real servers of both versions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from prometheus_client import generate_latest
from servers import RedisServer, binaries
from structlog.testing import capture_logs

from rater.charging.redis_store import RedisStore
from rater.config import PublishSettings, RedisSettings
from rater.events.consumer import OutboxConsumer
from rater.events.house import House, trim_outbox
from rater.events.stream import dead_key, outbox_key
from rater.metrics import Metrics

from .support import Desk, copies, leg_facts

DAY_MS = 86_400_000


@pytest.fixture(scope="module", params=sorted(binaries()))
def redis_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(binaries()[request.param], tmp_path_factory.mktemp("redis")).start()
    yield server
    server.destroy()


class Place:
    """An outbox of 1000 entries, written just now, and who looks after it."""

    def __init__(self, store: RedisStore) -> None:
        self.store, self.redis, self.prefix = store, store.redis, store.prefix
        self.key, self.dead = outbox_key(store.prefix, 0), dead_key(store.prefix, 0)
        self.metrics = Metrics()

    async def fill(self) -> None:
        desk = Desk(self.store)
        await desk.credit(10**9)
        await desk.call(10, leg_facts("leg-0"))
        await copies(self.redis, self.prefix, [f"leg-{n}" for n in range(1, 1000)])
        await asyncio.sleep(0.005)

    async def member(self, group: str, batch: int = 1000) -> OutboxConsumer:
        member = OutboxConsumer(self.redis, prefix=self.prefix, shard=0, group=group, name="one", batch=batch)
        await member.open()
        return member

    async def trim(self, keep_ms: int = 0) -> int:
        return await trim_outbox(self.redis, prefix=self.prefix, shard=0, keep_ms=keep_ms)

    async def left(self) -> int:
        return int(await self.redis.xlen(self.key))

    def house(self, **publish: Any) -> House:
        settings = PublishSettings(**{"keep_hours": 0, **publish})
        return House(self.redis, self.metrics, settings, RedisSettings(prefix=self.prefix))

    def dropped(self, stream: str) -> int:
        line = f'rater_dropped_entries_total{{shard="0",stream="{stream}"}} '
        text = generate_latest(self.metrics.registry).decode()
        return int(float(text.partition(line)[2].split("\n")[0]))

    async def backdate(self, days: int) -> None:
        """The outbox as if its entries had been written so many days ago, with whatever groups anew."""
        entries = await self.redis.xrange(self.key)
        await self.redis.delete(self.key)
        for number, (_, fields) in enumerate(entries):
            await self.redis.xadd(self.key, fields, id=f"{int(time.time() * 1000) - days * DAY_MS}-{number + 1}")


def at(server: RedisServer, work: Callable[[Place], Awaitable[None]]) -> None:
    async def run() -> None:
        store = RedisStore(server.url, prefix="house")
        await store.start()
        try:
            await store.redis.flushdb()
            place = Place(store)
            await place.fill()
            await work(place)
        finally:
            await store.close()

    asyncio.run(run())


def test_40_trimming_spares_what_any_group_has_not_acknowledged(redis_server: RedisServer) -> None:
    async def work(place: Place) -> None:
        fast, slow = await place.member("fast"), await place.member("slow", 700)
        await fast.ack((await fast.read(now_ms=0, block_ms=10)).entries)
        assert await place.trim() == 0
        entries = (await slow.read(now_ms=0, block_ms=10)).entries
        await slow.ack(entries[:600])
        assert await place.trim(3_600_000) == 0
        assert 0 < await place.trim() <= 600
        slow.again()
        assert [e.facts["id"] for e in (await slow.read(now_ms=0, block_ms=10)).entries] == [
            f"leg-{n}" for n in range(600, 700)
        ]
        assert len((await slow.read(now_ms=0, block_ms=10)).entries) == 300

    at(redis_server, work)


def test_acknowledged_out_of_order_the_oldest_that_is_not_counts(redis_server: RedisServer) -> None:
    async def work(place: Place) -> None:
        member = await place.member("g")
        entries = (await member.read(now_ms=0, block_ms=10)).entries
        await member.ack([*entries[:150], *entries[151:]])
        await place.trim()
        ((first, _),) = await place.redis.xrange(place.key, count=1)
        assert int(first.split(b"-")[0]) <= int(entries[150].stream_id.split("-")[0])
        assert await place.redis.xrange(place.key, entries[150].stream_id, entries[150].stream_id)
        await member.ack([entries[150]])
        await place.trim()
        assert await place.left() <= 100, "all but the last node of the stream may go"

    at(redis_server, work)


def test_a_group_without_any_consumer_holds_everything_and_is_told(redis_server: RedisServer) -> None:
    async def work(place: Place) -> None:
        await place.backdate(3)
        await place.redis.xgroup_create(place.key, "abandoned", id="0")
        busy = await place.member("busy")
        await busy.ack((await busy.read(now_ms=0, block_ms=10)).entries)
        house = place.house()
        with capture_logs() as logs:
            await house.step()
            await house.step()
        assert await place.left() == 1000
        (told,) = [each for each in logs if each["log_level"] == "warning"]
        assert (told["group"], told["entries"], told["hours"]) == ("abandoned", 1000, 72)
        assert told["hint"].endswith(f"XGROUP DESTROY {place.key} abandoned")
        await place.redis.xgroup_destroy(place.key, "abandoned")
        await house.step()
        assert await place.left() <= 100

    at(redis_server, work)


def test_40_an_outbox_that_nobody_reads_is_kept_and_told(redis_server: RedisServer) -> None:
    async def work(place: Place) -> None:
        await place.backdate(400)
        with capture_logs() as logs:
            await place.house().step()
        assert await place.left() == 1000
        (told,) = logs
        assert (told["event"], told["entries"]) == ("nobody reads the outbox: it only grows", 1000)
        assert place.dropped("outbox") == 0

    at(redis_server, work)


def test_only_where_nobody_reads_it_a_limit_drops_and_says_so(redis_server: RedisServer) -> None:
    async def work(place: Place) -> None:
        await place.backdate(40)
        await place.redis.xadd(place.key, {"k": "rated"})
        house = place.house(drop_unread_days=30)
        with capture_logs() as logs:
            await house.step()
        assert await place.left() == 1
        assert place.dropped("outbox") == 1000
        assert ("error", 1000) in [(each["log_level"], each["entries"]) for each in logs]
        await place.redis.flushdb()
        await place.fill()
        await place.backdate(40)
        await place.member("billing")
        await house.step()
        assert await place.left() == 1000, "a group is there: what it has not read stays"

    at(redis_server, work)


def test_dead_letters_are_bounded_by_number_and_age_and_never_silently(redis_server: RedisServer) -> None:
    async def work(place: Place) -> None:
        now_ms = int(time.time() * 1000)
        for n in range(30):
            await place.redis.xadd(place.dead, {"reason": "old"}, id=f"{now_ms - 100 * DAY_MS}-{n + 1}")
        for n in range(150):
            await place.redis.xadd(place.dead, {"reason": str(n)})
        with capture_logs() as logs:
            await place.house(dead_letters=100, dead_letter_days=90).step()
        kept = [fields[b"reason"] for _, fields in await place.redis.xrange(place.dead)]
        assert kept == [b"%d" % n for n in range(50, 150)]
        assert place.dropped("dead") == 80
        (told,) = [each for each in logs if each["event"] == "dead letters were dropped"]
        assert (told["too_old"], told["too_many"]) == (30, 50)

    at(redis_server, work)


def test_a_shard_without_any_stream_is_no_fault(redis_server: RedisServer) -> None:
    async def work(place: Place) -> None:
        await place.redis.flushdb()
        with capture_logs() as logs:
            await place.house().step()
        assert logs == []
        assert await place.redis.keys("*") == []

    at(redis_server, work)
