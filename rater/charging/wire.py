"""Requests as script calls, and what scripts answer and store as types. Positions: see the scripts' headers.

Everything is msgpack values one after the other (see lua/prelude.lua), made by packing a list and leaving off its
head. Redis' msgpack library knows no binary type: bytes travel as strings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgpack

from rater.charging.books import Account, LedgerEntry, Line, op_number
from rater.charging.grants import MAX_GRANTS, Grant, Kind, Rolled, quota_id
from rater.charging.keys import Keys as Keys
from rater.charging.model import (
    OPERATION_KEPT_S,
    REFUND_KEPT_S,
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
    Status,
    TakeLeases,
)
from rater.charging.packed import parse_sequence as parse_sequence
from rater.charging.packed import sequence as sequence
from rater.charging.records import AccountState, LegState, PendingTransfer, Piece
from rater.charging.rules import denial_value
from rater.charging.states import account_state
from rater.charging.terms import AllowanceTerm, GrantSpec, Resource, Share, SpendWindow, Terms, ThresholdKind
from rater.charging.walk import quota_terms
from rater.charging.wire_moves import refusal_of
from rater.ids import AccountId, GrantId, LegId, OpId, Shard, SwitchId
from rater.money import Cadence, Quote
from rater.verdict import Reason

Arguments = tuple[str, Sequence[str], Sequence[bytes | str]]
"""Script name, keys, arguments."""
_STATUSES = (Status.OK, Status.DENIED, Status.GONE, Status.STALE, Status.CONFLICT)
_REASONS = {int(reason): reason for reason in Reason}
_OTHER_NEEDS = 5
_GRANTS, _GRANT, _PIECES, _PIECE = 10, 9, 16, 10
_NO_OWNER = b"\xa0"
_SPEND_WINDOWS = {SpendWindow.HOUR: 1, SpendWindow.DAY: 3, SpendWindow.CYCLE: 6}
_COUNTED = 2
_THRESHOLDS = {kind: number for number, kind in enumerate(ThresholdKind)}


class OtherNeeds(Exception):
    """The script needs the keys of the leg's leases and group in KEYS; nothing was done. `needs`: as stored."""

    def __init__(self, needs: bytes) -> None:
        super().__init__("the leg needs other keys than those named")
        self.needs = needs


def to_call(request: Request, keys: Keys, needs: bytes, refunded_before_micro: int | None = None) -> Arguments:
    """The script call for a request. `needs`: the leg's, packed (of Reserve its own); of no use to what is not of a
    leg.
    `refunded_before_micro`: of a posting, what the account's homes before know; None when they were not asked."""
    match request:
        case Extend():
            return _extend(request, keys, needs)
        case Reserve():
            return _reserve(request, keys, needs)
        case Settle():
            return _settle(request, keys, needs)
        case Answer():
            return _answer(request, keys, needs)
        case Deny():
            names = (keys.operation(request.op), keys.outbox)
            return "deny", names, (str(denial_value(request.facts)), request.facts)
        case Post():
            return _post(request, keys, refunded_before_micro)
        case TakeLeases():
            return _take_leases(request, keys)
        case FreeLeases():
            head = sequence((str(request.epoch), request.leg, request.switch))
            return "release", _outside(request, keys, request.scopes), (head,)
        case PostGrant() | ExpireGrant():
            return _grant(request, keys, asked=refunded_before_micro is not None)


def needs_of(owner: AccountId | None, scopes: Iterable[str]) -> bytes:
    """Which keys a leg needs besides its own: of the owner of its group, of its leases."""
    return sequence([owner or "", *scopes])


def reserve_needs(request: Reserve) -> bytes:
    share = request.terms.share
    return needs_of(share.owner if share is not None else None, (lease.scope for lease in request.leases))


def needs_after(request: Request, needs: bytes) -> bytes:
    """What a leg needs after the request was carried out: it may have joined a group."""
    if isinstance(request, Extend) and request.terms.share is not None and needs.startswith(_NO_OWNER):
        return sequence([request.terms.share.owner]) + needs[1:]
    return needs


def other_account(request: Request, needs: bytes) -> AccountId:
    """The second account that the request looks at: where a transfer goes, or the owner of the group that the leg
    draws on or would with this request. Its own when there is none."""
    if isinstance(request, Post):
        return request.other or request.account
    assert isinstance(request, Reserve | Extend | Settle)
    share = None if isinstance(request, Settle) else request.terms.share
    return AccountId(_owner(needs) or (share.owner if share is not None else request.account))


def _reserve(r: Reserve, keys: Keys, needs: bytes) -> Arguments:
    terms, share = r.terms, r.terms.share
    limits: list[int] = []
    rates: list[int] = []
    for lease in r.leases:
        limits += (lease.limit, _signed(lease.reason, shadow=lease.shadow or terms.shadow))
    for rate in r.rates:
        rates += (rate.calls, _signed(rate.reason, shadow=rate.shadow or terms.shadow))
    head = sequence((
        op_number(r.op), str(r.epoch), r.now_ms, r.op, r.account, r.leg, r.switch, int(r.exempt), terms.floor_micro,
        int(terms.use_money), r.slice.first_s, r.slice.short_s, int(Reason.INSUFFICIENT_CREDIT),
        int(Reason.ALLOWANCE_EXHAUSTED), int(terms.seconds_order), int(terms.money_order),
        share.owner if share is not None else "", _signed(r.broken, shadow=terms.shadow), int(Reason.SPEND_LIMIT),
        int(terms.shadow),
    ))  # fmt: skip
    names = (
        keys.leg(r.leg), keys.epoch(r.switch), keys.switches, keys.account(r.account), keys.legs(r.switch),
        keys.accounts, keys.ledger, keys.outbox, keys.account(share.owner if share is not None else r.account),
        keys.spend(r.account), keys.spend(share.owner if share is not None else r.account),
        *(keys.lease(lease.scope) for lease in r.leases), *(keys.rate(rate.scope) for rate in r.rates),
    )  # fmt: skip
    packed = _packed(terms)
    return "reserve", names, (
        head, _quote(r.quote), r.facts, sequence(limits), packed.allowances, needs, packed.share, packed.spend,
        sequence(rates), packed.bands,
    )  # fmt: skip


def _signed(reason: Reason, *, shadow: bool) -> int:
    """As limits.lua tells rules in shadow from others."""
    return -reason if shadow else int(reason)


def _take_leases(r: TakeLeases, keys: Keys) -> Arguments:
    values: list[Any] = [str(r.epoch), r.now_ms, r.leg, r.switch, r.until_ms, int(r.forced)]
    for lease in r.leases:
        values += (lease.limit, _signed(lease.reason, shadow=lease.shadow))
    return "lease", _outside(r, keys, [lease.scope for lease in r.leases]), (sequence(values),)


def _outside(r: TakeLeases | FreeLeases, keys: Keys, scopes: Iterable[str]) -> tuple[str, ...]:
    return keys.epoch(r.switch), keys.switches, *(keys.lease(scope) for scope in scopes)


def _answer(r: Answer, keys: Keys, needs: bytes) -> Arguments:
    head = sequence((op_number(r.op), str(r.epoch), r.now_ms, r.leg, r.switch, r.answered_at_ms, needs))
    names = (
        keys.leg(r.leg), keys.epoch(r.switch), keys.switches, keys.account(r.account), *_leases(keys, needs)
    )  # fmt: skip
    return "answer", names, (head, r.facts)


def _extend(r: Extend, keys: Keys, needs: bytes) -> Arguments:
    terms, share = r.terms, r.terms.share
    group_owner = share.owner if share is not None else ""
    head = sequence((
        op_number(r.op), str(r.epoch), r.now_ms, r.op, r.account, r.leg, r.switch, r.elapsed_s, terms.floor_micro,
        int(terms.use_money), r.slice.long_s, r.slice.short_s, int(terms.seconds_order), int(terms.money_order),
        group_owner, int(Reason.INSUFFICIENT_CREDIT), int(Reason.ALLOWANCE_EXHAUSTED), int(Reason.SPEND_LIMIT),
        int(terms.shadow), r.seen_at_ms, needs,
    ))  # fmt: skip
    owner = other_account(r, needs)
    names = (
        keys.leg(r.leg), keys.epoch(r.switch), keys.switches, keys.account(r.account), keys.ledger,
        keys.account(owner), keys.accounts, keys.spend(r.account), keys.spend(owner), *_leases(keys, needs),
    )  # fmt: skip
    packed = _packed(terms)
    return "extend", names, (head, packed.allowances, packed.share, packed.spend, packed.bands)


def _settle(r: Settle, keys: Keys, needs: bytes) -> Arguments:
    share = r.terms.share
    head = sequence((
        op_number(r.op), str(r.epoch), r.now_ms, r.op, r.account, r.leg, r.switch, r.duration_s or 0, int(r.emit),
        keys.wake, needs, share.owner if share is not None else "",
    ))  # fmt: skip
    owner = AccountId(_owner(needs) or r.account)
    names = (
        keys.leg(r.leg), keys.epoch(r.switch), keys.switches, keys.account(r.account), keys.legs(r.switch),
        keys.ledger, keys.outbox, keys.account(owner), keys.spend(r.account), keys.spend(owner),
        *_leases(keys, needs),
    )  # fmt: skip
    packed = _packed(r.terms)
    return "settle", names, (
        head, r.facts, packed.thresholds, packed.share_thresholds, packed.counted, packed.share_counted,
    )  # fmt: skip


def contents_of(r: Post | PostGrant | ExpireGrant) -> str:
    """What tells one operation from another of the same id."""
    if isinstance(r, Post):
        event = r.event or ""
        return _digest(r.account, r.kind.value, r.amount_micro, r.cause, r.other or "", event, r.charged_micro)
    return _digest(r.account, *_grant_values(r), r.cause)


def _post(r: Post, keys: Keys, refunded_before_micro: int | None) -> Arguments:
    other = r.other or ""
    pending = sequence((r.account, other, r.other_shard or 0, r.amount_micro, r.cause))
    head = sequence((
        r.op, r.account, r.kind.value, r.change_micro, r.now_ms, r.terms.floor_micro, r.cause, contents_of(r),
        str(OPERATION_KEPT_S * 1000), int(Reason.INSUFFICIENT_CREDIT), int(Reason.OUT_OF_RANGE), keys.wake,
        r.kind.cause, other, r.charged_micro, int(Reason.REFUND_TOO_LARGE), str(REFUND_KEPT_S * 1000), pending,
        -1 if refunded_before_micro is None else refunded_before_micro,
    ))  # fmt: skip
    within = r.other if r.kind is PostKind.TRANSFER and r.other is not None else r.account
    names = (
        keys.operation(r.op), keys.account(r.account), keys.accounts, keys.ledger, keys.outbox,
        keys.account(within), keys.refund(r.event) if r.event else keys.transfers, keys.homes(r.account),
        keys.spend(r.account), keys.spend(within),
    )  # fmt: skip
    return "post", names, (head, _thresholds(r.terms), _thresholds(r.other_terms))


def _grant(r: PostGrant | ExpireGrant, keys: Keys, *, asked: bool) -> Arguments:
    head = sequence((
        r.op, r.account, *_grant_values(r), r.now_ms, r.cause, contents_of(r), str(OPERATION_KEPT_S * 1000),
        int(Reason.OUT_OF_RANGE), MAX_GRANTS, keys.wake, 0 if asked else -1,
    ))  # fmt: skip
    names = (
        keys.operation(r.op), keys.account(r.account), keys.accounts, keys.ledger, keys.homes(r.account),
    )  # fmt: skip
    return "grant", names, (head,)


def _grant_values(r: PostGrant | ExpireGrant) -> tuple[Any, ...]:
    if isinstance(r, ExpireGrant):
        return (r.grant, 0, 0, 0, 0, "")
    spec = r.grant
    kind = Kind.SECONDS if spec.resource is Resource.SECONDS else Kind.MONEY
    return (spec.id, int(kind), spec.amount, spec.valid_from_ms, spec.valid_until_ms, _spec(spec))


def _digest(*contents: Any) -> str:
    return hashlib.sha256(sequence(contents)).hexdigest()


def _quote(quote: Quote) -> bytes:
    """Quotes are few and used again and again; comparing them costs more than packing one."""
    known = _QUOTES.get(id(quote))
    if known is not None and known[0] is quote:
        return known[1]
    packed: bytes = msgpack.packb(quote.to_wire(), use_bin_type=False)
    if len(_QUOTES) >= _KEPT:
        _QUOTES.clear()
    _QUOTES[id(quote)] = (quote, packed)
    return packed


class _PackedTerms:
    """What the scripts are sent of terms."""

    __slots__ = (
        "allowances", "bands", "counted", "share", "share_counted", "share_thresholds", "spend", "terms",
        "thresholds",
    )  # fmt: skip

    def __init__(self, terms: Terms) -> None:
        share = terms.share
        self.terms = terms
        self.allowances = _allowances(terms.allowances)
        self.bands = _bands(terms)
        self.share = _share(share)
        self.spend = _spend(terms)
        self.counted = _spend(terms, counted=True)
        self.thresholds = _thresholds(terms, spending=True)
        self.share_counted = _spend(share.terms, counted=True) if share is not None else b""
        self.share_thresholds = _thresholds(share.terms, spending=True) if share is not None else b""


def _packed(terms: Terms) -> _PackedTerms:
    """The catalogue hands the same terms out while they hold; they are packed once."""
    known = _TERMS.get(id(terms))
    if known is not None and known.terms is terms:
        return known
    if len(_TERMS) >= _KEPT:
        _TERMS.clear()
    packed = _TERMS[id(terms)] = _PackedTerms(terms)
    return packed


_KEPT = 4096
_QUOTES: dict[int, tuple[Quote, bytes]] = {}
_TERMS: dict[int, _PackedTerms] = {}
"""By identity; each entry keeps its object alive, so that no other can have the same."""


@lru_cache(maxsize=4096)
def _leases_of(prefix: str, needs: bytes) -> tuple[str, ...]:
    return tuple(prefix + scope.decode() for scope in parse_sequence(needs)[1:])


def _leases(keys: Keys, needs: bytes) -> tuple[str, ...]:
    return _leases_of(keys.lease_prefix, needs) if len(needs) > 1 else ()


@lru_cache(maxsize=4096)
def _owner(needs: bytes) -> str:
    return str(parse_sequence(needs)[0].decode()) if needs else ""


def _allowances(terms: tuple[AllowanceTerm, ...], kind: Kind = Kind.ALLOWANCE) -> bytes:
    values: list[Any] = []
    for term in terms:
        cadence, rollover = term.cadence, b""
        if term.rollover is not None:
            past: list[int] = []
            for cycle in term.rollover.past:
                past += (cycle.valid_from_ms, cycle.seconds, cycle.ended_at_ms, cycle.rolled_until_ms)
            rollover = sequence((term.rollover.max_s, term.rollover.min_s, *past))
        values += (
            term.grant, term.seconds, cadence.free_s, cadence.first_s, cadence.next_s, term.valid_from_ms,
            term.valid_until_ms, int(term.tier), term.priority, term.next_until_ms, rollover, int(kind),
            _set(term.hours),
        )  # fmt: skip
    return sequence(values) if values else b""


def _share(share: Share | None) -> bytes:
    if share is None:
        return b""
    terms = share.terms
    quotas = quota_terms(share.owner, share.quota_s, share.quota_micro)
    return sequence((
        share.owner, terms.floor_micro, int(terms.use_money), int(share.first), share.valid_until_ms,
        int(terms.seconds_order), int(terms.money_order),
        quota_id(share.owner, Resource.SECONDS) if share.quota_s is not None else "",
        quota_id(share.owner, Resource.MONEY) if share.quota_micro is not None else "",
        _allowances(terms.allowances), _allowances(quotas, Kind.QUOTA), _spend(terms), _bands(terms),
    ))  # fmt: skip


def _spec(spec: GrantSpec) -> bytes:
    """As kept with the grant. Its first increment is at least a second, as first_s 0 tells money."""
    hours = (_set(spec.hours),) if spec.hours else ()
    return sequence((
        spec.priority, int(spec.blocks), spec.cadence.free_s, spec.cadence.first_s, spec.cadence.next_s,
        _set(spec.classes), _set(spec.also), spec.source, *hours,
    ))  # fmt: skip


def _bands(terms: Terms) -> bytes:
    return (
        sequence([value for at_ms, name in terms.bands for value in (at_ms, f",{name},")]) if terms.bands else b""
    )


def _set(names: Sequence[str]) -> str:
    return f",{','.join(names)}," if names else ""


def _members(packed: bytes) -> tuple[str, ...]:
    return tuple(packed.decode().strip(",").split(",")) if packed else ()


def _spend(terms: Terms, *, counted: bool = False) -> bytes:
    """The caps; with `counted` also the windows in which is only counted what is charged."""
    values: list[int] = []
    for cap in terms.spend:
        if cap.limit_micro is not None:
            values += (_SPEND_WINDOWS[cap.window], cap.limit_micro, cap.from_ms, int(cap.shadow))
        elif counted:
            values += (_SPEND_WINDOWS[cap.window], 0, cap.from_ms, _COUNTED)
    return sequence(values) if values else b""


def _thresholds(terms: Terms, *, spending: bool = False) -> bytes:
    """`spending`: those on what was charged too, which only a settlement changes."""
    values: list[Any] = []
    for each in terms.thresholds:
        if spending or each.kind.window is None:
            values += (each.id, _THRESHOLDS[each.kind], each.value, each.grant or "", each.once_from_ms)
    return sequence(values) if values else b""


def from_reply(data: bytes) -> Reply:
    """Raises OtherNeeds when the call has to be made again with the leg's own needs, NotHere when elsewhere,
    OtherHomes when only after looking there."""
    if data[0] == _OTHER_NEEDS:
        raise OtherNeeds(data[1:])
    if data[0] > _OTHER_NEEDS:
        raise refusal_of(data)
    status, reason, granted_s, final, amount, balance, reserved, repeated = msgpack.unpackb(b"\x98" + data)
    return Reply(
        _STATUSES[status],
        _REASONS[reason],
        granted_s,
        final > 0,
        amount,
        balance,
        reserved,
        repeated == 1,
        final == 2,
    )


def to_books(account: AccountId, data: bytes) -> Account:
    """The account as stored."""
    values = parse_sequence(data)
    _, balance, reserved, opening, credits_, debits, charges, opened, legs, waiting = values[:_GRANTS]
    grants = [_to_grant(values[i : i + _GRANT]) for i in range(_GRANTS, len(values), _GRANT)]
    return Account(
        account, balance, reserved, opening, credits_, debits, charges, opened == 1, legs, waiting, grants
    )  # fmt: skip


def _to_grant(values: list[Any]) -> Grant:
    name, valid_from_ms, valid_until_ms, granted, used, reserved, closed, kind, packed = values
    grant = Grant(
        GrantId(name.decode()), valid_from_ms, valid_until_ms, granted, used, reserved, closed == 1, Kind(kind),
        rolls=packed == b"r",
    )  # fmt: skip
    if grant.kind is Kind.ALLOWANCE and packed not in (b"", b"r"):
        grant.rolled = Rolled(*parse_sequence(packed))
    if grant.kind in (Kind.SECONDS, Kind.MONEY):
        grant.spec = _to_spec(grant, packed)
    return grant


def _to_spec(grant: Grant, packed: bytes) -> GrantSpec:
    priority, blocks, free_s, first_s, next_s, classes, also, source, *hours = parse_sequence(packed)
    return GrantSpec(
        id=grant.id,
        resource=Resource.SECONDS if grant.kind is Kind.SECONDS else Resource.MONEY,
        amount=grant.granted,
        valid_from_ms=grant.valid_from_ms,
        valid_until_ms=grant.valid_until_ms,
        priority=priority,
        source=source.decode(),
        classes=_members(classes),
        also=_members(also),
        cadence=Cadence(free_s, first_s, next_s),
        blocks=blocks == 1,
        hours=_members(hours[0]) if hours else (),
    )


def to_account(account: AccountId, data: bytes) -> AccountState:
    """The account as stored."""
    return account_state(to_books(account, data))


def to_leg(leg: LegId, shard: Shard, data: bytes) -> LegState | None:
    """The leg as stored; None when it is over."""
    values = parse_sequence(data)
    if not values[0]:
        return None
    (_, last, _, account, switch, granted_s, final, owner, exempt, _, reserved_at_ms, answered_at_ms, seen_at_ms,
     quote, facts, needs, *_) = values  # fmt: skip
    pieces = []
    for i in range(_PIECES, len(values), _PIECE):
        grant, _, _, first_s, _, from_s, to_s, amount, shared, quota_ms = values[i : i + _PIECE]
        name = GrantId(grant.decode()) if grant else None
        pieces.append(
            Piece(name, from_s, to_s, amount, name is not None and first_s == 0, shared == 1, quota_ms >= 0)
        )
    return LegState(
        leg=leg,
        account=AccountId(account.decode()),
        shard=shard,
        switch=SwitchId(switch.decode()),
        quote=Quote.from_wire(msgpack.unpackb(quote)),
        pieces=tuple(pieces),
        granted_s=granted_s,
        final=final == 1,
        next_op=last + 1,
        reserved_at_ms=reserved_at_ms,
        answered_at_ms=None if answered_at_ms < 0 else answered_at_ms,
        seen_at_ms=seen_at_ms,
        exempt=exempt == 1,
        facts=facts,
        leases=tuple(scope.decode() for scope in parse_sequence(needs)[1:]),
        owner=AccountId(owner.decode()) if owner else None,
    )


def to_pending(shard: Shard, op: OpId, data: bytes) -> PendingTransfer:
    """A transfer that waits for its second half."""
    account, other, other_shard, amount_micro, cause = parse_sequence(data)
    return PendingTransfer(
        op, shard, AccountId(account.decode()), AccountId(other.decode()), Shard(other_shard), amount_micro,
        cause.decode(),
    )  # fmt: skip


def to_ledger_entry(fields: Mapping[bytes, bytes]) -> LedgerEntry:
    """One entry of the ledger's stream."""
    op, at_ms, note, *flat = parse_sequence(fields[b"e"])
    account = AccountId(fields[b"account"].decode())
    return LedgerEntry(op.decode(), account, at_ms, note.decode(), tuple(_lines(flat)))


def _lines(flat: list[Any]) -> Iterable[Line]:
    for i in range(0, len(flat), 5):
        cause, resource, cycle_ms, before, after = flat[i : i + 5]
        yield Line(cause.decode(), resource.decode(), cycle_ms, before, after)
