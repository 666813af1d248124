"""Ledgers with a past: real entries of the real scripts, spread over months that are over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from events.support import ALLOWANCE, CENT, Desk, leg_facts

from rater.charging.embedded import EmbeddedRedis
from rater.charging.ledger import MONEY, ShardLedger, Sums
from rater.charging.redis_store import RedisStore
from rater.commands.audit import audit_shard
from rater.ids import AccountId, Shard

SHARD = Shard(0)
ACCOUNTS = ("ACME", "BETA", "GAMMA")
JANUARY_MS = 1_767_225_600_000
DAY_MS = 86_400_000


@asynccontextmanager
async def opened(server: EmbeddedRedis, prefix: str) -> AsyncIterator[Desk]:
    store = RedisStore(server.url, prefix=prefix)
    await store.start()
    try:
        yield Desk(store)
    finally:
        await store.close()


async def live_through(desk: Desk, rounds: int, *, first: int = 0) -> None:
    """Credits and calls on every account; the calls use allowances and money."""
    for number in range(first, first + rounds):
        for account in ACCOUNTS:
            await desk.credit(100 * CENT, account=account, terms=ALLOWANCE)
            await desk.call(7 + number, leg_facts(f"leg-{account}-{number}", account=account), terms=ALLOWANCE)


async def move_back(desk: Desk, *, start_ms: int = JANUARY_MS, span_ms: int = 80 * DAY_MS) -> int:
    """Give the ledger's entries new ids, evenly over `span_ms` from `start_ms` on; how many there are."""
    redis: Any = desk.store.redis
    key = desk.store.keys(SHARD).ledger
    entries = await redis.xrange(key)
    await redis.delete(key)
    for number, (_, fields) in enumerate(entries):
        # Two by two in one millisecond, so that the second part of the ids matters.
        at_ms = start_ms + span_ms * (number // 2) // max(1, len(entries) // 2)
        await redis.xadd(key, fields, id=f"{at_ms}-{number % 2 + 1}")
    return len(entries)


async def totals(desk: Desk) -> dict[AccountId, Sums]:
    found, _ = await ShardLedger(desk.store, SHARD).total()
    return {account: sums for account, sums in found.items() if sums}


async def agree(desk: Desk) -> None:
    """The audit finds nothing, and the ledger comes to what the accounts hold."""
    assert await audit_shard(desk.store, SHARD) == (len(ACCOUNTS), [])
    found = await totals(desk)
    for account in map(AccountId, ACCOUNTS):
        state = await desk.store.account(SHARD, account)
        assert state is not None
        assert found[account][MONEY] == state.balance_micro
