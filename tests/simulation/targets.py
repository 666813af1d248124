"""The far ends of deliveries: an MQTT broker, a web endpoint, a consumer with a database. Each keeps what it was
sent, and is away, slow or silent as its world has it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace, TracebackType
from typing import Any

import aiohttp
import aiomqtt

from rater.events.notices import PublicRecord
from rater.notify.mqtt import Message
from rater.notify.senders import Item, SinkDown

REFUSED_FOR_GOOD = 41
"""Every so manieth record, by its id, is one that the broker or the endpoint will never take."""
PACKET_TOO_LARGE, NOT_AUTHORISED = 0x95, 0x87


def never_taken(identity: str) -> bool:
    return sum(identity.encode()) % REFUSED_FOR_GOOD == 0


@dataclass
class Target:
    """`taken`: what it has, in the order in which it came: the records as JSON. `answers_lost`: the chance that it
    has something and its answer is lost. `refuses`: it answers that it is not allowed, or overloaded."""

    random: Random
    away: bool = False
    refuses: bool = False
    answers_lost: float = 0.0
    taken: list[dict[str, Any]] = field(default_factory=list)

    async def pause(self) -> None:
        await asyncio.sleep(self.random.uniform(0.001, 0.02))


@dataclass
class Broker(Target):
    """`clients`: those that are connected, to be cut off."""

    clients: list[BrokerClient] = field(default_factory=list)

    def make_client(self, settings: Any, password: str, **options: Any) -> BrokerClient:
        return BrokerClient(self)

    def cut(self) -> None:
        for client in self.clients:
            if not client.gone.done():
                client.gone.set_result(None)
        self.clients.clear()


class BrokerClient:
    """As `rater.notify.mqtt.BatchClient`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> BrokerClient:
        await self._broker.pause()
        if self._broker.away:
            raise aiomqtt.MqttError("connection refused")
        self._broker.clients.append(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self in self._broker.clients:
            self._broker.clients.remove(self)

    async def publish_batch(self, messages: Sequence[Message]) -> list[int]:
        """In order; from where the connection breaks on there is no answer."""
        broker, codes = self._broker, []
        for message in messages:
            await asyncio.sleep(broker.random.uniform(0.0001, 0.002))
            if self.gone.done() or broker.away:
                break
            record = json.loads(message.payload)
            status = message.topic.endswith("/status")
            if broker.refuses and not status:
                codes.append(NOT_AUTHORISED)
            elif not status and never_taken(record["id"]):
                codes.append(PACKET_TOO_LARGE)
            else:
                if not status:
                    broker.taken.append(record)
                if broker.random.random() < broker.answers_lost:
                    broker.cut()
                    break
                codes.append(0)
        return codes + [-1] * (len(messages) - len(codes))


class Endpoint(Target):
    """Stands in for aiohttp's client, too: `library` is what the webhook's sender finds under that name."""

    def library(self) -> SimpleNamespace:
        return SimpleNamespace(
            ClientError=aiohttp.ClientError, ClientConnectorError=aiohttp.ClientConnectorError,
            ConnectionTimeoutError=aiohttp.ConnectionTimeoutError, ClientTimeout=lambda **_: None,
            TCPConnector=lambda **_: None, DummyCookieJar=lambda: None, ClientSession=lambda **_: _Session(self),
        )  # fmt: skip


class _Session:
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __aenter__(self) -> _Session:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    def post(self, url: str, *, data: bytes, headers: dict[str, str], **_: Any) -> _Exchange:
        return _Exchange(self._endpoint, json.loads(data))


class _Exchange:
    """One request and its answer."""

    def __init__(self, endpoint: Endpoint, body: dict[str, Any]) -> None:
        self._endpoint, self._body = endpoint, body
        self.status = 204
        self.headers: dict[str, str] = {}
        self.content = SimpleNamespace(read=self._nothing)

    async def _nothing(self, most: int) -> bytes:
        return b""

    async def __aenter__(self) -> _Exchange:
        endpoint = self._endpoint
        await endpoint.pause()
        if endpoint.away:
            raise aiohttp.ClientConnectionError("connection refused")
        records = self._body.get("records", [self._body])
        if endpoint.refuses:
            self.status = 503
        elif any(never_taken(record["id"]) for record in records):
            self.status = 422
        else:
            endpoint.taken += records
            if endpoint.random.random() < endpoint.answers_lost:
                raise aiohttp.ServerDisconnectedError
        return self

    async def __aexit__(self, *_: object) -> None:
        return


class Ledger(Target):
    """A consumer of one's own, such as a back office that takes events into its database: a sender with a name."""

    name = "billing"
    batch = 50

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def wait_up(self) -> None:
        while self.away:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(1.0)

    def wants(self, record: PublicRecord) -> bool:
        return True

    async def deliver(self, items: Sequence[Item]) -> None:
        """One transaction."""
        await self.pause()
        if self.away or self.refuses:
            raise SinkDown("the database is away")
        self.taken += [json.loads(item.record.to_json()) for item in items]
        if self.random.random() < self.answers_lost:
            raise SinkDown("the database does not say whether it committed")
