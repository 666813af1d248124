"""What each request does to the books of the reference store, one after the other.

Read this to learn what charging means; the Lua scripts do the same in Redis and are tested against it, case by
case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgpack

from rater.charging.books import (
    Account,
    Charge,
    LedgerEntry,
    Leg,
    Line,
    charge,
    crossed,
    increment_end_s,
    levels,
    needs_funds,
    op_number,
)
from rater.charging.caps import Broken, LimitBooks
from rater.charging.grants import Kind, renew
from rater.charging.model import (
    Answer,
    Deny,
    ExpireGrant,
    Extend,
    FreeLeases,
    LegRequest,
    Post,
    PostGrant,
    PostKind,
    Reply,
    Request,
    Reserve,
    Settle,
    Status,
    TakeLeases,
)
from rater.charging.postings import arrive, expire_grant, give_grant, move
from rater.charging.records import PendingTransfer
from rater.charging.rules import denial_value
from rater.charging.terms import Terms
from rater.charging.walk import Walk, quota_terms
from rater.events.stream import DENIED, RATED, THRESHOLD
from rater.ids import AccountId, LegId, OpId, Shard, SwitchId
from rater.verdict import Reason

OutboxEntry = tuple[str, Mapping[str, Any], Mapping[str, Any]]
_GONE = Reply(Status.GONE)


class Operations:
    """`outbox`: (kind, facts, result) as consumers would read them. `ledger`: every change of every balance.
    `on_wake` is told of an account for which running legs may have more now."""

    def __init__(self) -> None:
        self.outbox: list[OutboxEntry] = []
        self.ledger: list[LedgerEntry] = []
        self.on_wake: Callable[[AccountId], None] = lambda account: None
        self._accounts: dict[tuple[Shard, AccountId], Account] = {}
        self._legs: dict[tuple[Shard, LegId], Leg] = {}
        self._tombs: dict[tuple[Shard, LegId], tuple[int, Reply]] = {}
        self._limits = LimitBooks()
        self._epochs: dict[tuple[Shard, SwitchId], int] = {}
        self._operations: dict[tuple[Shard, str], tuple[object, Reply]] = {}
        self._leaders: dict[SwitchId, tuple[str, int, int]] = {}
        self._refunds: dict[tuple[Shard, LegId | None], int] = defaultdict(int)
        self._transfers: dict[tuple[Shard, OpId], PendingTransfer] = {}

    def execute(self, request: Request) -> Reply:
        """Do it at once, or repeat the first answer."""
        if isinstance(request, Deny):
            return self._deny(request)
        if isinstance(request, Post | PostGrant | ExpireGrant):
            return self._post(request)
        if self._is_stale(request):
            return Reply(Status.STALE, Reason.STALE_LEADER)
        if isinstance(request, TakeLeases):
            return self._limits.take(request)
        if isinstance(request, FreeLeases):
            self._limits.free(request.shard, request.leg, request.scopes)
            return Reply(Status.OK)
        return self._once(request)

    def _is_stale(self, request: LegRequest | TakeLeases | FreeLeases) -> bool:
        """Whether a newer leader writes for the switch. A newer epoch than known is noted."""
        where = (request.shard, request.switch)
        known = self._epochs.get(where, self._leaders.get(request.switch, ("", 0, 0))[1])
        self._epochs[where] = max(known, request.epoch)
        return request.epoch < known

    def _once(self, request: LegRequest) -> Reply:
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

    def _act(self, request: LegRequest, leg: Leg, number: int) -> Reply:
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
        self._limits.renew(leg, request.now_ms, request.elapsed_s if isinstance(request, Extend) else 0)
        leg.reply = reply
        return reply

    def _reserve(self, request: Reserve, number: int) -> Reply:
        account = self._account(request.shard, request.account)
        share = request.terms.share
        owner = self._account(request.shard, share.owner) if share is not None else None
        broken = Broken() if request.exempt else self._limits.broken(request)
        leg = Leg(
            request.leg, request.account, request.shard, request.switch, request.quote, request.exempt,
            needs_funds(request.quote, request.terms, exempt=request.exempt), request.now_ms, 0,
            request.facts, tuple(lease.scope for lease in request.leases), number, _GONE,
            share.owner if share is not None else None,
        )  # fmt: skip
        walk = self._renewed(request, account, owner, leg, account.legs + leg.competes)
        if owner is not None:
            walk.owner_legs += leg.competes
        if broken.reason.allows:
            self._begin(request, walk, broken)
        elif broken.reason > Reason.SPEND_LIMIT and leg.competes and not walk.could_begin():
            broken.note(walk.shortage(), shadow=False)  # a spent cap stands before the reason found
        self._note_walk(request, walk)
        if not broken.reason.allows:
            return self._denied(request, number, broken.reason, account)
        self._hold(request, leg, (0, 0), broken)
        self._limits.note_attempt(request)
        for drawn in (account, owner):
            if drawn is not None:
                drawn.legs += leg.competes
                drawn.waiting += leg.waits
                self._accounts[request.shard, drawn.id] = drawn
        self._legs[request.shard, request.leg] = leg
        self._tombs.pop((request.shard, request.leg), None)
        self._limits.renew(leg, request.now_ms)
        reply = Reply(Status.OK, broken.would, leg.granted_s, leg.final, capped=walk.capped)
        leg.reply = _with_balance(reply, account)
        return leg.reply

    @staticmethod
    def _begin(request: Reserve, walk: Walk, broken: Broken) -> None:
        """The first slice, or why there is none."""
        goal_s = increment_end_s(request.quote, request.slice.first_s)
        walk.go(goal_s)
        if walk.leg.granted_s:
            return
        broken.note(walk.shortage(), shadow=request.terms.shadow)
        if request.terms.shadow:
            walk.relax()
            walk.go(goal_s)
            if not walk.leg.granted_s:
                broken.note(Reason.INSUFFICIENT_CREDIT, shadow=False)

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
        share, waited = request.terms.share, leg.waits
        if share is not None and leg.owner is None:
            leg.owner = share.owner
            joined = self._account(leg.shard, share.owner)
            joined.legs += leg.competes
            joined.waiting += waited
            self._accounts[leg.shard, joined.id] = joined
        owner = self._account(leg.shard, leg.owner) if leg.owner is not None else None
        walk = self._renewed(request, account, owner, leg, account.legs)
        goal_s = increment_end_s(leg.quote, request.elapsed_s + request.slice.long_s)
        held, broken = (leg.money_micro, leg.shared_micro), Broken()
        walk.go(goal_s)
        if request.terms.shadow and leg.waits and request.elapsed_s + 1 >= leg.granted_s:
            broken.note(walk.shortage(), shadow=True)
            walk.relax()
            walk.go(goal_s)
        self._hold(request, leg, held, broken)
        self._note_walk(request, walk)
        for drawn in (account, owner):
            if drawn is not None:
                drawn.waiting += leg.waits - waited
        return _with_balance(
            Reply(Status.OK, broken.would, leg.granted_s, leg.final, capped=walk.capped), account
        )  # fmt: skip

    def _hold(self, request: Reserve | Extend, leg: Leg, before: tuple[int, int], broken: Broken) -> None:
        """What the leg holds more of money now counts under the caps of its account; of the owner's, under that
        one's too."""
        if leg.exempt:
            return
        terms, share, limits = request.terms, request.terms.share, self._limits
        more_micro = leg.money_micro - before[0]
        limits.hold(limits.spent(leg.shard, leg.account), terms.spend, more_micro, broken)
        if share is not None and leg.owner == share.owner:
            more_micro = leg.shared_micro - before[1]
            limits.hold(limits.spent(leg.shard, share.owner), share.terms.spend, more_micro, broken)

    def _renewed(
        self, request: Reserve | Extend, account: Account, owner: Account | None, leg: Leg, legs: int
    ) -> Walk:
        """A walk over both accounts as they are now. A leg draws on one group in its life."""
        terms, now_ms = request.terms, request.now_ms
        share = terms.share
        if share is not None and leg.owner != share.owner:
            terms, share = replace(terms, share=None), None
        start_ms = now_ms - (request.elapsed_s * 1000 if isinstance(request, Extend) else 0)
        lines, owner_lines = renew(account, terms.allowances, now_ms), []
        if share is not None and owner is not None:
            lines += renew(account, quota_terms(share.owner, share.quota_s, share.quota_micro), now_ms, Kind.QUOTA)
            owner_lines = renew(owner, share.terms.allowances, now_ms)
        owner_legs = owner.legs if owner is not None else 0
        walk = Walk(
            account, leg, terms, request.slice, start_ms, legs, lines, owner, owner_legs, owner_lines
        )  # fmt: skip
        if not leg.exempt:
            walk.spend_left_micro = self._limits.spent(leg.shard, leg.account).left_micro(terms.spend)
            if share is not None:
                shared = self._limits.spent(leg.shard, share.owner)
                walk.owner_spend_left_micro = shared.left_micro(share.terms.spend)
        return walk

    def _note_walk(self, request: Reserve | Extend, walk: Walk) -> None:
        """What was renewed is kept, and told, even when nothing was had."""
        for account, lines in ((walk.account, walk.lines), (walk.owner, walk.owner_lines)):
            if account is not None and lines:
                self._note(request, account, lines)
                self._accounts[request.shard, account.id] = account

    def _settle(self, request: Settle, leg: Leg) -> Reply:
        account = self._account(leg.shard, leg.account)
        owner = self._account(leg.shard, leg.owner) if leg.owner is not None else None
        share, now_ms = request.terms.share, request.now_ms
        owner_terms = share.terms if share is not None and share.owner == leg.owner else Terms()
        before = self._levels(leg.shard, account, request.terms, now_ms)
        owner_before = self._levels(leg.shard, owner, owner_terms, now_ms) if owner is not None else []
        balance_before_micro = account.balance_micro
        charged_s = min(request.duration_s or 0, leg.granted_s)
        done = charge(account, owner, leg, charged_s, now_ms)
        for drawn in (account, owner):
            if drawn is not None:
                drawn.legs -= leg.competes
                drawn.waiting -= leg.waits
        if not leg.exempt:
            caps, limits = request.terms.spend, self._limits
            spent = limits.spent(leg.shard, account.id)
            limits.settle(spent, caps, done.amount_micro, leg.money_micro, idle=not account.legs)
            if owner is not None:
                spent, caps = limits.spent(leg.shard, owner.id), owner_terms.spend
                limits.settle(spent, caps, done.shared_micro, leg.shared_micro, idle=not owner.legs)
        reply = Reply(Status.OK, granted_s=leg.granted_s, amount_micro=done.amount_micro)
        reply = _with_balance(reply, account)
        self._bury(leg, reply)
        self._note(request, account, done.lines)
        if owner is not None:
            self._note(request, owner, done.owner_lines)
        if request.emit:
            self._emit(RATED, request.facts, _result(leg, done, charged_s, balance_before_micro, account))
        self._announce(request, account, request.terms, before)
        if owner is not None:
            self._announce(request, owner, owner_terms, owner_before, beside=True)
        if account.waiting and done.returned:
            self.on_wake(account.id)
        if owner is not None and owner.waiting and done.owner_returned:
            self.on_wake(owner.id)
        return reply

    def _bury(self, leg: Leg, reply: Reply) -> None:
        self._tombs[leg.shard, leg.id] = (leg.last_op, reply)
        del self._legs[leg.shard, leg.id]
        self._limits.free(leg.shard, leg.id, leg.leases)

    def _deny(self, request: Deny) -> Reply:
        where = (request.shard, request.op)
        if where in self._operations:
            return replace(self._operations[where][1], repeated=True)
        reply = Reply(Status.OK)
        self._operations[where] = (request.facts, reply)
        value = denial_value(request.facts)
        self._emit(DENIED, request.facts, {"reason": value, "balance_micro": 0, "reserved_micro": 0})
        return reply

    def _post(self, request: Post | PostGrant | ExpireGrant) -> Reply:
        where, contents = (request.shard, request.op), _contents(request)
        for home in self._homes(request.shard, request.account):
            first, reply = self._operations.get((home, request.op), (None, _GONE))
            if first is not None and (home == request.shard or _account_of(first) == request.account):
                return replace(reply if first == contents else Reply(Status.CONFLICT), repeated=first == contents)
        account = self._account(request.shard, request.account)
        opening = isinstance(request, Post) and request.kind is PostKind.OPENING
        if isinstance(request, Post) and opening and account.opened:
            same = request.amount_micro == account.opening_micro
            reply = Reply(Status.OK, amount_micro=request.amount_micro, repeated=True)
            return _with_balance(reply, account) if same else Reply(Status.CONFLICT)
        before = (
            self._levels(request.shard, account, request.terms, request.now_ms) if isinstance(request, Post) else []
        )
        match request:
            case Post():
                reply, lines = self._move(request, account)
            case PostGrant():
                reply, lines = give_grant(account, request)
            case ExpireGrant():
                reply, lines = expire_grant(account, request)
        if reply.status in (Status.CONFLICT, Status.GONE):
            return reply
        reply = _with_balance(reply, account)
        self._operations[where] = (contents, reply)
        if reply.status is not Status.OK:
            return reply
        self._accounts[request.shard, request.account] = account
        self._note(request, account, lines)
        if isinstance(request, Post):
            self._announce(request, account, request.terms, before)
        takes = isinstance(request, ExpireGrant) or (isinstance(request, Post) and request.change_micro < 0)
        if account.waiting and not takes:
            self.on_wake(account.id)
        return reply

    def _move(self, request: Post, account: Account) -> tuple[Reply, list[Line]]:
        other, refunded_micro = None, 0
        if request.kind is PostKind.TRANSFER and request.other is not None:
            other = self._account(request.shard, request.other)
        if request.kind is PostKind.REFUND:
            homes = self._homes(request.shard, request.account)
            refunded_micro = sum(self._refunds[home, request.event] for home in homes)
        reply, lines = move(account, request, other=other, refunded_micro=refunded_micro)
        if reply.status is not Status.OK:
            return reply, lines
        if request.kind is PostKind.REFUND:
            self._refunds[request.shard, request.event] += request.amount_micro
        if other is not None:
            self._accounts[request.shard, other.id] = other
            before = self._levels(request.shard, other, request.other_terms, request.now_ms)
            self._note(request, other, arrive(other, request))
            self._announce(request, other, request.other_terms, before, beside=True)
            if other.waiting:
                self.on_wake(other.id)
        if request.kind is PostKind.TRANSFER_OUT:
            assert request.other is not None
            assert request.other_shard is not None
            self._transfers[request.shard, request.op] = PendingTransfer(
                request.op, request.shard, request.account, request.other, request.other_shard,
                request.amount_micro, request.cause,
            )  # fmt: skip
        return reply, lines

    def _homes(self, shard: Shard, account: AccountId) -> Sequence[Shard]:
        """Where operations of the account, which lives in `shard`, may have been done."""
        return (shard,)

    # -- keeping -------------------------------------------------------------------------------------------------

    def _levels(self, shard: Shard, account: Account, terms: Terms, now_ms: int) -> list[int | None]:
        spent = self._limits.spent(shard, account.id)
        charged_micro = {cap.window: spent.charged_micro(cap) for cap in terms.spend}
        return levels(account, terms.thresholds, now_ms, charged_micro)

    def _account(self, shard: Shard, account: AccountId) -> Account:
        """A new one is kept by whoever changes it."""
        return self._accounts.get((shard, account)) or Account(account)

    def _note(
        self, request: LegRequest | Post | PostGrant | ExpireGrant, account: Account, lines: list[Line]
    ) -> None:
        note = request.cause if isinstance(request, Post | PostGrant | ExpireGrant) else ""
        if lines:
            self.ledger.append(LedgerEntry(request.op, account.id, request.now_ms, note, tuple(lines)))

    def _emit(self, kind: bytes, facts: bytes, result: Mapping[str, Any]) -> None:
        self.outbox.append((kind.decode(), msgpack.unpackb(facts) if facts else {}, result))

    def _announce(
        self,
        request: Settle | Post,
        account: Account,
        terms: Terms,
        before: list[int | None],
        *,
        beside: bool = False,
    ) -> None:
        """One entry per threshold crossed by this operation. Those of an account that it touches beside its own
        carry that one's name in their id."""
        after = self._levels(request.shard, account, terms, request.now_ms)
        op = f"{request.op}:{account.id}" if beside else request.op
        spent = self._limits.spent(request.shard, account.id)
        for threshold, was, now in zip(terms.thresholds, before, after, strict=True):
            if crossed(account, threshold, was, now, request.now_ms) and spent.tell(threshold):
                self._emit(THRESHOLD, b"", {
                    "threshold": threshold.id,
                    "kind": threshold.kind.value,
                    "value": threshold.value,
                    "grant": threshold.grant or "",
                    "before": was,
                    "after": now,
                    "account": account.id,
                    "at_ms": request.now_ms,
                    "id": f"{op}:{threshold.id}",
                })  # fmt: skip


def _contents(request: Post | PostGrant | ExpireGrant) -> object:
    """What tells one operation from another of the same id."""
    if isinstance(request, Post):
        return replace(request, now_ms=0, terms=Terms(), shard=Shard(0), other_shard=None, other_terms=Terms())
    return replace(request, now_ms=0, shard=Shard(0))


def _account_of(contents: object) -> AccountId | None:
    return contents.account if isinstance(contents, Post | PostGrant | ExpireGrant) else None


def _result(leg: Leg, done: Charge, charged_s: int, balance_before_micro: int, account: Account) -> dict[str, Any]:
    """What the store knows of a rated event. `funds`: only when not all money came from the account's balance."""
    result: dict[str, Any] = {
        "amount_micro": done.amount_micro,
        "pieces": [[p.grant or "", p.from_s, p.to_s, p.amount] for p in done.pieces],
        "duration_s": charged_s,
        "granted_s": leg.granted_s,
        "balance_before_micro": balance_before_micro,
        "balance_after_micro": account.balance_micro,
        "quote": leg.quote.to_wire(),
    }
    if leg.owner is not None:
        result["owner"] = leg.owner
    if done.funds.keys() - {(None, False)}:
        result["funds"] = [[grant or "", int(shared), amount] for (grant, shared), amount in done.funds.items()]
    return result


def _with_balance(reply: Reply, account: Account) -> Reply:
    return replace(reply, balance_micro=account.balance_micro, reserved_micro=account.reserved_micro)
