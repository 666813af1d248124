"""The scripts' two forms: functions where the server has them, else scripts; whatever is lost is loaded again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from rater.charging.model import Extend, Post, PostKind, Reserve, Settle, Status
from rater.charging.redis_store import RedisStore
from rater.charging.scripts import HOT, Forms, library
from rater.charging.terms import SlicePolicy, Terms
from rater.ids import AccountId, LegId, OpId, Shard, SwitchId
from rater.money import Quote, Segment
from tests.servers import DEBIAN, RedisServer, needs_debians_redis

PREFIXES = count(1)
OPS = count(1)


@asynccontextmanager
async def store(url: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, prefix=f"s{next(PREFIXES)}")
    await store.start()
    try:
        yield store
    finally:
        await store.close()


async def top_up(store: RedisStore) -> Status:
    request = Post(OpId(f"o{next(OPS)}"), Shard(0), AccountId("A"), PostKind.CREDIT, 100, 0, Terms())
    return (await store.ask(request)).status


def calls(server: RedisServer) -> dict[str, int]:
    with server.client() as client:
        stats: dict[str, Any] = client.info("commandstats")
    return {name: stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("fcall", "evalsha")}


def has_functions(server: RedisServer) -> bool:
    return server.binary == DEBIAN


def test_functions_are_called_where_there_are_any(server: RedisServer) -> None:
    async def play() -> None:
        async with store(server.url) as charging:
            before = calls(server)
            assert await top_up(charging) is Status.OK
            made = {name: now - before[name] for name, now in calls(server).items()}
            assert made == ({"fcall": 1, "evalsha": 0} if has_functions(server) else {"fcall": 0, "evalsha": 1})

    asyncio.run(play())


def test_what_is_lost_is_loaded_again(server: RedisServer) -> None:
    async def play() -> None:
        async with store(server.url) as charging:
            assert await top_up(charging) is Status.OK
            with server.client() as client:
                client.script_flush()
                if has_functions(server):
                    client.function_flush()
            assert await top_up(charging) is Status.OK
            state = await charging.account(Shard(0), AccountId("A"))
            assert state is not None
            assert state.balance_micro == 200

    asyncio.run(play())


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """With functions, for one test alone."""
    server = RedisServer(DEBIAN, tmp_path).start()
    yield server
    server.destroy()


def forbid(server: RedisServer) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-fcall", "-function")


@needs_debians_redis
def test_server_that_forbids_functions_is_given_scripts(own_server: RedisServer) -> None:
    async def play() -> None:
        forbid(own_server)
        async with store(own_server.url) as charging:
            assert await top_up(charging) is Status.OK
            assert calls(own_server)["fcall"] == 0

    asyncio.run(play())


@needs_debians_redis
def test_functions_forbidden_while_operations_are_under_way(own_server: RedisServer) -> None:
    async def play() -> None:
        async with store(own_server.url) as charging:
            assert await top_up(charging) is Status.OK
            forbid(own_server)
            answers = await asyncio.gather(*(top_up(charging) for _ in range(20)))
            assert set(answers) == {Status.OK}
            state = await charging.account(Shard(0), AccountId("A"))
            assert state is not None
            assert state.balance_micro == 2100

    asyncio.run(play())


@needs_debians_redis
def test_rules_of_an_earlier_version_do_not_stop_charging(own_server: RedisServer) -> None:
    """A user who may not write in place is served by the scripts, which do not; nothing is done by halves."""
    quote = Quote((Segment(0, 1, 10, 1),), "EUR", "fixed")
    slices, terms = SlicePolicy(30, 60, 2), Terms()

    async def play(charging: RedisStore, leg: str, forbidden_before: int) -> None:
        head = (Shard(0), AccountId("A"), LegId(leg), SwitchId("pbx1"), 1, 0)
        requests = (
            Reserve(OpId(f"{leg}:1"), *head, quote, terms, (), slices, False, b"\x80"),
            Extend(OpId(f"{leg}:2"), *head, 25, terms, slices),
            Settle(OpId(f"{leg}:3"), *head, 60, terms, True, b"\x80"),
        )
        for place, request in enumerate(requests):
            if place == forbidden_before:
                with own_server.client() as client:
                    client.execute_command("ACL", "SETUSER", "default", "-setrange")
            assert (await charging.ask(request)).status is Status.OK

    async def all_of_them() -> None:
        for forbidden_before in range(3):
            with own_server.client() as client:
                client.execute_command("ACL", "SETUSER", "default", "+setrange")
            async with store(own_server.url) as charging:
                await charging.ask(Post(OpId("o"), Shard(0), AccountId("A"), PostKind.OPENING, 10_000, 0, terms))
                for leg, forbidden in (("warm", 3), ("cold", forbidden_before)):
                    await play(charging, leg, forbidden)
                state = await charging.account(Shard(0), AccountId("A"), terms)
                assert state is not None
                assert (state.balance_micro, state.reserved_micro) == (10_000 - 2 * 600, 0)
                assert calls(own_server)["evalsha"] > 0

    asyncio.run(all_of_them())


@needs_debians_redis
def test_two_versions_stand_beside_each_other(own_server: RedisServer) -> None:
    """The name follows the text, so another version's library is another library."""
    name, source = library()
    other = source.replace(name.encode(), b"rater_000000000000")
    with own_server.client() as client:
        client.execute_command("FUNCTION", "LOAD", "REPLACE", source)
        client.execute_command("FUNCTION", "LOAD", "REPLACE", other)
        functions = {f[1].decode() for each in client.function_list() for f in each[5]}
    assert functions == {f"{prefix}_{script}" for prefix in (name, "rater_000000000000") for script in HOT}


@pytest.mark.parametrize("functions", [True, False])
def test_greeting_is_forgiven_what_the_calls_will_tell(functions: bool) -> None:
    forms = Forms(functions=functions)
    assert forms.forgives("ERR Library 'rater_1' already exists")
    assert forms.forgives("OOM command not allowed when used memory > 'maxmemory'.")
    assert not forms.forgives("ERR Error compiling function")
