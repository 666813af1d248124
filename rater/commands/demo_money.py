"""The demo's hand on the money: prepaid accounts begin nearly empty, and now and then somebody tops up."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from random import Random

from rater.catalog.model import Account, Catalog, Modality
from rater.charging.model import Post, PostKind
from rater.charging.store import ChargingStore
from rater.ids import OpId

NEARLY_EMPTY_MICRO = (10_000, 400_000)
TOP_UP_MICRO = (200_000, 2_000_000)
TOP_UP_EVERY_S = 6.0
CENT_MICRO = 10_000


class Purse:
    """Posts for the demo's accounts, each with an operation id of its own."""

    def __init__(self, store: ChargingStore, catalog: Catalog, random: Random) -> None:
        self.top_ups = 0
        self._store = store
        self._catalog = catalog
        self._random = random
        self._run = uuid.uuid4().hex[:8]
        self._posts = 0

    async def thin_out(self) -> None:
        """Leave every other prepaid account with next to nothing, so that some calls are cut and some denied."""
        for account in self._prepaid()[::2]:
            state = await self._store.account(account.shard, account.id)
            if state is None:
                continue
            rest_micro = self._cents(NEARLY_EMPTY_MICRO)
            change_micro = rest_micro - state.balance_micro
            if change_micro:
                kind = PostKind.CREDIT if change_micro > 0 else PostKind.DEBIT
                await self._post(account, kind, abs(change_micro), "demo: nearly used up")

    async def top_up_for_ever(self) -> None:
        """Every few seconds the emptiest of the prepaid accounts gets something."""
        accounts = self._prepaid()
        while accounts:
            await asyncio.sleep(self._random.uniform(0.5, 1.5) * TOP_UP_EVERY_S)
            states = [(await self._store.account(account.shard, account.id), account) for account in accounts]
            poor = [(state.balance_micro, account) for state, account in states if state is not None]
            if poor:
                _, poorest = min(poor, key=lambda pair: pair[0])
                await self._post(poorest, PostKind.CREDIT, self._cents(TOP_UP_MICRO), "demo: top-up")
                self.top_ups += 1

    def _prepaid(self) -> Sequence[Account]:
        accounts = self._catalog.accounts.values()
        return [account for account in accounts if account.modality is Modality.PREPAID and account.active]

    def _cents(self, between_micro: tuple[int, int]) -> int:
        low, high = between_micro
        return self._random.randrange(low, high, CENT_MICRO)

    async def _post(self, account: Account, kind: PostKind, amount_micro: int, cause: str) -> None:
        self._posts += 1
        now_ms = time.time_ns() // 1_000_000
        await self._store.ask(
            Post(
                op=OpId(f"demo:{self._run}:{self._posts}"),
                shard=account.shard,
                account=account.id,
                kind=kind,
                amount_micro=amount_micro,
                now_ms=now_ms,
                terms=self._catalog.terms(account.id, "", now_ms),
                cause=cause,
            )
        )
