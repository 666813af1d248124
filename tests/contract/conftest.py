"""Every case runs over the reference store and each kind of Redis server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from rater.charging.redis_store import RedisStore
from tests.cluster import Cluster
from tests.contract.desk import Desk, Driver, MemoryDriver, RedisDriver
from tests.servers import DEBIAN_WANTED, RedisServer, binaries

_PREFIXES = count(1)
CLUSTER = ["cluster"] if DEBIAN_WANTED else []
KINDS = ["memory", *binaries(), *CLUSTER]
SHARDS = 4
"""As many as the cases name; on the cluster they are spread over its masters."""


@pytest.fixture(scope="session")
def redis_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RedisServer]]:
    """One server of each version, started when first asked for."""
    servers: dict[str, RedisServer] = {}
    for name, binary in binaries().items():
        servers[name] = RedisServer(binary, Path(tmp_path_factory.mktemp(name)))
    yield servers
    for server in servers.values():
        server.stop()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(Path(tmp_path_factory.mktemp("cluster")))
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The loop that the stores of a session live on."""
    with asyncio.Runner() as runner:
        yield runner.get_loop()


@pytest.fixture(params=KINDS)
def driver(
    request: pytest.FixtureRequest, redis_servers: dict[str, RedisServer], loop: asyncio.AbstractEventLoop
) -> Iterator[Driver]:
    if request.param == "memory":
        yield MemoryDriver()
        return
    prefix = f"t{next(_PREFIXES)}"
    if request.param == "cluster":
        url = request.getfixturevalue("cluster").url
        store = RedisStore(url, prefix=prefix, shards=SHARDS, cluster=True)
    else:
        server = redis_servers[request.param]
        if server.process is None:
            server.start()
        store = RedisStore(server.url, prefix=prefix)
    loop.run_until_complete(store.start())
    driver = RedisDriver(loop, store)
    yield driver
    driver.close()


@pytest.fixture
def desk(driver: Driver) -> Iterator[Desk]:
    """Whatever a case does, the books are in balance after it."""
    desk = Desk(driver)
    yield desk
    desk.check_books()
