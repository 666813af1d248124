"""Ending tasks so that they do end."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

AGAIN_S = 1.0


async def end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until all are done; what they raise is not looked at.

    Those that go on are cancelled again and again: `asyncio.wait_for` of Python 3.11, which libraries use, loses a
    cancellation that comes at the moment at which what it waits for is done.
    """
    pending: Collection[asyncio.Task[None]] = tasks
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()
