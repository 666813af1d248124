"""Requests as script calls, and script replies as `Reply`. Keys carry the shard as their hash tag.

Key layout: docs/redis.md. The positions of every list here are those that the scripts' headers name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack

from rater.charging.model import (
    OPERATION_KEPT_S,
    AccountState,
    Answer,
    Deny,
    Extend,
    GrantState,
    LegState,
    Piece,
    Post,
    PostKind,
    Reply,
    Request,
    Reserve,
    Settle,
    Status,
    Terms,
    ThresholdKind,
)
from rater.events.stream import outbox_key
from rater.ids import AccountId, GrantId, LegId, Shard, SwitchId
from rater.money import Quote
from rater.verdict import Reason

STATUSES = (Status.OK, Status.DENIED, Status.GONE, Status.STALE, Status.CONFLICT)
_POST_KINDS = {PostKind.OPENING: 0, PostKind.CREDIT: 1, PostKind.DEBIT: 2}
_THRESHOLDS = {ThresholdKind.MONEY_BELOW: 0, ThresholdKind.ALLOWANCE_PERCENT: 1}
Call = tuple[str, Sequence[str], Sequence[bytes | str]]
"""Script name, keys, arguments."""


class Keys:
    """The names of everything kept in one shard."""

    def __init__(self, prefix: str, shard: Shard) -> None:
        self.prefix = prefix
        self.shard = shard
        self._tag = f"{prefix}:{{{shard}}}:"
        self.outbox = outbox_key(prefix, shard)
        self.ledger = f"{self._tag}ledger"
        self.accounts = f"{self._tag}accounts"
        self.wake = f"{self._tag}wake"
        self.lease_prefix = f"{self._tag}lease:"

    def account(self, account: AccountId) -> str:
        return f"{self._tag}account:{account}"

    def leg(self, leg: LegId) -> str:
        return f"{self._tag}leg:{leg}"

    def live(self, account: AccountId) -> str:
        return f"{self._tag}live:{account}"

    def legs(self, switch: SwitchId) -> str:
        return f"{self._tag}legs:{switch}"

    def epoch(self, switch: SwitchId) -> str:
        return f"{self._tag}epoch:{switch}"

    def operation(self, op: str) -> str:
        return f"{self._tag}op:{op}"


def _terms(terms: Terms) -> list[Any]:
    allowances = [
        [
            a.grant,
            a.seconds,
            a.cadence.free_s,
            a.cadence.first_s,
            a.cadence.next_s,
            a.valid_from_ms,
            a.valid_until_ms,
        ]
        for a in terms.allowances
    ]
    thresholds = [[t.id, _THRESHOLDS[t.kind], t.value, t.grant or ""] for t in terms.thresholds]
    return [terms.floor_micro, int(terms.use_money), allowances, thresholds]


def _number(op: str) -> int:
    return int(op.rpartition(":")[2])


def to_call(request: Request, keys: Keys) -> Call:
    """The script call that carries the request out on its shard."""
    arguments: list[Any]
    names: tuple[str, ...]
    match request:
        case Reserve():
            return _reserve(request, keys)
        case Answer() as r:
            arguments = [_number(r.op), r.epoch, r.now_ms, r.answered_at_ms, r.facts]
            return "answer", (keys.leg(r.leg), keys.epoch(r.switch)), (_pack(arguments),)
        case Extend() as r:
            arguments = [r.op, _number(r.op), r.leg, r.account, r.epoch, r.now_ms, r.elapsed_s, _terms(r.terms),
                         r.slice.long_s, r.slice.short_s]  # fmt: skip
            names = (
                keys.account(r.account),
                keys.leg(r.leg),
                keys.epoch(r.switch),
                keys.ledger,
                keys.live(r.account),
            )
            return "extend", names, (_pack(arguments), keys.lease_prefix)
        case Settle() as r:
            duration_s = -1 if r.duration_s is None else r.duration_s
            arguments = [r.op, _number(r.op), r.leg, r.account, r.epoch, r.now_ms, duration_s, _terms(r.terms),
                         int(r.emit), r.facts]  # fmt: skip
            names = (keys.account(r.account), keys.leg(r.leg), keys.epoch(r.switch), keys.outbox, keys.ledger,
                     keys.legs(r.switch), keys.live(r.account))  # fmt: skip
            return "settle", names, (_pack(arguments), keys.lease_prefix, keys.wake)
        case Deny() as r:
            reason = Reason[msgpack.unpackb(r.facts)["reason"].upper()]
            return "deny", (keys.operation(r.op), keys.outbox), (r.facts, str(int(reason)))
        case Post() as r:
            arguments = [r.op, r.account, _POST_KINDS[r.kind], r.amount_micro, r.now_ms, _terms(r.terms),
                         r.cause or r.kind.value, int(Reason.INSUFFICIENT_CREDIT),
                         OPERATION_KEPT_S * 1000]  # fmt: skip
            names = (keys.account(r.account), keys.operation(r.op), keys.outbox, keys.ledger, keys.live(r.account),
                     keys.accounts)  # fmt: skip
            return "post", names, (_pack(arguments), keys.wake)


def _reserve(r: Reserve, keys: Keys) -> Call:
    limits = [[lease.scope, lease.limit, int(lease.reason)] for lease in r.leases]
    arguments = [
        r.op, _number(r.op), r.leg, r.account, r.switch, r.epoch, r.now_ms, r.quote.to_wire(), _terms(r.terms),
        r.slice.first_s, r.slice.short_s, int(r.exempt), r.facts, limits,
        int(Reason.INSUFFICIENT_CREDIT), int(Reason.ALLOWANCE_EXHAUSTED),
    ]  # fmt: skip
    names = (
        keys.account(r.account),
        keys.leg(r.leg),
        keys.epoch(r.switch),
        keys.outbox,
        keys.ledger,
        keys.legs(r.switch),
        keys.live(r.account),
        keys.accounts,
        *(keys.lease_prefix + lease.scope for lease in r.leases),
    )
    return "reserve", names, (_pack(arguments),)


def _pack(value: Any) -> bytes:
    """Redis' msgpack library knows no binary type: bytes travel as strings."""
    return bytes(msgpack.packb(value, use_bin_type=False))


def from_reply(values: Sequence[int]) -> Reply:
    status, reason, granted_s, final, amount, balance, reserved, repeated = values
    return Reply(
        STATUSES[status], Reason(reason), granted_s, bool(final), amount, balance, reserved, bool(repeated)
    )


def to_account(account: AccountId, data: bytes) -> AccountState:
    state = msgpack.unpackb(data)
    grants = tuple(GrantState(GrantId(g[0]), *g[1:]) for g in state["g"])
    return AccountState(account, state["b"], state["r"], state["o"], state["c"], state["d"], state["x"], grants)


def to_leg(leg: LegId, shard: Shard, data: bytes) -> LegState | None:
    """The leg as stored; None for a tombstone."""
    state = msgpack.unpackb(data, raw=True)
    if b"z" in state:
        return None
    pieces = tuple(Piece(GrantId(p[0].decode()) if p[0] else None, p[1], p[2], p[3]) for p in state[b"p"])
    return LegState(
        leg=leg,
        account=AccountId(state[b"a"].decode()),
        shard=shard,
        switch=SwitchId(state[b"w"].decode()),
        quote=Quote.from_wire(_decoded(state[b"q"])),
        pieces=pieces,
        granted_s=state[b"g"],
        final=bool(state[b"f"]),
        next_op=state[b"n"] + 1,
        reserved_at_ms=state[b"t"],
        answered_at_ms=state[b"h"] or None,
        seen_at_ms=state[b"s"],
        exempt=bool(state[b"e"]),
        facts=state[b"i"],
        leases=tuple(scope.decode() for scope in state[b"l"]),
    )


def _decoded(value: Any) -> Any:
    """Text instead of bytes, all the way down: scripts know only byte strings."""
    if isinstance(value, bytes):
        return value.decode()
    return [_decoded(item) for item in value] if isinstance(value, list) else value
