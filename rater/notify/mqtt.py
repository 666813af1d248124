"""Deliveries to an MQTT broker: QoS 1, many in flight, acknowledged one by one, in order.

MQTT 5 is spoken, since only there the broker says that it refuses a message; before, it acknowledges what its
access rules then drop. The session at the broker is always fresh: what was not acknowledged is in the outbox.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from rater.clock import Clock
from rater.config import MqttSettings
from rater.errors import ConfigError
from rater.events.notices import PublicRecord
from rater.events.record import iso_ms
from rater.metrics import Metrics
from rater.notify.senders import Item, ItemRefused, SinkDown
from rater.notify.topics import status_topic, topic_of

KEEPALIVE_S = 30
ACK_TIMEOUT_S = 20.0
RETRY_MIN_S, RETRY_MAX_S = 0.5, 30.0
REFUSAL = 0x80
UNDELIVERABLE = frozenset({0x90, 0x95, 0x99})
"""Topic name invalid, packet too large, payload format invalid: no later attempt can succeed."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    topic: str
    payload: str
    retain: bool = False


@dataclass(slots=True)
class _InFlight:
    """One batch on its way: the reason code of each message, -1 until the broker has answered."""

    codes: list[int]
    left: int
    done: asyncio.Future[None] = field(repr=False)


class BatchClient(aiomqtt.Client):
    """aiomqtt, and a way to publish many messages with one wait for all their acknowledgements.

    aiomqtt's own `publish` costs a timer and a walk over all pending calls each time, and does not look at the
    broker's reason code. So this overrides its callback for acknowledgements and calls the paho client below it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: dict[int, tuple[_InFlight, int]] = {}

    @property
    def gone(self) -> asyncio.Future[None]:
        """Done when the connection is lost."""
        return self._disconnected

    async def publish_batch(self, messages: Sequence[Message]) -> list[int]:
        """The broker's reason code for each message, -1 where it did not answer; in order, QoS 1."""
        batch = _InFlight([-1] * len(messages), len(messages), asyncio.get_running_loop().create_future())
        mids = []
        for index, message in enumerate(messages):
            info = self._client.publish(message.topic, message.payload, qos=1, retain=message.retain)
            if info.rc != 0:
                break
            mids.append(info.mid)
            self._waiting[info.mid] = (batch, index)
        try:
            if len(mids) == len(messages):
                waits = (batch.done, self._disconnected)
                await asyncio.wait(waits, timeout=ACK_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for mid in mids:
                self._waiting.pop(mid, None)
        return batch.codes

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Any) -> None:
        waiting = self._waiting.pop(mid, None)
        if waiting is None:
            super()._on_publish(client, userdata, mid, reason_code, properties)
            return
        batch, index = waiting
        batch.codes[index] = reason_code.value
        batch.left -= 1
        if not batch.left and not batch.done.done():
            batch.done.set_result(None)


def make_client(settings: MqttSettings, password: str, **options: Any) -> BatchClient:
    """A client for these settings, not yet connected. `options` go to aiomqtt. Raises ConfigError."""
    context = None
    if settings.tls:
        try:
            context = ssl.create_default_context(cafile=settings.tls_ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"cannot use the authority file {settings.tls_ca}: {error}", hint="It must hold PEM certificates."
            ) from error
    return BatchClient(
        settings.host or "127.0.0.1",
        settings.port,
        username=settings.user,
        password=password or None,
        protocol=aiomqtt.ProtocolVersion.V5,
        tls_context=context,
        keepalive=KEEPALIVE_S,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        **options,
    )


class MqttSender:
    """Keeps one connection, with growing pauses between attempts, and says on the status topic that it is there;
    the broker says so when it is not."""

    name = "mqtt"

    def __init__(self, settings: MqttSettings, clock: Clock, metrics: Metrics, *, in_flight: int = 500) -> None:
        self._settings = settings
        self._password = settings.password.read()
        self._clock = clock
        self._metrics = metrics
        self.batch = self._in_flight = in_flight
        self._client: BatchClient | None = None
        self._up = asyncio.Event()
        self._broken = asyncio.Event()

    async def run(self) -> None:
        wait_s = RETRY_MIN_S
        while True:
            client = make_client(
                self._settings,
                self._password,
                identifier=self._settings.client_id,
                will=aiomqtt.Will(self._status_topic, self._status("offline", "lost"), qos=1, retain=True),
                max_inflight_messages=self._in_flight,
            )
            try:
                async with client:
                    await self._connected(client)
                    wait_s = RETRY_MIN_S
                log.warning("mqtt connection lost", host=self._settings.host)
            except (aiomqtt.MqttError, SinkDown) as error:
                log.warning(
                    "mqtt broker not reached", host=self._settings.host, error=str(error), again_in_s=wait_s
                )
            finally:
                self._metrics.sink_up(self.name, False)
            await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))
            wait_s = min(wait_s * 2, RETRY_MAX_S)

    async def _connected(self, client: BatchClient) -> None:
        """While the connection lasts; on cancellation the status says that we left."""
        await self._announce(client, "online", "")
        log.info("mqtt connected", host=self._settings.host, port=self._settings.port)
        self._metrics.sink_up(self.name, True)
        self._broken.clear()
        self._client = client
        self._up.set()
        breaking = asyncio.create_task(self._broken.wait())
        try:
            await asyncio.wait((client.gone, breaking), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._announce(client, "offline", "stopped")
            raise
        finally:
            self._up.clear()
            self._client = None
            breaking.cancel()

    async def _announce(self, client: BatchClient, status: str, reason: str) -> None:
        (code,) = await client.publish_batch(
            [Message(self._status_topic, self._status(status, reason), retain=True)]
        )
        if code < 0:
            raise SinkDown("the broker did not acknowledge the status message")
        if code >= REFUSAL:
            log.error("the broker refuses the status topic", topic=self._status_topic, reason=reason_name(code))

    @property
    def _status_topic(self) -> str:
        return status_topic(self._settings.prefix)

    def _status(self, status: str, reason: str) -> str:
        at = iso_ms(self._clock.wall_ms()) if reason != "lost" else None
        return json.dumps({"schema": "rater.status/1", "status": status, "reason": reason, "at": at})

    async def wait_up(self) -> None:
        await self._up.wait()

    def wants(self, record: PublicRecord) -> bool:
        return True

    async def deliver(self, items: Sequence[Item]) -> None:
        messages = [Message(topic_of(self._settings.prefix, i.record), i.record.to_json()) for i in items]
        codes = await self.publish(messages)
        delivered = [item for item, code in zip(items, codes, strict=True) if 0 <= code < REFUSAL]
        for item, code in zip(items, codes, strict=True):
            if code in UNDELIVERABLE:
                raise ItemRefused(f"the broker refuses the message: {reason_name(code)}", item, delivered=delivered)
            if code >= REFUSAL:
                raise SinkDown(
                    f"the broker refuses {topic_of(self._settings.prefix, item.record)}: {reason_name(code)}",
                    delivered=delivered,
                    hint="Allow the user to publish under the prefix; see docs/mqtt.md.",
                )
        if len(delivered) < len(items):
            raise SinkDown("the connection broke before the broker had acknowledged all", delivered=delivered)

    async def publish(self, messages: Sequence[Message]) -> list[int]:
        """Reason codes as from `BatchClient.publish_batch`. Raises SinkDown when not connected."""
        client = self._client
        if client is None:
            raise SinkDown("not connected to the broker")
        codes = await client.publish_batch(messages)
        if -1 in codes:
            self._broken.set()
        return codes


def reason_name(code: int) -> str:
    """The reason as MQTT 5 words it."""
    try:
        return ReasonCode(PacketTypes.PUBACK, identifier=code).getName()
    except ValueError:  # a code of a later version
        return f"code {code:#x}"
