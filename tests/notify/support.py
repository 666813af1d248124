"""A publisher in its own process, and what a subscriber saw."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
from events.support import Mosquitto

from rater.config import MqttSettings, PublishSettings, RedisSettings, Settings, SmtpSettings, WebhookSettings


def settings_for(
    url: str,
    prefix: str,
    *,
    broker: Mosquitto | None = None,
    files: Path | None = None,
    webhooks: Sequence[WebhookSettings] = (),
    smtp: SmtpSettings | None = None,
    **publish: Any,
) -> Settings:
    mqtt = MqttSettings() if broker is None else MqttSettings(host="127.0.0.1", port=broker.port, prefix="t/r")
    return Settings(
        redis=RedisSettings(url=url, prefix=prefix),
        mqtt=mqtt,
        webhook=list(webhooks),
        smtp=smtp or SmtpSettings(),
        publish=PublishSettings(files=files, **publish),
    )


class Publisher:
    """`python -m rater.notify`, as the daemon starts it."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._settings = settings
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rater.notify"], stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        assert self._process.stdin is not None
        self._process.stdin.write(self._settings.model_dump_json().encode())
        self._process.stdin.close()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self.wait()

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(15)


class Subscriber:
    """Everything received, in order, for as long as it listens."""

    def __init__(self) -> None:
        self.messages: list[aiomqtt.Message] = []

    def on(self, topic: str) -> list[dict[str, Any]]:
        return [
            json.loads(m.payload) for m in self.messages if m.topic.matches(topic) and isinstance(m.payload, bytes)
        ]

    def ids(self, topic: str = "t/r/event/#") -> list[str]:
        return [record["id"] for record in self.on(topic)]


@asynccontextmanager
async def listening(broker: Mosquitto, topic: str = "#") -> AsyncIterator[Subscriber]:
    subscriber = Subscriber()
    async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe(topic, qos=1)

        async def collect() -> None:
            async for message in client.messages:
                subscriber.messages.append(message)

        task = asyncio.create_task(collect())
        try:
            yield subscriber
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
