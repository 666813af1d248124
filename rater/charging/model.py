"""What charging is asked and what it answers. No I/O, no tariffs: a price comes in as a `Quote`.

Operations on one leg are numbered: its n-th operation has the id ``<leg>:<n>``. A store keeps the last number and
answer of each leg, so that a repeat gets the same answer. Operations on accounts (`Post`) carry the caller's id.

A leg is paid in *pieces*: stretches of seconds, each from one grant or from money. A piece of money from `a` to
`b` costs C(b) − C(a) of the leg's quote; a piece of seconds takes A(b) − A(a) by the grant's cadence. Where one
source of money ends within an increment, the next pays the rest: then two pieces lie over the same seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

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


FOREVER_MS = 253_402_300_799_000
"""The end of a grant that does not end: the last second of the year 9999."""


MAX_PRIORITY = 1_000
"""Priorities run from its negative to it; the lower is used first."""


class Tier(IntEnum):
    """How near a grant of seconds is to a leg's class; the nearest is used first. Values are stored."""

    OWN = 0
    LINKED = 1
    """Of another class, on which this one may draw too ("long distance consumes from local")."""
    GENERIC = 2
    """Of all classes."""


class Consumption(IntEnum):
    """Which of several grants of one resource, tier and priority is used first. Values are stored."""

    EARLIEST_EXPIRY = 0
    """Then the oldest."""
    LATEST_EXPIRY = 1
    """Then the oldest."""
    OLDEST = 2
    """Then the one that expires first."""
    NEWEST = 3
    """Then the one that expires first."""


@dataclass(frozen=True, slots=True)
class PastCycle:
    """A cycle of an allowance that is over: what it had, when it ended, until when its rest may be used."""

    valid_from_ms: int
    seconds: int
    ended_at_ms: int
    rolled_until_ms: int


@dataclass(frozen=True, slots=True)
class Rollover:
    """What is left of a cycle goes on: min(`max_s`, max(left, `min_s`)). `past`: the cycles before, oldest
    first."""

    max_s: int
    min_s: int
    past: tuple[PastCycle, ...]


@dataclass(frozen=True, slots=True)
class AllowanceTerm:
    """One allowance that applies to this leg, as it stands in this cycle. Lower `priority` is used first.

    The store opens or renews the grant when it first meets it in a new cycle: no sweep renews anything. A slice
    that reaches beyond the cycle opens the next one, [`valid_until_ms`, `next_until_ms`); 0: there is none.
    """

    grant: GrantId
    seconds: int
    cadence: Cadence
    valid_from_ms: int
    valid_until_ms: int
    tier: Tier = Tier.OWN
    priority: int = 0
    next_until_ms: int = 0
    rollover: Rollover | None = None


class Resource(StrEnum):
    SECONDS = "seconds"
    MONEY = "money"


@dataclass(frozen=True, slots=True)
class GrantSpec:
    """A grant made by hand: an amount of one resource, valid in [from, to).

    `amount`: seconds, or micro-units. `classes`: the destination classes that it serves, none for all; `also`:
    those that may draw on it after their own. `source`: where it came from, such as ``voucher``, ``gift``,
    ``top_up``. `blocks`: holds nothing (amount 0), and nothing that would be used after it is used at all.
    `cadence`: of seconds.
    """

    id: GrantId
    resource: Resource
    amount: int
    valid_from_ms: int
    valid_until_ms: int = FOREVER_MS
    priority: int = 0
    source: str = "gift"
    classes: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    cadence: Cadence = field(default_factory=Cadence)
    blocks: bool = False


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
    """Only those that the leg's class may use."""
    thresholds: tuple[Threshold, ...] = ()
    currency: str = ""
    spend: tuple[SpendCap, ...] = ()
    shadow: bool = False
    seconds_order: Consumption = Consumption.EARLIEST_EXPIRY
    money_order: Consumption = Consumption.EARLIEST_EXPIRY
    share: Share | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """How much one member may take from its group in one cycle; the next cycle lasts until `next_until_ms`."""

    amount: int
    valid_from_ms: int
    valid_until_ms: int
    next_until_ms: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """What the account may draw on as a member of a sharing group: the grants of `owner`, in the same shard.

    `terms`: the owner's, for the leg's class; its `use_money` says whether the owner's money pays too.
    `first`: before the member's own grants, else after them; the owner's money always comes before the member's.
    `quota_s`, `quota_micro`: of the member's own use. `valid_until_ms`: when the membership or the group ends.
    """

    owner: AccountId
    terms: Terms
    first: bool = False
    quota_s: Quota | None = None
    quota_micro: Quota | None = None
    valid_until_ms: int = FOREVER_MS


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


@dataclass(frozen=True, slots=True)
class Post:
    """Move an account's money by hand. `amount_micro` > 0, but for an adjustment; what takes money never takes the
    balance (less what is reserved) under the floor. Idempotent by `op` for `OPERATION_KEPT_S`. Creates the account
    when new, and a transfer's other one. `other_shard`: of a transfer to or from another shard."""

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

    @property
    def change_micro(self) -> int:
        """By how much the account's balance changes."""
        return -self.amount_micro if self.kind.takes else self.amount_micro


@dataclass(frozen=True, slots=True)
class PendingTransfer:
    """A transfer between shards whose second half is not done yet, as its first half's shard knows it."""

    op: OpId
    shard: Shard
    account: AccountId
    other: AccountId
    other_shard: Shard
    amount_micro: int
    cause: str


@dataclass(frozen=True, slots=True)
class PostGrant:
    """Give an account a grant. Idempotent by `op`; a grant's id is used once. Creates the account when new."""

    op: OpId
    shard: Shard
    account: AccountId
    grant: GrantSpec
    now_ms: int
    cause: str = ""


@dataclass(frozen=True, slots=True)
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
    """Settle: charged in money, from whatever source. Else: moved, in micro-units or in a grant's own unit."""
    balance_micro: int = 0
    reserved_micro: int = 0
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class GrantState:
    """Seconds: one cycle of an allowance, what rolled over from one, or a grant made by hand. `closed`: over, kept
    for what live legs hold of it and for the record."""

    grant: GrantId
    granted_s: int
    used_s: int
    reserved_s: int
    valid_from_ms: int
    valid_until_ms: int
    source: str = "allowance"
    closed: bool = False

    @property
    def remaining_s(self) -> int:
        return self.granted_s - self.used_s - self.reserved_s


@dataclass(frozen=True, slots=True)
class MoneyGrantState:
    """Money with an end, used before the balance."""

    grant: GrantId
    granted_micro: int
    used_micro: int
    reserved_micro: int
    valid_from_ms: int
    valid_until_ms: int
    source: str = ""
    closed: bool = False

    @property
    def remaining_micro(self) -> int:
        return self.granted_micro - self.used_micro - self.reserved_micro


@dataclass(frozen=True, slots=True)
class QuotaState:
    """How much of its group's grants a member has used in one cycle; seconds, or micro-units."""

    owner: AccountId
    resource: Resource
    limit: int
    used: int
    reserved: int
    valid_from_ms: int
    valid_until_ms: int
    closed: bool = False


@dataclass(frozen=True, slots=True)
class AccountState:
    """What the store holds of one account. balance = opening + credits − debits − charges, to the micro;
    reserved is not yet deducted from it. Money grants are beside the balance, not in it."""

    account: AccountId
    balance_micro: int = 0
    reserved_micro: int = 0
    opening_micro: int = 0
    credits_micro: int = 0
    debits_micro: int = 0
    charges_micro: int = 0
    grants: tuple[GrantState, ...] = ()
    money_grants: tuple[MoneyGrantState, ...] = ()
    quotas: tuple[QuotaState, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """Seconds [from_s, to_s) of a leg, paid by `grant` (seconds) or, when it is None, by the balance (micro-units).
    `money`: the grant holds money. `shared`: grant or balance are those of the group's owner; `quota`: and a quota
    counts it."""

    grant: GrantId | None
    from_s: int
    to_s: int
    amount: int
    money: bool = False
    shared: bool = False
    quota: bool = False

    @property
    def of_balance(self) -> bool:
        """Whether the account's own balance pays it."""
        return self.grant is None and not self.shared

    @property
    def in_money(self) -> bool:
        return self.grant is None or self.money


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
    owner: AccountId | None = None
    """The owner of the sharing group that it draws on."""
