"""A plain manager client for the tests: it knows lines and frames, nothing of calls."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

Frame = dict[str, str]


class AmiClient:
    """`events` holds every event frame in order of arrival; `wait` waits for one that a condition accepts."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.events: list[Frame] = []
        self.banner = ""
        self._reader = reader
        self._writer = writer
        self._responses: dict[str, asyncio.Future[Frame]] = {}
        self._serial = 0
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        self.banner = (await self._reader.readline()).decode().strip()
        self._task = asyncio.create_task(self._read())

    async def close(self) -> None:
        self._writer.close()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def ask(self, action: str, **headers: str) -> Frame:
        """Send one action and wait for its response."""
        self._serial += 1
        identity = str(self._serial)
        future = asyncio.get_running_loop().create_future()
        self._responses[identity] = future
        self.send(Action=action, ActionID=identity, **headers)
        async with asyncio.timeout(5):
            response: Frame = await future
        return response

    def send(self, **headers: str) -> None:
        text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._writer.write(f"{text}\r\n".encode())

    def send_raw(self, data: bytes) -> None:
        self._writer.write(data)

    async def login(self, user: str = "rater", secret: str = "secret", events: str = "on") -> Frame:
        return await self.ask("Login", Username=user, Secret=secret, Events=events)

    async def login_md5(self, user: str = "rater", secret: str = "secret") -> Frame:
        challenge = (await self.ask("Challenge", AuthType="MD5"))["Challenge"]
        key = hashlib.md5((challenge + secret).encode()).hexdigest()
        return await self.ask("Login", AuthType="MD5", Username=user, Key=key)

    async def wait(self, condition: Callable[[Frame], bool], *, within_s: float = 5.0) -> Frame:
        """The first event, past or to come, that `condition` accepts."""
        async with asyncio.timeout(within_s):
            while True:
                for event in self.events:
                    if condition(event):
                        return event
                self._news.clear()
                await self._news.wait()

    async def wait_event(self, name: str, *, within_s: float = 5.0, **headers: str) -> Frame:
        return await self.wait(
            lambda event: event["Event"] == name and all(event.get(key) == value for key, value in headers.items()),
            within_s=within_s,
        )

    async def closed(self) -> None:
        """Wait until the other side has closed."""
        assert self._task is not None
        async with asyncio.timeout(5):
            await self._task

    def names(self) -> list[str]:
        return [event["Event"] for event in self.events]

    async def _read(self) -> None:
        while True:
            try:
                block = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            frame: Frame = {}
            for line in block.strip("\r\n").split("\r\n"):
                name, _, value = line.partition(": ")
                frame[name] = value
            if "Event" in frame:
                self.events.append(frame)
                self._news.set()
            elif (future := self._responses.pop(frame.get("ActionID", ""), None)) is not None:
                future.set_result(frame)


@asynccontextmanager
async def ami_client(port: int, *, login: bool = True, events: str = "on") -> AsyncIterator[AmiClient]:
    client = AmiClient(*await asyncio.open_connection("127.0.0.1", port))
    await client.begin()
    try:
        if login:
            response = await client.login(events=events)
            assert response["Response"] == "Success"
        yield client
    finally:
        await client.close()
