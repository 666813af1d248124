"""The daemon's client on a real server: whoever uses it can be cancelled at any moment; nothing waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from pathlib import Path
from random import Random
from typing import Any

import pytest
import uvloop
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from rater.charging import redis_client
from rater.charging.embedded import EmbeddedRedis
from rater.charging.redis_client import open_client
from tests.cluster import Cluster
from tests.servers import needs_debians_redis


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


def test_a_refusal_leaves_nothing_that_only_the_collector_could_free(server: EmbeddedRedis) -> None:
    """Nor does a new connection, whose greeting has words that this server does not know."""

    async def refused(times: int) -> int:
        client = open_client(server.url, None)
        for _ in range(times):
            with contextlib.suppress(ResponseError):
                await client.execute_command("NOTHING")
            await client.connection_pool.disconnect()
        await client.aclose()
        return sum(isinstance(thing, RedisError) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(refused(10)) == 0
    finally:
        gc.enable()


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


def close_under(connection: Any) -> None:
    """As if the server had gone in this moment; nobody has been told yet."""
    connection._writer.transport.close()


async def subscribed(client: Any) -> Any:
    pubsub = client.pubsub()
    await pubsub.subscribe("a")
    close_under(pubsub.connection)
    return pubsub


def test_under_uvloop_that_is_no_redis_error_of_redis_pys_own(server: EmbeddedRedis) -> None:
    """Should this fail one day, our classes of connections have had their time."""

    async def run() -> None:
        client = Redis.from_url(server.url)
        pubsub = await subscribed(client)
        with pytest.raises(RuntimeError, match="closed"):
            await pubsub.subscribe("b")
        await pubsub.aclose()  # type: ignore[no-untyped-call]
        await client.aclose()

    uvloop.run(run())


@pytest.mark.parametrize("way", ["command", "pipeline", "pubsub"])
def test_under_uvloop_a_connection_that_closed_a_moment_ago_is_lost(server: EmbeddedRedis, way: str) -> None:
    async def run() -> None:
        client = open_client(server.url, None)
        pubsub = await subscribed(client)
        await client.ping()
        close_under(client.connection_pool._available_connections[0])

        async def ask() -> None:
            if way == "pubsub":
                await pubsub.subscribe("b")
            elif way == "pipeline":
                async with client.pipeline(transaction=False) as pipe:
                    await pipe.xlen("nothing").execute()
            else:
                await client.xlen("nothing")

        with contextlib.suppress(RedisConnectionError):
            await ask()
        await ask()
        await pubsub.aclose()
        await client.aclose()

    uvloop.run(run())


@needs_debians_redis
def test_under_uvloop_a_clusters_connections_are_lost_alike(tmp_path: Path) -> None:
    """Those of nodes that were found later, too, and those of a subscription."""
    cluster = Cluster(tmp_path / "cluster").start()

    async def run() -> None:
        client = open_client(cluster.url, None, cluster=True)
        pubsub = await subscribed(client)
        keys = [f"nothing:{number}" for number in range(50)]
        await asyncio.gather(*(client.xlen(key) for key in keys))
        used = [c for node in client.get_nodes() for c in node._connections if c.is_connected]
        assert len({connection.port for connection in used}) > 1, "nodes that were found later"
        for connection in used:
            close_under(connection)
        done = await asyncio.gather(*(client.xlen(key) for key in keys), return_exceptions=True)
        assert {type(each) for each in done} <= {int, RedisConnectionError}
        with contextlib.suppress(RedisConnectionError):
            await pubsub.subscribe("b")
        await pubsub.subscribe("c")
        assert [await client.xlen(key) for key in keys] == [0] * len(keys)
        await pubsub.aclose()
        await client.aclose()

    try:
        uvloop.run(run())
    finally:
        cluster.stop()
