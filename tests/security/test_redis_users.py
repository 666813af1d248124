"""Every component under its own Redis user: its work is done, and what is not its work is refused."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from rater.charging.moves import Move, finish_moves
from rater.charging.redis_store import RedisStore
from rater.ids import AccountId, Shard
from tests.security.site import (
    ADDRESS,
    BROKE,
    HOLDER,
    NUMBER,
    POOR,
    PREFIX,
    ROOT,
    SECRETS,
    SUBSCRIBER,
    USERS,
    GuardedRedis,
    Seen,
    make_users,
    play,
    running,
)
from tests.servers import needs_debians_redis

pytestmark = [needs_debians_redis, pytest.mark.timeout(600)]

COMPONENTS = tuple(user for user in USERS if user != "admin")
OF_NOBODY = (
    "CONFIG SET appendonly no", "CONFIG GET *", "FLUSHALL", "FLUSHDB", "KEYS *", "SCAN 0", "SHUTDOWN",
    "ACL SETUSER x on", "ACL LIST", "MONITOR", "SCRIPT FLUSH", "FUNCTION FLUSH", "SAVE", "BGREWRITEAOF",
    "REPLICAOF NO ONE", "MIGRATE h 1 k 0 1", "CLIENT KILL TYPE normal", "CLIENT LIST", "MODULE LIST", "SWAPDB 0 1",
    "RENAME {0}:account:A {0}:account:B", "COPY {0}:account:A {0}:account:B", "RESTORE x 0 y", "PSUBSCRIBE *",
    "SUBSCRIBE other", "PUBLISH other x", "SET other:key 1", "GET other:key", "GET account:A", "SORT {0}:accounts",
    "CLUSTER RESET", "CLUSTER FAILOVER", "LATENCY RESET", "SLOWLOG RESET", "OBJECT FREQ {0}:account:A",
)  # fmt: skip
OF_OTHERS = {
    "serve": ("SET catalog:current 9", "DEL catalog:v:1", "SET catalog:v:1 x", "DEL shards", "HSET opened A 1",
              "EVAL 1 0"),
    "publish": ("SET {0}:account:A x", "DEL {0}:account:A", "XADD {0}:ledger * a b", "XTRIM {0}:ledger MAXLEN 0",
                "SET {0}:outbox x", "SET {0}:leg:x y", "ZADD {0}:lease:x 1 y", "SET {0}:epoch:pbx1 9",
                "HSET lead:pbx1 a b",
                "SET catalog:current 9", "PUBLISH control x", "PUBLISH {0}:wake A", "RPUSH reply:x y",
                "SCRIPT LOAD x", "EVALSHA abc 0", "FUNCTION LOAD x", "FCALL x 0", "EVAL 1 0", "GET lead:pbx1",
                "GET {0}:op:x", "SET {0}:spend:A x"),
    "operator": ("HSET lead:pbx1 a b", "EVAL 1 0", "SUBSCRIBE control", "XTRIM {0}:ledger MAXLEN 0",
                 "XTRIM {0}:outbox MAXLEN 0"),
    "reader": ("SET {0}:account:A x", "DEL {0}:account:A", "XADD {0}:ledger * a b", "XDEL {0}:outbox 1-1",
               "XACK {0}:outbox g 1-1", "XREADGROUP GROUP g c STREAMS {0}:outbox >", "PUBLISH control x",
               "SET catalog:current 9", "EVALSHA abc 0", "FUNCTION LOAD x", "FCALL x 0", "EXPIRE {0}:account:A 1",
               "HSET lead:pbx1 a b", "SUBSCRIBE {0}:wake"),
    "archive": ("SET {0}:account:A x", "XADD {0}:outbox * a b", "XTRIM {0}:outbox MAXLEN 0", "PUBLISH control x",
                "SET catalog:current 9", "XADD {0}:ledger * a b", "DEL {0}:ledger", "HSET lead:pbx1 a b"),
    "doctor": ("SET {0}:account:A x", "DEL {0}:account:A", "SET {1}:op:doctor x", "XADD {0}:ledger * a b",
               "PUBLISH control x", "SET catalog:current 9", "SET {0}:epoch:pbx1 9"),
}  # fmt: skip

ASKED = {("rater-doctor", "config|get"), ("rater-reader", "function|load"), ("rater-archive", "function|load")}
"""What is refused to who asks to see that it is, or goes on without."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Seen, GuardedRedis]]:
    folder = tmp_path_factory.mktemp("site")
    loop = asyncio.new_event_loop()
    holding = running(folder)
    server = loop.run_until_complete(holding.__aenter__())
    try:
        yield loop.run_until_complete(play(folder, server)), server
    finally:
        loop.run_until_complete(holding.__aexit__(None, None, None))
        loop.close()


def test_every_component_does_all_its_work_under_its_own_user(site: tuple[Seen, GuardedRedis]) -> None:
    """Daemon, publisher (broker, webhook, mail, files) and every command; Redis refused nothing of it but what the
    doctor asks to see that it is refused, and a library to those who do not charge: it would run with the rights of
    the daemon, and they go on with scripts, which they may not run."""
    seen, _ = site
    assert all(seen.delivered.values()), seen.delivered
    assert {(entry["username"], entry["object"]) for entry in seen.refused} <= ASKED


def test_the_daemon_may_finish_a_move_that_was_left_in_the_middle(site: tuple[Seen, GuardedRedis]) -> None:
    _, server = site
    url, password = f"redis://rater-serve@127.0.0.1:{server.port}", (server.secrets / "rater-serve").read_text()

    async def move() -> None:
        store = RedisStore(url, password=password.strip(), prefix=PREFIX, shards=2)
        await store.start()
        found = await store.find(Shard(0), AccountId("RICH"))
        assert not isinstance(found, Move)
        begun = await store.begin_move(found, AccountId("RICH"), Shard(1 - found))
        assert isinstance(begun, Move)
        assert await finish_moves(store, found) == 1
        assert await store.find(found, AccountId("RICH")) == 1 - found
        await store.close()

    asyncio.run(move())


@pytest.mark.parametrize("user", COMPONENTS)
def test_what_is_nobodys_work_is_refused(site: tuple[Seen, GuardedRedis], user: str) -> None:
    with site[1].client(user) as client:
        refused(client, user, OF_NOBODY)


@pytest.mark.parametrize("user", sorted(OF_OTHERS))
def test_what_is_the_work_of_others_is_refused(site: tuple[Seen, GuardedRedis], user: str) -> None:
    with site[1].client(user) as client:
        refused(client, user, OF_OTHERS[user])


def refused(client: redis.Redis, user: str, commands: tuple[str, ...]) -> None:
    """Each of them, to that user on that server."""
    for command in commands:
        words = [_named(word) for word in command.split()]
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*words)
            pytest.fail(f"{user} may {command}")


def _named(word: str) -> str:
    """Keys and channels of the site's prefix are written without it."""
    own = ("{", "catalog:", "shards", "opened", "lead:", "control", "reply:")
    return f"{PREFIX}:{word}" if word.startswith(own) else word


def test_the_daemon_may_finish_moves_of_accounts_that_others_began(site: tuple[Seen, GuardedRedis]) -> None:
    """It looks for them once a minute, so that Redis is asked whether it would be let."""
    tag = f"{PREFIX}:{{0}}:"
    keys = [[f"{tag}account:A", f"{tag}moving:A", f"{tag}accounts"], [f"{PREFIX}:shards"]]
    commands = [["EVALSHA", "x", len(names), *names] for names in keys]
    commands += [["INCR", f"{tag}arrivals"], ["HSET", f"{PREFIX}:shards", "A", 1], ["HGETALL", f"{tag}moves"]]
    with site[1].client() as client:
        for command in commands:
            assert client.execute_command("ACL DRYRUN", "rater-serve", *command) == b"OK"


def test_nobody_comes_in_without_a_name_or_with_a_wrong_secret(site: tuple[Seen, GuardedRedis]) -> None:
    _, server = site
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis(port=server.port).ping()
    for user in ("default", *(f"rater-{name}" for name in USERS)):
        with pytest.raises(redis.exceptions.AuthenticationError):
            redis.Redis(port=server.port, username=user, password="wrong").ping()


def test_secrets_are_drawn_once_and_only_their_hashes_leave(tmp_path: Path) -> None:
    first = make_users(tmp_path / "a").read_text()
    secrets = {path.name: path.read_text() for path in (tmp_path / "a").glob("rater-*")}
    assert set(secrets) == {f"rater-{user}" for user in USERS}
    assert len(set(secrets.values())) == len(USERS)
    assert all(len(secret) == 64 for secret in secrets.values())
    assert all((tmp_path / "a" / name).stat().st_mode & 0o777 == 0o600 for name in secrets)
    assert not any(secret in first for secret in secrets.values())
    assert make_users(tmp_path / "a").read_text() == first
    wrong = subprocess.run([str(ROOT / "deploy/redis-users"), str(tmp_path), "a b"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "no prefix" in wrong.stderr


# -- what the same site shows --------------------------------------------------------------------------------------


def _secrets(server: GuardedRedis) -> list[str]:
    return [*SECRETS.values(), *((server.secrets / f"rater-{user}").read_text() for user in USERS)]


def test_no_secret_is_in_a_log_an_answer_an_argument_or_a_metric(site: tuple[Seen, GuardedRedis]) -> None:
    seen, server = site
    assert any("rater" in line for line in seen.argv)
    assert "refused" in seen.logs["serve"], "the wrong AMI secret was to be told"
    for secret in _secrets(server):
        for where, text in (seen.logs | seen.answers | {"metrics": seen.exposed}).items():
            assert secret not in text, where
        assert not [line for line in seen.argv if secret in line]


def test_no_personal_data_is_in_a_log_or_a_metric(site: tuple[Seen, GuardedRedis]) -> None:
    seen, _ = site
    assert len(seen.logs["serve"]) > 1000
    assert len(seen.logs["publish"]) > 200
    for personal in (NUMBER, SUBSCRIBER, POOR, BROKE, ADDRESS, HOLDER):
        for where, text in (seen.logs | {"metrics": seen.exposed}).items():
            assert personal not in text, where
    for account in ("RICH", "POOR", "BROKE"):
        assert account not in seen.exposed
