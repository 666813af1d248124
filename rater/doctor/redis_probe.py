"""Asks Redis what the checks want to know. Each question may be refused without spoiling the others."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)

from rater.charging.keys import Keys
from rater.charging.redis_client import open_client
from rater.charging.scripts import LIBRARY_PREFIX
from rater.ids import Shard

ANSWER_S = 2.0
ROUNDS = 20
_ASKED = (
    "appendfsync", "dir", "min-replicas-to-write", "cluster-require-full-coverage", "latency-monitor-threshold"
)  # fmt: skip
_CODES = {OutOfMemoryError: "OOM", ReadOnlyError: "READONLY", NoPermissionError: "NOPERM"}
"""The codes that redis-py takes off the server's messages."""
_TRY_WRITE = b"redis.call('SET', KEYS[1], '1', 'PX', 1000) return redis.call('DEL', KEYS[1])"
"""One script, so that nobody ever sees the key."""


@dataclass(slots=True)
class RedisFacts:
    """`info`: INFO. `config`: what CONFIG GET tells, empty when it is refused. `*_ms`: medians of `ROUNDS` tries.
    `libraries`: of our functions, by name; `waits_ms`: by kind the longest that the server's latency monitor has
    noted; None when they cannot be seen. `write_error`: why nothing can be written, if so. `failed`: why there are
    no facts at all."""

    failed: str = ""
    login_refused: bool = False
    info: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    cluster: Mapping[str, str] = field(default_factory=dict)
    libraries: Sequence[str] | None = None
    waits_ms: Mapping[str, int] | None = None
    ping_ms: float | None = None
    script_ms: float | None = None
    write_error: str = ""
    clock_ms: float | None = None
    """The server's clock less ours."""


def connect(url: str, password: str | None, *, cluster: bool) -> Redis:
    """Raises ValueError for a URL that is none, ConfigError for one that no cluster can have."""
    if cluster:
        client: Redis = open_client(url, password, cluster=True)
        return client
    return Redis.from_url(
        url, password=password, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S, retry=None
    )


async def probe(client: Redis, prefix: str) -> RedisFacts:
    facts = await probe_node(client)
    redis: Any = client  # redis-py's types leave open whether a command is awaited
    if facts.failed:
        return facts
    facts.user = await _try(redis.acl_whoami, "")
    if facts.info.get("cluster_enabled"):
        facts.cluster = await _try(lambda: redis.execute_command("CLUSTER INFO"), {})
    await _clock(redis, facts)
    await _speed(redis, facts, prefix)
    return facts


async def probe_node(client: Redis) -> RedisFacts:
    """How one server is kept, without writing to it."""
    redis: Any = client
    facts = RedisFacts()
    try:
        await redis.ping()
    except (RedisError, OSError) as problem:
        facts.failed = str(problem) or type(problem).__name__
        facts.login_refused = isinstance(problem, AuthenticationError) or "NOAUTH" in facts.failed
        return facts
    facts.info = await _try(redis.info, {})
    config: dict[str, str] = {}
    for name in _ASKED:
        config |= await _try(partial(redis.config_get, name), {})
    facts.config = config
    facts.libraries = await _try(partial(_libraries, redis), None)
    if config.get("latency-monitor-threshold", "0") != "0":
        facts.waits_ms = await _try(partial(_waits_ms, redis), None)
    return facts


async def _waits_ms(redis: Any) -> dict[str, int] | None:
    """LATENCY LATEST: of each kind its name, when, the latest and the longest (redis.io, latency monitor)."""
    found = await redis.execute_command("LATENCY", "LATEST")
    if isinstance(found, dict):
        return None  # of a cluster as a whole
    return {kind.decode(): longest for kind, _, _, longest in found}


async def _libraries(redis: Any) -> list[str] | None:
    found = await redis.function_list(f"{LIBRARY_PREFIX}*")
    if isinstance(found, dict):
        return None  # of a cluster as a whole; its nodes are asked one by one
    maps = (each if isinstance(each, dict) else dict(zip(each[::2], each[1::2], strict=True)) for each in found)
    return sorted(each[b"library_name"].decode() for each in maps)


async def _try(question: Callable[[], Awaitable[Any]], otherwise: Any) -> Any:
    try:
        return await question()
    except (RedisError, OSError):
        return otherwise


async def _clock(redis: Any, facts: RedisFacts) -> None:
    before_s = time.time()
    told = await _try(redis.time, None)
    if told is not None:
        facts.clock_ms = ((told[0] + told[1] / 1e6) - (before_s + time.time()) / 2) * 1000


async def _speed(redis: Any, facts: RedisFacts, prefix: str) -> None:
    key = Keys(prefix, Shard(0)).operation("doctor")
    facts.ping_ms = await _median_ms(redis.ping)
    try:
        name = await redis.script_load("return 1")
        facts.script_ms = await _median_ms(lambda: redis.evalsha(name, 0))
        await redis.eval(_TRY_WRITE, 1, key)
    except (RedisError, OSError) as problem:
        code = next((code for kind, code in _CODES.items() if isinstance(problem, kind)), "")
        facts.write_error = f"{code} {problem}".strip() or type(problem).__name__


async def _median_ms(question: Callable[[], Awaitable[Any]]) -> float | None:
    spans = []
    try:
        for _ in range(ROUNDS):
            began_s = time.perf_counter()
            await question()
            spans.append(time.perf_counter() - began_s)
    except (RedisError, OSError):
        return None
    return statistics.median(spans) * 1000
