"""What the live view shows, read from Redis: live legs, balances, and the outbox since we look.

Only the outbox is followed; legs and accounts are read anew each time. Nothing here writes.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rater.catalog.model import Catalog
from rater.charging.records import AccountState, LegState
from rater.charging.redis_store import RedisStore
from rater.charging.terms import Threshold, ThresholdKind
from rater.commands.calls import describe as describe_leg
from rater.events.rated import LegFacts
from rater.events.stream import Entry, UnreadableEntry, decode_entry, outbox_key
from rater.ids import AccountId, GrantId, Shard
from rater.notify.thresholds import describe
from rater.verdict import Reason

WINDOW_S = 10.0
RECENT = 60
BEFORE = 500
"""So many entries from before the first look are read: for what is shown, and for the first rates."""
PAGE = 1000
NO_ENTRY = "0-0"
INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class BalanceRow:
    """`headroom_micro`: what can still be spent, down to the account's floor. `left_s`: of its
    allowances in this cycle; None when it has none or has not used them yet."""

    account: str
    modality: str
    currency: str
    balance_micro: int
    reserved_micro: int
    headroom_micro: int
    left_s: int | None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One outbox entry for people. `text` says what happened; amounts are 0 where none moved. `paid_by`: ``money``,
    ``allowance`` or ``free``; both together count as money."""

    at_ms: int
    kind: str
    account: str
    line: str
    direction: str
    number: str
    destination: str
    text: str
    duration_s: int
    amount_micro: int
    currency: str
    cut: str
    paid_by: str = "money"


@dataclass(slots=True)
class Totals:
    """Since we look. `charged_micro` by currency."""

    answered: int = 0
    unanswered: int = 0
    cut: int = 0
    denied: Counter[str] = field(default_factory=Counter)
    charged_micro: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Rates:
    """Per second, over the last WINDOW_S."""

    ended: float
    denied: float
    charged_micro: dict[str, float]


@dataclass(frozen=True, slots=True)
class LiveState:
    """One look. Calls as `rater calls` describes them, longest first; balances with the least headroom first,
    inactive accounts last; events and denials newest first."""

    at_ms: int
    watched_s: float
    catalog_version: int | None
    calls: list[dict[str, Any]]
    balances: list[BalanceRow]
    events: list[EventRow]
    denials: list[EventRow]
    totals: Totals
    rates: Rates


class LiveReader:
    """Looks again and again. `catalog` gives names and currencies; it may be set anew at any time."""

    def __init__(self, store: RedisStore, catalog: Catalog | None) -> None:
        self.catalog = catalog
        self.totals = Totals()
        self._store = store
        self._after: dict[int, str] = {}
        self._events: deque[EventRow] = deque(maxlen=RECENT)
        self._denials: deque[EventRow] = deque(maxlen=RECENT)
        self._window: deque[EventRow] = deque()
        self._begun_s = time.monotonic()
        self._since_ms = time.time_ns() // 1_000_000

    async def look(self) -> LiveState:
        """Raises what redis-py raises when the server is away."""
        await self._follow()
        legs: list[LegState] = []
        accounts: list[AccountState] = []
        for shard in range(self._store.shards):
            legs += await self._store.legs(Shard(shard))
            accounts += await self._store.accounts(Shard(shard))
        at_ms = time.time_ns() // 1_000_000
        calls = [describe_live(leg, now_ms=at_ms) for leg in legs]
        calls.sort(key=lambda call: (call["state"] != "talking", -call["talked_s"], call["leg"]))
        balances = [self._balance(account, at_ms) for account in accounts]
        balances.sort(key=lambda row: (row.modality == INACTIVE, row.headroom_micro, row.account))
        return LiveState(
            at_ms=at_ms,
            watched_s=time.monotonic() - self._begun_s,
            catalog_version=self.catalog.version if self.catalog is not None else None,
            calls=calls,
            balances=balances,
            events=list(reversed(self._events)),
            denials=list(reversed(self._denials)),
            totals=self.totals,
            rates=self._rates(at_ms),
        )

    # -- the outbox ----------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        for shard in range(self._store.shards):
            key = outbox_key(self._store.prefix, shard)
            if shard not in self._after:
                await self._catch_up(shard, key)
            while True:
                page = await self._store.redis.xrange(key, min=f"({self._after[shard]}", count=PAGE)
                self._take(shard, page, count=True)
                if len(page) < PAGE:
                    break

    async def _catch_up(self, shard: int, key: str) -> None:
        """The first look: a few entries from before, to show, not to count."""
        self._after[shard] = NO_ENTRY
        before = await self._store.redis.xrevrange(key, count=BEFORE)
        before.reverse()
        if before:
            oldest_ms = int(before[0][0].partition(b"-")[0])
            self._since_ms = max(oldest_ms, self._since_ms - round(WINDOW_S * 1000))
        self._take(shard, before, count=False)

    def _take(self, shard: int, page: Iterable[tuple[bytes, dict[bytes, bytes]]], *, count: bool) -> None:
        for stream_id, fields in page:
            self._after[shard] = stream_id.decode()
            try:
                row = event_row(decode_entry(shard, stream_id, fields))
            except (UnreadableEntry, KeyError, TypeError, ValueError):
                continue  # rater publish sets such an entry aside and says so
            (self._denials if row.kind == "denied" else self._events).append(row)
            self._window.append(row)
            if count:
                self._count(row)

    def _count(self, row: EventRow) -> None:
        totals = self.totals
        if row.kind == "denied":
            totals.denied[row.text] += 1
        elif row.kind == "rated":
            totals.answered += row.duration_s > 0
            totals.unanswered += row.duration_s == 0
            totals.cut += bool(row.cut)
            if row.amount_micro:
                totals.charged_micro[row.currency] += row.amount_micro

    def _rates(self, at_ms: int) -> Rates:
        while self._window and self._window[0].at_ms < at_ms - WINDOW_S * 1000:
            self._window.popleft()
        span_s = min(WINDOW_S, max(1.0, (at_ms - self._since_ms) / 1000))
        charged: Counter[str] = Counter()
        kinds = Counter(row.kind for row in self._window)
        for row in self._window:
            charged[row.currency] += row.amount_micro
        per_s = {currency: amount / span_s for currency, amount in charged.items() if amount}
        return Rates(kinds["rated"] / span_s, kinds["denied"] / span_s, per_s)

    # -- balances ------------------------------------------------------------------------------------------------

    def _balance(self, state: AccountState, at_ms: int) -> BalanceRow:
        currency, floor_micro, modality = "", 0, ""
        if self.catalog is not None and state.account in self.catalog.accounts:
            terms = self.catalog.terms(AccountId(state.account), "", at_ms)
            currency, floor_micro = terms.currency, terms.floor_micro
            account = self.catalog.accounts[state.account]
            modality = account.modality.value if account.active else INACTIVE
        grants = [grant for grant in state.grants if grant.valid_from_ms <= at_ms < grant.valid_until_ms]
        return BalanceRow(
            account=state.account,
            modality=modality,
            currency=currency,
            balance_micro=state.balance_micro,
            reserved_micro=state.reserved_micro,
            headroom_micro=state.balance_micro - state.reserved_micro - floor_micro,
            left_s=sum(grant.remaining_s for grant in grants) if grants else None,
        )


def describe_live(leg: LegState, *, now_ms: int) -> dict[str, Any]:
    """As `rater calls` has it, but with the number of the other party, and with what pays at this moment:
    ``money``, ``allowance`` or ``free``."""
    row = describe_leg(leg, now_ms=now_ms)
    row["number"] = _other_party(asdict(LegFacts.unpack(leg.facts)))
    piece = next((p for p in leg.pieces if p.from_s <= row["talked_s"] < p.to_s), None)
    piece = piece or (leg.pieces[-1] if leg.pieces else None)
    if piece is None or (piece.in_money and piece.amount == 0):
        row["paid_by"] = "free"
    else:
        row["paid_by"] = "money" if piece.in_money else "allowance"
    return row


def event_row(entry: Entry) -> EventRow:
    """Raises KeyError, TypeError, ValueError for an entry that is not complete."""
    facts, result = entry.facts, entry.result
    at_ms = int(entry.stream_id.partition("-")[0])
    if entry.kind == "threshold":
        return EventRow(at_ms, entry.kind, result["account"], "", "", "", "", _threshold_text(result), 0, 0, "", "")
    denied = entry.kind == "denied"
    if denied:
        text = Reason(int(result["reason"])).code if "reason" in result else str(facts["reason"])
    else:
        text = str(facts["disposition"])
    return EventRow(
        at_ms=at_ms,
        kind=entry.kind,
        account=facts["account"],
        line=facts["line"],
        direction=facts["direction"],
        number=_other_party(facts),
        destination=facts["destination"],
        text=text,
        duration_s=0 if denied else int(result["duration_s"]),
        amount_micro=0 if denied else int(result["amount_micro"]),
        currency="" if denied else _currency(result["quote"]),
        cut="" if denied else str(facts["cut"]),
        paid_by="money" if denied else _paid_by(result),
    )


def _paid_by(result: Mapping[str, Any]) -> str:
    if result["amount_micro"]:
        return "money"
    return "allowance" if any(grant for grant, *_ in result["pieces"]) else "free"


def _other_party(facts: Mapping[str, Any]) -> str:
    """Whom the line talks to: the number called, or the caller of an inbound leg."""
    if facts["direction"] == "in":
        return str(facts["caller"])
    return str(facts["number"] or facts["dialled"])


def _currency(quote: Any) -> str:
    """Of a quote in its wire form (`Quote.to_wire`), packed or not."""
    if isinstance(quote, bytes):
        import msgpack

        quote = msgpack.unpackb(quote)
    return str(quote[9])


def _threshold_text(result: Any) -> str:
    kind, grant = ThresholdKind(result["kind"]), GrantId(result["grant"]) if result["grant"] else None
    return describe(Threshold(result["threshold"], kind, int(result["value"]), grant))
