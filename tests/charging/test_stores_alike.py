"""Calls of one account with grants of every kind and hours of their own: the reference store and Redis pay them
with the very same pieces."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

from rater.charging.redis_store import RedisStore
from rater.charging.terms import GrantSpec, Quota, Resource, Share, Terms, Tier
from rater.ids import AccountId
from rater.money import Cadence
from tests.contract.desk import (
    DAY_MS,
    NOON_MS,
    Desk,
    MemoryDriver,
    RedisDriver,
    allowance,
    blocker,
    minutes,
    money,
)
from tests.servers import RedisServer

LIVES = 60
MOVES = 25
HOURS = [(), ("day",), ("night",), ("night", "weekend"), ("gone",)]
CADENCES = [Cadence(), Cadence(0, 30, 6), Cadence(3, 30, 6), Cadence(0, 60, 60)]
GAPS_MS = (500, 7_000, 20_000, 33_333, 60_000, 120_000)


def some_bands(random: Random) -> tuple[tuple[int, str], ...]:
    edges, at_ms = [(0, "day")], NOON_MS - 200_000
    while at_ms < NOON_MS + 1_500_000:
        at_ms += random.choice(GAPS_MS)
        edges.append((at_ms, random.choice(["day", "night", "", "weekend"])))
    return tuple(edges)


def some_terms(random: Random) -> Terms:
    own = allowance(random.randint(5, 200), cadence=random.choice(CADENCES), hours=random.choice(HOURS))
    terms = Terms(0, random.random() < 0.8, (own,), (), "EUR", bands=some_bands(random))
    if random.random() < 0.6:
        return terms
    family = allowance(random.randint(5, 200), grant="boss/family", hours=random.choice(HOURS), tier=Tier.GENERIC)
    lent = Terms(0, random.random() < 0.5, (family,), (), "EUR", bands=some_bands(random))
    quota = Quota(60, NOON_MS - 1000, NOON_MS + DAY_MS, NOON_MS + 2 * DAY_MS) if random.random() < 0.3 else None
    return replace(terms, share=Share(AccountId("BOSS"), lent, first=random.random() < 0.5, quota_s=quota))


def some_gift(random: Random, number: int) -> GrantSpec:
    name = f"g{number}"
    more: dict[str, Any] = {
        "hours": random.choice(HOURS),
        "priority": random.randint(-1, 1),
        "valid_until_ms": NOON_MS + random.choice([30_000, 100_000, 10**9]),
    }
    match random.choice(["seconds", "money", "blocker"]):
        case "seconds":
            return minutes(name, random.randint(1, 80), cadence=random.choice(CADENCES), **more)
        case "money":
            return money(name, f"{random.randint(1, 60) / 100:.2f}", **more)
        case _:
            return blocker(name, random.choice(list(Resource)), **more)


def live(desk: Desk, random: Random) -> list[object]:
    """What was answered, and how each live leg was paid then."""
    desk.terms = some_terms(random)
    seen: list[object] = [desk.credit(f"{random.randint(1, 300) / 100:.2f}")]
    if random.random() < 0.5:
        seen.append(desk.ask(desk.a_posting("boss", "1.00", account="BOSS")))
    seen += [desk.give(some_gift(random, number)) for number in range(random.randint(0, 4))]
    begun: dict[str, tuple[str, int]] = {}
    for move in range(MOVES):
        line, ends = random.choice("ab"), random.random() < 0.25
        desk.now_ms += random.randint(0, 40) * 500 + 100
        if line not in begun:
            reply = desk.reserve(f"{line}{move}")
            seen.append(reply)
            if reply.granted_s:
                begun[line] = (f"{line}{move}", desk.now_ms)
            continue
        leg, since_ms = begun[line]
        talked_s = (desk.now_ms - since_ms) // 1000
        if ends:
            del begun[line]
        seen.append(desk.settle(leg, talked_s) if ends else (desk.extend(leg, talked_s), desk.pieces(leg)))
    desk.check_books()
    return seen


def test_both_stores_pay_alike(server: RedisServer) -> None:
    split = 0
    with asyncio.Runner() as runner:
        for seed in range(LIVES):
            store = RedisStore(server.url, prefix=f"alike{seed}")
            runner.run(store.start())
            redis = RedisDriver(runner.get_loop(), store)
            try:
                first, second = live(Desk(MemoryDriver()), Random(seed)), live(Desk(redis), Random(seed))
            finally:
                redis.close()
            for told, answered in zip(first, second, strict=True):
                assert told == answered, f"seed {seed}"
            split += sum(isinstance(each, tuple) and len({piece[0] for piece in each[1]}) > 1 for each in first)
    assert split > LIVES, "lives in which no call has several payers prove nothing"
