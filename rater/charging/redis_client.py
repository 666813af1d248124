"""redis-py's client for tasks that live as long as their process: commands end, and the tasks can be cancelled.

With a `socket_timeout`, which redis-py sets by itself since version 8, it waits for each write with
`asyncio.wait_for`, and that of Python 3.11 loses a cancellation that arrives just when the write completes. A task
that sends one command after the other then goes on for ever, and the process does not stop. So the limit is set
around the whole command instead.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis

COMMAND_S = 5.0
"""Longer than any command blocks on purpose."""


class PatientRedis(Redis):
    """Raises TimeoutError, an OSError, when a command has no answer after COMMAND_S."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        execute: Any = super().execute_command
        async with asyncio.timeout(COMMAND_S):
            return await execute(*args, **options)


def open_client(url: str, password: str | None) -> Any:
    """Not yet connected. Untyped: redis-py's types leave open whether a command is awaited."""
    return PatientRedis.from_url(
        url, password=password or None, socket_timeout=None, socket_connect_timeout=COMMAND_S
    )
