"""Requests as script calls, and what scripts answer. Positions: see the scripts' headers.

Everything is msgpack values one after the other (see lua/prelude.lua), made by packing a list and leaving off its
head. Redis' msgpack library knows no binary type: bytes travel as strings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from rater.charging.grants import MAX_GRANTS, Kind
from rater.charging.keys import Keys as Keys
from rater.charging.model import (
    OPERATION_KEPT_S,
    REFUND_KEPT_S,
    Deny,
    ExpireGrant,
    Post,
    PostGrant,
    PostKind,
    Request,
)
from rater.charging.packed import parse_sequence as parse_sequence
from rater.charging.packed import sequence as sequence
from rater.charging.rules import denial_value
from rater.charging.terms import GrantSpec, Resource
from rater.charging.wire_legs import OtherNeeds as OtherNeeds
from rater.charging.wire_legs import from_reply as from_reply
from rater.charging.wire_legs import leg_call
from rater.charging.wire_legs import needs_after as needs_after
from rater.charging.wire_legs import needs_of as needs_of
from rater.charging.wire_legs import other_account as other_account
from rater.charging.wire_legs import reserve_needs as reserve_needs
from rater.charging.wire_terms import pack_set, pack_thresholds
from rater.packing import Command
from rater.verdict import Reason

Arguments = tuple[str, Sequence[str], Sequence[bytes | str]]
"""Script name, keys, arguments."""


def to_call(request: Request, keys: Keys, needs: bytes, refunded_before_micro: int | None = None) -> Arguments:
    """The script call for a request. `needs`: the leg's, packed (of Reserve its own); of no use to what is not of a
    leg. `refunded_before_micro`: of a posting, what the account's homes before know; None when they were not
    asked."""
    command = Command()
    script = leg_call(command, request, keys, needs)
    if script:
        return script, *command.parts()
    if isinstance(request, Deny):
        names = (keys.operation(request.op), keys.outbox)
        return "deny", names, (str(denial_value(request.facts)), request.facts)
    if isinstance(request, Post):
        return _post(request, keys, refunded_before_micro)
    assert isinstance(request, PostGrant | ExpireGrant)
    return _grant(request, keys, asked=refunded_before_micro is not None)


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
    return "post", names, (head, pack_thresholds(r.terms), pack_thresholds(r.other_terms))


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


def _spec(spec: GrantSpec) -> bytes:
    """As kept with the grant. Its first increment is at least a second, as first_s 0 tells money."""
    hours = (pack_set(spec.hours),) if spec.hours else ()
    return sequence((
        spec.priority, int(spec.blocks), spec.cadence.free_s, spec.cadence.first_s, spec.cadence.next_s,
        pack_set(spec.classes), pack_set(spec.also), spec.source, *hours,
    ))  # fmt: skip
