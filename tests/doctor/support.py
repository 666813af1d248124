"""Runs the doctor on settings of a test's own, and finds what it said."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

from rater.commands.common import redis_url
from rater.config import Settings
from rater.doctor.findings import Finding
from rater.doctor.run import Doctor


def findings_of(**settings: Any) -> list[Finding]:
    checked = Settings(**{"metrics": {"port": 0}, **settings})
    return asyncio.run(Doctor(checked, redis_url(checked.redis), listen_s=0.1).examine())


def one(findings: list[Finding], check: str, subject: str | None = None) -> Finding:
    """The only finding of a check."""
    (finding,) = [f for f in findings if f.check == check and subject in (None, f.subject)]
    return finding


def status(findings: list[Finding], check: str, subject: str | None = None) -> str:
    return one(findings, check, subject).status.value


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port that does not even take connections: its queue is full, and the kernel drops what comes."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port
