"""A Redis that may take no more memory: live calls go on, repeats get their first answer, new work waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rater.charging.keys import Keys
from rater.charging.model import (
    Answer,
    Extend,
    FreeLeases,
    Post,
    PostKind,
    Reply,
    Request,
    Reserve,
    Settle,
    Status,
    TakeLeases,
)
from rater.charging.redis_store import RedisStore
from rater.charging.terms import AllowanceTerm, Lease, SlicePolicy, Terms
from rater.ids import AccountId, GrantId, LegId, OpId, Shard, SwitchId
from rater.money import Cadence, Quote, Segment
from rater.verdict import Reason
from tests.servers import DEBIAN, RedisServer, needs_debians_redis

pytestmark = needs_debians_redis
SHARD, SWITCH, ACCOUNT = Shard(0), SwitchId("pbx1"), AccountId("A")
NOW_MS = 1_790_000_000_000
QUOTE = Quote((Segment(0, 1, 10, 1),), "EUR", "fixed")
SLICES = SlicePolicy(30, 60, 2)
PREPAID = Terms()
MINUTES = Terms(allowances=(AllowanceTerm(GrantId("p/m"), 40, Cadence(), NOW_MS - 1, NOW_MS + 10**8),))
LINE = (Lease("line:1", 9, Reason.LINE_LIMIT),)
RESELLER = (Lease("reseller:r", 9, Reason.RESELLER_LIMIT),)
OPENING = Post(OpId("o"), SHARD, ACCOUNT, PostKind.OPENING, 100_000, NOW_MS, PREPAID)


def head(leg: str, number: int) -> tuple[OpId, Shard, AccountId, LegId, SwitchId, int, int]:
    return OpId(f"{leg}:{number}"), SHARD, ACCOUNT, LegId(leg), SWITCH, 1, NOW_MS


def reservation(leg: str, terms: Terms = PREPAID) -> Reserve:
    return Reserve(*head(leg, 1), QUOTE, terms, LINE, SLICES, False, b"\x80")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(DEBIAN, tmp_path).start()
    yield server
    server.destroy()


@asynccontextmanager
async def charging(server: RedisServer, form: str) -> AsyncIterator[RedisStore]:
    if form == "scripts":
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "default", "-fcall", "-function")
    store = RedisStore(server.url, prefix="m")
    await store.start()
    try:
        yield store
    finally:
        limit(server, 0)
        await store.close()


def limit(server: RedisServer, memory_bytes: int) -> None:
    with server.client() as client:
        client.config_set("maxmemory", memory_bytes)


async def ask(store: RedisStore, request: Request) -> Reply:
    reply = await asyncio.wait_for(store.ask(request), 3)
    assert reply.status is Status.OK, (request, reply)
    return reply


async def waits(store: RedisStore, request: Request) -> asyncio.Task[Reply]:
    """It is not answered while there is no memory."""
    asked = asyncio.create_task(store.ask(request))
    done, _ = await asyncio.wait([asked], timeout=0.5)
    assert not done, asked.result()
    return asked


@pytest.mark.parametrize("form", ["functions", "scripts"])
def test_live_calls_are_settled_repeats_answered_and_new_work_waits(server: RedisServer, form: str) -> None:
    """`short` is settled on the short way, where there is one; `long` draws on an allowance and on money."""

    async def play() -> None:
        async with charging(server, form) as store:
            opened = await ask(store, OPENING)
            first = {leg: await ask(store, reservation(leg, terms)) for leg, terms in CALLS.items()}
            outside = TakeLeases(OpId("x:9"), SHARD, LegId("x"), SWITCH, 1, NOW_MS, NOW_MS + 10**7, RESELLER)
            await ask(store, outside)

            limit(server, 1)
            again = await ask(store, reservation("short"))
            assert (again.granted_s, again.repeated) == (first["short"].granted_s, True)
            again = await ask(store, OPENING)
            assert (again.balance_micro, again.repeated) == (opened.balance_micro, True)
            late = [await waits(store, reservation("late")), await waits(store, top_up())]

            number, talked_s = 2, 25
            if form == "functions":
                for leg, terms in CALLS.items():
                    await ask(store, Answer(*head(leg, 2), NOW_MS, b"\x80"))
                    reply = await ask(store, Extend(*head(leg, 3), 25, terms, SLICES))
                    assert reply.granted_s == 85
                number, talked_s = 4, 60
            for leg, terms in CALLS.items():
                settlement = Settle(*head(leg, number), talked_s, terms, True, b"\x80")
                settled = await ask(store, settlement)
                assert (await ask(store, settlement)).amount_micro == settled.amount_micro
            await ask(store, FreeLeases(OpId("x:10"), SHARD, LegId("x"), SWITCH, 1, ("reseller:r",)))
            assert await store.live_leases(SHARD, "reseller:r", NOW_MS) == 0
            assert await store.live_leases(SHARD, "line:1", NOW_MS) == 0

            limit(server, 0)
            assert [reply.status for reply in await asyncio.gather(*late)] == [Status.OK, Status.OK]
            state = await store.account(SHARD, ACCOUNT, PREPAID, NOW_MS)
            assert state is not None
            of_money = talked_s + max(0, talked_s - 40)
            assert state.balance_micro == 100_000 + 7 - 10 * of_money
            assert (state.reserved_micro, [leg.leg for leg in await store.legs(SHARD)]) == (300, ["late"])
            with server.client() as client:
                assert client.xlen(Keys("m", SHARD).outbox) == len(CALLS)

    asyncio.run(play())


CALLS = {"short": PREPAID, "long": MINUTES}


def top_up() -> Post:
    return Post(OpId("c"), SHARD, ACCOUNT, PostKind.CREDIT, 7, NOW_MS, PREPAID)
