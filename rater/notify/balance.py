"""The retained message with what an account has left, kept true by following the shard's ledger.

The ledger tells which accounts moved; what is published is their state as it is now. So however far behind, at
most one message per account goes out for a page of the ledger, and hours without a broker are caught up in one
pass. The place reached is kept beside the ledger, so that a restart goes on there. Where entries after it were
moved to an archive meanwhile, nobody can say from the stream who moved: then every account is published once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field
from redis.asyncio import Redis

from rater.charging.ledger import order
from rater.charging.records import AccountState
from rater.charging.wire import Keys
from rater.charging.wire_moves import at_home
from rater.charging.wire_states import to_account
from rater.clock import Clock
from rater.events.record import Record, iso_ms
from rater.ids import AccountId, Shard
from rater.money import format_amount
from rater.notify.mqtt import REFUSAL, Message, MqttSender
from rater.notify.senders import SinkDown
from rater.notify.topics import balance_topic

PAGE = 500
GATHER_S = 0.2
"""Moves of one account within that span make one message."""


class AllowanceLeft(Record):
    grant: str
    granted_s: int
    used_s: int
    reserved_s: int
    remaining_s: int
    valid_from: str
    valid_until: str


class BalanceRecord(Record):
    """Schema ``rater.balance/1``. `available` is the balance less what live legs hold of it."""

    schema_: Literal["rater.balance/1"] = Field(default="rater.balance/1", alias="schema")
    account: str
    balance: str
    balance_micro: int
    reserved: str
    reserved_micro: int
    available: str
    available_micro: int
    allowances: tuple[AllowanceLeft, ...]
    at: str


def balance_record(state: AccountState, at_ms: int) -> BalanceRecord:
    available_micro = state.balance_micro - state.reserved_micro
    return BalanceRecord(
        account=state.account,
        balance=format_amount(state.balance_micro),
        balance_micro=state.balance_micro,
        reserved=format_amount(state.reserved_micro),
        reserved_micro=state.reserved_micro,
        available=format_amount(available_micro),
        available_micro=available_micro,
        allowances=tuple(
            AllowanceLeft(
                grant=grant.grant,
                granted_s=grant.granted_s,
                used_s=grant.used_s,
                reserved_s=grant.reserved_s,
                remaining_s=grant.remaining_s,
                valid_from=iso_ms(grant.valid_from_ms),
                valid_until=iso_ms(grant.valid_until_ms),
            )
            for grant in state.grants
        ),
        at=iso_ms(at_ms),
    )


class BalanceFeed:
    """Follows one shard's ledger and publishes the balances of the accounts that moved."""

    def __init__(
        self, redis: Redis, sender: MqttSender, *, topics: str, keys: Keys, clock: Clock, block_ms: int
    ) -> None:
        self._redis: Any = redis  # redis-py's types differ between commands sync and async
        self._sender = sender
        self._topics = topics
        self._keys = keys
        self._clock = clock
        self._block_ms = block_ms
        self._cursor_key = cursor_key(keys.prefix, keys.shard)

    async def open(self) -> None:
        """Nothing to prepare: the ledger's scripts make it."""

    def again(self) -> None:
        """The place reached moves only with success, so the next step repeats the failed one by itself."""

    async def step(self) -> None:
        """Publish for one page of the ledger, or wait for one. Raises SinkDown."""
        after = await self._redis.get(self._cursor_key) or b"0-0"
        page = await self._page(after, self._block_ms)
        if 0 < len(page) < PAGE:
            await asyncio.sleep(GATHER_S)
            page = await self._page(after, None)
        archived = await self._redis.hget(self._keys.ledger_checkpoint, "at") or b"0-0"
        if order(after.decode()) < order(archived.decode()):
            await self._publish_all()
            await self._redis.set(self._cursor_key, archived)
        elif page:
            names = [fields[b"account"].decode() for _, fields in page if b"account" in fields]
            await self._publish(list(dict.fromkeys(names)))
            await self._redis.set(self._cursor_key, page[-1][0])

    async def _publish_all(self) -> None:
        batch: list[str] = []
        async for name in self._redis.sscan_iter(self._keys.accounts, count=PAGE):
            batch.append(name.decode())
            if len(batch) >= PAGE:
                await self._publish(batch)
                batch = []
        await self._publish(batch)

    async def _page(self, after: bytes, block_ms: int | None) -> Sequence[tuple[bytes, dict[bytes, bytes]]]:
        if block_ms is not None and not await self._redis.xread(
            {self._keys.ledger: after}, count=1, block=block_ms
        ):
            return ()
        page: list[tuple[bytes, dict[bytes, bytes]]] = await self._redis.xrange(
            self._keys.ledger, min=b"(" + after, count=PAGE
        )
        return page

    async def _publish(self, accounts: Sequence[str]) -> None:
        if not accounts:
            return
        stored = await self._redis.mget([self._keys.account(AccountId(account)) for account in accounts])
        at_ms = self._clock.wall_ms()
        messages = [
            Message(
                balance_topic(self._topics, account),
                balance_record(to_account(AccountId(account), data), at_ms).to_json(),
                retain=True,
            )
            for account, data in zip(accounts, map(at_home, stored), strict=True)
            if data is not None
        ]
        codes = await self._sender.publish(messages)
        if any(code < 0 or code >= REFUSAL for code in codes):
            raise SinkDown("the broker did not take all balances")


def cursor_key(prefix: str, shard: Shard) -> str:
    """Where the place reached in the ledger is kept."""
    return f"{prefix}:{{{shard}}}:cursor:balance"
