"""The demo's audit: every balance worked out again from the ledger and from the rated events.

It trusts no total that the charging scripts keep. Per account and to the micro:

- the ledger's lines of money join without a gap, from nothing to the balance;
- what the ledger took for calls is what the rated events say, and each event's amount follows from its own quote;
- balance = opening + credits − debits − charges, and charges = the events;
- what is reserved is what the live legs hold.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from rater.charging.redis_store import RedisStore
from rater.events.rated import rated_event
from rater.events.stream import Entry, UnreadableEntry, decode_entry
from rater.ids import Shard
from rater.money import format_amount
from rater.verdict import Reason

PAGE = 1000
CALL = "call"


@dataclass(slots=True)
class Books:
    """What the events say, and what does not fit: one sentence for each fault. `charged_micro` by currency."""

    faults: list[str] = field(default_factory=list)
    answered: int = 0
    unanswered: int = 0
    cut: Counter[str] = field(default_factory=Counter)
    denied: Counter[str] = field(default_factory=Counter)
    charged_micro: Counter[str] = field(default_factory=Counter)
    accounts: int = 0

    @property
    def balance(self) -> bool:
        return not self.faults


@dataclass(slots=True)
class _Account:
    charged_micro: int = 0
    ledger_micro: int = 0
    ledger_calls_micro: int = 0


async def audit(store: RedisStore) -> Books:
    """Read everything once. Nothing may move money meanwhile."""
    books = Books()
    for shard in range(store.shards):
        accounts: dict[str, _Account] = defaultdict(_Account)
        await _read_events(store, Shard(shard), accounts, books)
        await _read_ledger(store, Shard(shard), accounts, books)
        await _compare(store, Shard(shard), accounts, books)
    return books


async def _read_events(store: RedisStore, shard: Shard, accounts: dict[str, _Account], books: Books) -> None:
    seen: set[str] = set()
    async for stream_id, fields in _entries(store, store.keys(shard).outbox):
        try:
            entry = decode_entry(shard, stream_id, fields)
            if entry.kind == "denied":
                books.denied[_reason(entry)] += 1
            elif entry.kind == "rated":
                _add_event(entry, seen, accounts, books)
        except (UnreadableEntry, KeyError, ValueError) as error:
            books.faults.append(f"outbox entry {stream_id.decode()}: {error}")


def _reason(entry: Entry) -> str:
    return Reason(int(entry.result["reason"])).code if "reason" in entry.result else str(entry.facts["reason"])


def _add_event(entry: Entry, seen: set[str], accounts: dict[str, _Account], books: Books) -> None:
    event = rated_event(entry.facts, entry.result)  # refuses an amount that does not follow from the quote
    if event.id in seen:
        books.faults.append(f"leg {event.id} has more than one rated event")
    seen.add(event.id)
    accounts[event.account].charged_micro += event.amount_micro
    if event.amount_micro:
        books.charged_micro[event.currency] += event.amount_micro
    if event.disposition == "answered":
        books.answered += 1
    else:
        books.unanswered += 1
    if event.cut:
        books.cut[event.cut] += 1


async def _read_ledger(store: RedisStore, shard: Shard, accounts: dict[str, _Account], books: Books) -> None:
    async for entry in store.ledger(shard):
        account = accounts[entry.account]
        for line in entry.lines:
            if line.resource:
                continue
            if line.before != account.ledger_micro:
                books.faults.append(
                    f"account {entry.account}: the ledger's entry of {entry.op} begins at "
                    f"{format_amount(line.before)}, the one before ends at {format_amount(account.ledger_micro)}"
                )
            if line.cause == CALL:
                account.ledger_calls_micro += line.before - line.after
            account.ledger_micro = line.after


async def _compare(store: RedisStore, shard: Shard, accounts: dict[str, _Account], books: Books) -> None:
    held: Counter[str] = Counter()
    for leg in await store.legs(shard):
        held[leg.account] += sum(piece.amount for piece in leg.pieces if piece.of_balance)
    states = {state.account: state for state in await store.accounts(shard)}
    books.accounts += len(states)
    for name in sorted(accounts.keys() - states.keys()):
        if accounts[name].charged_micro or accounts[name].ledger_micro:
            books.faults.append(f"account {name} has events or ledger lines, but no balance")
    for name, state in sorted(states.items()):
        account = accounts[name]
        totals_micro = state.opening_micro + state.credits_micro - state.debits_micro - state.charges_micro
        for what, found, wanted in (
            ("the balance against the ledger", state.balance_micro, account.ledger_micro),
            ("the balance against opening + credits − debits − charges", state.balance_micro, totals_micro),
            ("the charges against the rated events", state.charges_micro, account.charged_micro),
            ("the ledger's calls against the rated events", account.ledger_calls_micro, account.charged_micro),
            ("what is reserved against the live legs", state.reserved_micro, held[name]),
        ):
            if found != wanted:
                books.faults.append(f"account {name}: {what}: {format_amount(found)} ≠ {format_amount(wanted)}")


async def _entries(store: RedisStore, key: str) -> AsyncIterator[tuple[bytes, dict[bytes, Any]]]:
    """A whole stream, page by page."""
    after = "-"
    while True:
        page = await store.redis.xrange(key, min=after, count=PAGE)
        for stream_id, fields in page:
            yield stream_id, fields
        if len(page) < PAGE:
            return
        after = f"({page[-1][0].decode()}"
