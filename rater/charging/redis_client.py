"""redis-py's client for tasks that live as long as their process: commands end, and the tasks can be cancelled.

With a `socket_timeout`, which redis-py sets by itself since version 8, it waits for each write with
`asyncio.wait_for`, and that of Python 3.11 loses a cancellation that arrives just when the write completes. A task
that sends one command after the other then goes on for ever, and the process does not stop. So the limit is set
around the whole command instead.

uvloop, unlike asyncio, raises a RuntimeError for what is written to a connection that was closed a moment ago. It
is a lost connection like any other, and becomes one in the connection itself, under whatever uses it.

What redis-py raises is held by the very frame that raises it, so that only the collector of cycles could free it,
which the daemon lets look seldom: each connection to a server that is loading, or does not know all of redis-py's
greeting, left a hundred objects. So the exception goes on without that frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterPipeline, ClusterPubSub
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError

from rater.errors import ConfigError

COMMAND_S = 5.0
"""Longer than any command blocks on purpose."""


class _Closed(AbstractConnection):
    """Knows a connection that was closed, however it is told."""

    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        with _told_as_lost():
            await super().send_packed_command(*args, **options)

    async def read_response(self, *args: Any, **options: Any) -> Any:
        with _told_as_lost():
            try:
                return await super().read_response(*args, **options)
            except RedisError as error:
                error.__traceback__ = None
                raise

    async def can_read(self) -> Any:
        with _told_as_lost():
            return await super().can_read()


@contextmanager
def _told_as_lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "closed" not in str(error):
            raise
        raise RedisConnectionError(str(error)) from error


class _Plain(_Closed, Connection):
    pass


class _Tls(_Closed, SSLConnection):
    pass


class _Local(_Closed, UnixDomainSocketConnection):
    pass


_CLASSES: dict[Any, type[_Closed]] = {Connection: _Plain, SSLConnection: _Tls, UnixDomainSocketConnection: _Local}


class PatientRedis(Redis):
    """Raises TimeoutError, an OSError, when a command has no answer after COMMAND_S."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        execute: Any = super().execute_command
        async with asyncio.timeout(COMMAND_S):
            return await execute(*args, **options)


@contextmanager
def _cluster_asked() -> Iterator[None]:
    """What is raised of a cluster that cannot be asked, as a RedisError: it is outside redis-py's own tree."""
    try:
        yield
    except RedisClusterException as error:
        raise RedisConnectionError(str(error)) from error


class PatientPubSub(ClusterPubSub):
    """Looks for its node again when there was no map yet, or an old one."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        execute: Any = super().execute_command
        with _cluster_asked():
            await self.cluster.initialize()
            return await execute(*args, **options)


class PatientClusterPipeline(ClusterPipeline):
    async def execute(self, *args: Any, **options: Any) -> Any:
        with _cluster_asked():
            return await super().execute(*args, **options)


class PatientCluster(RedisCluster):
    """The same of a cluster's client."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        execute: Any = super().execute_command
        with _cluster_asked():
            async with asyncio.timeout(COMMAND_S):
                return await execute(*args, **options)

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> PatientClusterPipeline:
        return PatientClusterPipeline(self, transaction)  # type: ignore[abstract]  # as redis-py makes its own

    def pubsub(self, *args: Any, **options: Any) -> PatientPubSub:
        return PatientPubSub(self, *args, **options)


def open_client(url: str, password: str | None, *, cluster: bool = False) -> Any:
    """Not yet connected. `cluster`: the URL names a node of a Redis Cluster. Untyped: redis-py's types leave open
    whether a command is awaited. Raises ConfigError for a URL that no cluster can have."""
    options: dict[str, Any] = {
        "password": password or None, "socket_timeout": None, "socket_connect_timeout": COMMAND_S
    }  # fmt: skip
    if not cluster:
        client: Any = PatientRedis.from_url(url, **options)
        client.connection_pool.connection_class = _CLASSES[client.connection_pool.connection_class]
        return client
    try:
        return _with_our_connections(PatientCluster.from_url(url, require_full_coverage=False, **options))
    except RedisClusterException as error:
        raise ConfigError(
            f"[redis] url {url} cannot be a cluster's: {error}",
            hint="With cluster = true write redis://HOST:PORT, any node of the cluster; it has no databases.",
        ) from error


def _with_our_connections(client: Any) -> Any:
    """A cluster's client takes no class for its connections: its nodes have it, and those that are found later get
    it with what they are made from."""
    ours = _CLASSES[client.connection_kwargs["connection_class"]]
    client.connection_kwargs["connection_class"] = ours
    for node in client.nodes_manager.startup_nodes.values():
        node.connection_class = ours
    return client
