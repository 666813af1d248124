"""A short visit to a switch's manager interface: every answer whole, every wait bounded."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rater.config import SwitchSettings
from rater.errors import SwitchUnavailable
from rater.switch.ami import tls_context
from rater.switch.ami_parse import SELECTION, Frame
from rater.switch.frames import frame_parser, serialize

CONNECT_S, ANSWER_S = 3.0, 3.0
EVENTS_KEPT = 10_000
_TELLING = ("DeviceStateChange", "ExtensionStatus", "PeerStatus", "ContactStatus", "Registry", "VarSet", "Newexten",
            "SuccessfulAuth", "ChallengeSent", "RTCPSent", "RTCPReceived", "UserEvent", "Cdr", "CEL")  # fmt: skip
_HEADERS = ("Event", "Privilege", "Timestamp", "ActionID", "Device")


class Manager:
    """One connection. `events`: those that say something about rights and clocks, as they came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._parser = frame_parser(dict.fromkeys((*SELECTION, *_TELLING), _HEADERS))
        self._ids = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Frame]] = {}
        self._news = asyncio.Event()
        self._over = ""
        self.events: list[Frame] = []

    @property
    def banner(self) -> str:
        """What the interface calls itself; empty when nothing that AMI would say came."""
        return self._parser.banner

    async def request(self, name: str, **headers: str) -> Frame:
        """One action and its answer, also an error's. Raises SwitchUnavailable."""
        action_id = f"doctor-{next(self._ids)}"
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        if self._over:
            raise SwitchUnavailable(self._over)
        self._waiting[action_id] = future
        self._writer.write(serialize({"Action": name, "ActionID": action_id, **headers}))
        try:
            async with asyncio.timeout(ANSWER_S):
                return await future
        except TimeoutError as error:
            raise SwitchUnavailable(f"no answer to {name} within {ANSWER_S:g} s") from error
        finally:
            self._waiting.pop(action_id, None)

    async def listen(self, span_s: float, *, enough: str = "") -> None:
        """Let events come for so long, or until one named `enough` has."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(span_s):
                while not enough or not any(event["Event"] == enough for event in self.events):
                    self._news.clear()
                    await self._news.wait()

    async def read(self) -> None:
        """Take what comes, until the connection ends."""
        with contextlib.suppress(OSError):
            while data := await self._reader.read(65536):
                for frame in self._parser.feed(data):
                    future = self._waiting.get(frame.get("ActionID", ""))
                    if "Response" in frame and future is not None and not future.done():
                        future.set_result(frame)
                    elif "Event" in frame and len(self.events) < EVENTS_KEPT:
                        self.events.append(frame)
                self._news.set()
        self._over = "the switch ended the connection"
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(SwitchUnavailable(self._over))


@asynccontextmanager
async def visit(settings: SwitchSettings) -> AsyncIterator[Manager]:
    """Connected, not logged in. Raises OSError, TimeoutError, ssl.SSLError (an OSError)."""
    async with asyncio.timeout(CONNECT_S):
        reader, writer = await asyncio.open_connection(settings.host, settings.port, ssl=tls_context(settings))
    manager = Manager(reader, writer)
    reading = asyncio.create_task(manager.read())
    try:
        yield manager
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        writer.transport.abort()
