"""Limits are exact when several daemons ask at once, over connections of their own, in whatever order."""

from __future__ import annotations

import asyncio

from rater.charging.model import Post, PostKind, Reply, Request, Reserve, Status, TakeLeases
from rater.charging.redis_store import RedisStore
from rater.charging.terms import CallRate, Lease, SlicePolicy, SpendCap, SpendWindow, Terms
from rater.ids import AccountId, LegId, OpId, Shard, SwitchId
from rater.money import Quote, Segment
from rater.verdict import Reason
from tests.servers import RedisServer

NOW_MS = 1_790_000_000_000
CENT_A_SECOND = Quote((Segment(0, 1, 10_000, 1),), "EUR", "fixed")
DAEMONS, LEGS = 4, 200


def reserve(n: int, terms: Terms, leases: tuple[Lease, ...] = (), rates: tuple[CallRate, ...] = ()) -> Reserve:
    leg, switch = f"l{n}", SwitchId(f"s{n % DAEMONS}")
    return Reserve(
        OpId(f"{leg}:1"), Shard(0), AccountId("A"), LegId(leg), switch, 1, NOW_MS, CENT_A_SECOND, terms, leases,
        SlicePolicy(10, 10, 1), False, b"\x80", rates,
    )  # fmt: skip


def at_once(server: RedisServer, requests: list[Request], prefix: str) -> list[Reply]:
    """Each daemon sends its share in one write; all writes at the same time."""

    async def main() -> list[Reply]:
        stores = [RedisStore(server.url, prefix=prefix) for _ in range(DAEMONS)]
        for store in stores:
            await store.start()
        credit = Post(OpId("c"), Shard(0), AccountId("A"), PostKind.CREDIT, 10**12, NOW_MS, Terms())
        await stores[0].ask(credit)
        asked = [stores[n % DAEMONS].ask(request) for n, request in enumerate(requests)]
        replies = await asyncio.gather(*asked)
        for store in stores:
            await store.close()
        return replies

    return asyncio.run(main())


def passed(replies: list[Reply]) -> int:
    return sum(reply.status is Status.OK for reply in replies)


def test_simultaneous_legs(server: RedisServer) -> None:
    lease = Lease("account:A", 17, Reason.ACCOUNT_LIMIT)
    replies = at_once(server, [reserve(n, Terms(), (lease,)) for n in range(LEGS)], "legs")
    assert passed(replies) == 17
    assert {reply.reason for reply in replies} == {Reason.ALLOWED, Reason.ACCOUNT_LIMIT}


def test_calls_per_second(server: RedisServer) -> None:
    rate = CallRate("account:A", 23)
    assert passed(at_once(server, [reserve(n, Terms(), rates=(rate,)) for n in range(LEGS)], "rate")) == 23


def test_spend(server: RedisServer) -> None:
    """What all legs together hold is the cap, to the micro."""
    terms = Terms(spend=(SpendCap(SpendWindow.DAY, 1_000_000, NOW_MS),))
    replies = at_once(server, [reserve(n, terms) for n in range(LEGS)], "spend")
    assert sum(reply.granted_s for reply in replies) == 100
    assert {reply.reason for reply in replies} == {Reason.ALLOWED, Reason.SPEND_LIMIT}


def test_leases_of_a_reseller(server: RedisServer) -> None:
    lease = Lease("reseller:R", 31, Reason.RESELLER_LIMIT)
    requests: list[Request] = [
        TakeLeases(
            OpId(f"l{n}:outside"), Shard(5), LegId(f"l{n}"), SwitchId(f"s{n % DAEMONS}"), 1, NOW_MS,
            NOW_MS + 60_000, (lease,),
        )
        for n in range(LEGS)
    ]  # fmt: skip
    assert passed(at_once(server, requests, "reseller")) == 31
