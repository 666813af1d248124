"""The demo's hand on the money: now and then somebody tops up."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from random import Random

from rater.catalog.model import Account, Catalog, Line, Modality, Rated
from rater.charging.model import Post, PostKind
from rater.charging.store import ChargingStore
from rater.ids import OpId
from rater.money import cumulative_micro
from rater.switch.simulator.traffic import Numbers

LEFT_S = (5.0, 40.0)
"""How long the nearly empty accounts last, in seconds of an everyday call …"""
TOP_UP_S = (20.0, 90.0)
"""… and how long a top-up lasts: the calls of the demo are short, so little money makes a difference."""
TOP_UP_EVERY_S = 4.0
PRICED_CALLS = 9
PRICED_S = 600


class Purse:
    """Posts for the demo's accounts, each with an operation id of its own."""

    def __init__(self, store: ChargingStore, catalog: Catalog, numbers: Numbers, random: Random) -> None:
        self.top_ups = 0
        self._store = store
        self._catalog = catalog
        self._numbers = numbers
        self._random = random
        self._run = uuid.uuid4().hex[:8]
        self._posts = 0

    async def thin_out(self) -> None:
        """Leave every other prepaid account with next to nothing, so that some calls are cut and some denied."""
        for account in self._prepaid()[::2]:
            state = await self._store.account(account.shard, account.id)
            if state is None:
                continue
            change_micro = self._worth(account, LEFT_S) - state.balance_micro
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
                await self._post(poorest, PostKind.CREDIT, self._worth(poorest, TOP_UP_S), "demo: top-up")
                self.top_ups += 1

    def _prepaid(self) -> Sequence[Account]:
        accounts = self._catalog.accounts.values()
        return [account for account in accounts if account.modality is Modality.PREPAID and account.active]

    def _worth(self, account: Account, between_s: tuple[float, float]) -> int:
        """What so many seconds of an everyday call of this account cost, in micro-units; at least one."""
        line = next((line for line in self._catalog.lines.values() if line.account == account.id), None)
        if line is None:
            return 1
        prices = sorted(self._price_micro(account, line) for _ in range(PRICED_CALLS))
        per_s_micro = prices[PRICED_CALLS // 2] / PRICED_S
        return max(1, round(per_s_micro * self._random.uniform(*between_s)))

    def _price_micro(self, account: Account, line: Line) -> int:
        """Of one drawn call of PRICED_S."""
        number = self._numbers.draw(line.endpoint, self._random)
        if number is None:
            return 0
        rated = self._catalog.rate(account.plan, number, area=line.area, at_ms=time.time_ns() // 1_000_000)
        if not isinstance(rated, Rated) or rated.quote.horizon_s < PRICED_S:
            return 0
        return cumulative_micro(rated.quote, PRICED_S)

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
