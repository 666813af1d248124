"""The publisher of a simulated world: the product's deliveries, with the senders for MQTT and webhooks and a
consumer of somebody's own, as processes that are killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

from redis.exceptions import RedisError

import rater.notify.deliver
import rater.notify.mqtt
import rater.notify.webhook
from rater.config import MqttSettings, Secret, WebhookSettings
from rater.events.consumer import OutboxConsumer
from rater.events.house import trim_outbox
from rater.events.stream import outbox_key
from rater.metrics import Metrics
from rater.notify.deliver import Delivery, _keep_on
from rater.notify.mqtt import MqttSender
from rater.notify.senders import Sender
from rater.notify.webhook import WebhookSender

from .servers import SHARD
from .streams import StreamClient, Streams
from .targets import Broker, Endpoint, Ledger, Target
from .virtual import WorldClock

if TYPE_CHECKING:
    from .world import World

PREFIX = "rater"
KEY = outbox_key(PREFIX, SHARD)
SECRET = "RATER_SIMULATED_SECRET"
BLOCK_MS = 30_000
"""How long a read waits when nothing comes: longer than where it is real, for the sake of idle hours."""
KEEP_MS = 20_000
"""How long what was delivered stays in the outbox of a world; a day where it is real."""
DRAINED_S = 1200.0
"""Every delivery that can be made is made within that: pauses grow to five minutes."""


class Publisher:
    """One process. `name`: as whom it reads."""

    def __init__(self, name: str, publishing: Publishing) -> None:
        self.name = name
        clock, client, metrics = WorldClock(publishing.world.clock), publishing.client, Metrics()
        webhook = WebhookSettings(
            name="crm", url="https://crm.example/hook", secret=Secret(env=SECRET), batch=publishing.batch
        )
        senders: list[Sender] = [
            MqttSender(MqttSettings(host="broker", client_id=name), clock, metrics, in_flight=50),
            WebhookSender(webhook, clock, metrics),
            publishing.ledger,
        ]
        stop = asyncio.Event()
        self._tasks = [asyncio.ensure_future(sender.run()) for sender in senders]
        for sender in senders:
            consumer = OutboxConsumer(
                client, prefix=PREFIX, shard=SHARD, group=sender.name, name=name, batch=sender.batch
            )  # type: ignore[arg-type]  # what it asks of Redis is there
            delivery = Delivery(consumer, sender, metrics, clock)
            self._tasks.append(asyncio.ensure_future(_keep_on(sender, delivery, metrics, stop)))

    async def kill(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def failed(self) -> BaseException | None:
        for task in self._tasks:
            if task.done() and not task.cancelled():
                return task.exception() or RuntimeError("a part of the publisher ended")
        return None


class Publishing:
    """`unsure`: records that the store lost after they were written; what became of them is told twice or never."""

    def __init__(self, world: World) -> None:
        self.world = world
        random = world.random
        self.streams = Streams(world.server_clock)
        self.client = StreamClient(self.streams, random, self._trouble)
        self.broker, self.endpoint, self.ledger = Broker(random), Endpoint(random), Ledger(random)
        self.batch = random.choice([1, 1, 8])
        self.publishers: list[Publisher] = []
        self.in_order = random.random() < 0.8
        """Whether only one publisher reads."""
        self.unsure: list[dict[bytes, bytes]] = []
        self._spawned = 0

    @property
    def targets(self) -> list[Target]:
        return [self.broker, self.endpoint, self.ledger]

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Wherever the senders reach for the world, it is this one."""
        random = self.world.random
        with (
            mock.patch.object(rater.notify.mqtt, "make_client", self.broker.make_client),
            mock.patch.object(rater.notify.deliver, "BLOCK_MS", BLOCK_MS),
            mock.patch.dict(os.environ, {SECRET: "a secret"}),
            mock.patch.object(rater.notify.mqtt, "random", random),
            mock.patch.object(rater.notify.webhook, "random", random),
            mock.patch.object(rater.notify.webhook, "aiohttp", self.endpoint.library()),
            mock.patch.object(rater.notify.webhook, "_tls", lambda settings: None),
        ):
            yield

    def _trouble(self) -> str:
        if self.world.way.away:
            return "away"
        return "refuses" if self.world.server.refuses else ""

    def feed(self) -> None:
        """What the server has appended since."""
        for fields in self.world.server.new_outbox():
            self.streams.feed(KEY, fields)

    def become(self, copied: Any) -> None:
        """A replica takes over; see `Server.become`."""
        before = self.streams.entries(KEY)
        self.streams.become(copied)
        kept = {id(fields) for fields in self.streams.entries(KEY)}
        self.unsure += [dict(fields) for fields in before if id(fields) not in kept]

    # -- processes -------------------------------------------------------------------------------------------------

    def spawn(self) -> None:
        self._spawned += 1
        name = "rater" if self.in_order else f"rater{self._spawned % 2}"
        self.publishers.append(Publisher(name, self))

    def begin(self) -> list[asyncio.Future[None]]:
        for _ in range(1 if self.in_order else 2):
            self.spawn()
        return [asyncio.ensure_future(self._keep_house())]

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(15)
            with contextlib.suppress(RedisError):
                await trim_outbox(self.client, prefix=PREFIX, shard=SHARD, keep_ms=KEEP_MS)  # type: ignore[arg-type]

    # -- trouble ---------------------------------------------------------------------------------------------------

    def troubles(self) -> list[tuple[Callable[[], Coroutine[Any, Any, None]], float]]:
        return [(self._die, 40), (self._away, 50), (self._shaky, 40), (self._refuse, 60)]

    def _some(self) -> tuple[str, Target]:
        choices: list[tuple[str, Target]] = [
            ("broker", self.broker), ("webhook", self.endpoint), ("consumer", self.ledger)
        ]  # fmt: skip
        return self.world.random.choice(choices)

    async def _die(self) -> None:
        if self.publishers:
            self.world.fault("publisher killed")
            await self.publishers.pop(0).kill()
            await asyncio.sleep(self.world.random.choice([0.1, 2.0, 20.0]))
            self.spawn()

    async def _away(self) -> None:
        name, target = self._some()
        self.world.fault(f"{name} away")
        target.away = True
        self.broker.cut() if target is self.broker else None
        await asyncio.sleep(self.world.random.choice([1.0, 20.0, 300.0]))
        target.away = False

    async def _shaky(self) -> None:
        name, target = self._some()
        self.world.fault(f"{name} loses answers")
        target.answers_lost = self.world.random.uniform(0.02, 0.3)
        await asyncio.sleep(self.world.random.uniform(1, 30))
        target.answers_lost = 0.0

    async def _refuse(self) -> None:
        name, target = self._some()
        self.world.fault(f"{name} refuses for a while")
        target.refuses = True
        await asyncio.sleep(self.world.random.uniform(1, 30))
        target.refuses = False

    # -- the end ---------------------------------------------------------------------------------------------------

    async def finish(self) -> list[BaseException]:
        """In some worlds a target stays away for hours. Then everything that can be delivered is."""
        if self.world.random.random() < 0.1:
            name, target = self._some()
            self.world.fault(f"{name} away for hours")
            target.away = True
            self.broker.cut() if target is self.broker else None
            await asyncio.sleep(3600.0 * self.world.random.uniform(1, 4))
        for target in self.targets:
            target.away = target.refuses = False
            target.answers_lost = 0.0
        if not self.publishers:
            self.spawn()
        for _ in range(int(DRAINED_S / 10)):
            await asyncio.sleep(10)
            if self._drained():
                break
        failed = [error for publisher in self.publishers if (error := publisher.failed()) is not None]
        for publisher in self.publishers:
            await publisher.kill()
        return failed

    def _drained(self) -> bool:
        stream = self.streams.streams.get(KEY)
        if stream is None:
            return True
        groups = stream.groups.values()
        return len(groups) == len(self.targets) and all(
            not group.pending and group.last >= max(stream.entries, default=(0, 0)) for group in groups
        )
