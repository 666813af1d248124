"""The reference store: the whole contract in plain Python, for tests, replay and simulation.

Read this to learn what charging means; the Lua scripts do the same in Redis and are tested against it, case by
case. Answers come synchronously, in `flush`, in the order of submission.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgpack

from rater.charging.books import (
    Account,
    LedgerEntry,
    Leg,
    Line,
    Walk,
    charge,
    crossed,
    increment_end_s,
    levels,
    needs_funds,
    op_number,
    renew,
)
from rater.charging.model import (
    AccountState,
    Answer,
    Deny,
    Extend,
    FreeLeases,
    GrantState,
    LegState,
    Post,
    PostKind,
    Reply,
    Request,
    Reserve,
    Settle,
    Status,
    TakeLeases,
    Terms,
)
from rater.charging.rules import denial_value, lease_expiry_ms, validate
from rater.charging.store import Done
from rater.clock import Clock, SystemClock
from rater.events.stream import DENIED, RATED, THRESHOLD
from rater.ids import AccountId, LegId, Shard, SwitchId
from rater.money import MAX_AMOUNT_MICRO
from rater.verdict import Reason

OutboxEntry = tuple[str, Mapping[str, Any], Mapping[str, Any]]
_GONE = Reply(Status.GONE)


class MemoryStore:
    """`outbox`: (kind, facts, result) as consumers would read them. `ledger`: every change of every balance.
    `on_wake` is told of an account for which running legs may have more now."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.outbox: list[OutboxEntry] = []
        self.ledger: list[LedgerEntry] = []
        self.on_wake: Callable[[AccountId], None] = lambda account: None
        self._clock = clock or SystemClock()
        self._accounts: dict[tuple[Shard, AccountId], Account] = {}
        self._legs: dict[tuple[Shard, LegId], Leg] = {}
        self._tombs: dict[tuple[Shard, LegId], tuple[int, Reply]] = {}
        self._leases: dict[tuple[Shard, str], dict[LegId, int]] = {}
        self._epochs: dict[tuple[Shard, SwitchId], int] = {}
        self._operations: dict[tuple[Shard, str], tuple[object, Reply]] = {}
        self._leaders: dict[SwitchId, tuple[str, int, int]] = {}
        self._queue: deque[tuple[Request, Done]] = deque()
        self._flushing = False

    # -- the door ------------------------------------------------------------------------------------------------

    def submit(self, request: Request, done: Done) -> None:
        validate(request)
        self._queue.append((request, done))

    def flush(self) -> None:
        if self._flushing:
            return
        self._flushing = True
        try:
            while self._queue:
                request, done = self._queue.popleft()
                done(request, self.execute(request))
        finally:
            self._flushing = False

    async def ask(self, request: Request) -> Reply:
        validate(request)
        return self.execute(request)

    async def account(self, shard: Shard, account: AccountId) -> AccountState | None:
        held = self._accounts.get((shard, account))
        return _account_state(held) if held is not None else None

    async def accounts(self, shard: Shard) -> Sequence[AccountState]:
        return [_account_state(held) for (where, _), held in self._accounts.items() if where == shard]

    async def legs(self, shard: Shard, switch: SwitchId | None = None) -> Sequence[LegState]:
        return [
            _leg_state(leg)
            for (where, _), leg in self._legs.items()
            if where == shard and switch in (None, leg.switch)
        ]

    async def leg(self, shard: Shard, leg: LegId) -> LegState | None:
        held = self._legs.get((shard, leg))
        return _leg_state(held) if held is not None else None

    async def lead(self, switch: SwitchId, holder: str, ttl_ms: int) -> int | None:
        now_ms = self._clock.wall_ms()
        known = self._leaders.get(switch)
        if known is not None and known[0] != holder and known[2] > now_ms:
            return None
        epoch = 1 if known is None else known[1] + (known[0] != holder)
        shards = [where for where in self._epochs if where[1] == switch]
        written = max((self._epochs[where] for where in shards), default=0)
        epoch = epoch if epoch >= written else written + 1
        self._leaders[switch] = (holder, epoch, now_ms + ttl_ms)
        for where in shards:
            self._epochs[where] = epoch
        return epoch

    async def close(self) -> None:
        self.flush()

    def live_leases(self, shard: Shard, scope: str, now_ms: int) -> int:
        """How many slots of a limit are taken."""
        return sum(expiry_ms > now_ms for expiry_ms in self._leases.get((shard, scope), {}).values())

    # -- operations ----------------------------------------------------------------------------------------------

    def execute(self, request: Request) -> Reply:
        """Do it at once, or repeat the first answer."""
        if isinstance(request, Deny):
            return self._deny(request)
        if isinstance(request, Post):
            return self._post(request)
        if self._is_stale(request):
            return Reply(Status.STALE, Reason.STALE_LEADER)
        if isinstance(request, TakeLeases):
            return self._take_leases(request)
        if isinstance(request, FreeLeases):
            for scope in request.scopes:
                self._leases.get((request.shard, scope), {}).pop(request.leg, None)
            return Reply(Status.OK)
        return self._once(request)

    def _take_leases(self, request: TakeLeases) -> Reply:
        reached: dict[bool, list[Reason]] = {True: [], False: []}
        for lease in () if request.forced else request.leases:
            others = self._leases.get((request.shard, lease.scope), {})
            live = sum(until > request.now_ms for leg, until in others.items() if leg != request.leg)
            if live >= lease.limit:
                reached[lease.shadow].append(lease.reason)
        if reached[False]:
            return Reply(Status.DENIED, min(reached[False]))
        for lease in request.leases:
            self._leases.setdefault((request.shard, lease.scope), {})[request.leg] = request.until_ms
        return Reply(Status.OK, min(reached[True], default=Reason.ALLOWED))

    def _is_stale(self, request: Reserve | Answer | Extend | Settle | TakeLeases | FreeLeases) -> bool:
        """Whether a newer leader writes for the switch. A newer epoch than known is noted."""
        where = (request.shard, request.switch)
        known = self._epochs.get(where, self._leaders.get(request.switch, ("", 0, 0))[1])
        self._epochs[where] = max(known, request.epoch)
        return request.epoch < known

    def _once(self, request: Reserve | Answer | Extend | Settle) -> Reply:
        """Answer a repeat as before, and what was overtaken by a later operation as things stand now."""
        where, number = (request.shard, request.leg), op_number(request.op)
        leg = self._legs.get(where)
        gone = replace(_GONE, reason=Reason.STALE_LEADER) if isinstance(request, Reserve) else _GONE
        if leg is not None:
            if number == leg.last_op:
                return replace(leg.reply, repeated=True)
            if number < leg.last_op or isinstance(request, Reserve):
                return Reply(Status.OK, granted_s=leg.granted_s, final=leg.final, repeated=True)
            return self._act(request, leg, number)
        tomb = self._tombs.get(where)
        if tomb is not None:
            if number == tomb[0]:
                return replace(tomb[1], repeated=True)
            if number < tomb[0]:
                return replace(gone, repeated=True)
        if isinstance(request, Reserve) and (tomb is None or tomb[1].status is Status.DENIED):
            return self._reserve(request, number)
        if isinstance(request, Settle) and tomb is None:
            self._tombs[where] = (number, _GONE)
        return gone

    def _act(self, request: Answer | Extend | Settle | Reserve, leg: Leg, number: int) -> Reply:
        leg.last_op = number
        match request:
            case Answer():
                leg.answered_at_ms = leg.seen_at_ms = request.answered_at_ms
                leg.facts = request.facts
                reply = Reply(Status.OK, granted_s=leg.granted_s, final=leg.final)
            case Extend():
                leg.seen_at_ms = max(leg.seen_at_ms, request.seen_at_ms)
                reply = self._extend(request, leg)
            case Settle():
                return self._settle(request, leg)
            case _:
                raise AssertionError(request)
        self._renew_leases(leg, request.now_ms)
        leg.reply = reply
        return reply

    def _reserve(self, request: Reserve, number: int) -> Reply:
        account = self._account(request.shard, request.account)
        self._renew(request, account)
        reason = Reason.ALLOWED if request.exempt else self._broken_limit(request)
        leg = Leg(
            request.leg, request.account, request.shard, request.switch, request.quote, request.exempt,
            needs_funds(request.quote, request.terms, exempt=request.exempt), request.now_ms, 0,
            request.facts, tuple(lease.scope for lease in request.leases), number, _GONE,
        )  # fmt: skip
        if reason.allows:
            sharers = 2 * (account.legs + leg.competes)
            goal_s = increment_end_s(request.quote, request.slice.first_s)
            Walk(account, leg, request.terms, request.slice, sharers).go(goal_s)
            if not leg.granted_s:
                blocked = request.terms.allowances and not request.terms.use_money
                reason = Reason.ALLOWANCE_EXHAUSTED if blocked else Reason.INSUFFICIENT_CREDIT
        if not reason.allows:
            return self._denied(request, number, reason, account)
        account.legs += leg.competes
        account.waiting += leg.waits
        self._accounts[request.shard, request.account] = account
        self._legs[request.shard, request.leg] = leg
        self._tombs.pop((request.shard, request.leg), None)
        self._renew_leases(leg, request.now_ms)
        leg.reply = _with_balance(Reply(Status.OK, granted_s=leg.granted_s, final=leg.final), account)
        return leg.reply

    def _broken_limit(self, request: Reserve) -> Reason:
        """The first, by precedence, of the limits that are reached; ALLOWED when none is."""
        broken = [
            lease.reason
            for lease in request.leases
            if self.live_leases(request.shard, lease.scope, request.now_ms) >= lease.limit
        ]
        broken += () if request.broken.allows else (request.broken,)
        return min(broken, default=Reason.ALLOWED)

    def _denied(self, request: Reserve, number: int, reason: Reason, account: Account) -> Reply:
        reply = _with_balance(Reply(Status.DENIED, reason), account)
        self._tombs[request.shard, request.leg] = (number, reply)
        result = {
            "reason": int(reason),
            "balance_micro": account.balance_micro,
            "reserved_micro": account.reserved_micro,
        }
        self._emit(DENIED, request.facts, result)
        return reply

    def _extend(self, request: Extend, leg: Leg) -> Reply:
        account = self._account(leg.shard, leg.account)
        self._renew(request, account)
        waited = leg.waits
        goal_s = increment_end_s(leg.quote, request.elapsed_s + request.slice.long_s)
        Walk(account, leg, request.terms, request.slice, 2 * account.legs).go(goal_s)
        account.waiting += leg.waits - waited
        return _with_balance(Reply(Status.OK, granted_s=leg.granted_s, final=leg.final), account)

    def _settle(self, request: Settle, leg: Leg) -> Reply:
        account = self._account(leg.shard, leg.account)
        before = levels(account, request.terms.thresholds)
        balance_before_micro = account.balance_micro
        held = leg.reserved_micro + sum(p.piece.amount for p in leg.pieces if p.piece.grant is not None)
        charged_s = min(request.duration_s or 0, leg.granted_s)
        amount_micro, pieces, lines = charge(account, leg, charged_s, request.now_ms)
        account.legs -= leg.competes
        account.waiting -= leg.waits
        reply = _with_balance(Reply(Status.OK, granted_s=leg.granted_s, amount_micro=amount_micro), account)
        self._bury(leg, reply)
        self._note(request, account, lines)
        if request.emit:
            self._emit(RATED, request.facts, {
                "amount_micro": amount_micro,
                "pieces": [[p.grant or "", p.from_s, p.to_s, p.amount] for p in pieces],
                "duration_s": charged_s,
                "granted_s": leg.granted_s,
                "balance_before_micro": balance_before_micro,
                "balance_after_micro": account.balance_micro,
                "quote": leg.quote.to_wire(),
            })  # fmt: skip
        self._announce(request, account, request.terms, before)
        if account.waiting and held > sum(p.amount for p in pieces):
            self.on_wake(account.id)
        return reply

    def _bury(self, leg: Leg, reply: Reply) -> None:
        self._tombs[leg.shard, leg.id] = (leg.last_op, reply)
        del self._legs[leg.shard, leg.id]
        for scope in leg.leases:
            self._leases[leg.shard, scope].pop(leg.id, None)

    def _deny(self, request: Deny) -> Reply:
        where = (request.shard, request.op)
        if where in self._operations:
            return replace(self._operations[where][1], repeated=True)
        reply = Reply(Status.OK)
        self._operations[where] = (request.facts, reply)
        value = denial_value(request.facts)
        self._emit(DENIED, request.facts, {"reason": value, "balance_micro": 0, "reserved_micro": 0})
        return reply

    def _post(self, request: Post) -> Reply:
        where = (request.shard, request.op)
        contents = (request.account, request.kind, request.amount_micro, request.cause)
        if where in self._operations:
            first, reply = self._operations[where]
            return replace(reply if first == contents else Reply(Status.CONFLICT), repeated=first == contents)
        account = self._account(request.shard, request.account)
        if request.kind is PostKind.OPENING and account.opened:
            same = request.amount_micro == account.opening_micro
            reply = Reply(Status.OK, amount_micro=request.amount_micro, repeated=True)
            return _with_balance(reply, account) if same else Reply(Status.CONFLICT)
        reply = self._move(request, account)
        self._operations[where] = (contents, reply)
        return reply

    def _move(self, request: Post, account: Account) -> Reply:
        amount_micro = request.amount_micro
        debit = request.kind is PostKind.DEBIT
        after_micro = account.balance_micro + (-amount_micro if debit else amount_micro)
        if debit and after_micro - account.reserved_micro < request.terms.floor_micro:
            return _with_balance(Reply(Status.DENIED, Reason.INSUFFICIENT_CREDIT), account)
        moved_micro = account.debits_micro if debit else account.credits_micro
        if moved_micro + amount_micro > MAX_AMOUNT_MICRO or abs(after_micro) > MAX_AMOUNT_MICRO:
            return _with_balance(Reply(Status.DENIED, Reason.OUT_OF_RANGE), account)
        before = levels(account, request.terms.thresholds)
        if amount_micro:
            line = Line(request.kind.value, "", 0, account.balance_micro, after_micro)
            self._note(request, account, [line])
        account.balance_micro = after_micro
        self._accounts[request.shard, request.account] = account
        match request.kind:
            case PostKind.OPENING:
                account.opening_micro, account.opened = amount_micro, True
            case PostKind.CREDIT:
                account.credits_micro += amount_micro
            case PostKind.DEBIT:
                account.debits_micro += amount_micro
        self._announce(request, account, request.terms, before)
        if account.waiting and not debit:
            self.on_wake(account.id)
        return _with_balance(Reply(Status.OK, amount_micro=amount_micro), account)

    # -- keeping -------------------------------------------------------------------------------------------------

    def _account(self, shard: Shard, account: AccountId) -> Account:
        """A new one is kept by whoever changes it."""
        return self._accounts.get((shard, account)) or Account(account)

    def _renew(self, request: Reserve | Extend, account: Account) -> None:
        lines = renew(account, request.terms, request.now_ms)
        self._note(request, account, lines)
        if lines:
            self._accounts[request.shard, request.account] = account

    def _renew_leases(self, leg: Leg, now_ms: int) -> None:
        expiry_ms = lease_expiry_ms(now_ms, leg.granted_s)
        for scope in leg.leases:
            self._leases.setdefault((leg.shard, scope), {})[leg.id] = expiry_ms

    def _note(self, request: Reserve | Extend | Settle | Post, account: Account, lines: list[Line]) -> None:
        note = request.cause if isinstance(request, Post) else ""
        if lines:
            self.ledger.append(LedgerEntry(request.op, account.id, request.now_ms, note, tuple(lines)))

    def _emit(self, kind: bytes, facts: bytes, result: Mapping[str, Any]) -> None:
        self.outbox.append((kind.decode(), msgpack.unpackb(facts) if facts else {}, result))

    def _announce(self, request: Settle | Post, account: Account, terms: Terms, before: list[int | None]) -> None:
        """One entry per threshold crossed by this operation."""
        after = levels(account, terms.thresholds)
        for threshold, was, now in zip(terms.thresholds, before, after, strict=True):
            if crossed(account, threshold, was, now):
                self._emit(THRESHOLD, b"", {
                    "threshold": threshold.id,
                    "kind": threshold.kind.value,
                    "value": threshold.value,
                    "grant": threshold.grant or "",
                    "before": was,
                    "after": now,
                    "account": account.id,
                    "at_ms": request.now_ms,
                    "id": f"{request.op}:{threshold.id}",
                })  # fmt: skip


def _with_balance(reply: Reply, account: Account) -> Reply:
    return replace(reply, balance_micro=account.balance_micro, reserved_micro=account.reserved_micro)


def _account_state(held: Account) -> AccountState:
    grants = tuple(
        GrantState(g.id, g.granted_s, g.used_s, g.reserved_s, g.valid_from_ms, g.valid_until_ms)
        for g in held.grants
    )
    return AccountState(
        held.id, held.balance_micro, held.reserved_micro, held.opening_micro, held.credits_micro,
        held.debits_micro, held.charges_micro, grants,
    )  # fmt: skip


def _leg_state(leg: Leg) -> LegState:
    return LegState(
        leg.id, leg.account, leg.shard, leg.switch, leg.quote, tuple(paid.piece for paid in leg.pieces),
        leg.granted_s, leg.final, leg.last_op + 1, leg.reserved_at_ms, leg.answered_at_ms, leg.seen_at_ms,
        leg.exempt, leg.facts, leg.leases,
    )  # fmt: skip
