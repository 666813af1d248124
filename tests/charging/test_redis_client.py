"""The daemon's client on a real server: whoever uses it can be cancelled at any moment; nothing waits for ever."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from rater.charging import redis_client
from rater.charging.embedded import EmbeddedRedis
from rater.charging.redis_client import open_client


@pytest.fixture
def server(tmp_path: Path) -> Any:
    server = EmbeddedRedis(tmp_path)
    server.start()
    yield server
    server.stop()


async def commands_for_ever(client: Any) -> None:
    while True:
        await client.xlen("nothing")


def test_a_task_can_be_cancelled_between_and_within_commands(server: EmbeddedRedis) -> None:
    async def run() -> None:
        client, random = open_client(server.url, None), Random(1)
        for attempt in range(300):
            task = asyncio.create_task(commands_for_ever(client))
            await asyncio.sleep(random.uniform(0, 0.004))
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=10)
            assert done, f"attempt {attempt}: the cancellation was lost"
        await client.aclose()

    asyncio.run(run())


def test_a_server_that_hangs_is_given_up(server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_client, "COMMAND_S", 0.2)
    assert server.pid is not None

    async def run(pid: int) -> None:
        client = open_client(server.url, None)
        await client.ping()
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                await client.xlen("nothing")
        finally:
            os.kill(pid, signal.SIGCONT)
        assert await client.ping(), "and taken up again"
        await client.aclose()

    asyncio.run(run(server.pid))


@pytest.mark.parametrize("as_pipeline", [False, True])
def test_what_is_written_to_a_closed_connection_is_a_lost_connection(
    server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch, as_pipeline: bool
) -> None:
    """As uvloop tells it, which asyncio does not."""

    async def closed(*args: Any, **options: Any) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    async def run() -> None:
        client = open_client(server.url, None)
        await client.ping()
        with monkeypatch.context() as patch:
            patch.setattr(AbstractConnection, "send_packed_command", closed)
            with pytest.raises(RedisConnectionError):
                if as_pipeline:
                    async with client.pipeline(transaction=False) as pipe:
                        await pipe.xlen("nothing").execute()
                else:
                    await client.xlen("nothing")
        assert await client.ping(), "and the next one is served"
        await client.aclose()

    asyncio.run(run())
