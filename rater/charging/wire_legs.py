"""Operations of legs as script calls, and the scripts' answers. Positions: see the scripts' headers.

This is the hot path's part of `rater.charging.wire`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgpack

from rater import packing
from rater.charging.keys import Keys
from rater.charging.model import (
    Answer,
    Extend,
    FreeLeases,
    OfLeg,
    Post,
    Reply,
    Request,
    Reserve,
    Settle,
    Status,
    TakeLeases,
    op_number,
)
from rater.charging.terms import Terms
from rater.charging.wire_moves import refusal_of
from rater.charging.wire_terms import PackedTerms
from rater.ids import AccountId
from rater.kept import Kept
from rater.money import Quote
from rater.packing import first_text, numbers, sequence
from rater.verdict import Reason

_STATUSES = (Status.OK, Status.DENIED, Status.GONE, Status.STALE, Status.CONFLICT)
_REASONS = {int(reason): reason for reason in Reason}
_OTHER_NEEDS = 5
_NO_OWNER, _NO_TEXT = b"\xa0", 0xA0


class OtherNeeds(Exception):
    """The script needs the keys of the leg's leases and group in KEYS; nothing was done. `needs`: as stored."""

    def __init__(self, needs: bytes) -> None:
        super().__init__("the leg needs other keys than those named")
        self.needs = needs


def leg_call(command: packing.Command, request: Request, keys: Keys, needs: bytes) -> str:
    """Writes the script call for what is sent in turn for a leg and returns the script's name; "" for what is not.
    `needs`: see `wire.to_call`."""
    if isinstance(request, Extend):
        return _extend(command, request, keys, needs)
    if isinstance(request, Reserve):
        return _reserve(command, request, keys, needs)
    if isinstance(request, Settle):
        return _settle(command, request, keys, needs)
    if isinstance(request, Answer):
        return _answer(command, request, keys, needs)
    if isinstance(request, TakeLeases):
        return _take_leases(command, request, keys)
    if isinstance(request, FreeLeases):
        return _free_leases(command, request, keys)
    return ""


def needs_of(owner: AccountId | None, scopes: Iterable[str]) -> bytes:
    """Which keys a leg needs besides its own: of the owner of its group, of its leases."""
    return sequence([owner or "", *scopes])


def reserve_needs(request: Reserve) -> bytes:
    share, values = request.terms.share, _VALUES
    values.begin()
    values.text(share.owner if share is not None else "")
    for lease in request.leases:
        values.text(lease.scope)
    return values.values()


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


def _reserve(to: packing.Command, r: Reserve, keys: Keys, needs: bytes) -> str:
    terms, slices, packed = r.terms, r.slice, _packed(r.terms)
    share, shadow = terms.share, terms.shadow
    _begin(to, keys, r.leg, r.switch)
    to.key(keys.account_prefix, r.account)
    to.key(keys.legs_prefix, r.switch)
    to.key(keys.accounts, "")
    to.key(keys.ledger, "")
    to.key(keys.outbox, "")
    for lease in r.leases:
        to.key(keys.lease_prefix, lease.scope)
    for rate in r.rates:
        to.key(keys.rate_prefix, rate.scope)
    if not packed.alone:
        _second(to, keys, r.account, share.owner if share is not None else r.account)
    _number(to, r)
    to.text(r.account)
    to.text(r.leg)
    to.text(r.switch)
    to.number(r.exempt)
    to.number(slices.first_s)
    to.number(_signed(r.broken, shadow))
    to.begin_inner()
    for lease in r.leases:
        to.number(lease.limit)
        to.number(_signed(lease.reason, lease.shadow or shadow))
    to.end_inner()
    to.data(needs)
    to.text(r.op)
    to.number(slices.short_s)
    to.end_argument()
    to.argument(_quote(r.quote))
    to.argument(r.facts)
    to.argument(packed.walk)
    if r.rates:
        for rate in r.rates:
            to.number(rate.calls)
            to.number(_signed(rate.reason, rate.shadow or shadow))
        to.end_argument()
    return "reserve"


def _begin(to: packing.Command, keys: Keys, leg: str, switch: str) -> None:
    """The keys that all have."""
    to.begin()
    to.key(keys.leg_prefix, leg)
    to.key(keys.epoch_prefix, switch)
    to.key(keys.switches, "")


def _number(to: packing.Command, r: OfLeg) -> None:
    """The values that all have."""
    to.number(op_number(r.op))
    to.digits(r.epoch)
    to.number(r.now_ms)


def _second(to: packing.Command, keys: Keys, account: str, other: str) -> None:
    """The keys of another account that is looked at, and of what was spent."""
    to.key(keys.account_prefix, other)
    to.key(keys.spend_prefix, account)
    to.key(keys.spend_prefix, other)


def _signed(reason: Reason, shadow: bool) -> int:
    """As limits.lua tells rules in shadow from others."""
    return -reason if shadow else int(reason)


def _take_leases(to: packing.Command, r: TakeLeases, keys: Keys) -> str:
    to.begin()
    to.key(keys.epoch_prefix, r.switch)
    to.key(keys.switches, "")
    for lease in r.leases:
        to.key(keys.lease_prefix, lease.scope)
    to.digits(r.epoch)
    to.number(r.now_ms)
    to.text(r.leg)
    to.text(r.switch)
    to.number(r.until_ms)
    to.number(r.forced)
    for lease in r.leases:
        to.number(lease.limit)
        to.number(_signed(lease.reason, lease.shadow))
    to.end_argument()
    return "lease"


def _free_leases(to: packing.Command, r: FreeLeases, keys: Keys) -> str:
    to.begin()
    to.key(keys.epoch_prefix, r.switch)
    to.key(keys.switches, "")
    for scope in r.scopes:
        to.key(keys.lease_prefix, scope)
    to.digits(r.epoch)
    to.text(r.leg)
    to.text(r.switch)
    to.end_argument()
    return "release"


def _answer(to: packing.Command, r: Answer, keys: Keys, needs: bytes) -> str:
    _begin(to, keys, r.leg, r.switch)
    to.key(keys.account_prefix, r.account)
    to.keys_in(keys.lease_prefix, needs)
    _number(to, r)
    to.text(r.leg)
    to.text(r.switch)
    to.number(r.answered_at_ms)
    to.data(needs)
    to.end_argument()
    to.argument(r.facts)
    return "answer"


def _extend(to: packing.Command, r: Extend, keys: Keys, needs: bytes) -> str:
    slices, packed = r.slice, _packed(r.terms)
    _begin(to, keys, r.leg, r.switch)
    to.key(keys.account_prefix, r.account)
    to.key(keys.ledger, "")
    leases = to.keys_in(keys.lease_prefix, needs)
    if not packed.alone or _owner(needs):
        owner = other_account(r, needs)
        to.key(keys.account_prefix, owner)
        to.key(keys.accounts, "")
        to.key(keys.spend_prefix, r.account)
        to.key(keys.spend_prefix, owner)
    _number(to, r)
    to.number(leases)
    to.number(r.elapsed_s)
    to.number(slices.long_s)
    to.number(r.seen_at_ms)
    to.data(needs)
    to.text(r.leg)
    to.text(r.switch)
    to.text(r.op)
    to.text(r.account)
    to.number(slices.short_s)
    to.end_argument()
    to.argument(packed.walk)
    return "extend"


def _settle(to: packing.Command, r: Settle, keys: Keys, needs: bytes) -> str:
    share, packed = r.terms.share, _packed(r.terms)
    _begin(to, keys, r.leg, r.switch)
    to.key(keys.account_prefix, r.account)
    to.key(keys.legs_prefix, r.switch)
    to.key(keys.ledger, "")
    to.key(keys.outbox, "")
    leases = to.keys_in(keys.lease_prefix, needs)
    owner = _owner(needs)
    if not packed.alone or owner:
        _second(to, keys, r.account, owner or r.account)
    _number(to, r)
    to.number(leases)
    to.text(r.op)
    to.text(r.account)
    to.text(r.leg)
    to.number(r.duration_s or 0)
    to.number(r.emit)
    to.data(needs)
    to.text(r.switch)
    to.text(keys.wake)
    to.text(share.owner if share is not None else "")
    to.end_argument()
    to.argument(r.facts)
    for part in packed.settling:
        to.argument(part)
    return "settle"


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


_VALUES = packing.Command()
"""For values that are no command."""
_KEPT = 4096
_QUOTES, _TERMS = Kept(_KEPT), Kept(_KEPT)
"""By identity; each entry keeps its object alive, so that no other can have the same."""


def _owner(needs: bytes) -> str:
    return first_text(needs) if needs and needs[0] != _NO_TEXT else ""


def from_reply(data: bytes) -> Reply:
    """Raises OtherNeeds when the call has to be made again with the leg's own needs, NotHere when elsewhere,
    OtherHomes when only after looking there."""
    kind = data[0]
    if kind == _OTHER_NEEDS:
        raise OtherNeeds(data[1:])
    if kind > _OTHER_NEEDS:
        raise refusal_of(data)
    status, reason, granted_s, final, amount, balance, reserved, repeated = numbers(data, 8)
    return Reply(
        _STATUSES[status], _REASONS[reason], granted_s, final > 0, amount, balance, reserved, repeated == 1,
        final == 2,
    )  # fmt: skip
