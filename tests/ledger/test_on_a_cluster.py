"""The ledger's archives, dead letters, mail boxes and housekeeping on a Redis Cluster, each in every shard."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from events.support import CENT, Desk, copies, leg_facts
from servers import needs_debians_redis

from rater.charging.archive import archive
from rater.charging.ledger import MONEY, ShardLedger
from rater.charging.redis_store import RedisStore
from rater.commands.audit import audit_shard
from rater.commands.ledger import Found, verify_shard
from rater.config import PublishSettings, RedisSettings
from rater.events.consumer import OutboxConsumer
from rater.events.dead import DeadLetters
from rater.events.house import House
from rater.events.stream import outbox_key
from rater.ids import AccountId, Shard
from rater.metrics import Metrics
from rater.notify.mail_box import MailBoxes
from tests.cluster import Cluster

pytestmark = needs_debians_redis
SHARDS = 4
JANUARY_MS = 1_767_225_600_000


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(tmp_path_factory.mktemp("c")).start()
    yield running
    running.stop()


async def filled(store: RedisStore) -> None:
    """In each shard an account with some calls, all of them of last January, and a few records in the outbox."""
    for shard in range(SHARDS):
        desk, account = Desk(store, shard), f"A{shard}"
        await desk.credit(10**6, account=account)
        for number in range(6):
            await desk.call(5 + number, leg_facts(f"leg-{account}-{number}", account=account))
        key = store.keys(Shard(shard)).ledger
        entries = await store.redis.xrange(key)
        await store.redis.delete(key)
        for number, (_, fields) in enumerate(entries):
            await store.redis.xadd(key, fields, id=f"{JANUARY_MS + number}-1")
        await copies(store.redis, store.prefix, [f"copy-{shard}-{n}" for n in range(5)], shard=shard)


def test_each_part_works_in_every_shard(cluster: Cluster, tmp_path: Path) -> None:
    async def run() -> None:
        store = RedisStore(cluster.url, prefix="every", shards=SHARDS, cluster=True)
        await store.start()
        try:
            await filled(store)
            await ledgers(store, tmp_path)
            await letters_and_house(store)
            await boxes(store)
        finally:
            await store.close()

    asyncio.run(run())


async def ledgers(store: RedisStore, folder: Path) -> None:
    for shard in map(Shard, range(SHARDS)):
        ledger, account = ShardLedger(store, shard), AccountId(f"A{shard}")
        before, _ = await ledger.total()
        (file,) = await archive(ledger, folder, "2026-02")
        assert file.entries == 7
        assert await ledger.entries() == 0
        assert (await ledger.total())[0] == before
        assert before[account][MONEY] == 10**6 - (5 + 6 + 7 + 8 + 9 + 10) * CENT
        assert await audit_shard(store, shard) == (1, [])
        found = Found()
        await verify_shard(ledger, folder, found)
        assert (found.entries, found.faults) == (7, [])
        await Desk(store, shard).call(1, leg_facts(f"later-{account}", account=account))
        assert await audit_shard(store, shard) == (1, [])
        states, _ = await ledger.states([account], *await ledger.total())
        assert [state.account for state in states] == [account]


async def letters_and_house(store: RedisStore) -> None:
    redis = store.redis
    for shard in range(SHARDS):
        consumer = OutboxConsumer(redis, prefix="every", shard=shard, group="webhook:crm", name="one")
        await consumer.open()
        entries = (await consumer.read(now_ms=0, block_ms=10)).entries
        await consumer.bury(entries[0].stream_id, entries[0].raw, "refused")
        await consumer.ack(entries[1:])
    letters = DeadLetters(redis, prefix="every", shards=SHARDS)
    found = [letter async for letter in letters.each()]
    assert [letter.shard for letter in found] == list(range(SHARDS))
    assert all([await letters.retry(letter) for letter in found[:-1]])
    assert await letters.drop(found[-1])
    assert not await letters.retry(found[0])
    for shard in range(SHARDS - 1):
        consumer = OutboxConsumer(redis, prefix="every", shard=shard, group="webhook:crm", name="one")
        (again,) = (await consumer.read(now_ms=0, block_ms=10)).entries or (
            await consumer.read(now_ms=0, block_ms=10)
        ).entries
        assert again.facts["id"] == found[shard].record
        await consumer.ack([again])
    settings = PublishSettings(keep_hours=0)
    await House(redis, Metrics(), settings, RedisSettings(prefix="every", shards=SHARDS)).step()


async def boxes(store: RedisStore) -> None:
    for shard in range(SHARDS):
        consumer = OutboxConsumer(store.redis, prefix="every", shard=shard, group="mail", name="one")
        await store.redis.xgroup_destroy(outbox_key("every", shard), "mail")
        await consumer.open()
        # The house may have taken those of before.
        await copies(store.redis, store.prefix, [f"late-{shard}"], shard=shard)
        entry = (await consumer.read(now_ms=0, block_ms=10)).entries[0]
        mail = MailBoxes(store.redis, prefix="every", shard=shard, group="mail")
        for _ in range(2):
            await mail.put("a@b.example", f"A{shard}", "id-1", entry, due_ms=5)
        assert await mail.due(4, 10) == []
        (name,) = await mail.due(5, 10)
        box = await mail.take(name, 5)
        assert box is not None
        assert [(each.id, each.entry) for each in box.waiting] == [("id-1", entry.stream_id)]
        assert await mail.take(name, 5) is None, "one sender at a time"
        await mail.again(box, at_ms=6)
        retried = await mail.take(name, 6)
        assert retried is not None
        assert retried.tries == 1
        await mail.sent(retried, not_before_ms=7)
        assert await mail.take(name, 7) is None
        assert await mail.due(10**15, 10) == []
