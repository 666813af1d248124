"""What charging is asked and what it answers. No I/O, no tariffs: a price comes in as a `Quote`.

Operations on one leg are numbered: its n-th operation has the id ``<leg>:<n>``. A store keeps the last number and
answer of each leg, so that a repeat gets the same answer. Operations on accounts (`Post`) carry the caller's id.

A leg is paid in *pieces*: stretches of seconds, each from one grant or from money. A piece of money from `a` to
`b` costs C(b) − C(a) of the leg's quote; a piece of an allowance takes A(b) − A(a) by its cadence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from rater.ids import AccountId, GrantId, LegId, OpId, Shard, SwitchId
from rater.money import Cadence, Quote
from rater.verdict import Reason


@dataclass(frozen=True, slots=True)
class Lease:
    """One slot of a simultaneous-call limit. `scope` names what is limited: ``line:1001``, ``line:1001:out``,
    ``account:ACME:in``. The scope's live legs may not exceed `limit`; `reason` is the denial's."""

    scope: str
    limit: int
    reason: Reason
    shadow: bool = False
    """Reached, it is told and denies nothing."""


@dataclass(frozen=True, slots=True)
class CallRate:
    """At most `calls` attempts of `scope` pass in any second; those denied do not count. `reason`, `shadow`: as
    of a `Lease`."""

    scope: str
    calls: int
    reason: Reason = Reason.CALL_RATE_LIMIT
    shadow: bool = False


class SpendWindow(StrEnum):
    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class SpendCap:
    """Most money, charged and reserved, in the window that began at `from_ms`. What a leg is charged counts in the
    window in which it is settled, what live legs hold in the present one."""

    window: SpendWindow
    limit_micro: int
    from_ms: int
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class AllowanceTerm:
    """One allowance that applies to this leg, in the order of use, as it stands in this cycle.

    The store opens or renews the grant when it first meets it in a new cycle: no sweep renews anything.
    """

    grant: GrantId
    seconds: int
    cadence: Cadence
    valid_from_ms: int
    valid_until_ms: int


class ThresholdKind(StrEnum):
    MONEY_BELOW = "money_below"
    """`value` in micro-units; crossed when the balance falls from ≥ value to < value."""
    ALLOWANCE_PERCENT = "allowance_percent"
    """`value` in percent used of `grant`; crossed when the use rises from < value to ≥ value."""


@dataclass(frozen=True, slots=True)
class Threshold:
    id: str
    kind: ThresholdKind
    value: int
    grant: GrantId | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What an account may do, from the catalogue in force; sent with each operation, stored nowhere.

    `floor_micro`: the balance may not fall under it (0 prepaid, −limit postpaid). `use_money`: False when an
    exhausted allowance blocks. `shadow`: the leg is reserved and charged whatever limits and balances say, and what
    would have denied or ended it is told with the answer.
    """

    floor_micro: int = 0
    use_money: bool = True
    allowances: tuple[AllowanceTerm, ...] = ()
    """Only those whose classes hold the leg's class."""
    thresholds: tuple[Threshold, ...] = ()
    currency: str = ""
    spend: tuple[SpendCap, ...] = ()
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class SlicePolicy:
    """How much is reserved ahead. `long_s` when there is plenty; towards the end an equal share among the
    account's live legs, never less than `short_s` while money is left."""

    first_s: int = 30
    long_s: int = 60
    short_s: int = 2


@dataclass(frozen=True, slots=True)
class Reserve:
    """Check limits, take leases, reserve the first slice, write the leg: or deny, and record the denial.

    `exempt`: an emergency leg; no limit or balance is looked at (leases are still counted). `facts`: a msgpack
    map kept with the leg for resuming it and put into its rated event; a denial's record carries it too.
    `epoch`: the leader's fencing token for the switch; an older one than the store's is refused. `broken`: a limit
    kept elsewhere that is reached already (trunk, reseller, margin): the leg is denied, by the first reason of all.
    """

    op: OpId
    shard: Shard
    account: AccountId
    leg: LegId
    switch: SwitchId
    epoch: int
    now_ms: int
    quote: Quote
    terms: Terms
    leases: tuple[Lease, ...]
    slice: SlicePolicy
    exempt: bool
    facts: bytes
    rates: tuple[CallRate, ...] = ()
    broken: Reason = Reason.ALLOWED


@dataclass(frozen=True, slots=True)
class Answer:
    """The leg was answered: persist when, and the facts with the channel it runs on."""

    op: OpId
    shard: Shard
    account: AccountId
    leg: LegId
    switch: SwitchId
    epoch: int
    now_ms: int
    answered_at_ms: int
    facts: bytes


@dataclass(frozen=True, slots=True)
class Extend:
    """Reserve the next slice, renew the leases. `elapsed_s`: talked so far, floored. `seen_at_ms`: switch time of
    the last proof of life, kept for whoever takes the leg up after a crash; 0 when there is none since the last."""

    op: OpId
    shard: Shard
    account: AccountId
    leg: LegId
    switch: SwitchId
    epoch: int
    now_ms: int
    elapsed_s: int
    terms: Terms
    slice: SlicePolicy
    seen_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Settle:
    """Charge what was talked, give back the rest, free the leases, append the rated event; all in one.

    `duration_s`: None when the leg was not answered (nothing is charged). The charge is capped at the paid slices.
    `emit`: False for an attempt that never became a leg; then no event is written. `facts`: the event's complete
    facts (msgpack map).
    """

    op: OpId
    shard: Shard
    account: AccountId
    leg: LegId
    switch: SwitchId
    epoch: int
    now_ms: int
    duration_s: int | None
    terms: Terms
    emit: bool
    facts: bytes


@dataclass(frozen=True, slots=True)
class Deny:
    """Record a denial decided before any balance was asked (no rate, malformed number …) in the outbox."""

    op: OpId
    shard: Shard
    now_ms: int
    facts: bytes


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Post:
    """Move an account's money by hand. `amount_micro` > 0; a debit never takes the balance (less what is
    reserved) under the floor. Idempotent by `op` for `OPERATION_KEPT_S`. Creates the account when new."""

    op: OpId
    shard: Shard
    account: AccountId
    kind: PostKind
    amount_micro: int
    now_ms: int
    terms: Terms
    cause: str = ""


Request = Reserve | Answer | Extend | Settle | Deny | Post | TakeLeases | FreeLeases
OPERATION_KEPT_S = 30 * 86_400


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


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one request. Amounts that do not apply are 0. `granted_s` counts from the answer, in all.
    `final`: nothing more can be had at present. `repeated`: this answer was given before. `reason` beside OK: what
    a rule in shadow would have denied or ended the leg for."""

    status: Status
    reason: Reason = Reason.ALLOWED
    granted_s: int = 0
    final: bool = False
    amount_micro: int = 0
    """Settle: charged in money. Post: moved."""
    balance_micro: int = 0
    reserved_micro: int = 0
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class GrantState:
    grant: GrantId
    granted_s: int
    used_s: int
    reserved_s: int
    valid_from_ms: int
    valid_until_ms: int

    @property
    def remaining_s(self) -> int:
        return self.granted_s - self.used_s - self.reserved_s


@dataclass(frozen=True, slots=True)
class AccountState:
    """What the store holds of one account. balance = opening + credits − debits − charges, to the micro;
    reserved is not yet deducted from it."""

    account: AccountId
    balance_micro: int = 0
    reserved_micro: int = 0
    opening_micro: int = 0
    credits_micro: int = 0
    debits_micro: int = 0
    charges_micro: int = 0
    grants: tuple[GrantState, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """Seconds [from_s, to_s) of a leg, paid by `grant` (seconds) or, when it is None, by money (micro-units)."""

    grant: GrantId | None
    from_s: int
    to_s: int
    amount: int


@dataclass(frozen=True, slots=True)
class LegState:
    """A live leg as stored: enough to resume it after any crash."""

    leg: LegId
    account: AccountId
    shard: Shard
    switch: SwitchId
    quote: Quote
    pieces: tuple[Piece, ...]
    granted_s: int
    final: bool
    next_op: int
    """The number of the leg's next operation."""
    reserved_at_ms: int
    answered_at_ms: int | None
    seen_at_ms: int
    """Switch time of the last proof of life that was written down; 0 when there was none since the reservation."""
    exempt: bool
    facts: bytes
    leases: tuple[str, ...] = field(default=())
