"""One process that charges calls as fast as it can, until nothing is left: arguments URL, prefix, number, legs, and
how many shards a cluster has (0: one server).

Each leg is reserved, extended and settled on the one account, several at a time. It may be killed at any point. It
says when the first is over.
"""

from __future__ import annotations

import asyncio
import random
import sys
from functools import cache

import msgpack

from rater.charging.model import Extend, Reply, Request, Reserve, Settle, Status
from rater.charging.redis_store import RedisStore
from rater.charging.terms import Lease, SlicePolicy, SpendCap, SpendWindow, Terms, Threshold, ThresholdKind
from rater.ids import AccountId, LegId, OpId, Shard, SwitchId
from rater.money import Quote, Segment
from rater.verdict import Reason

NOW_MS = 1_790_000_000_000
QUOTE = Quote((Segment(0, 1, 1234, 7),), "EUR", "fixed")
AT_ONCE = 20
LOST_S = 100.0
LEASES = (Lease("line:1001", 1000, Reason.LINE_LIMIT),)
WATCHED = range(50_000, 2_400_000, 50_000)
"""Micro-units: told when the balance falls below each, and when so much was spent in the day."""
TERMS = Terms(
    thresholds=(
        *(Threshold(f"below:{v}", ThresholdKind.MONEY_BELOW, v) for v in WATCHED),
        *(Threshold(f"rarely:{v}", ThresholdKind.MONEY_BELOW, v, once_from_ms=NOW_MS) for v in WATCHED[::8]),
        *(Threshold(f"spent:{v}", ThresholdKind.SPEND_DAY, v) for v in WATCHED),
    ),
    spend=(SpendCap(SpendWindow.DAY, None, NOW_MS),),
)


@cache
def at_work() -> None:
    """Tell whoever started this process, once."""
    print("at work", flush=True)


async def ask(store: RedisStore, request: Request) -> Reply:
    """As a daemon asks, without giving up: while others move the account without a pause it may take long until the
    operation finds it standing still. AssertionError when it is lost."""
    answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    store.submit(request, lambda _, reply: answered.done() or answered.set_result(reply))
    store.flush()
    done, _ = await asyncio.wait([answered], timeout=LOST_S)
    assert done, f"{request.op} is lost"
    return answered.result()


async def call(store: RedisStore, leg: str, chance: random.Random) -> None:
    facts = msgpack.packb({"id": leg})
    head = (Shard(0), AccountId("ACME"), LegId(leg), SwitchId("pbx1"), 1, NOW_MS)
    reserve = Reserve(OpId(f"{leg}:1"), *head, QUOTE, TERMS, LEASES, SlicePolicy(30, 60, 2), False, facts)
    reply = await ask(store, reserve)
    if reply.status is not Status.OK:
        return
    if chance.random() < 0.5:
        reply = await ask(store, Extend(OpId(f"{leg}:2"), *head, reply.granted_s, TERMS, SlicePolicy()))
    talked_s = chance.randint(0, reply.granted_s + 5)
    await ask(store, Settle(OpId(f"{leg}:3"), *head, talked_s or None, TERMS, True, facts))


async def work(url: str, prefix: str, number: int, legs: int, shards: int = 0) -> None:
    store = RedisStore(url, prefix=prefix, shards=shards or 1, cluster=shards > 0)
    await store.start()
    chance = random.Random(number)
    names = iter([f"pbx1.{number}.{i}" for i in range(legs)])

    async def one() -> None:
        for leg in names:
            await call(store, leg, chance)
            at_work()

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    await store.close()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], int(sys.argv[3]), *map(int, sys.argv[4:])))
