"""Speaks for legs and accounts to any store, so that a case reads as what happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import msgpack

from rater.charging.books import LedgerEntry
from rater.charging.memory import MemoryStore
from rater.charging.model import (
    Answer,
    Deny,
    ExpireGrant,
    Extend,
    FreeLeases,
    Post,
    PostGrant,
    PostKind,
    Reply,
    Request,
    Reserve,
    Settle,
    TakeLeases,
)
from rater.charging.records import AccountState, LegState
from rater.charging.redis_store import RedisStore
from rater.charging.terms import AllowanceTerm, CallRate, GrantSpec, Lease, Resource, SlicePolicy, Terms
from rater.events.stream import decode_entry
from rater.ids import AccountId, GrantId, LegId, OpId, Shard, SwitchId
from rater.money import Cadence, Quote, Segment, parse_amount
from rater.verdict import Reason

CENT = 10_000
SHARD = Shard(0)
OTHER_SHARD = Shard(3)
SWITCH = SwitchId("pbx1")
NOON_MS = 1_790_000_000_000
DAY_MS = 86_400_000
PER_SECOND = Quote((Segment(0, 1, CENT, 1),), "EUR", "fixed")
"""One cent a second."""
FREE = Quote((Segment(0, 1, 0, 1),), "EUR", "free")
PREPAID = Terms(currency="EUR")
LONG = SlicePolicy()


def facts(leg: str, reason: str = "") -> bytes:
    packed: bytes = msgpack.packb({"id": leg, "reason": reason})
    return packed


def allowance(
    seconds: int, *, grant: str = "minutes", cycle: int = 0, cadence: Cadence | None = None, **more: Any
) -> AllowanceTerm:
    """One that is valid for a day, `cycle` days after noon (less a second)."""
    from_ms = NOON_MS - 1000 + cycle * DAY_MS
    return AllowanceTerm(GrantId(grant), seconds, cadence or Cadence(), from_ms, from_ms + DAY_MS, **more)


def minutes(grant: str, seconds: int, **more: Any) -> GrantSpec:
    """Seconds given by hand, from noon on."""
    return GrantSpec(GrantId(grant), Resource.SECONDS, seconds, **{"valid_from_ms": NOON_MS, **more})


def money(grant: str, amount: str, **more: Any) -> GrantSpec:
    """Money given by hand, from noon on."""
    return GrantSpec(GrantId(grant), Resource.MONEY, parse_amount(amount), **{"valid_from_ms": NOON_MS, **more})


def blocker(grant: str, resource: Resource = Resource.SECONDS, **more: Any) -> GrantSpec:
    return GrantSpec(GrantId(grant), resource, 0, **{"valid_from_ms": NOON_MS, "blocks": True, **more})


class Driver(Protocol):
    """One store, and how to see what it wrote."""

    store: MemoryStore | RedisStore
    woken: list[str]

    def run(self, work: Any) -> Any: ...
    def outbox(self, *shards: Shard) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]: ...
    def ledger(self, shard: Shard = SHARD) -> list[LedgerEntry]: ...
    def leases(self, scope: str, now_ms: int, shard: Shard) -> int: ...


class MemoryDriver:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.woken: list[str] = []
        self.store.on_wake = self.woken.append

    def run(self, work: Any) -> Any:
        return asyncio.run(work)

    def outbox(self, *shards: Shard) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
        """Of all shards: the reference store has one for all, and one ledger."""
        return self.store.outbox

    def ledger(self, shard: Shard = SHARD) -> list[LedgerEntry]:
        return self.store.ledger

    def leases(self, scope: str, now_ms: int, shard: Shard) -> int:
        return self.store.live_leases(shard, scope, now_ms)


class RedisDriver:
    """Keeps one loop, on which the store's connection lives."""

    def __init__(self, loop: asyncio.AbstractEventLoop, store: RedisStore) -> None:
        self._loop = loop
        self.store = store
        self._channel = store.redis.pubsub()
        self.run(self._channel.subscribe(store.keys(SHARD).wake))
        self.run(self._channel.get_message(timeout=1))

    def run(self, work: Any) -> Any:
        return self._loop.run_until_complete(work)

    @property
    def woken(self) -> list[str]:
        found = []
        while message := self.run(self._channel.get_message(ignore_subscribe_messages=True, timeout=0.02)):
            found.append(message["data"].decode())
        return found

    def outbox(self, *shards: Shard) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
        found = []
        for shard in shards or (SHARD,):
            entries = self.run(self.store.redis.xrange(self.store.keys(shard).outbox))
            found += [decode_entry(shard, name, fields) for name, fields in entries]
        return [(entry.kind, entry.facts, entry.result) for entry in found]

    def ledger(self, shard: Shard = SHARD) -> list[LedgerEntry]:
        async def read() -> list[LedgerEntry]:
            return [entry async for entry in self.store.ledger(shard)]

        entries: list[LedgerEntry] = self.run(read())
        return entries

    def leases(self, scope: str, now_ms: int, shard: Shard) -> int:
        live: int = self.run(self.store.live_leases(shard, scope, now_ms))
        return live

    def close(self) -> None:
        self.run(self._channel.aclose())
        self.run(self.store.close())


class Desk:
    """One account, ``ACME``, unless another is named. `now_ms` is moved by hand; `terms` may be changed."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.terms = PREPAID
        self.now_ms = NOON_MS
        self.epoch = 1
        self._numbers: dict[str, int] = {}

    # -- requests, as values that can be sent again --------------------------------------------------------------

    def number(self, leg: str) -> OpId:
        self._numbers[leg] = self._numbers.get(leg, 0) + 1
        return OpId(f"{leg}:{self._numbers[leg]}")

    def a_reservation(
        self,
        leg: str,
        quote: Quote = PER_SECOND,
        *,
        account: str = "ACME",
        leases: tuple[Lease, ...] = (),
        rates: tuple[CallRate, ...] = (),
        broken: Reason = Reason.ALLOWED,
        exempt: bool = False,
        slices: SlicePolicy = LONG,
    ) -> Reserve:
        return Reserve(
            self.number(leg), SHARD, AccountId(account), LegId(leg), SWITCH, self.epoch, self.now_ms, quote,
            self.terms, leases, slices, exempt, facts(leg), rates, broken,
        )  # fmt: skip

    def an_answer(self, leg: str, *, account: str = "ACME", note: str = "") -> Answer:
        return Answer(
            self.number(leg), SHARD, AccountId(account), LegId(leg), SWITCH, self.epoch, self.now_ms,
            self.now_ms - 5, facts(leg, note),
        )  # fmt: skip

    def an_extension(
        self, leg: str, elapsed_s: int, *, account: str = "ACME", slices: SlicePolicy = LONG
    ) -> Extend:
        return Extend(
            self.number(leg), SHARD, AccountId(account), LegId(leg), SWITCH, self.epoch, self.now_ms, elapsed_s,
            self.terms, slices,
        )  # fmt: skip

    def a_settlement(self, leg: str, duration_s: int | None, *, account: str = "ACME", emit: bool = True) -> Settle:
        return Settle(
            self.number(leg), SHARD, AccountId(account), LegId(leg), SWITCH, self.epoch, self.now_ms, duration_s,
            self.terms, emit, facts(leg),
        )  # fmt: skip

    def a_posting(
        self, op: str, amount: str, kind: PostKind = PostKind.CREDIT, *, account: str = "ACME", cause: str = ""
    ) -> Post:
        return Post(OpId(op), SHARD, AccountId(account), kind, parse_amount(amount), self.now_ms, self.terms, cause)

    # -- carried out ---------------------------------------------------------------------------------------------

    def ask(self, request: Request) -> Reply:
        reply: Reply = self.driver.run(self.driver.store.ask(request))
        return reply

    def reserve(self, leg: str, quote: Quote = PER_SECOND, **more: Any) -> Reply:
        return self.ask(self.a_reservation(leg, quote, **more))

    def answer(self, leg: str, **more: Any) -> Reply:
        return self.ask(self.an_answer(leg, **more))

    def extend(self, leg: str, elapsed_s: int, **more: Any) -> Reply:
        return self.ask(self.an_extension(leg, elapsed_s, **more))

    def extend_to_the_end(self, leg: str, **more: Any) -> Reply:
        """Ask for more until nothing more can be had."""
        elapsed_s = 0
        while not (reply := self.extend(leg, elapsed_s, **more)).final:
            assert reply.granted_s > elapsed_s, "neither more nor final"
            elapsed_s = reply.granted_s
        return reply

    def settle(self, leg: str, duration_s: int | None, **more: Any) -> Reply:
        return self.ask(self.a_settlement(leg, duration_s, **more))

    def credit(self, amount: str, op: str | None = None, **more: Any) -> Reply:
        return self.ask(self.a_posting(op or self.number("credit"), amount, PostKind.CREDIT, **more))

    def debit(self, amount: str, op: str | None = None, **more: Any) -> Reply:
        return self.ask(self.a_posting(op or self.number("debit"), amount, PostKind.DEBIT, **more))

    def opening(self, amount: str, op: str | None = None, **more: Any) -> Reply:
        return self.ask(self.a_posting(op or self.number("opening"), amount, PostKind.OPENING, **more))

    def a_gift(self, op: str, spec: GrantSpec, *, account: str = "ACME", cause: str = "") -> PostGrant:
        return PostGrant(OpId(op), SHARD, AccountId(account), spec, self.now_ms, cause)

    def give(self, spec: GrantSpec, op: str | None = None, **more: Any) -> Reply:
        return self.ask(self.a_gift(op or f"give-{spec.id}", spec, **more))

    def expire(self, grant: str, op: str | None = None, *, account: str = "ACME") -> Reply:
        op = op or self.number("expire")
        return self.ask(ExpireGrant(OpId(op), SHARD, AccountId(account), GrantId(grant), self.now_ms))

    def deny(self, leg: str, reason: str) -> Reply:
        return self.ask(Deny(OpId(f"{leg}:denied"), SHARD, self.now_ms, facts(leg, reason)))

    def take(self, leg: str, *leases: Lease, forced: bool = False, lasting_s: int = 60) -> Reply:
        """Leases outside the account's shard, for so many seconds."""
        until_ms = self.now_ms + lasting_s * 1000
        op = OpId(f"{leg}:outside")
        return self.ask(
            TakeLeases(op, OTHER_SHARD, LegId(leg), SWITCH, self.epoch, self.now_ms, until_ms, leases, forced)
        )

    def free(self, leg: str, *leases: Lease) -> Reply:
        scopes = tuple(lease.scope for lease in leases)
        return self.ask(FreeLeases(OpId(f"{leg}:outside"), OTHER_SHARD, LegId(leg), SWITCH, self.epoch, scopes))

    def use_allowances(self, *terms: AllowanceTerm, use_money: bool = True) -> None:
        self.terms = replace(self.terms, allowances=terms, use_money=use_money)

    # -- looked at -----------------------------------------------------------------------------------------------

    def account(self, account: str = "ACME") -> AccountState:
        state: AccountState | None = self.driver.run(self.driver.store.account(SHARD, AccountId(account)))
        assert state is not None, f"{account} is not in the store"
        return state

    def grants(self, account: str = "ACME") -> list[tuple[str, int, int, int]]:
        """Of each cycle on record: allowance, granted, used, reserved."""
        return [(g.grant, g.granted_s, g.used_s, g.reserved_s) for g in self.account(account).grants]

    def money_grants(self, account: str = "ACME") -> list[tuple[str, int, int, int]]:
        """Of each: grant, granted, used, reserved, in cents."""
        return [
            (g.grant, g.granted_micro // CENT, g.used_micro // CENT, g.reserved_micro // CENT)
            for g in self.account(account).money_grants
        ]

    def pieces(self, leg: str) -> list[tuple[str, int, int, int]]:
        """Of the live leg: grant, from, to, seconds or cents."""
        state = self.leg(leg)
        assert state is not None
        return [
            (p.grant or "", p.from_s, p.to_s, p.amount // CENT if p.in_money else p.amount) for p in state.pieces
        ]

    def causes(self, account: str = "ACME") -> list[tuple[str, str, int, int]]:
        """The ledger's lines: cause, grant, before, after."""
        return [
            (line.cause, line.resource, line.before, line.after)
            for entry in self.driver.ledger()
            if entry.account == account
            for line in entry.lines
        ]

    def leg(self, leg: str) -> LegState | None:
        state: LegState | None = self.driver.run(self.driver.store.leg(SHARD, LegId(leg)))
        return state

    def legs(self, switch: SwitchId | None = None) -> list[LegState]:
        return list(self.driver.run(self.driver.store.legs(SHARD, switch)))

    def entries(self, kind: str) -> list[dict[str, Any]]:
        return [{**known, **result} for name, known, result in self.driver.outbox() if name == kind]

    def live(self, scope: str, shard: Shard = SHARD) -> int:
        return self.driver.leases(scope, self.now_ms, shard)

    def woken(self) -> list[str]:
        return list(self.driver.woken)

    def check_books(self) -> None:
        """Balance = totals = sum of the ledger, and so for each grant; what is reserved is what live legs hold."""
        states = list(self.driver.run(self.driver.store.accounts(SHARD)))
        legs = self.legs()
        ledger = self.driver.ledger()
        for state in states:
            assert state.balance_micro == (
                state.opening_micro + state.credits_micro - state.debits_micro - state.charges_micro
            )
            sums = _sums(ledger, lambda entry, who=state.account: entry.account == who)  # type: ignore[misc]
            assert sums.pop(("", 0), 0) == state.balance_micro
            holds = _holds(legs, state.account)
            assert holds.pop("", 0) == state.reserved_micro
            reserved: dict[str, int] = {}
            for name, cycle_ms, held, taken in _grants(state):
                assert sums.pop((name, cycle_ms), 0) == held, name
                assert 0 <= taken <= held, name
                reserved[name] = reserved.get(name, 0) + taken
            assert not any(sums.values()), "the ledger knows of more than the account"
            assert {name: amount for name, amount in reserved.items() if amount} == holds


def _grants(state: AccountState) -> list[tuple[str, int, int, int]]:
    """Everything that is granted: id, start, what it holds by the ledger, what of it is reserved."""
    found = [(g.grant, g.valid_from_ms, g.granted_s - g.used_s, g.reserved_s) for g in state.grants]
    found += [
        (g.grant, g.valid_from_ms, g.granted_micro - g.used_micro, g.reserved_micro) for g in state.money_grants
    ]
    for quota in state.quotas:
        name = f"share:{quota.owner}" + (":money" if quota.resource is Resource.MONEY else "")
        found.append((GrantId(name), quota.valid_from_ms, quota.limit - quota.used, quota.reserved))
    return [(str(name), *rest) for name, *rest in found]  # type: ignore[misc]


def _holds(legs: list[LegState], account: AccountId) -> dict[str, int]:
    """What live legs hold of an account, by grant."""
    holds: dict[str, int] = {}
    for leg in legs:
        for piece in leg.pieces:
            payer = leg.owner if piece.shared else leg.account
            names = [piece.grant or ""] if payer == account else []
            if piece.quota and leg.account == account:
                names.append(f"share:{leg.owner}" + (":money" if piece.in_money else ""))
            for name in names:
                holds[name] = holds.get(name, 0) + piece.amount
    return {name: amount for name, amount in holds.items() if amount}


def _sums(ledger: list[LedgerEntry], wanted: Callable[[LedgerEntry], bool]) -> dict[tuple[str, int], int]:
    """What the ledger's lines add up to, each going on from where the one before ended."""
    held: dict[tuple[str, int], int] = {}
    for entry in filter(wanted, ledger):
        for line in entry.lines:
            at = (line.resource, line.cycle_ms)
            assert held.get(at, 0) == line.before, f"a gap in the ledger before {entry.op}"
            held[at] = line.after
    return held
