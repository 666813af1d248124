"""`rater publish`: carries the outbox to its targets, in a process of its own.

For each target and shard one loop: wait until the target is up, read a batch as the target's consumer group, make
the public records, deliver, acknowledge. While a target is away nothing is read for it: the entries wait in Redis,
not in memory, and go out in their order afterwards. A target that is away never holds up another, nor a call.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from rater.charging.embedded import EmbeddedRedis
from rater.charging.redis_client import open_client
from rater.charging.wire import Keys
from rater.clock import Clock, SystemClock
from rater.config import Settings
from rater.errors import ConfigError
from rater.events.backlog import report_outbox
from rater.events.consumer import Batch, OutboxConsumer
from rater.events.house import House
from rater.events.notices import record_of
from rater.events.stream import UnreadableEntry
from rater.ids import Shard
from rater.metrics import Metrics
from rater.notify.balance import BalanceFeed
from rater.notify.mail import MailSender
from rater.notify.mqtt import MqttSender
from rater.notify.senders import BATCH, FileSender, Item, ItemRefused, Sender, SinkDown
from rater.notify.webhook import WebhookSender
from rater.tasks import end

BLOCK_MS = 1000
RETRY_MIN_S, RETRY_MAX_S = 0.5, 10.0
MEASURE_S, TRIM_ROUNDS = 5.0, 12
STOP_S = 8.0
"""A delivery that takes longer than that when the process is to stop is broken off, and made again by the next."""
log = structlog.get_logger(__name__)


class Work(Protocol):
    """What is done again and again for a target that is up."""

    async def open(self) -> None:
        """Before the first step, and again after Redis was away."""
        ...

    async def step(self) -> None:
        """Raises SinkDown, RedisError, OSError."""
        ...

    def again(self) -> None:
        """The last step failed: the next repeats what it did not finish."""
        ...


class Delivery:
    """Carries one shard's outbox to one target."""

    def __init__(self, consumer: OutboxConsumer, sender: Sender, metrics: Metrics, clock: Clock) -> None:
        self._consumer = consumer
        self._sender = sender
        self._metrics = metrics
        self._clock = clock

    async def open(self) -> None:
        await self._consumer.open()

    def again(self) -> None:
        self._consumer.again()

    async def step(self) -> None:
        """One batch, or the wait for one. Raises SinkDown; what was delivered by then is acknowledged."""
        batch = await self._consumer.read(now_ms=self._clock.monotonic_ms(), block_ms=BLOCK_MS)
        records = await self._records(batch)
        items = [item for item in records if self._sender.wants(item.record)]
        if len(items) < len(records):
            await self._consumer.ack(item.entry for item in records if not self._sender.wants(item.record))
        if not items:
            return
        try:
            await self._sender.deliver(items)
        except SinkDown as error:
            await self._delivered(error.delivered)
            raise
        except ItemRefused as error:
            await self._delivered(error.delivered)
            await self._bury(error.item, error.message)
            self._consumer.again()
        else:
            await self._delivered(items)

    async def _records(self, batch: Batch) -> list[Item]:
        items = []
        for _ in range(batch.buried):
            self._note_buried("an entry that cannot be decoded")
        for entry in batch.entries:
            try:
                items.append(Item(entry, record_of(entry)))
            except UnreadableEntry as error:
                await self._consumer.bury(entry.stream_id, entry.raw, error.message)
                self._note_buried(error.message)
        return items

    async def _bury(self, item: Item, reason: str) -> None:
        await self._consumer.bury(item.entry.stream_id, item.entry.raw, reason)
        self._note_buried(reason)

    def _note_buried(self, reason: str) -> None:
        log.error("entry set aside", sink=self._sender.name, shard=self._consumer.shard, reason=reason)
        self._metrics.dead_letter(self._consumer.shard)

    async def _delivered(self, items: Sequence[Item]) -> None:
        await self._consumer.ack(item.entry for item in items)
        for item in items:
            self._metrics.published(self._sender.name, item.entry.kind)


async def publish(settings: Settings, stop: asyncio.Event) -> None:
    """Deliver until `stop` is set; what is on its way then is finished first.

    Raises ConfigError when there is no target, or one that cannot be used. Redis and the broker may be away at the
    start or any time later.
    """
    clock, metrics = SystemClock(), Metrics(component="publish")
    async with AsyncExitStack() as stack:
        redis = _redis(settings)
        stack.push_async_callback(redis.aclose)
        senders = _senders(settings, redis, clock, metrics)
        if settings.publish.metrics_port is not None:
            own = settings.metrics
            port = metrics.serve(
                own.host,
                settings.publish.metrics_port,
                token=own.read_token(),
                certificate=own.certificate,
                key=own.key,
            )
            stack.callback(metrics.stop)
            log.info("metrics", port=port)
        await _carry(settings, senders, redis, clock, metrics, stop)


def _senders(settings: Settings, redis: Redis, clock: Clock, metrics: Metrics) -> list[Sender]:
    senders: list[Sender] = []
    if settings.mqtt.host is not None:
        senders.append(MqttSender(settings.mqtt, clock, metrics, in_flight=BATCH))
        metrics.sink_up(MqttSender.name, False)
    if settings.publish.files is not None:
        files = FileSender(settings.publish.files, clock)
        files.open()
        metrics.sink_up(files.name, True)
        senders.append(files)
    senders += [WebhookSender(webhook, clock, metrics) for webhook in settings.webhook]
    if settings.smtp.host is not None:
        where = settings.redis
        senders.append(MailSender(settings.smtp, redis, clock, metrics, prefix=where.prefix, shards=where.shards))
    if not senders:
        raise ConfigError(
            "there is nowhere to publish to",
            hint="Set [mqtt] host, [publish] files, [smtp] host, or a [[webhook]], in the settings.",
        )
    return senders


def _redis(settings: Settings) -> Redis:
    redis = settings.redis
    url = redis.url or EmbeddedRedis(redis.data_dir).url
    client: Redis = open_client(url, redis.password.read(), cluster=redis.cluster)
    return client


async def _carry(
    settings: Settings, senders: list[Sender], redis: Redis, clock: Clock, metrics: Metrics, stop: asyncio.Event
) -> None:
    """Everything at once until `stop`; the failure of any part ends the whole."""
    consumers, working = [], []
    for shard in map(Shard, range(settings.redis.shards)):
        for sender in senders:
            consumer = OutboxConsumer(
                redis,
                prefix=settings.redis.prefix,
                shard=shard,
                group=sender.name,
                name=settings.mqtt.client_id,
                batch=sender.batch,
            )
            consumers.append(consumer)
            works: list[Work] = [Delivery(consumer, sender, metrics, clock)]
            if isinstance(sender, MqttSender):
                keys = Keys(settings.redis.prefix, shard)
                works.append(
                    BalanceFeed(
                        redis, sender, topics=settings.mqtt.prefix, keys=keys, clock=clock, block_ms=BLOCK_MS
                    )
                )
            working += [asyncio.create_task(_keep_on(sender, work, metrics, stop)) for work in works]
    keeping = [asyncio.create_task(sender.run(), name=sender.name) for sender in senders]
    keeping.append(asyncio.create_task(_keep_house(redis, settings, consumers, metrics)))
    try:
        done, _ = await asyncio.wait([*keeping, *working], return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            done, _ = await asyncio.wait(working, timeout=STOP_S)
        for task in done:
            await task
    finally:
        await end([*working, *keeping])


async def _keep_on(sender: Sender, work: Work, metrics: Metrics, stop: asyncio.Event) -> None:
    """Step after step while the sender is up; after a failure again, later and later."""
    opened, wait_s = False, RETRY_MIN_S
    while await _is_up(sender, stop):
        try:
            if not opened:
                await work.open()
                opened = True
            await work.step()
            wait_s = RETRY_MIN_S
            continue
        except SinkDown as error:
            metrics.publish_failed(sender.name)
            log.warning("delivery broke off", sink=sender.name, error=error.message, again_in_s=wait_s)
        except (RedisError, OSError) as error:
            opened = False
            log.warning("redis does not serve the publisher", sink=sender.name, error=str(error), again_in_s=wait_s)
        work.again()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait_s)
        wait_s = min(wait_s * 2, RETRY_MAX_S)


async def _is_up(sender: Sender, stop: asyncio.Event) -> bool:
    """Wait until the sender is up (True) or the process is to stop (False)."""
    waits = [asyncio.create_task(sender.wait_up()), asyncio.create_task(stop.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
    return not stop.is_set()


async def _keep_house(redis: Redis, settings: Settings, consumers: list[OutboxConsumer], metrics: Metrics) -> None:
    """Make the groups, so that a target which is away from the start is seen to lag; measure; keep the streams
    bounded."""
    house, rounds = House(redis, metrics, settings.publish, settings.redis), 0
    while True:
        try:
            for consumer in consumers:
                await consumer.open()
            if rounds % TRIM_ROUNDS == 0:
                await house.step()
            for shard in range(settings.redis.shards):
                await report_outbox(redis, metrics, prefix=settings.redis.prefix, shard=shard)
            metrics.store_up(True)
            metrics.ready(metrics.all_sinks_up())
        except (RedisError, OSError):
            metrics.store_up(False)
            metrics.ready(False)
        rounds += 1
        await asyncio.sleep(MEASURE_S)
