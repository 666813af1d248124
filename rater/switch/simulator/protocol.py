"""The manager port: connections, frames in, frames out, login and event masks. What an action does stands in
`actions`.

A frame that arrives is lines of ``Header: value``, closed by an empty line. Like the real one, a connection that
does not read what it is sent is dropped.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from rater.switch.simulator.filters import Filter, passes

CLASSES = frozenset(
    (
        "system", "call", "log", "verbose", "command", "agent", "user", "config", "dtmf", "reporting", "cdr",
        "dialplan", "originate", "agi", "cc", "aoc", "test", "security", "message",
    )
)  # fmt: skip
MAX_LINE_BYTES = 1024
MAX_HEADERS = 128
MAX_UNSENT_BYTES = 4 << 20
EOL = "\r\n"


@dataclass(frozen=True, slots=True)
class ManagerUser:
    """A section of manager.conf: which classes it may read and write; ``all`` for every one."""

    name: str
    secret: str
    read: frozenset[str] = frozenset({"all"})
    write: frozenset[str] = frozenset({"all"})


Headers = dict[str, str]
"""Names in lower case. Of a repeated header the last one stands, but `variables` keeps every Variable."""


@dataclass(slots=True)
class Request:
    """One action as it came in. `variables`: each ``Variable`` header."""

    headers: Headers
    variables: list[str]

    def get(self, name: str) -> str:
        return self.headers.get(name.lower(), "")


class Connection(asyncio.Protocol):
    """One client of the manager port. `handle` is given each request of a client that has logged in."""

    def __init__(
        self,
        users: dict[str, ManagerUser],
        banner: str,
        handle: Callable[[Connection, Request], None],
        *,
        opened: Callable[[Connection], None],
        closed: Callable[[Connection], None],
    ) -> None:
        self.user: ManagerUser | None = None
        self.filters: list[Filter] = []
        self._users = users
        self._banner = banner
        self._handle = handle
        self._opened = opened
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._challenge = ""
        self._mask = frozenset({"all"})

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=MAX_UNSENT_BYTES)
        transport.write(f"Asterisk Call Manager/{self._banner}{EOL}".encode())
        self._opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._closed(self)

    def pause_writing(self) -> None:
        self.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                break
            self._buffer = rest
            self._receive(head)
        if len(self._buffer) > MAX_LINE_BYTES * MAX_HEADERS:
            self.abort()

    def _receive(self, frame: bytes) -> None:
        headers: Headers = {}
        variables: list[str] = []
        for line in frame.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            if not colon or len(headers) >= MAX_HEADERS or len(line) > MAX_LINE_BYTES:
                continue
            name = name.strip().lower()
            if name == "variable":
                variables.append(value.strip())
            headers[name] = value.strip()
        if headers:
            self._dispatch(Request(headers, variables))

    def _dispatch(self, request: Request) -> None:
        action = request.get("Action").lower()
        if action == "":
            self.error(request, "Missing action in request")
        elif action == "challenge":
            self._send_challenge(request)
        elif action == "login":
            self._login(request)
        elif self.user is None and action != "logoff":
            self.error(request, "Permission denied")
        else:
            self._handle(self, request)

    # Out

    def write(self, text: str) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(text.encode())

    def respond(self, request: Request, response: str, *lines: str) -> None:
        """``Response``, the request's own ActionID, then `lines`."""
        identity = request.get("ActionID")
        head = [f"Response: {response}", *([f"ActionID: {identity}"] if identity else [])]
        self.write(EOL.join([*head, *lines]) + EOL + EOL)

    def success(self, request: Request, message: str) -> None:
        self.respond(request, "Success", f"Message: {message}")

    def error(self, request: Request, message: str) -> None:
        self.respond(request, "Error", f"Message: {message}")

    def event(self, category: str, name: str, frame: str) -> None:
        """An event of the switch, if this client has asked for it and may read it."""
        if not self.hears(category):
            return
        if not self.filters or passes(self.filters, name, frame):
            self.write(frame)

    def hears(self, category: str) -> bool:
        if self.user is None:
            return False
        return _holds(self._mask, category) and _holds(self.user.read, category)

    def may_write(self, classes: frozenset[str]) -> bool:
        """Whether the user has one of the classes; an action of no class is anybody's."""
        return not classes or (self.user is not None and any(_holds(self.user.write, one) for one in classes))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Gone at once, with what was not sent yet."""
        if self._transport is not None:
            self._transport.abort()

    # Login

    def _send_challenge(self, request: Request) -> None:
        if request.get("AuthType").lower() != "md5":
            self.error(request, "Must specify AuthType")
            return
        self._challenge = str(secrets.randbelow(10**9))
        self.respond(request, "Success", f"Challenge: {self._challenge}")

    def _login(self, request: Request) -> None:
        user = self._users.get(request.get("Username"))
        if user is None or not self._proves(user, request):
            self.error(request, "Authentication failed")
            self.close()
            return
        self.user = user
        self.set_mask(request.get("Events"))
        self.success(request, "Authentication accepted")
        if self.hears("system"):
            self.write(
                "Event: FullyBooted\r\nPrivilege: system,all\r\nUptime: 1\r\nLastReload: 1\r\n"
                "Status: Fully Booted\r\n\r\n"
            )

    def _proves(self, user: ManagerUser, request: Request) -> bool:
        if request.get("AuthType").lower() == "md5":
            if not self._challenge:
                return False
            wanted = hashlib.md5((self._challenge + user.secret).encode()).hexdigest()
            return hmac.compare_digest(wanted, request.get("Key"))
        return hmac.compare_digest(user.secret.encode(), request.get("Secret").encode())

    def set_mask(self, text: str) -> bool | None:
        """``on``, ``off`` or classes with commas. True: some events will come, False: none, None: not understood;
        an empty text changes nothing."""
        words = frozenset(word.strip() for word in text.lower().split(",") if word.strip())
        if not words:
            return None
        if words <= {"on", "all", "yes", "true", "-1"}:
            self._mask = frozenset({"all"})
        elif words <= {"off", "none", "no", "false", "0"}:
            self._mask = frozenset()
        elif words & CLASSES:
            self._mask = words & CLASSES
        else:
            return None
        return bool(self._mask)


def _holds(granted: frozenset[str], category: str) -> bool:
    return "all" in granted or category in granted
