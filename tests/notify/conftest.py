from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from events.support import Desk, Mosquitto

from rater.charging.embedded import EmbeddedRedis
from rater.charging.redis_store import RedisStore
from rater.config import Settings

from .support import Publisher


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    redis = EmbeddedRedis(tmp_path_factory.mktemp("r"))
    redis.start()
    yield redis
    redis.stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path)
    mosquitto.start()
    yield mosquitto
    mosquitto.stop()


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Callable[[Settings], Publisher]]:
    """Starts publishers, and stops those that still run at the end."""
    started: list[Publisher] = []

    def start(settings: Settings) -> Publisher:
        started.append(Publisher(settings, tmp_path / "publisher.log"))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A key prefix of the test's own."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name.removeprefix("test_"))
    return f"n{name.lower()[:28].rstrip('-')}"


@pytest.fixture
def open_desk(server: EmbeddedRedis, prefix: str) -> Callable[[], object]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Desk]:
        store = RedisStore(server.url, prefix=prefix)
        await store.start()
        try:
            yield Desk(store)
        finally:
            await store.close()

    return opened
