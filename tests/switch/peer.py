"""A switch's manager port on a real TCP socket, as obliging or as broken as a test wants it."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from rater.config import SwitchSettings
from rater.switch.ami import ConnectionState, SwitchConnection, Timing
from rater.switch.ami_parse import Frame

SECRET = "correct horse"
QUICK = Timing(
    connect_s=2, answer_s=0.4, ping_every_s=0.05, ping_deadline_s=0.2, retry_first_s=0.01, retry_most_s=0.05,
    refused_s=0.05,
)  # fmt: skip
DEADLINE_S = 10.0


class Peer:
    """`silent`: names of actions that get no answer (``*``: none does). `answers`: further answers by name."""

    def __init__(self) -> None:
        self.port = 0
        self.logins = 0
        self.actions: list[Frame] = []
        self.silent: set[str] = set()
        self.refuses_login = False
        self.knows_md5 = True
        self.reading = asyncio.Event()
        self.reading.set()
        self.started = ("2026-11-24", "00:24:50")
        self.rows: list[Frame] = []
        self.before_list: Callable[[], None] = lambda: None
        self.answers: dict[str, Frame] = {}
        self._writers: list[asyncio.StreamWriter] = []
        self._challenge = "1234567"

    @asynccontextmanager
    async def serving(self, context: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.drop()
            await asyncio.sleep(0)

    # -- what a test does with it --------------------------------------------------------------------------------

    def emit(self, *frames: Frame) -> None:
        self.write(b"".join(encode(frame) for frame in frames))

    def write(self, data: bytes) -> None:
        self._writers[-1].write(data)

    def drop(self) -> None:
        """Reset all connections."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def named(self, name: str) -> list[Frame]:
        return [action for action in self.actions if action["Action"] == name]

    def names(self) -> list[str]:
        return [action["Action"] for action in self.actions if action["Action"] != "Ping"]

    def variables(self, name: str) -> list[str]:
        """The values that a variable was set to, in order."""
        return [a["Value"] for a in self.named("Setvar") if a["Variable"] == name]

    # -- how it answers ------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        writer.write(b"Asterisk Call Manager/11.0.0\r\n")
        try:
            while True:
                await self.reading.wait()
                block = await reader.readuntil(b"\r\n\r\n")
                action = dict(line.split(": ", 1) for line in block.decode().split("\r\n") if line)
                self.actions.append(action)
                if not self.silent & {"*", action["Action"]}:
                    self._answer(action, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, action: Frame, writer: asyncio.StreamWriter) -> None:
        name = action["Action"]
        head = {"Response": "Success", "ActionID": action.get("ActionID", "")}
        if name in self.answers:
            writer.write(encode(head | self.answers[name]))
            return
        match name:
            case "Challenge":
                good = {"Challenge": self._challenge} if self.knows_md5 else {"Response": "Error", "Message": "no"}
                writer.write(encode(head | good))
            case "Login":
                self._log_in(action, head, writer)
            case "Ping":
                writer.write(encode(head | {"Ping": "Pong", "Timestamp": "1700000000.000000"}))
            case "CoreStatus":
                date, time = self.started
                writer.write(encode(head | {"CoreStartupDate": date, "CoreStartupTime": time}))
            case "CoreShowChannels":
                self.before_list()
                writer.write(encode(head | {"EventList": "start", "Message": "Channels will follow"}))
                for row in self.rows:
                    writer.write(encode({"Event": "CoreShowChannel", "ActionID": action["ActionID"]} | row))
                writer.write(encode({"Event": "CoreShowChannelsComplete", "EventList": "Complete",
                                     "ActionID": action["ActionID"]}))  # fmt: skip
            case "Logoff":
                writer.write(encode({"Response": "Goodbye"}))
                writer.close()
            case _:
                writer.write(encode(head))

    def _log_in(self, action: Frame, head: Frame, writer: asyncio.StreamWriter) -> None:
        digest = hashlib.md5((self._challenge + SECRET).encode()).hexdigest()
        good = action["Key"] == digest if "Key" in action else action.get("Secret") == SECRET
        if good and not self.refuses_login:
            self.logins += 1
            writer.write(encode(head | {"Message": "Authentication accepted"}))
        else:
            writer.write(encode(head | {"Response": "Error", "Message": "Authentication failed"}))
            writer.close()


def encode(frame: Frame) -> bytes:
    return "".join(f"{key}: {value}\r\n" for key, value in frame.items()).encode() + b"\r\n"


def settings(peer: Peer, **changes: Any) -> SwitchSettings:
    return SwitchSettings(**({"id": "lab", "port": peer.port} | changes))


async def until(condition: Callable[[], object]) -> None:
    """Wait for it; fail when it does not come about."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  # any condition, without an event of its own
            await asyncio.sleep(0.005)


class Client:
    """A connection under test, with what it reported."""

    def __init__(self, peer: Peer, secret: str = SECRET, timing: Timing = QUICK, **changes: Any) -> None:
        self.states: list[ConnectionState] = []
        self.batches: list[list[Frame]] = []
        self.overdue: list[str] = []
        self.recorded = bytearray()
        self.connection = SwitchConnection(
            settings(peer, **changes), secret, self._take, self.states.append, self, timing=timing
        )
        self.connection.on_overdue = self.overdue.extend

    def write(self, data: bytes) -> None:
        self.recorded += data

    def _take(self, frames: list[Frame], arrived_ns: int) -> None:
        self.batches.append(frames)

    @property
    def frames(self) -> list[Frame]:
        return [frame for batch in self.batches for frame in batch]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Client]:
        task = asyncio.create_task(self.connection.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def up(self, times: int = 1) -> None:
        await until(lambda: self.states.count(ConnectionState.UP) >= times)


@asynccontextmanager
async def connected(peer: Peer, **changes: Any) -> AsyncIterator[Client]:
    """A peer serving and a client that is logged in to it."""
    async with peer.serving(), Client(peer, **changes).running() as client:
        await client.up()
        yield client


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test's body to its end, with a deadline."""

    async def bounded() -> None:
        async with asyncio.timeout(3 * DEADLINE_S):
            await test

    asyncio.run(bounded())
