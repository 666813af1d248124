from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import RedisServer, binaries


@pytest.fixture(scope="session", params=list(binaries()))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server of each version for a whole session."""
    server = RedisServer(binaries()[request.param], tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()
