"""One pipelined connection to Redis, for the hot path: one write out, replies in order, no task per call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import hiredis
import structlog

RETRY_MIN_S, RETRY_MAX_S = 0.05, 2.0
log = structlog.get_logger(__name__)
OnReply = Callable[[Any], None]


class _Protocol(asyncio.Protocol):
    def __init__(self, owner: PipelinedConnection) -> None:
        self._owner = owner
        self._reader = hiredis.Reader()
        self.waiting: deque[OnReply] = deque()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are not of that class

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            self.waiting.popleft()(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.lost(self)


class PipelinedConnection:
    """Keeps itself connected. `on_up` is called with each new connection, before anything else may be sent on it;
    `on_down` when one is lost: whatever was unanswered stays unanswered, its callback is not called."""

    def __init__(
        self, url: str, password: str | None, *, on_up: Callable[[], None], on_down: Callable[[], None]
    ) -> None:
        self._url = urlsplit(url)
        self._password = password or (unquote(self._url.password) if self._url.password else None)
        self._on_up, self._on_down = on_up, on_down
        self._protocol: _Protocol | None = None
        self._buffer: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()

    @property
    def up(self) -> bool:
        return self._protocol is not None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        protocol, self._protocol = self._protocol, None
        if protocol is not None and protocol.transport is not None:
            protocol.transport.abort()

    def send(self, command: Sequence[bytes | str], on_reply: OnReply) -> None:
        """Queue one command. Only while `up`."""
        assert self._protocol is not None
        self._protocol.waiting.append(on_reply)
        self._buffer.append(hiredis.pack_command(tuple(command)))

    def flush(self) -> None:
        if self._buffer and self._protocol is not None and self._protocol.transport is not None:
            self._protocol.transport.write(b"".join(self._buffer))
            self._buffer.clear()

    def drop(self) -> None:
        """Give the connection up: what is on it is too late. A new one is made."""
        if self._protocol is not None and self._protocol.transport is not None:
            self._protocol.transport.abort()

    def lost(self, protocol: _Protocol) -> None:
        if protocol is self._protocol:
            self._protocol = None
            self._buffer.clear()
            self._gone.set()
            self._on_down()

    async def _keep(self) -> None:
        wait_s = RETRY_MIN_S
        while True:
            try:
                protocol = await asyncio.wait_for(self._connect(), 5)
            except (OSError, TimeoutError, hiredis.HiredisError) as error:
                log.warning("redis connection refused", error=str(error), again_in_s=wait_s)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_MAX_S)
                continue
            wait_s = RETRY_MIN_S
            self._gone.clear()
            self._protocol = protocol
            self._on_up()
            await self._gone.wait()
            await asyncio.sleep(wait_s)

    async def _connect(self) -> _Protocol:
        loop = asyncio.get_running_loop()
        if self._url.scheme == "unix":
            _, protocol = await loop.create_unix_connection(lambda: _Protocol(self), self._url.path)
        else:
            _, protocol = await loop.create_connection(
                lambda: _Protocol(self), self._url.hostname or "127.0.0.1", self._url.port or 6379,
                ssl=True if self._url.scheme == "rediss" else None,
            )  # fmt: skip
        if self._password:
            user = (self._url.username,) if self._url.username else ()
            await self._greet(protocol, ("AUTH", *user, self._password))
        database = self._url.path.strip("/")
        if self._url.scheme != "unix" and database not in ("", "0"):
            await self._greet(protocol, ("SELECT", database))
        return protocol

    async def _greet(self, protocol: _Protocol, command: tuple[str, ...]) -> None:
        """One command before the connection is handed out. Raises ConnectionError with the server's answer."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        protocol.waiting.append(answer.set_result)
        assert protocol.transport is not None
        protocol.transport.write(hiredis.pack_command(command))
        reply = await answer
        if isinstance(reply, Exception):
            protocol.transport.abort()
            raise ConnectionError(f"{command[0]}: {reply}")
