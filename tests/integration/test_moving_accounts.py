"""Accounts that change their shard while they talk, with the whole daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rater.catalog.files import read_catalog
from rater.catalog.publish import Published, load_current, publish
from rater.charging.embedded import EmbeddedRedis
from rater.charging.keys import places_key
from rater.charging.moves import Move, move_account
from rater.charging.redis_store import RedisStore
from rater.commands.audit import audit_shard
from rater.commands.common import open_store
from rater.events.stream import decode_entry, outbox_key
from rater.ids import AccountId, Shard, SwitchId
from tests.integration.test_daemon import ACCOUNTS, NUMBER, Site, site_on

SHARDS = 2
RICH, POOR = AccountId("RICH"), AccountId("POOR")
GROUP = '\n[group.family]\nowner = "RICH"\nmoney = true\n\n[group.family.member.POOR]\n'
PBX = SwitchId("pbx1")


def run(folder: Path, case: Callable[[Site, RedisStore], Awaitable[None]]) -> None:
    async def main() -> None:
        redis = EmbeddedRedis(folder / "redis")
        await asyncio.to_thread(redis.start)
        try:
            settings = f"url = '{redis.url}'\nshards = {SHARDS}\n"
            async with site_on(folder, settings, mode="gate") as here, open_store(here.settings) as store:
                await case(here, store)
                for shard in map(Shard, range(SHARDS)):
                    assert (await audit_shard(store, shard))[1] == []
                    assert not await store.moves(shard)
                assert await store.legs_of(PBX) == []
        finally:
            await asyncio.to_thread(redis.stop)

    asyncio.run(main())


async def rated(store: RedisStore) -> list[dict[str, Any]]:
    found = []
    for shard in range(SHARDS):
        for name, fields in await store.redis.xrange(outbox_key(store.prefix, shard)):
            entry = decode_entry(Shard(shard), name, fields)
            if entry.kind == "rated":
                found.append({**entry.facts, **entry.result})
    return found


async def apart(store: RedisStore) -> tuple[Shard, Shard]:
    """RICH and POOR live in two shards then: which."""
    rich, poor = await lives_in(store, RICH), await lives_in(store, POOR)
    assert await move_account(store, poor, POOR, Shard(1 - rich)) is None
    return rich, Shard(1 - rich)


async def lives_in(store: RedisStore, account: AccountId) -> Shard:
    return Shard(int(await store.redis.hget(places_key(store.prefix), account)))


async def join(folder: Path, store: RedisStore) -> Published:
    catalog = folder / "catalog"
    (catalog / "accounts.toml").write_text(ACCOUNTS + GROUP)
    snapshot = read_catalog(catalog)
    return await publish(store.redis, store, snapshot, prefix=store.prefix, shards=SHARDS, now_ms=2)


async def moved_to_and_fro(store: RedisStore, account: AccountId, times: int) -> None:
    for _ in range(times):
        shard = await lives_in(store, account)
        assert await move_account(store, shard, account, Shard(1 - shard)) is None
        await asyncio.sleep(0.2)


def test_a_member_joins_a_group_of_another_shard_while_it_talks(tmp_path: Path) -> None:
    async def case(here: Site, store: RedisStore) -> None:
        rich, poor = await apart(store)
        call = here.switch.place_call("1002", NUMBER, ring_s=0.3, talk_s=5)
        await asyncio.sleep(1.2)
        assert [leg.shard for leg in await store.legs_of(PBX)] == [poor]
        assert (await join(tmp_path, store)).moved == (POOR,)
        await here.talk(call)
        assert abs(call.talked_s - 5) < 0.25, "its own money would have ended after 2 s"
        [event] = await rated(store)
        assert (event["account"], event["owner"], event["amount_micro"]) == ("POOR", "RICH", 50_000)
        assert [state.account for state in await store.accounts(poor) if state.account == POOR] == []
        balances = {state.account: state.balance_micro for state in await store.accounts(rich)}
        assert (balances[RICH], balances[POOR]) == (99_970_000, 0)

    run(tmp_path, case)


def test_a_call_goes_on_while_its_account_moves_to_and_fro(tmp_path: Path) -> None:
    async def case(here: Site, store: RedisStore) -> None:
        call = here.switch.place_call("1001", NUMBER, ring_s=0.5, talk_s=9)
        await asyncio.sleep(0.2)
        await moved_to_and_fro(store, RICH, 30)
        await here.talk(call)
        assert abs(call.talked_s - 9) < 0.25
        [event] = await rated(store)
        assert (event["amount_micro"], event["duration_s"], event["grade"]) == (90_000, 9, "observed")
        state = await store.account(await lives_in(store, RICH), RICH)
        assert state is not None
        assert (state.balance_micro, state.reserved_micro) == (99_910_000, 0)
        for shard in range(SHARDS):
            assert await store.live_leases(Shard(shard), "line:1001", 0) == 0

    run(tmp_path, case)


@pytest.mark.parametrize("taken_out", [False, True])
def test_a_daemon_that_comes_back_finds_the_legs_of_an_account_on_its_way(tmp_path: Path, taken_out: bool) -> None:
    async def case(here: Site, store: RedisStore) -> None:
        call = here.switch.place_call("1001", NUMBER, ring_s=0.3, talk_s=9)
        await asyncio.sleep(1)
        await here.stop_daemon()
        shard = await lives_in(store, RICH)
        begun = await store.begin_move(shard, RICH, Shard(1 - shard))
        assert isinstance(begun, Move)
        if taken_out:
            assert await store.take_out(begun) is None
        await here.start_daemon()
        await here.talk(call)
        assert abs(call.talked_s - 9) < 0.25
        [event] = await rated(store)
        assert (event["amount_micro"], event["grade"]) == (90_000, "observed")
        current = await load_current(store.redis, store.prefix)
        assert current is not None
        assert current.accounts[RICH].shard == shard, "the catalogue says what was, the store knows better"

    run(tmp_path, case)
