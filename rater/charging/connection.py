"""Pipelined connections to a Redis node for the hot path: one write out, answers in order, no task per call.

What goes over them is `rater.charging.pipeline`; here is how they live. A `Link` keeps itself connected, by one
connection while that is enough. They live and die together: what was sent and not answered when one breaks is sent
again, in order, on the next: the scripts give a repeat its first answer. An answer that is overdue breaks them.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import hiredis
import structlog
from redis.asyncio.connection import SSLConnection, parse_url

from rater.charging.call import Call as Call
from rater.charging.pipeline import Pipeline, Reading
from rater.charging.scripts import Ask as Ask
from rater.charging.scripts import Forms

RETRY_MIN_S, RETRY_MAX_S = 0.02, 2.0
CONNECT_S = 5.0
UNKNOWN = "NOSCRIPT"
"""As a server says that it does not know a script; of a function it says the same without a code."""
RECONNECT = (UNKNOWN, "READONLY")
"""Refusals that a new connection mends: it loads the scripts, and finds the new master."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node listens and how to log in. `socket` wins over host and port."""

    host: str = "127.0.0.1"
    port: int = 6379
    socket: str = ""
    username: str = ""
    password: str = ""
    database: int = 0
    tls: ssl.SSLContext | None = None

    @classmethod
    def from_url(cls, url: str, password: str | None) -> Address:
        """Of a URL as redis-py reads it (redis://, rediss://, unix://). Raises ValueError."""
        parts: dict[str, Any] = dict(parse_url(url))
        tls = None
        if parts.get("connection_class") is SSLConnection:
            tls = ssl.create_default_context(cafile=parts.get("ssl_ca_certs"))
            if parts.get("ssl_certfile"):
                tls.load_cert_chain(parts["ssl_certfile"], parts.get("ssl_keyfile"))
        return cls(
            host=parts.get("host", "127.0.0.1"),
            port=parts.get("port", 6379),
            socket=parts.get("path", ""),
            username=parts.get("username", ""),
            password=password or parts.get("password", ""),
            database=int(parts.get("db", 0)),
            tls=tls,
        )

    def __str__(self) -> str:
        return self.socket or f"{self.host}:{self.port}"


class _Protocol(Reading, asyncio.Protocol):
    """Before `serve` answers resolve `greeting`; after it they go to the link."""

    def __init__(self, link: Link) -> None:
        Reading.__init__(self, link)
        self._link = link
        self.lost = asyncio.Event()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are not of that class

    def greeted(self) -> None:
        while self.greeting and (reply := self.next_answer()) is not False:
            answer = self.greeting.popleft()
            if not answer.done():
                answer.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()
        for answer in self.greeting:
            if not answer.done():
                answer.set_exception(ConnectionResetError("the connection was closed"))
        self._link.gone(self)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    async def greet(self, commands: Iterable[Sequence[bytes | str]]) -> None:
        """Send commands and await their answers. Raises ConnectionError with the server's first refusal."""
        for reply in await self.ask(commands):
            if isinstance(reply, Exception):
                raise ConnectionError(str(reply))

    async def ask(self, commands: Iterable[Sequence[bytes | str]]) -> list[Any]:
        """Send commands and await their answers; a refusal is an exception among them."""
        loop = asyncio.get_running_loop()
        answers = []
        data = []
        for command in commands:
            answers.append(loop.create_future())
            data.append(hiredis.pack_command(tuple(command)))
        self.greeting.extend(answers)
        assert self.transport is not None
        self.transport.write(b"".join(data))
        return await asyncio.gather(*answers)


class Link(Pipeline):
    """`forms`: what is loaded first on each connection. `on_answer` and `after_read`: see `Pipeline`. `on_up` is
    told when calls can be sent and when not. `inspect` may ask a server that was connected to, before anything else
    is sent to it."""

    def __init__(
        self,
        address: Address,
        forms: Forms,
        *,
        timeout_s: float,
        on_answer: Callable[[Any, Any], None],
        after_read: Callable[[], None],
        on_up: Callable[[bool], None],
        inspect: Callable[[Ask], Awaitable[None]],
    ) -> None:
        Pipeline.__init__(self, timeout_s, on_answer, after_read)
        self.address = address
        self._forms = forms
        self._on_up, self._inspect = on_up, inspect
        self._task: asyncio.Task[None] | None = None
        self._widening: asyncio.Task[None] | None = None

    @property
    def whole(self) -> bool:
        """One server is all there is."""
        return self.up

    def reaches(self, shard: int) -> bool:
        return self.up

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name=f"redis {self.address}")

    async def close(self) -> None:
        tasks = [task for task in (self._task, self._widening) if task is not None]
        self._task = self._widening = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.reconnect()

    def reconnect(self) -> None:
        """Make the connections anew; what is unanswered is sent again."""
        for lane in self.lanes:
            lane.reading.abort()

    def refused(self, call: Call, code: str, error: str, tries: int) -> bool:
        """The server did not carry the call out; a new connection may mend that. False: it is not under way."""
        if code in RECONNECT:
            self.reconnect()
        return False

    def gone(self, protocol: _Protocol) -> None:
        if protocol.lane is not None:
            others = [lane.reading for lane in self.lanes if lane is not protocol.lane]
            self.shut()
            for other in others:
                other.abort()
            self._on_up(False)

    def widen(self) -> None:
        if self._widening is None or self._widening.done():
            self._widening = asyncio.create_task(
                self._widen(self.lanes[0].reading), name=f"redis {self.address}, more"
            )

    async def _widen(self, first: Reading) -> None:
        """A further connection beside those that there are; of no use when they have broken meanwhile."""
        try:
            protocol = await asyncio.wait_for(self._connect(further=True), CONNECT_S)
        except (OSError, TimeoutError, hiredis.HiredisError) as error:
            log.warning("no further redis connection", address=str(self.address), error=str(error))
            await asyncio.sleep(RETRY_MAX_S)
            return
        if first.lane is None or protocol.lost.is_set():
            protocol.abort()
            return
        assert protocol.transport is not None
        self.open(protocol, protocol.transport)

    async def _keep(self) -> None:
        wait_s = RETRY_MIN_S
        while True:
            try:
                protocol = await asyncio.wait_for(self._connect(), CONNECT_S)
            except (OSError, TimeoutError, hiredis.HiredisError) as error:
                log.warning("no redis connection", address=str(self.address), error=str(error), again_in_s=wait_s)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_MAX_S)
                continue
            wait_s = RETRY_MIN_S
            self._serve(protocol)
            await self._watch(protocol)
            await asyncio.sleep(wait_s)

    async def _connect(self, *, further: bool = False) -> _Protocol:
        """`further`: beside one that loaded the scripts."""
        loop, at = asyncio.get_running_loop(), self.address
        if at.socket:
            _, protocol = await loop.create_unix_connection(lambda: _Protocol(self), at.socket)
        else:
            _, protocol = await loop.create_connection(lambda: _Protocol(self), at.host, at.port, ssl=at.tls)
        hello: list[Sequence[bytes | str]] = []
        if at.password:
            hello.append(("AUTH", at.username, at.password) if at.username else ("AUTH", at.password))
        if at.database:
            hello.append(("SELECT", str(at.database)))
        try:
            await protocol.greet(hello)
            if further:  # a server that has too many says so, or hangs up
                await protocol.greet([("PING",)])
            else:
                await self._forms.load(protocol.ask)
            await self._inspect(protocol.ask)
        except BaseException:
            protocol.abort()
            raise
        return protocol

    def _serve(self, protocol: _Protocol) -> None:
        if protocol.lost.is_set():
            return
        assert protocol.transport is not None
        self.open(protocol, protocol.transport)
        self.up = True
        self._on_up(True)
        self.flush()

    async def _watch(self, protocol: _Protocol) -> None:
        """Until the connections are lost. They are given up when nothing is heard on one while an answer is
        overdue; each time in a row that this happens, the next are given twice as long. Where answers keep coming,
        only late, the server has much to do, or we have: what is unanswered, sent again, would only be more."""
        look_s = self._timeout_s / 4
        while not protocol.lost.is_set():
            slept_from_s = time.monotonic()
            try:
                await asyncio.wait_for(protocol.lost.wait(), look_s)
            except TimeoutError:
                if time.monotonic() - slept_from_s > 2 * look_s:
                    continue  # we were held up ourselves, and what has arrived is yet to be read
                late_s = self.late_s
                if late_s > self._patience_s:
                    log.warning("redis is late; the connection is made anew", late_s=round(late_s, 3))
                    self._patience_s = min(self._patience_s * 2, 16 * self._timeout_s)
                    self.reconnect()
                    await protocol.lost.wait()
