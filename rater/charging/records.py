"""What a store has on record, for those who read or resume: accounts, grants, live legs, pending transfers."""

from __future__ import annotations

from dataclasses import dataclass, field

from rater.charging.terms import Resource
from rater.ids import AccountId, GrantId, LegId, OpId, Shard, SwitchId
from rater.money import Quote


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
class GrantState:
    """Seconds: one cycle of an allowance, what rolled over from one, or a grant made by hand. `closed`: over, kept
    for what live legs hold of it and for the record. `hours`: of a grant made by hand; those of allowances stand in
    the plan."""

    grant: GrantId
    granted_s: int
    used_s: int
    reserved_s: int
    valid_from_ms: int
    valid_until_ms: int
    source: str = "allowance"
    closed: bool = False
    hours: tuple[str, ...] = ()

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
    hours: tuple[str, ...] = ()

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
