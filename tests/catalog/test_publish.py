"""Publishing on a real Redis: versions, what is kept, what is refused, opening balances, watching."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from rater.catalog.files import read_catalog
from rater.catalog.pieces import to_pieces
from rater.catalog.publish import (
    KEPT,
    Published,
    current_key,
    load_current,
    place_accounts,
    publish,
    version_key,
    watch,
)
from rater.catalog.snapshot import Snapshot
from rater.charging.embedded import EmbeddedRedis
from rater.charging.model import Post, PostKind, Reply, Request, Reserve, Settle
from rater.charging.moves import Move
from rater.charging.redis_store import RedisStore
from rater.charging.terms import Share, SlicePolicy, Terms
from rater.errors import CatalogError, ConfigError, StoreError, StoreUnavailable
from rater.ids import AccountId, LegId, OpId, Shard, SwitchId
from rater.money import Quote, Segment

from .support import ACCOUNTS, FILES, run, run_json, write

P = "cat"
NOW_MS = 1_795_500_000_000
ANN, BOB = AccountId("ann"), AccountId("bob")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    redis = EmbeddedRedis(tmp_path_factory.mktemp("r"))
    redis.start()
    yield redis
    redis.stop()


@asynccontextmanager
async def opened(server: EmbeddedRedis, shards: int = 1) -> AsyncIterator[tuple[Redis, RedisStore]]:
    """An empty server and a store on it."""
    store = RedisStore(server.url, prefix=P, shards=shards, timeout_ms=2000)
    await store.start()
    redis: Redis = store.redis
    await redis.flushall()
    try:
        yield redis, store
    finally:
        await store.close()


async def load(redis: Redis, store: RedisStore, snapshot: Snapshot, shards: int = 1) -> Published:
    return await publish(redis, store, snapshot, prefix=P, shards=shards, now_ms=NOW_MS)


@pytest.fixture
def small(tmp_path: Path) -> Snapshot:
    return read_catalog(write(tmp_path / "catalog", FILES))


def test_versions_grow_and_the_last_is_current(server: EmbeddedRedis, small: Snapshot) -> None:
    async def main() -> None:
        async with opened(server) as (redis, store):
            assert await load_current(redis, P) is None
            assert [(await load(redis, store, small)).version for _ in range(3)] == [1, 2, 3]
            current = await load_current(redis, P)
            assert current is not None
            assert current.version == 3
            assert current.content == small.placed(dict.fromkeys(small.accounts, Shard(0)), 3).content
            assert await redis.get(current_key(P)) == b"3"

    asyncio.run(main())


def test_old_versions_are_kept_for_a_while(server: EmbeddedRedis, small: Snapshot) -> None:
    async def main() -> None:
        async with opened(server) as (redis, store):
            for _ in range(KEPT + 3):
                await load(redis, store, small)
            kept = set(await redis.keys(f"{P}:catalog:v:*"))
            assert kept == {version_key(P, version).encode() for version in range(4, KEPT + 4)}

    asyncio.run(main())


def test_versions_grow_even_after_the_counter_is_lost(server: EmbeddedRedis, small: Snapshot) -> None:
    async def main() -> None:
        async with opened(server) as (redis, store):
            for _ in range(3):
                await load(redis, store, small)
            await redis.delete(f"{P}:catalog:last")
            assert (await load(redis, store, small)).version == 4

    asyncio.run(main())


def test_publications_at_the_same_time_leave_the_newest_in_force(server: EmbeddedRedis, small: Snapshot) -> None:
    async def main() -> None:
        async with opened(server) as (redis, store):
            done = await asyncio.gather(*(load(redis, store, small) for _ in range(6)))
            assert sorted(one.version for one in done) == [1, 2, 3, 4, 5, 6]
            current = await load_current(redis, P)
            assert current is not None
            assert current.version == 6

    asyncio.run(main())


def test_opening_balances_are_posted_once(server: EmbeddedRedis, small: Snapshot) -> None:
    async def main() -> None:
        async with opened(server) as (redis, store):
            first = await load(redis, store, small)
            assert set(first.opened) == set(small.accounts)
            again = await load(redis, store, small)
            assert (again.opened, again.notes) == ((), ())
            state = await store.account(Shard(0), ANN)
            assert state is not None
            assert (state.balance_micro, state.opening_micro) == (12_500_000, 12_500_000)
            bob = await store.account(Shard(0), BOB)
            assert bob is not None, "an account without an opening balance is opened too"
            assert bob.balance_micro == 0

    asyncio.run(main())


def test_changed_opening_balance_is_told_and_not_posted(
    server: EmbeddedRedis, small: Snapshot, tmp_path: Path
) -> None:
    richer = FILES | {"accounts.toml": ACCOUNTS.replace("12.50", "99.00")}

    async def main() -> None:
        async with opened(server) as (redis, store):
            await load(redis, store, small)
            again = await load(redis, store, read_catalog(write(tmp_path / "richer", richer)))
            assert again.opened == ()
            assert len(again.notes) == 1
            assert "ann was opened with 12.50" in again.notes[0]
            state = await store.account(Shard(0), ANN)
            assert state is not None
            assert state.balance_micro == 12_500_000

    asyncio.run(main())


def test_opening_survives_a_crash_between_posting_and_noting(server: EmbeddedRedis, small: Snapshot) -> None:
    async def main() -> None:
        async with opened(server) as (redis, store):
            await load(redis, store, small)
            await redis.delete(f"{P}:opened", current_key(P))
            again = await load(redis, store, small)
            assert again.opened == ()
            state = await store.account(Shard(0), ANN)
            assert state is not None
            assert state.balance_micro == 12_500_000

    asyncio.run(main())


def test_opening_posted_before_with_another_amount_is_told(
    server: EmbeddedRedis, small: Snapshot, tmp_path: Path
) -> None:
    richer = FILES | {"accounts.toml": ACCOUNTS.replace("12.50", "99.00")}

    async def main() -> None:
        async with opened(server) as (redis, store):
            await load(redis, store, small)
            await redis.delete(f"{P}:opened")
            again = await load(redis, store, read_catalog(write(tmp_path / "richer", richer)))
            assert again.version == 2
            assert [note for note in again.notes if "ann was opened before with another balance" in note]
            state = await store.account(Shard(0), ANN)
            assert state is not None
            assert state.balance_micro == 12_500_000

    asyncio.run(main())


def test_account_credited_before_it_is_opened_gets_both(server: EmbeddedRedis, small: Snapshot) -> None:
    async def main() -> None:
        async with opened(server) as (redis, store):
            credit = Post(OpId("c"), Shard(0), ANN, PostKind.CREDIT, 1_000_000, NOW_MS, Terms())
            await store.ask(credit)
            await load(redis, store, small)
            state = await store.account(Shard(0), ANN)
            assert state is not None
            assert state.balance_micro == 13_500_000

    asyncio.run(main())


class Deaf(RedisStore):
    """A store that answers no request."""

    async def ask(self, request: Request) -> Reply:
        raise StoreUnavailable("no answer")


def test_nothing_is_published_when_an_account_cannot_be_opened(server: EmbeddedRedis, small: Snapshot) -> None:
    async def main() -> None:
        async with opened(server) as (redis, store):
            await load(redis, store, small)
            await redis.delete(f"{P}:opened")
            with pytest.raises(StoreError):
                await publish(redis, Deaf(server.url, prefix=P), small, prefix=P, shards=1, now_ms=NOW_MS)
            assert await redis.get(current_key(P)) == b"1"
            assert await redis.keys(f"{P}:catalog:v:*") == [f"{P}:catalog:v:1".encode()]

    asyncio.run(main())


def test_accounts_keep_their_shard(server: EmbeddedRedis) -> None:
    async def main() -> None:
        async with opened(server) as (redis, _):
            names = [AccountId(f"a{i}") for i in range(1200)]
            first = await place_accounts(redis, P, names, 4)
            assert set(first.values()) == {0, 1, 2, 3}
            assert await place_accounts(redis, P, list(reversed(names)), 16) == first
            await redis.hset(f"{P}:shards", "a0", "3")
            assert (await place_accounts(redis, P, names, 4))[AccountId("a0")] == 3
            with pytest.raises(ConfigError, match="shards"):
                await place_accounts(redis, P, names, 3)

    asyncio.run(main())


def test_members_of_a_group_live_with_its_owner(server: EmbeddedRedis) -> None:
    names = [AccountId(f"a{i}") for i in range(20)]
    owner = AccountId("boss")

    async def main() -> None:
        async with opened(server) as (redis, _):
            places = await place_accounts(redis, P, [*names, owner], 8, dict.fromkeys(names, owner).get)
            assert set(places.values()) == {places[owner]}

    asyncio.run(main())


GROUP = """
[group.family]
owner = "bob"
money = true

[group.family.member.ann]
"""


def in_two_shards(names: tuple[AccountId, AccountId] = (ANN, BOB)) -> dict[str, str]:
    return {str(name): str(shard) for shard, name in enumerate(names)}


def test_a_member_that_lives_elsewhere_moves_to_its_owner(
    server: EmbeddedRedis, small: Snapshot, tmp_path: Path
) -> None:
    joined = FILES | {"accounts.toml": ACCOUNTS + GROUP}

    async def main() -> None:
        async with opened(server, shards=2) as (redis, store):
            await redis.hset(f"{P}:shards", mapping=in_two_shards())
            await load(redis, store, small, shards=2)
            result = await load(redis, store, read_catalog(write(tmp_path / "joined", joined)), shards=2)
            assert result.moved == (ANN,)
            current = await load_current(redis, P)
            assert current is not None
            assert (current.accounts[ANN].shard, current.accounts[BOB].shard) == (1, 1)
            assert await redis.hget(f"{P}:shards", "ann") == b"1"
            [state] = [state for state in await store.accounts(Shard(1)) if state.account == ANN]
            assert state.balance_micro == 12_500_000
            again = await load(redis, store, small, shards=2)
            assert (again.moved, again.opened) == ((), ())

    asyncio.run(main())


def test_a_publication_finishes_moves_before_it_says_where_accounts_live(
    server: EmbeddedRedis, small: Snapshot
) -> None:
    async def main() -> None:
        async with opened(server, shards=2) as (redis, store):
            await redis.hset(f"{P}:shards", mapping=in_two_shards())
            await load(redis, store, small, shards=2)
            begun = await store.begin_move(Shard(0), ANN, Shard(1))
            assert isinstance(begun, Move)
            await store.take_out(begun)
            await load(redis, store, small, shards=2)
            current = await load_current(redis, P)
            assert current is not None
            assert current.accounts[ANN].shard == 1

    asyncio.run(main())


def test_while_calls_draw_on_another_group_nothing_is_published(
    server: EmbeddedRedis, small: Snapshot, tmp_path: Path
) -> None:
    joined = FILES | {"accounts.toml": ACCOUNTS + GROUP}
    quote = Quote((Segment(0, 1, 10_000, 1),), "EUR", "fixed")
    before = Terms(share=Share(AccountId("cid"), Terms()))

    async def main() -> None:
        async with opened(server, shards=2) as (redis, store):
            await redis.hset(f"{P}:shards", mapping=in_two_shards())
            await load(redis, store, small, shards=2)
            head = (Shard(0), ANN, LegId("pbx1.a.1"), SwitchId("pbx1"), 1, NOW_MS)
            leg = Reserve(OpId("pbx1.a.1:1"), *head, quote, before, (), SlicePolicy(), False, b"\x80")
            await store.ask(leg)
            with pytest.raises(StoreError, match="ann: its live calls draw on the sharing group"):
                await load(redis, store, read_catalog(write(tmp_path / "joined", joined)), shards=2)
            assert await redis.get(current_key(P)) == b"1"
            await store.ask(Settle(OpId("pbx1.a.1:2"), *head, 5, before, True, b"\x80"))
            assert (await load(redis, store, read_catalog(tmp_path / "joined"), shards=2)).moved == (ANN,)

    asyncio.run(main())


def test_shards_travel_with_the_snapshot(server: EmbeddedRedis, small: Snapshot) -> None:
    async def main() -> None:
        async with opened(server, shards=8) as (redis, store):
            await redis.hset(f"{P}:shards", "bob", "5")
            await load(redis, store, small, shards=8)
            current = await load_current(redis, P)
            assert current is not None
            assert current.accounts[BOB].shard == 5
            for account in current.accounts.values():
                state = await store.account(account.shard, account.id)
                assert state is not None
                assert state.opening_micro == account.opening_micro

    asyncio.run(main())


def test_37_damaged_version_is_refused_and_the_one_before_serves(server: EmbeddedRedis, small: Snapshot) -> None:
    async def main() -> None:
        async with opened(server) as (redis, store):
            await load(redis, store, small)
            await load(redis, store, small)
            await redis.rpush(version_key(P, 2), b"x")
            current = await load_current(redis, P)
            assert current is not None
            assert current.version == 1
            await redis.set(version_key(P, 1), b"")
            with pytest.raises(CatalogError):
                await load_current(redis, P)

    asyncio.run(main())


# -- watching ----


async def next_of(snapshots: AsyncIterator[Snapshot], seconds: float = 10) -> Snapshot:
    return await asyncio.wait_for(anext(snapshots), seconds)


def test_watcher_gets_the_current_and_each_new_version(server: EmbeddedRedis, small: Snapshot) -> None:
    async def main() -> None:
        async with opened(server) as (redis, store):
            await load(redis, store, small)
            snapshots = watch(redis, P, poll_s=60)
            assert (await next_of(snapshots)).version == 1
            waiting = asyncio.create_task(next_of(snapshots))
            await asyncio.sleep(0.1)
            await load(redis, store, small)
            assert (await waiting).version == 2

    asyncio.run(main())


def test_watcher_finds_a_version_whose_message_was_lost(server: EmbeddedRedis, small: Snapshot) -> None:
    async def main() -> None:
        async with opened(server) as (redis, store):
            await load(redis, store, small)
            snapshots = watch(redis, P, known=1, poll_s=0.05)
            waiting = asyncio.create_task(next_of(snapshots))
            await asyncio.sleep(0.2)
            placed = small.placed(dict.fromkeys(small.accounts, Shard(0)), 2)
            await redis.rpush(version_key(P, 2), *to_pieces(placed))
            await redis.set(current_key(P), 2)
            assert (await waiting).version == 2

    asyncio.run(main())


def test_37_watcher_leaves_a_damaged_version_out(server: EmbeddedRedis, small: Snapshot) -> None:
    async def main() -> None:
        async with opened(server) as (redis, store):
            snapshots = watch(redis, P, poll_s=0.05)
            waiting = asyncio.create_task(next_of(snapshots))
            for bad in (b"junk", None):
                if bad is not None:
                    await redis.set(version_key(P, 1), bad)
                await redis.set(current_key(P), "1" if bad else "no number")
                await asyncio.sleep(0.2)
                assert not waiting.done()
            await redis.set(f"{P}:catalog:last", 1)
            await redis.delete(current_key(P))
            await load(redis, store, small)
            assert (await waiting).version == 2

    asyncio.run(main())


def test_watcher_survives_a_restart_of_redis(tmp_path_factory: pytest.TempPathFactory, small: Snapshot) -> None:
    own = EmbeddedRedis(tmp_path_factory.mktemp("r"))
    own.start()

    async def main() -> None:
        async with opened(own) as (redis, store):
            await load(redis, store, small)
            watched = Redis.from_url(own.url)
            snapshots = watch(watched, P, known=1, poll_s=0.1)
            waiting = asyncio.create_task(next_of(snapshots, 30))
            await asyncio.sleep(0.2)
            await asyncio.to_thread(own.stop)
            await asyncio.sleep(0.3)
            assert not waiting.done()
            up = asyncio.Event()
            store.on_available = lambda is_up: up.set() if is_up else None
            await asyncio.to_thread(own.start)
            await asyncio.wait_for(up.wait(), 30)
            await load(redis, store, small)
            assert (await waiting).version == 2
            await watched.aclose()

    try:
        asyncio.run(main())
    finally:
        own.stop()


# -- the command ----


def settings_file(server: EmbeddedRedis, folder: Path, *, shards: int = 1) -> str:
    path = folder / "rater.toml"
    path.write_text(f'[redis]\nurl = "{server.url}"\nprefix = "{P}"\nshards = {shards}\n')
    return str(path)


async def clear(server: EmbeddedRedis) -> None:
    redis = Redis.from_url(server.url)
    await redis.flushall()
    await redis.aclose()


def test_load_publishes_and_says_what_it_did(server: EmbeddedRedis, tmp_path: Path) -> None:
    asyncio.run(clear(server))
    config, folder = settings_file(server, tmp_path), str(write(tmp_path / "c", FILES))
    code, answer = run_json("catalog", "load", folder, "--config", config)
    assert code == 0
    assert (answer["version"], answer["accounts"], answer["plans"]) == (1, 4, 2)
    assert sorted(answer["opened"]) == ["ann", "bob", "cid", "dora"]
    code, out, _ = run("catalog", "load", folder, "--config", config)
    assert code == 0
    assert out.startswith("version 2: 2 plans")


def test_37_load_of_a_bad_catalogue_changes_nothing(server: EmbeddedRedis, tmp_path: Path) -> None:
    asyncio.run(clear(server))
    config, folder = settings_file(server, tmp_path), tmp_path / "c"
    assert run("catalog", "load", str(write(folder, FILES)), "--config", config)[0] == 0
    bad = write(folder, {"accounts.toml": ACCOUNTS.replace('"basic"', '"none"', 1)})
    code, answer = run_json("catalog", "load", str(bad), "--config", config)
    assert (code, answer["ok"]) == (2, False)

    async def current() -> bytes | None:
        redis = Redis.from_url(server.url)
        value = await redis.get(current_key(P))
        await redis.aclose()
        assert value is None or isinstance(value, bytes)
        return value

    assert asyncio.run(current()) == b"1"


def test_load_without_a_server_ends_with_1_and_says_so(tmp_path: Path) -> None:
    config = tmp_path / "rater.toml"
    config.write_text(f'[redis]\nurl = "unix://{tmp_path}/none.sock"\n')
    code, out, err = run("catalog", "load", str(write(tmp_path / "c", FILES)), "--config", str(config))
    assert (code, out) == (1, "")
    assert "no Redis answers" in err


def test_account_values_survive_the_wire(small: Snapshot) -> None:
    placed = small.placed(dict.fromkeys(small.accounts, Shard(3)), 9)
    assert placed.accounts[ANN] == replace(small.accounts[ANN], shard=Shard(3))
