"""A small AMI client of the tests' own: what the switch says is to be seen without the product's eyes.

A thread reads; events are kept with the monotonic moment at which they came. Nothing here is quick or clever.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import unquote

from rater.switch.actions import DECIDED

T = TypeVar("T")
Headers = dict[str, str]


@dataclass(frozen=True)
class Event:
    name: str
    headers: Headers
    seen_s: float
    """time.monotonic() when it was read."""

    def __getitem__(self, key: str) -> str:
        return self.headers.get(key, "")

    @property
    def switch_s(self) -> float:
        """The switch's own time of it (timestampevents), seconds since the epoch."""
        return float(self.headers["Timestamp"])


@dataclass
class Question:
    """A call that waits in AsyncAGI."""

    event: Event
    channel: str
    arguments: list[str] = field(default_factory=list)


class Ami:
    """One login. `close` (or leaving the `with`) drops the connection without a Logoff, as a crash would."""

    def __init__(self, port: int, user: str = "lab", secret: str = "lab", events: str = "on") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._socket.settimeout(None)
        self._arrived = threading.Condition()
        self._events: list[Event] = []
        self._replies: dict[str, list[Headers]] = {}
        self._count = 0
        self._closed = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        answer = self.action("Login", Username=user, Secret=secret, Events=events)
        if answer.get("Response") != "Success":
            self.close()
            raise PermissionError(f"AMI refuses {user}: {answer}")

    def __enter__(self) -> Ami:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):  # the switch was quicker
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def send(self, name: str, variables: Headers | None = None, **headers: object) -> str:
        """Send an action without waiting; its ActionID."""
        self._count += 1
        action_id = f"lab-{self._count}"
        lines = [f"Action: {name}", f"ActionID: {action_id}"]
        lines += [f"{key}: {value}" for key, value in headers.items()]
        lines += [f"Variable: {key}={value}" for key, value in (variables or {}).items()]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return action_id

    def action(self, name: str, variables: Headers | None = None, **headers: object) -> Headers:
        """Send an action and wait for its response."""
        action_id = self.send(name, variables, **headers)
        replies = self._wait(lambda: self._replies.get(action_id), 5.0, f"a response to {name}")
        return replies[0]

    def command(self, line: str) -> str:
        return self.action("Command", Command=line).get("Output", "")

    def events(self, name: str = "", since: int = 0) -> list[Event]:
        with self._arrived:
            return [e for e in self._events[since:] if not name or e.name == name]

    def mark(self) -> int:
        """How many events have come; hand it to `wait` to look only at later ones."""
        with self._arrived:
            return len(self._events)

    def wait(
        self, name: str, *, since: int = 0, timeout_s: float = 5.0, where: Callable[[Event], bool] | None = None
    ) -> Event:
        """The first event of that name, come or still to come, for which `where` holds."""

        def first() -> Event | None:
            matching = (e for e in self._events[since:] if e.name == name and (where is None or where(e)))
            return next(matching, None)

        return self._wait(first, timeout_s, f"an event {name}")

    def until_events(self, name: str, count: int, timeout_s: float = 5.0) -> list[Event]:
        """Wait for so many events of that name."""

        def enough() -> list[Event] | None:
            found = [event for event in self._events if event.name == name]
            return found if len(found) >= count else None

        return self._wait(enough, timeout_s, f"{count} events {name}")

    def question(self, *, since: int = 0, timeout_s: float = 5.0) -> Question:
        """The next call that asks at the gate."""
        event = self.wait("AsyncAGIStart", since=since, timeout_s=timeout_s)
        environment = unquote(event["Env"])
        arguments = [line.partition(": ")[2] for line in environment.splitlines() if line.startswith("agi_arg_")]
        return Question(event, event["Channel"], arguments)

    def answer(self, question: Question, verdict: str, reason: str, seconds: int) -> None:
        """Answer the gate as the product does: the variables, the way out, and last the timer, which wakes it."""
        channel = question.channel
        self.send("Setvar", Channel=channel, Variable=DECIDED, Value=f"{reason},{seconds},{verdict}")
        self.send("AGI", Channel=channel, Command="ASYNCAGI BREAK")
        self.send("AbsoluteTimeout", Channel=channel, Timeout=seconds or 86_400)

    def _wait(self, look: Callable[[], T | None], timeout_s: float, what: str) -> T:
        deadline_s = time.monotonic() + timeout_s
        with self._arrived:
            while True:
                found = look()
                if found is not None:
                    return found
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    recent = ", ".join(e.name for e in self._events[-20:])
                    raise TimeoutError(f"{what} did not come within {timeout_s} s; the last events: {recent}")
                self._arrived.wait(left_s)

    def _read(self) -> None:
        buffer = b""
        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                return
            if not data:
                return
            buffer += data
            if buffer.startswith(b"Asterisk Call Manager"):
                buffer = buffer.partition(b"\r\n")[2]
            *frames, buffer = buffer.split(b"\r\n\r\n")
            with self._arrived:
                for frame in frames:
                    self._take(frame.decode("utf-8", "replace"))
                self._arrived.notify_all()

    def _take(self, frame: str) -> None:
        headers: Headers = {}
        for line in frame.split("\r\n"):
            key, _, value = line.partition(": ")
            headers[key] = f"{headers[key]}\n{value}" if key in headers else value
        if "Event" in headers:
            self._events.append(Event(headers["Event"], headers, time.monotonic()))
        elif "Response" in headers:
            self._replies.setdefault(headers.get("ActionID", ""), []).append(headers)
