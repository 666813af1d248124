"""Grants made by hand that are never drawn on: their hours are bands that the account's plan does not have."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from rater.catalog.snapshot import Snapshot
from rater.charging.keys import Keys
from rater.charging.records import AccountState, GrantState, MoneyGrantState
from rater.charging.redis_reads import Page, account_pages
from rater.charging.wire_states import to_account
from rater.doctor.findings import Finding, not_checked, ok, warning
from rater.ids import Shard

LOOK_S = 10.0
NAMED_MOST = 5
_CHECK, _EXPECTED = "grants.hours", "hours that the account's plan has as bands"


async def check_grants(
    client: Redis, prefix: str, shards: int, catalog: Snapshot, *, look_s: float = LOOK_S
) -> list[Finding]:
    """Looks at the accounts of all shards, for `look_s` at most. Raises RedisError."""
    redis: Any = client
    every = [Keys(prefix, Shard(shard)) for shard in range(shards)]
    seconds, _ = await redis.time()
    until_s, looked, closed = time.monotonic() + look_s, 0, list[str]()
    try:
        async for page in _pages(redis, every):
            for account, data in page:
                if data is not None and b"," in data:  # hours and classes are stored between commas
                    closed += _closed(catalog, to_account(account, data), int(seconds) * 1000)
            looked += len(page)
            if time.monotonic() > until_s:
                break
    except NoPermissionError as refusal:
        return [not_checked(_CHECK, "", f"its user may not look at accounts: {refusal}")]
    of = sum([int(await redis.scard(keys.accounts)) for keys in every])
    seen = f"{looked} of {of} accounts looked at" if looked < of else f"{looked} accounts looked at"
    if not closed:
        return [ok(_CHECK, "", seen, _EXPECTED)]
    named = "; ".join(closed[:NAMED_MOST]) + ("; …" if len(closed) > NAMED_MOST else "")
    mend = "Give the plan a band of that name, or end the grant (rater account expire) and give another."
    return [warning(_CHECK, "", f"{len(closed)} grants that are never open: {named} ({seen})", _EXPECTED, mend)]


async def _pages(redis: Any, every: Sequence[Keys]) -> AsyncIterator[Page]:
    for keys in every:
        async for page in account_pages(redis, keys):
            yield page


def _closed(catalog: Snapshot, state: AccountState, now_ms: int) -> list[str]:
    """The account's grants none of whose hours ever comes, also not in versions of its plan to come."""
    account = catalog.accounts.get(state.account)
    if account is None:
        return []
    bands = catalog.plans[account.plan].bands_from(now_ms)
    grants: list[GrantState | MoneyGrantState] = [*state.grants, *state.money_grants]
    return [
        f"{state.account}: {grant.grant} (hours {', '.join(grant.hours)}; plan {account.plan})"
        for grant in grants
        if grant.hours and not grant.closed and grant.valid_until_ms > now_ms and bands.isdisjoint(grant.hours)
    ]
