"""What the scripts store, as types: accounts, live legs, the ledger. Positions: see lua/prelude.lua."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgpack

from rater.charging.books import Account, LedgerEntry, Line
from rater.charging.grants import Grant, Kind, Rolled
from rater.charging.packed import parse_sequence
from rater.charging.records import AccountState, LegState, PendingTransfer, Piece
from rater.charging.states import account_state
from rater.charging.terms import GrantSpec, Resource
from rater.errors import StoreError
from rater.ids import AccountId, GrantId, LegId, OpId, Shard, SwitchId
from rater.money import Cadence, Quote

_VERSION = 2
_GRANTS, _GRANT, _PIECE = 10, 9, 10
_AMOUNTS, _OTHER_PIECES = 11, 28
"""Where the amounts of an account's grants begin, and the pieces of a leg but for its last."""


def unknown_form(what: str) -> StoreError:
    return StoreError(
        f"{what} is stored in a form that this version does not know",
        hint="A newer version of rater has written there. Install that one, or a newer one.",
    )


def to_books(account: AccountId, data: bytes) -> Account:
    """The account as stored."""
    values = _in_memory(parse_sequence(data))
    _, balance, reserved, opening, credits_, debits, charges, opened, legs, waiting = values[:_GRANTS]
    grants = [_to_grant(values[i : i + _GRANT]) for i in range(_GRANTS, len(values), _GRANT)]
    return Account(
        account, balance, reserved, opening, credits_, debits, charges, opened == 1, legs, waiting, grants
    )  # fmt: skip


def _in_memory(values: list[Any]) -> list[Any]:
    """The account's values as the scripts have them in memory, and as version 1 had them."""
    if values[0] == 1:
        return values
    if values[0] != _VERSION:
        raise unknown_form("An account")
    version, balance, reserved, charges, legs, waiting, opening, credits_, debits, opened, _ = values[:_AMOUNTS]
    count = (len(values) - _AMOUNTS) // _GRANT
    found = [version, balance, reserved, opening, credits_, debits, charges, opened, legs, waiting]
    for n in range(count):
        used, reserved, granted = values[_AMOUNTS + 3 * n : _AMOUNTS + 3 * n + 3]
        at = _AMOUNTS + 3 * count + 6 * n
        found += (*values[at : at + 3], granted, used, reserved, *values[at + 3 : at + 6])
    return found


def _members(packed: bytes) -> tuple[str, ...]:
    return tuple(packed.decode().strip(",").split(",")) if packed else ()


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
    held = _leg_values(values)
    pieces = []
    for i in range(0, len(held.pieces), _PIECE):
        grant, _, _, first_s, _, from_s, to_s, amount, shared, quota_ms = held.pieces[i : i + _PIECE]
        name = GrantId(grant.decode()) if grant else None
        pieces.append(
            Piece(name, from_s, to_s, amount, name is not None and first_s == 0, shared == 1, quota_ms >= 0)
        )
    return LegState(
        leg=leg,
        account=AccountId(held.account.decode()),
        shard=shard,
        switch=SwitchId(held.switch.decode()),
        quote=Quote.from_wire(msgpack.unpackb(held.quote)),
        pieces=tuple(pieces),
        granted_s=held.granted_s,
        final=held.final == 1,
        next_op=held.last_op + 1,
        reserved_at_ms=held.reserved_at_ms,
        answered_at_ms=None if held.answered_at_ms < 0 else held.answered_at_ms,
        seen_at_ms=held.seen_at_ms,
        exempt=held.exempt == 1,
        facts=held.facts,
        leases=tuple(scope.decode() for scope in parse_sequence(held.needs)[1:]),
        owner=AccountId(held.owner.decode()) if held.owner else None,
    )


def leg_payers(data: bytes) -> tuple[AccountId, AccountId | None] | None:
    """A leg's account and the owner of the group that it draws on; None when it is over."""
    values = parse_sequence(data)
    if not values[0]:
        return None
    held = _leg_values(values)
    return AccountId(held.account.decode()), AccountId(held.owner.decode()) if held.owner else None


class _StoredLeg(NamedTuple):
    """What stands in a leg, but for its last reply. `pieces`: ten values each."""

    last_op: int
    granted_s: int
    final: int
    seen_at_ms: int
    answered_at_ms: int
    exempt: int
    owner: bytes
    needs: bytes
    quote: bytes
    account: bytes
    switch: bytes
    reserved_at_ms: int
    facts: bytes
    pieces: list[Any]


def _leg_values(values: list[Any]) -> _StoredLeg:
    if values[0] == 1:
        (_, last, _, account, switch, granted_s, final, owner, exempt, _, reserved_at_ms, answered_at_ms,
         seen_at_ms, quote, facts, needs, *pieces) = values  # fmt: skip
    elif values[0] == _VERSION:
        (_, last, _, granted_s, final, seen_at_ms, _, to_s, amount, _, answered_at_ms, exempt, _, _, owner, needs,
         quote, *piece, account, switch, reserved_at_ms) = values[:_OTHER_PIECES]  # fmt: skip
        facts = values[-1]
        pieces = [*values[_OTHER_PIECES:-1], *piece[:6], to_s, amount, *piece[6:]]
    else:
        raise unknown_form("A leg")
    return _StoredLeg(
        last, granted_s, final, seen_at_ms, answered_at_ms, exempt, owner, needs, quote, account, switch,
        reserved_at_ms, facts, pieces,
    )  # fmt: skip


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
