"""One AMI connection: bytes in, frames out; actions in, bytes out. Log-in, pings, reconnecting.

Of panoramisk this uses `Action`, which knows which answers are lists and when one is complete, for everything that
is awaited. Its `Manager` and its protocol are not used: they make a task and several objects of every event, let a
line break in a value become a second action, keep what has no end without bound, wait for no pong, and send
unanswered actions again after a reconnect. `docs/asterisk.md` has the measurements.

Reading comes before working. What a read brings is parsed at once and handed on in batches; when more is there
than one batch, the socket is read again in between. What waits is bounded: beyond `BACKLOG_LIMIT` the connection
is given up, and the resync after the next one makes good. Writing is one `write` for all actions of a flush. All
that is `rater.switch.exchange`; here is what waits.

An action of the hot path is never repeated. When its answer is late or lost with the connection, `on_overdue` says
so, and whoever sent it looks at the switch's state.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog
from panoramisk.actions import Action as Awaited
from panoramisk.message import Message

from rater.config import SwitchSettings
from rater.errors import LoginRefused, SwitchUnavailable
from rater.switch.ami_parse import Frame
from rater.switch.exchange import Exchange, Recorder
from rater.switch.frames import frame_parser, serialize
from rater.switch.stamps import parse_timestamp

log = structlog.get_logger(__name__)


class ConnectionState(StrEnum):
    CONNECTING = "connecting"
    UP = "up"
    """Logged in; no events are sent yet."""
    LOST = "lost"
    REFUSED = "refused"
    """The log-in; an alarm: it is tried again slowly."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Spans in seconds."""

    connect_s: float = 5.0
    answer_s: float = 5.0
    """How long an answer may take, awaited or not."""
    ping_every_s: float = 2.0
    ping_deadline_s: float = 3.0
    """A switch silent for that long is not there, whatever the socket says."""
    retry_first_s: float = 0.25
    retry_most_s: float = 10.0
    refused_s: float = 30.0
    settled_s: float = 5.0
    """A connection that lasted less was no success."""


class _Transport(asyncio.Protocol):
    """What asyncio calls; all of it is the connection's."""

    def __init__(self, connection: SwitchConnection) -> None:
        self.data_received = connection.received  # type: ignore[method-assign]  # no step in between
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(exc)


class SwitchConnection(Exchange):
    """`on_frames`: see `Exchange`. `on_state`: see `ConnectionState`; after UP it is for the caller to ask for
    events (`Events`). `recorder` is given the bytes as received, from the log-in on. Use: `run` as a task; it ends
    by being cancelled, or after `close`."""

    def __init__(
        self,
        settings: SwitchSettings,
        secret: str,
        on_frames: Callable[[list[Frame], int], None],
        on_state: Callable[[ConnectionState], None],
        recorder: Recorder | None = None,
        *,
        timing: Timing | None = None,
    ) -> None:
        Exchange.__init__(self, settings.id, on_frames, recorder)
        self._settings = settings
        self._secret = secret
        self._on_state = on_state
        self._timing = timing or Timing()
        self._waiting: dict[str, tuple[Awaited, list[Frame], asyncio.Future[list[Frame]]]] = {}
        self._closed = False
        self.on_overdue: Callable[[list[str]], None] = lambda names: None
        """Told the names of hot actions whose answer did not come in time."""
        self.state = ConnectionState.LOST
        self.offset_ms: int | None = None
        """The switch's clock less our monotonic one, from the last pong."""
        self.connects = 0

    # -- what the adapter uses -----------------------------------------------------------------------------------

    @property
    def parser(self) -> Any:
        """The parser of the present connection, for its counters."""
        return self._parser

    def switch_now_ms(self) -> int:
        """The switch's clock now. Before the first pong our own stands for it."""
        if self.offset_ms is None:
            return time.time_ns() // 1_000_000
        return time.monotonic_ns() // 1_000_000 + self.offset_ms

    async def request(self, name: str, **headers: str) -> Frame:
        """One action and its answer, also an error's. Raises SwitchUnavailable without connection or in time."""
        return (await self._ask(name, headers))[0]

    async def request_list(self, name: str, **headers: str) -> list[Frame]:
        """An action answered by a list: the answer, the entries, the closing event."""
        return await self._ask(name, headers)

    def close(self) -> None:
        """Log off and end `run`."""
        self._closed = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(serialize({"Action": "Logoff"}))
            self._transport.close()

    async def run(self) -> None:
        """Connect, and again whenever it is lost, until closed or cancelled. Failing is normal here, so nothing is
        raised but what makes every further try useless (an unreadable certificate)."""
        failures = 0
        while not self._closed:
            timing = self._timing
            try:
                self._change(ConnectionState.CONNECTING)
                began_s = time.monotonic()
                await self._session()
                failures = 0 if time.monotonic() - began_s > timing.settled_s else failures + 1
            except LoginRefused as error:
                log.error("log-in refused", switch=self._settings.id, error=error.message, hint=error.hint)
                self._change(ConnectionState.REFUSED)
                await asyncio.sleep(timing.refused_s)
                continue
            except (OSError, TimeoutError, SwitchUnavailable) as error:
                log.warning("no connection", switch=self._settings.id, error=str(error) or type(error).__name__)
                failures += 1
            self._change(ConnectionState.LOST)
            if not self._closed:
                longest_s = min(timing.retry_first_s * 2**failures, timing.retry_most_s)
                await asyncio.sleep(longest_s * random.uniform(0.5, 1.0))

    # -- one connection ------------------------------------------------------------------------------------------

    async def _session(self) -> None:
        """From the first packet to the loss."""
        settings, timing = self._settings, self._timing
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timing.connect_s):
            transport, protocol = await loop.create_connection(
                lambda: _Transport(self), settings.host, settings.port, ssl=tls_context(settings)
            )
        self._transport = transport
        self._parser = frame_parser(sent=self._sent)
        pinging: asyncio.Task[None] | None = None
        try:
            await log_in(settings, self._secret, self.request)
            await self._ping()
            self._recording = True
            self.connects += 1
            self._change(ConnectionState.UP)
            pinging = asyncio.create_task(self._keep_pinging())
            await protocol.lost
        finally:
            self._recording = False
            if pinging is not None:
                pinging.cancel()
            transport.abort()
            self._transport = None
            self._forget_all()

    async def _keep_pinging(self) -> None:
        while True:
            await asyncio.sleep(self._timing.ping_every_s)
            self._look_for_overdue()
            try:
                async with asyncio.timeout(self._timing.ping_deadline_s):
                    await self._ping()
            except TimeoutError:
                self.abort("no pong")
            except SwitchUnavailable:
                return

    async def _ping(self) -> None:
        """Also compares the clocks; the pong is stamped about half-way."""
        before_ns = time.monotonic_ns()
        pong = await self.request("Ping")
        stamp_ms = parse_timestamp(pong.get("Timestamp", ""))
        if stamp_ms is None:
            stamp_ms = time.time_ns() // 1_000_000
        self.offset_ms = stamp_ms - (before_ns + time.monotonic_ns()) // 2_000_000

    def _look_for_overdue(self) -> None:
        latest_ns = time.monotonic_ns() - int(self._timing.answer_s * 1e9)
        overdue = self._sent.overdue(latest_ns)
        if overdue:
            self.on_overdue(overdue)

    def _forget_all(self) -> None:
        """What was under way is lost with the connection; nothing of it is ever sent again."""
        for _, _, future in self._waiting.values():
            if not future.done():
                future.set_exception(SwitchUnavailable(f"the connection to {self._settings.id} was lost"))
                future.exception()
        self._waiting.clear()
        self.forget()

    def _change(self, state: ConnectionState) -> None:
        if state is not self.state:
            self.state = state
            self.up = state is ConnectionState.UP
            self._on_state(state)

    # -- awaited actions -----------------------------------------------------------------------------------------

    async def _ask(self, name: str, headers: dict[str, str]) -> list[Frame]:
        if self._transport is None or self._transport.is_closing():
            raise SwitchUnavailable(f"{self._settings.id} is not connected")
        action = Awaited({"Action": name, **headers})
        data = serialize(dict(action.items()))
        future: asyncio.Future[list[Frame]] = asyncio.get_running_loop().create_future()
        frames: list[Frame] = []
        self._waiting[action.id] = (action, frames, future)
        self._lists[action.id] = frames
        self._transport.write(data)
        try:
            async with asyncio.timeout(self._timing.answer_s):
                return await future
        except TimeoutError as error:
            raise SwitchUnavailable(f"{self._settings.id} did not answer {name} in time") from error
        finally:
            self._waiting.pop(action.id, None)
            self._lists.pop(action.id, None)

    def answered(self, frame: Frame) -> bool:
        """Also by what is awaited."""
        waiting = self._waiting.get(frame.get("ActionID", ""))
        if waiting is None:
            return Exchange.answered(self, frame)
        action, frames, future = waiting
        frames.append(frame)
        if action.add_message(Message(dict(frame))) and not future.done():
            future.set_result(frames)
        return True


async def log_in(
    settings: SwitchSettings, secret: str, request: Callable[..., Awaitable[Frame]], *, events: str = "off"
) -> None:
    """As the settings say. `request`: sends an action and returns its answer. Raises LoginRefused."""
    login = {"Username": settings.user, "Events": events}
    if settings.login == "md5":
        challenge = await request("Challenge", AuthType="md5")
        if challenge.get("Response") != "Success":
            raise LoginRefused(
                f"{settings.id} gives no MD5 challenge: {challenge.get('Message', '')}",
                hint='Set login = "plain" for it, over TLS or loopback.',
            )
        digest = hashlib.md5((challenge["Challenge"] + secret).encode(), usedforsecurity=False)
        login |= {"AuthType": "md5", "Key": digest.hexdigest()}
    else:
        login |= {"Secret": secret}
    answer = await request("Login", **login)
    if answer.get("Response") != "Success":
        raise LoginRefused(
            f"{settings.id} refuses the user {settings.user}: {answer.get('Message', '')}",
            hint="Compare user, secret, permit and deny with the switch's manager.conf.",
        )


def tls_context(settings: SwitchSettings) -> ssl.SSLContext | None:
    """None without TLS. Raises OSError for an authority file that cannot be used."""
    if not settings.tls:
        return None
    return ssl.create_default_context(cafile=str(settings.tls_ca) if settings.tls_ca is not None else None)
