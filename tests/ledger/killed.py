"""Runs an archiving and kills itself, SIGKILL, before its n-th step. Steps are what leaves a trace in Redis or on
the disk; the page is small, so that a month has several.

    python killed.py URL PREFIX FOLDER BEFORE N
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rater.charging import archive, ledger
from rater.charging.redis_store import RedisStore
from rater.ids import Shard

steps_left = int(sys.argv[5])


def step() -> None:
    global steps_left
    steps_left -= 1
    if steps_left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def around(owner: Any, name: str) -> None:
    """A step before the call, and one after it: done, and nobody learnt of it."""
    inner: Callable[..., Any] = getattr(owner, name)
    if asyncio.iscoroutinefunction(inner):

        async def awaited(*args: Any, **kwargs: Any) -> Any:
            step()
            result = await inner(*args, **kwargs)
            step()
            return result

        setattr(owner, name, awaited)
        return

    def called(*args: Any, **kwargs: Any) -> Any:
        step()
        result = inner(*args, **kwargs)
        step()
        return result

    setattr(owner, name, called)


archive.PAGE = 5  # type: ignore[misc]
around(ledger.ShardLedger, "begin")
around(ledger.ShardLedger, "fold")
around(archive._Writer, "__enter__")
around(os, "fsync")
around(Path, "replace")


async def main() -> None:
    url, prefix, folder, before = sys.argv[1:5]
    store = RedisStore(url, prefix=prefix)
    await store.start()
    await archive.archive(ledger.ShardLedger(store, Shard(0)), Path(folder), before)
    await store.close()


asyncio.run(main())
