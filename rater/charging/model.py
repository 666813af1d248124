"""What charging is asked and what it answers. No I/O, no tariffs: a price comes in as a `Quote`.

Operations on one leg are numbered: its n-th operation has the id ``<leg>:<n>``. A store keeps the last number and
answer of each leg, so that a repeat gets the same answer. Operations on accounts (`Post`) carry the caller's id.

A leg is paid in *pieces*: stretches of seconds, each from one grant or from money. A piece of money from `a` to
`b` costs C(b) − C(a) of the leg's quote; a piece of seconds takes A(b) − A(a) by the grant's cadence. Where one
source of money ends within an increment, the next pays the rest: then two pieces lie over the same seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from rater.charging.terms import CallRate, GrantSpec, Lease, SlicePolicy, Terms
from rater.ids import AccountId, GrantId, LegId, OpId, Shard, SwitchId
from rater.money import Quote
from rater.packing import trailing_number
from rater.verdict import Reason


@dataclass(frozen=True)
class OfLeg:
    """An operation of a leg. `epoch`: the leader's fencing token for the switch; an older one than the store's is
    refused."""

    op: OpId
    shard: Shard
    account: AccountId
    leg: LegId
    switch: SwitchId
    epoch: int
    now_ms: int


@dataclass(frozen=True)
class Reserve(OfLeg):
    """Check limits, take leases, reserve the first slice, write the leg: or deny, and record the denial.

    `exempt`: an emergency leg; no limit or balance is looked at (leases are still counted). `facts`: a msgpack
    map kept with the leg for resuming it and put into its rated event; a denial's record carries it too.
    `broken`: a limit kept elsewhere that is reached already (trunk, reseller, margin): the leg is denied, by the
    first reason of all.
    """

    quote: Quote
    terms: Terms
    leases: tuple[Lease, ...]
    slice: SlicePolicy
    exempt: bool
    facts: bytes
    rates: tuple[CallRate, ...] = ()
    broken: Reason = Reason.ALLOWED


@dataclass(frozen=True)
class Answer(OfLeg):
    """The leg was answered: persist when, and the facts with the channel it runs on."""

    answered_at_ms: int
    facts: bytes


@dataclass(frozen=True)
class Extend(OfLeg):
    """Reserve the next slice, renew the leases. `elapsed_s`: talked so far, floored. `seen_at_ms`: switch time of
    the last proof of life, kept for whoever takes the leg up after a crash; 0 when there is none since the last."""

    elapsed_s: int
    terms: Terms
    slice: SlicePolicy
    seen_at_ms: int = 0


@dataclass(frozen=True)
class Settle(OfLeg):
    """Charge what was talked, give back the rest, free the leases, append the rated event; all in one.

    `duration_s`: None when the leg was not answered (nothing is charged). The charge is capped at the paid slices.
    `emit`: False for an attempt that never became a leg; then no event is written. `facts`: the event's complete
    facts (msgpack map).
    """

    duration_s: int | None
    terms: Terms
    emit: bool
    facts: bytes


@dataclass(frozen=True)
class Deny:
    """Record a denial decided before any balance was asked (no rate, malformed number …) in the outbox."""

    op: OpId
    shard: Shard
    now_ms: int
    facts: bytes


@dataclass(frozen=True)
class TakeLeases:
    """Take leases outside the account's shard before a leg is reserved, all or none, or renew them to `until_ms`.
    `forced`: whatever the limits (renewal, an emergency, shadow). A repeat takes nothing twice."""

    op: OpId
    shard: Shard
    leg: LegId
    switch: SwitchId
    epoch: int
    now_ms: int
    until_ms: int
    leases: tuple[Lease, ...]
    forced: bool = False


@dataclass(frozen=True)
class FreeLeases:
    """Free such leases after the leg is settled or denied. What nobody frees frees itself, at its `until_ms`."""

    op: OpId
    shard: Shard
    leg: LegId
    switch: SwitchId
    epoch: int
    scopes: tuple[str, ...]


class PostKind(StrEnum):
    OPENING = "opening"
    CREDIT = "credit"
    DEBIT = "debit"
    ADJUST = "adjust"
    """Up, or with a negative amount down."""
    REFUND = "refund"
    """Gives back what the event `event` was charged, at most `charged_micro` in all its refunds."""
    TRANSFER = "transfer"
    """To `other` in the same shard, both or none."""
    TRANSFER_OUT = "transfer_out"
    """The first half of a transfer to `other` in another shard: noted there as pending until the second is done."""
    TRANSFER_IN = "transfer_in"
    """The second half; `other` is where it comes from."""
    TRANSFER_BACK = "transfer_back"
    """Undoes a first half when the second was refused."""

    @property
    def takes(self) -> bool:
        """Whether money leaves the account, whatever the amount's sign."""
        return self in (PostKind.DEBIT, PostKind.TRANSFER, PostKind.TRANSFER_OUT)

    @property
    def cause(self) -> str:
        """As the ledger has it."""
        return "transfer" if self.value.startswith("transfer") else self.value


@dataclass(frozen=True)
class Post:
    """Move an account's money by hand. `amount_micro` > 0, but for an adjustment; what takes money never takes the
    balance (less what is reserved) under the floor. Idempotent by `op` for `OPERATION_KEPT_S`. Creates the account
    when new, and a transfer's other one. `other_shard`: of a transfer to or from another shard. `other_terms`: of
    the account that a transfer goes to, for its thresholds."""

    op: OpId
    shard: Shard
    account: AccountId
    kind: PostKind
    amount_micro: int
    now_ms: int
    terms: Terms
    cause: str = ""
    event: LegId | None = None
    charged_micro: int = 0
    other: AccountId | None = None
    other_shard: Shard | None = None
    other_terms: Terms = field(default_factory=Terms)

    @property
    def change_micro(self) -> int:
        """By how much the account's balance changes."""
        return -self.amount_micro if self.kind.takes else self.amount_micro


@dataclass(frozen=True)
class PostGrant:
    """Give an account a grant. Idempotent by `op`; a grant's id is used once. Creates the account when new."""

    op: OpId
    shard: Shard
    account: AccountId
    grant: GrantSpec
    now_ms: int
    cause: str = ""


@dataclass(frozen=True)
class ExpireGrant:
    """End a grant by hand: its rest is void, what live legs hold of it stays theirs. Idempotent by `op`. Of an
    allowance the cycle that `now_ms` lies in; the next begins as always."""

    op: OpId
    shard: Shard
    account: AccountId
    grant: GrantId
    now_ms: int
    cause: str = ""


Request = Reserve | Answer | Extend | Settle | Deny | Post | PostGrant | ExpireGrant | TakeLeases | FreeLeases


LegRequest = Reserve | Answer | Extend | Settle
"""Those that belong to a leg: one after the other."""


def op_number(op: OpId) -> int:
    """The n of ``<leg>:<n>``, at least 1. Raises ValueError."""
    number = trailing_number(op)
    if number < 1:
        raise ValueError(f"operations of a leg are numbered from 1: {op!r}")
    return number


OPERATION_KEPT_S = 30 * 86_400


REFUND_KEPT_S = 400 * 86_400
"""How long what was refunded of an event is remembered."""


class Status(StrEnum):
    OK = "ok"
    DENIED = "denied"
    """Only Reserve, Post and TakeLeases; `reason` says why."""
    GONE = "gone"
    """The leg is unknown here: it was settled long ago or never reserved."""
    STALE = "stale"
    """A newer leader writes for this switch."""
    CONFLICT = "conflict"
    """Post: the same operation id was used before with other contents."""
    MOVED = "moved"
    """Only Post, of kind TRANSFER: the two accounts no longer live in one shard; nothing was done."""


@dataclass(frozen=True)
class Reply:
    """The answer to one request. Amounts that do not apply are 0. `granted_s` counts from the answer, in all.
    `final`: nothing more can be had at present; `capped`: because of a spend cap. `repeated`: this answer was given
    before. `reason` beside OK: what a rule in shadow would have denied or ended the leg for."""

    status: Status
    reason: Reason = Reason.ALLOWED
    granted_s: int = 0
    final: bool = False
    amount_micro: int = 0
    """Settle: charged in money, from whatever source. Else: moved, in micro-units or in a grant's own unit."""
    balance_micro: int = 0
    reserved_micro: int = 0
    repeated: bool = False
    capped: bool = False
