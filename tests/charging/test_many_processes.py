"""Eight processes on one nearly empty balance: together they charge no more than there is, also when they die."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import msgpack
import pytest

from rater.charging.model import Post, PostKind, Settle
from rater.charging.records import AccountState
from rater.charging.redis_store import RedisStore
from rater.charging.terms import Terms
from rater.commands.audit import audit_shard
from rater.ids import AccountId, OpId, Shard
from tests.charging.hasty import NOW_MS, TERMS, WATCHED
from tests.servers import RedisServer

PROCESSES, LEGS = 8, 400
CREDIT_MICRO = 2_345_678
SHARD, ACME = Shard(0), AccountId("ACME")
ROOT = Path(__file__).parents[2]
_PREFIXES = count(1)


@pytest.fixture
def prefix(server: RedisServer) -> str:
    """Of a fresh store, in which the account has its credit."""
    prefix = f"p{next(_PREFIXES)}"

    async def credit() -> None:
        store = RedisStore(server.url, prefix=prefix)
        await store.start()
        await store.ask(Post(OpId("c"), SHARD, ACME, PostKind.CREDIT, CREDIT_MICRO, NOW_MS, Terms()))
        await store.close()

    asyncio.run(credit())
    return prefix


def start(server: RedisServer, prefix: str, number: int, legs: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "tests.charging.hasty", server.url, prefix, str(number), str(legs)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL)


def finish(server: RedisServer, prefix: str) -> tuple[AccountState, int, int]:
    """Settle what the dead left behind, and audit: the account, what its events say it was charged, how many legs
    were left."""

    async def read() -> tuple[AccountState, int, int]:
        store = RedisStore(server.url, prefix=prefix)
        await store.start()
        left = await store.legs(SHARD)
        held_micro = sum(piece.amount for leg in left for piece in leg.pieces)
        state = await store.account(SHARD, ACME)
        assert state is not None
        assert state.reserved_micro == held_micro
        assert state.balance_micro - state.reserved_micro >= 0
        assert await audit_shard(store, SHARD) == (1, [])
        for leg in left:
            op = OpId(f"{leg.leg}:{leg.next_op}")
            await store.ask(
                Settle(op, SHARD, ACME, leg.leg, leg.switch, 1, NOW_MS, leg.granted_s, TERMS, True, b"\x80")
            )
        state = await store.account(SHARD, ACME)
        assert state is not None
        assert await audit_shard(store, SHARD) == (1, [])
        entries = await store.redis.xrange(store.keys(SHARD).outbox)
        rated = [msgpack.unpackb(fields[b"r"]) for _, fields in entries if fields[b"k"] == b"rated"]
        await store.close()
        return state, sum(event["amount_micro"] for event in rated), len(left)

    return asyncio.run(read())


def told(server: RedisServer, prefix: str) -> list[tuple[str, int, int]]:
    """The crossings in the outbox, as they came: threshold, before, after."""

    async def read() -> list[tuple[str, int, int]]:
        store = RedisStore(server.url, prefix=prefix)
        await store.start()
        entries = await store.redis.xrange(store.keys(SHARD).outbox)
        await store.close()
        found = [msgpack.unpackb(fields[b"r"]) for _, fields in entries if fields[b"k"] == b"threshold"]
        return [(entry["threshold"], entry["before"], entry["after"]) for entry in found]

    return asyncio.run(read())


def check_crossings(crossings: list[tuple[str, int, int]], balance_micro: int) -> None:
    """Each threshold between the first balance and the last is told once, by the very step that crossed it."""
    spent_micro = CREDIT_MICRO - balance_micro
    due = {f"below:{v}" for v in WATCHED if balance_micro < v <= CREDIT_MICRO}
    due |= {f"rarely:{v}" for v in WATCHED[::8] if balance_micro < v <= CREDIT_MICRO}
    due |= {f"spent:{v}" for v in WATCHED if v <= spent_micro}
    assert sorted(name for name, _, _ in crossings) == sorted(due)
    for name, before, after in crossings:
        kind, value = name.split(":")
        assert before < int(value) <= after if kind == "spent" else before >= int(value) > after


def test_together_they_charge_what_there_is_to_the_micro(server: RedisServer, prefix: str) -> None:
    working = [start(server, prefix, number, LEGS) for number in range(PROCESSES)]
    assert [process.wait(60) for process in working] == [0] * PROCESSES
    state, charged_micro, left = finish(server, prefix)
    assert left == 0
    assert state.charges_micro == charged_micro == CREDIT_MICRO - state.balance_micro
    assert state.reserved_micro == 0
    assert 0 <= state.balance_micro < 177, "less is left than the next second costs"
    crossings = told(server, prefix)
    check_crossings(crossings, state.balance_micro)
    assert len(crossings) == 2 * 46 + 6


def test_killed_at_any_point_they_charge_no_more(server: RedisServer, prefix: str) -> None:
    chance = random.Random(7)
    numbers = count()
    working = [start(server, prefix, next(numbers), 100_000) for _ in range(PROCESSES)]
    deadline_s = time.monotonic() + 8
    kills = 0
    try:
        while time.monotonic() < deadline_s:
            time.sleep(chance.uniform(0.1, 0.6))
            i = chance.randrange(PROCESSES)
            working[i].kill()
            working[i].wait()
            kills += 1
            working[i] = start(server, prefix, next(numbers), 100_000)
    finally:
        for process in working:
            process.kill()
            process.wait()
    time.sleep(0.5)  # what they had sent is still carried out
    state, charged_micro, _ = finish(server, prefix)
    assert kills >= 5
    assert state.charges_micro == charged_micro == CREDIT_MICRO - state.balance_micro
    assert state.reserved_micro == 0
    assert state.balance_micro >= 0
    check_crossings(told(server, prefix), state.balance_micro)
