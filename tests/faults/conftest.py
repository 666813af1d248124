"""A store whose every byte goes through a proxy, and a desk to speak to it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rater.charging.redis_store import RedisStore
from tests.contract.desk import Desk, RedisDriver
from tests.faults.proxy import Proxy
from tests.faults.support import test_server
from tests.servers import RedisServer


@dataclass
class Bench:
    """`desk` speaks to `store`, which reaches `server` through `proxy`."""

    loop: asyncio.AbstractEventLoop
    server: RedisServer
    proxy: Proxy
    store: RedisStore
    desk: Desk

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    # Synced each second, Redis may answer before it has written, when the disk is slow.
    server = test_server(tmp_path / "redis", appendfsync="always")
    server.start()
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        proxy = Proxy(server.port)
        loop.run_until_complete(proxy.start())
        store = RedisStore(proxy.url)
        loop.run_until_complete(store.start())
        driver = RedisDriver(loop, store)
        yield Bench(loop, server, proxy, store, Desk(driver))
        driver.close()
        loop.run_until_complete(proxy.stop())
    server.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk needs root, to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
