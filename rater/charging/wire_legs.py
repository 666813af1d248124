"""Operations of legs as script calls, and the scripts' answers. Positions: see the scripts' headers.

This is the hot path's part of `rater.charging.wire`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgpack

from rater.charging.keys import Keys
from rater.charging.model import (
    Answer,
    Extend,
    FreeLeases,
    Post,
    Reply,
    Request,
    Reserve,
    Settle,
    Status,
    TakeLeases,
    op_number,
)
from rater.charging.packed import parse_sequence
from rater.charging.terms import Terms
from rater.charging.wire_moves import refusal_of
from rater.charging.wire_terms import PackedTerms
from rater.ids import AccountId
from rater.kept import Kept
from rater.money import Quote
from rater.packing import numbers, sequence
from rater.verdict import Reason

Arguments = tuple[str, Sequence[str], Sequence[bytes | str]]
"""Script name, keys, arguments."""
_STATUSES = (Status.OK, Status.DENIED, Status.GONE, Status.STALE, Status.CONFLICT)
_REASONS = {int(reason): reason for reason in Reason}
_OTHER_NEEDS = 5
_NO_OWNER = b"\xa0"


class OtherNeeds(Exception):
    """The script needs the keys of the leg's leases and group in KEYS; nothing was done. `needs`: as stored."""

    def __init__(self, needs: bytes) -> None:
        super().__init__("the leg needs other keys than those named")
        self.needs = needs


def leg_call(request: Request, keys: Keys, needs: bytes) -> Arguments | None:
    """The script call for what is sent in turn for a leg; None for what is not. `needs`: see `wire.to_call`."""
    if isinstance(request, Extend):
        return _extend(request, keys, needs)
    if isinstance(request, Reserve):
        return _reserve(request, keys, needs)
    if isinstance(request, Settle):
        return _settle(request, keys, needs)
    if isinstance(request, Answer):
        return _answer(request, keys, needs)
    if isinstance(request, TakeLeases):
        return _take_leases(request, keys)
    if isinstance(request, FreeLeases):
        head = sequence((str(request.epoch), request.leg, request.switch))
        return "release", _outside(request, keys, request.scopes), (head,)
    return None


def needs_of(owner: AccountId | None, scopes: Iterable[str]) -> bytes:
    """Which keys a leg needs besides its own: of the owner of its group, of its leases."""
    return sequence([owner or "", *scopes])


def reserve_needs(request: Reserve) -> bytes:
    terms = request.terms
    share = terms.share
    return needs_of(share.owner if share is not None else None, [lease.scope for lease in request.leases])


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
    terms, slices = r.terms, r.slice
    share = terms.share
    limits: list[int] = []
    rates: list[int] = []
    for lease in r.leases:
        limits += (lease.limit, _signed(lease.reason, lease.shadow or terms.shadow))
    for rate in r.rates:
        rates += (rate.calls, _signed(rate.reason, rate.shadow or terms.shadow))
    head = sequence((
        op_number(r.op), str(r.epoch), r.now_ms, r.account, r.leg, r.switch, int(r.exempt), slices.first_s,
        _signed(r.broken, terms.shadow), sequence(limits), needs, r.op, slices.short_s,
    ))  # fmt: skip
    names: tuple[str, ...] = (
        keys.leg(r.leg), keys.epoch(r.switch), keys.switches, keys.account(r.account), keys.legs(r.switch),
        keys.accounts, keys.ledger, keys.outbox,
    )  # fmt: skip
    leases = _leases(keys, needs)
    names += leases if len(leases) == len(r.leases) else tuple([keys.lease(lease.scope) for lease in r.leases])
    if r.rates:
        names += tuple([keys.rate(rate.scope) for rate in r.rates])
    packed = _packed(terms)
    if not packed.alone:
        owner = share.owner if share is not None else r.account
        names += (keys.account(owner), keys.spend(r.account), keys.spend(owner))
    arguments = (head, _quote(r.quote), r.facts, packed.walk)
    return "reserve", names, (*arguments, sequence(rates)) if rates else arguments


def _signed(reason: Reason, shadow: bool) -> int:
    """As limits.lua tells rules in shadow from others."""
    return -reason if shadow else int(reason)


def _take_leases(r: TakeLeases, keys: Keys) -> Arguments:
    values: list[Any] = [str(r.epoch), r.now_ms, r.leg, r.switch, r.until_ms, int(r.forced)]
    for lease in r.leases:
        values += (lease.limit, _signed(lease.reason, lease.shadow))
    return "lease", _outside(r, keys, [lease.scope for lease in r.leases]), (sequence(values),)


def _outside(r: TakeLeases | FreeLeases, keys: Keys, scopes: Iterable[str]) -> tuple[str, ...]:
    return keys.epoch(r.switch), keys.switches, *[keys.lease(scope) for scope in scopes]


def _answer(r: Answer, keys: Keys, needs: bytes) -> Arguments:
    head = sequence((op_number(r.op), str(r.epoch), r.now_ms, r.leg, r.switch, r.answered_at_ms, needs))
    names: tuple[str, ...] = (
        keys.leg(r.leg), keys.epoch(r.switch), keys.switches, keys.account(r.account),
    )  # fmt: skip
    names += _leases(keys, needs)
    return "answer", names, (head, r.facts)


def _extend(r: Extend, keys: Keys, needs: bytes) -> Arguments:
    slices, leases, packed = r.slice, _leases(keys, needs), _packed(r.terms)
    head = sequence((
        op_number(r.op), str(r.epoch), r.now_ms, len(leases), r.elapsed_s, slices.long_s, r.seen_at_ms, needs,
        r.leg, r.switch, r.op, r.account, slices.short_s,
    ))  # fmt: skip
    names: tuple[str, ...] = (
        keys.leg(r.leg), keys.epoch(r.switch), keys.switches, keys.account(r.account), keys.ledger,
    )  # fmt: skip
    names += leases
    if not packed.alone or _owner(needs):
        owner = other_account(r, needs)
        names += (keys.account(owner), keys.accounts, keys.spend(r.account), keys.spend(owner))
    return "extend", names, (head, packed.walk)


def _settle(r: Settle, keys: Keys, needs: bytes) -> Arguments:
    terms, leases = r.terms, _leases(keys, needs)
    share, packed = terms.share, _packed(terms)
    head = sequence((
        op_number(r.op), str(r.epoch), r.now_ms, len(leases), r.op, r.account, r.leg, r.duration_s or 0,
        int(r.emit), needs, r.switch, keys.wake, share.owner if share is not None else "",
    ))  # fmt: skip
    names: tuple[str, ...] = (
        keys.leg(r.leg), keys.epoch(r.switch), keys.switches, keys.account(r.account), keys.legs(r.switch),
        keys.ledger, keys.outbox,
    )  # fmt: skip
    names += leases
    owner = _owner(needs)
    if not packed.alone or owner:
        payer = AccountId(owner or r.account)
        names += (keys.account(payer), keys.spend(r.account), keys.spend(payer))
    return "settle", names, (head, r.facts, *packed.settling)


def _quote(quote: Quote) -> bytes:
    """Quotes are few and used again and again; comparing them costs more than packing one."""
    known: tuple[Quote, bytes] | None = _QUOTES.get(id(quote))
    if known is not None and known[0] is quote:
        return known[1]
    packed: bytes = msgpack.packb(quote.to_wire(), use_bin_type=False)
    _QUOTES.put(id(quote), (quote, packed))
    return packed


def _packed(terms: Terms) -> PackedTerms:
    """The catalogue hands the same terms out while they hold; they are packed once."""
    known: PackedTerms | None = _TERMS.get(id(terms))
    if known is not None and known.terms is terms:
        return known
    packed = PackedTerms(terms)
    _TERMS.put(id(terms), packed)
    return packed


_KEPT = 4096
_QUOTES, _TERMS = Kept(_KEPT), Kept(_KEPT)
"""By identity; each entry keeps its object alive, so that no other can have the same."""


def _leases(keys: Keys, needs: bytes) -> tuple[str, ...]:
    if len(needs) <= 1:
        return ()
    known: tuple[str, ...] | None = keys.of_needs.get(needs)
    if known is None:
        known = tuple(keys.lease(scope.decode()) for scope in parse_sequence(needs)[1:])
        keys.of_needs.put(needs, known)
    return known


def _owner(needs: bytes) -> str:
    if not needs or needs.startswith(_NO_OWNER):
        return ""
    return str(parse_sequence(needs)[0].decode())


def from_reply(data: bytes) -> Reply:
    """Raises OtherNeeds when the call has to be made again with the leg's own needs, NotHere when elsewhere,
    OtherHomes when only after looking there."""
    if data[0] == _OTHER_NEEDS:
        raise OtherNeeds(data[1:])
    if data[0] > _OTHER_NEEDS:
        raise refusal_of(data)
    status, reason, granted_s, final, amount, balance, reserved, repeated = numbers(data, 8)
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
