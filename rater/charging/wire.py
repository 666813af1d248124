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

from rater.charging.books import LedgerEntry, Line, op_number
from rater.charging.keys import Keys as Keys
from rater.charging.model import (
    OPERATION_KEPT_S,
    AccountState,
    Answer,
    Deny,
    Extend,
    FreeLeases,
    GrantState,
    LegState,
    Piece,
    Post,
    Reply,
    Request,
    Reserve,
    Settle,
    Status,
    TakeLeases,
    Terms,
    ThresholdKind,
)
from rater.charging.rules import denial_value
from rater.ids import AccountId, GrantId, LegId, Shard, SwitchId
from rater.money import Quote
from rater.verdict import Reason

Arguments = tuple[str, Sequence[str], Sequence[bytes | str]]
"""Script name, keys, arguments."""
_STATUSES = (Status.OK, Status.DENIED, Status.GONE, Status.STALE, Status.CONFLICT)
_REASONS = {int(reason): reason for reason in Reason}
_OTHER_SCOPES = 5
_GRANTS, _GRANT, _PIECES, _PIECE = 10, 7, 16, 8
_THRESHOLDS = {ThresholdKind.MONEY_BELOW: 0, ThresholdKind.ALLOWANCE_PERCENT: 1}


def sequence(values: Sequence[Any]) -> bytes:
    """The values packed one after the other."""
    packed: bytes = msgpack.packb(values, use_bin_type=False)
    return packed[1:] if len(values) < 16 else packed[3:]


def parse_sequence(data: bytes) -> list[Any]:
    """Strings come as bytes, since some of them are packed themselves."""
    unpacker = msgpack.Unpacker(raw=True)
    unpacker.feed(data)
    return list(unpacker)


class OtherScopes(Exception):
    """The script needs the leg's leases named in KEYS; nothing was done. `scopes`: packed, as stored."""

    def __init__(self, scopes: bytes) -> None:
        super().__init__("the leg holds other leases than those named")
        self.scopes = scopes


def to_call(request: Request, keys: Keys, scopes: bytes) -> Arguments:
    """The script call for a request. `scopes`: of the leg's leases, packed; used by Answer, Extend and Settle."""
    match request:
        case Extend():
            return _extend(request, keys, scopes)
        case Reserve():
            return _reserve(request, keys)
        case Settle():
            return _settle(request, keys, scopes)
        case Answer():
            return _answer(request, keys, scopes)
        case Deny():
            names = (keys.operation(request.op), keys.outbox)
            return "deny", names, (str(denial_value(request.facts)), request.facts)
        case Post():
            return _post(request, keys)
        case TakeLeases():
            return _take_leases(request, keys)
        case FreeLeases():
            head = sequence((str(request.epoch), request.leg, request.switch))
            return "release", _outside(request, keys, request.scopes), (head,)


def reserve_scopes(request: Reserve) -> bytes:
    return sequence([lease.scope for lease in request.leases])


def _reserve(r: Reserve, keys: Keys) -> Arguments:
    limits: list[int] = []
    for lease in r.leases:
        limits += (lease.limit, int(lease.reason))
    terms = r.terms
    head = sequence((
        op_number(r.op), str(r.epoch), r.now_ms, r.op, r.account, r.leg, r.switch, int(r.exempt), terms.floor_micro,
        int(terms.use_money), r.slice.first_s, r.slice.short_s, int(Reason.INSUFFICIENT_CREDIT),
        int(Reason.ALLOWANCE_EXHAUSTED), int(r.broken),
    ))  # fmt: skip
    names = (
        keys.leg(r.leg), keys.epoch(r.switch), keys.switches, keys.account(r.account), keys.legs(r.switch),
        keys.accounts, keys.ledger, keys.outbox, *(keys.lease(lease.scope) for lease in r.leases),
    )  # fmt: skip
    return "reserve", names, (
        head, _quote(r.quote), r.facts, sequence(limits), _allowances(terms), reserve_scopes(r),
    )  # fmt: skip


def _take_leases(r: TakeLeases, keys: Keys) -> Arguments:
    values: list[Any] = [str(r.epoch), r.now_ms, r.leg, r.switch, r.until_ms, int(r.forced)]
    for lease in r.leases:
        values += (lease.limit, -lease.reason if lease.shadow else int(lease.reason))
    return "lease", _outside(r, keys, [lease.scope for lease in r.leases]), (sequence(values),)


def _outside(r: TakeLeases | FreeLeases, keys: Keys, scopes: Iterable[str]) -> tuple[str, ...]:
    return keys.epoch(r.switch), keys.switches, *(keys.lease(scope) for scope in scopes)


def _answer(r: Answer, keys: Keys, scopes: bytes) -> Arguments:
    head = sequence((op_number(r.op), str(r.epoch), r.now_ms, r.leg, r.switch, r.answered_at_ms, scopes))
    names = (keys.leg(r.leg), keys.epoch(r.switch), keys.switches, *_leases(keys, scopes))
    return "answer", names, (head, r.facts)


def _extend(r: Extend, keys: Keys, scopes: bytes) -> Arguments:
    terms = r.terms
    head = sequence((
        op_number(r.op), str(r.epoch), r.now_ms, r.op, r.account, r.leg, r.switch, r.elapsed_s, terms.floor_micro,
        int(terms.use_money), r.slice.long_s, r.slice.short_s, r.seen_at_ms, scopes,
    ))  # fmt: skip
    names = (
        keys.leg(r.leg), keys.epoch(r.switch), keys.switches, keys.account(r.account), keys.ledger,
        *_leases(keys, scopes),
    )  # fmt: skip
    return "extend", names, (head, _allowances(terms))


def _settle(r: Settle, keys: Keys, scopes: bytes) -> Arguments:
    head = sequence((
        op_number(r.op), str(r.epoch), r.now_ms, r.op, r.account, r.leg, r.switch, r.duration_s or 0, int(r.emit),
        keys.wake, scopes,
    ))  # fmt: skip
    names = (
        keys.leg(r.leg), keys.epoch(r.switch), keys.switches, keys.account(r.account), keys.legs(r.switch),
        keys.ledger, keys.outbox, *_leases(keys, scopes),
    )  # fmt: skip
    return "settle", names, (head, r.facts, _thresholds(r.terms))


def _post(r: Post, keys: Keys) -> Arguments:
    contents = hashlib.sha256(sequence((r.account, r.kind.value, r.amount_micro, r.cause))).hexdigest()
    head = sequence((
        r.op, r.account, r.kind.value, r.amount_micro, r.now_ms, r.terms.floor_micro, r.cause, contents,
        str(OPERATION_KEPT_S * 1000), int(Reason.INSUFFICIENT_CREDIT), int(Reason.OUT_OF_RANGE), keys.wake,
    ))  # fmt: skip
    names = (keys.operation(r.op), keys.account(r.account), keys.accounts, keys.ledger, keys.outbox)
    return "post", names, (head, _thresholds(r.terms))


@lru_cache(maxsize=4096)
def _quote(quote: Quote) -> bytes:
    packed: bytes = msgpack.packb(quote.to_wire(), use_bin_type=False)
    return packed


@lru_cache(maxsize=4096)
def _leases_of(prefix: str, scopes: bytes) -> tuple[str, ...]:
    return tuple(prefix + scope.decode() for scope in parse_sequence(scopes))


def _leases(keys: Keys, scopes: bytes) -> tuple[str, ...]:
    return _leases_of(keys.lease_prefix, scopes) if scopes else ()


def _allowances(terms: Terms) -> bytes:
    values: list[Any] = []
    for term in terms.allowances:
        cadence = term.cadence
        values += (
            term.grant, term.seconds, cadence.free_s, cadence.first_s, cadence.next_s, term.valid_from_ms,
            term.valid_until_ms,
        )  # fmt: skip
    return sequence(values) if values else b""


def _thresholds(terms: Terms) -> bytes:
    values: list[Any] = []
    for threshold in terms.thresholds:
        values += (threshold.id, _THRESHOLDS[threshold.kind], threshold.value, threshold.grant or "")
    return sequence(values) if values else b""


def from_reply(data: bytes) -> Reply:
    """Raises OtherScopes when the call has to be made again with the leg's own leases."""
    if data[0] == _OTHER_SCOPES:
        raise OtherScopes(data[1:])
    status, reason, granted_s, final, amount, balance, reserved, repeated = msgpack.unpackb(b"\x98" + data)
    return Reply(
        _STATUSES[status], _REASONS[reason], granted_s, final == 1, amount, balance, reserved, repeated == 1
    )


def to_account(account: AccountId, data: bytes) -> AccountState:
    """The account as stored."""
    values = parse_sequence(data)
    grants = []
    for i in range(_GRANTS, len(values), _GRANT):
        grant, valid_from_ms, valid_until_ms, granted_s, used_s, reserved_s, _ = values[i : i + _GRANT]
        grants.append(
            GrantState(GrantId(grant.decode()), granted_s, used_s, reserved_s, valid_from_ms, valid_until_ms)
        )
    _, balance, reserved, opening, credits_, debits, charges = values[:7]
    return AccountState(account, balance, reserved, opening, credits_, debits, charges, tuple(grants))


def to_leg(leg: LegId, shard: Shard, data: bytes) -> LegState | None:
    """The leg as stored; None when it is over."""
    values = parse_sequence(data)
    if not values[0]:
        return None
    (_, last, _, account, switch, granted_s, final, _, exempt, _, reserved_at_ms, answered_at_ms, seen_at_ms,
     quote, facts, scopes, *_) = values  # fmt: skip
    pieces = []
    for i in range(_PIECES, len(values), _PIECE):
        grant, _, _, _, _, from_s, to_s, amount = values[i : i + _PIECE]
        pieces.append(Piece(GrantId(grant.decode()) if grant else None, from_s, to_s, amount))
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
        leases=tuple(scope.decode() for scope in parse_sequence(scopes)),
    )


def to_ledger_entry(fields: Mapping[bytes, bytes]) -> LedgerEntry:
    """One entry of the ledger's stream."""
    op, at_ms, note, *flat = parse_sequence(fields[b"e"])
    account = AccountId(fields[b"account"].decode())
    return LedgerEntry(op.decode(), account, at_ms, note.decode(), tuple(_lines(flat)))


def _lines(flat: list[Any]) -> Iterable[Line]:
    for i in range(0, len(flat), 5):
        cause, resource, cycle_ms, before, after = flat[i : i + 5]
        yield Line(cause.decode(), resource.decode(), cycle_ms, before, after)
