"""The catalogue as the charging plane sees it: one immutable, versioned snapshot.

Files are its first publisher; a back office may be another. Nothing here reads a file or a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from rater.catalog.enforce import Enforce as Enforce
from rater.catalog.rated import Rated as Rated
from rater.catalog.rated import Refused as Refused
from rater.catalog.thresholds import OwnThresholds
from rater.charging.terms import Terms
from rater.ids import AccountId, LineId, PlanId, ResellerId, Shard, SwitchId, TrunkId
from rater.rating.bands import Window

SHARD_ZERO = Shard(0)


class Modality(StrEnum):
    PREPAID = "prepaid"
    POSTPAID = "postpaid"
    ALLOWANCE = "allowance"


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Most simultaneous legs, in all and of single destination classes, and most outbound attempts in any second;
    None: no limit."""

    both: int | None = None
    outbound: int | None = None
    inbound: int | None = None
    per_second: int | None = None
    classes: tuple[tuple[str, int], ...] = ()
    enforce: Enforce = Enforce.ON


@dataclass(frozen=True, slots=True)
class Barred:
    """What may not be called, and for how long what may; see the plan's own. Emergency cannot be barred."""

    classes: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    max_call_s: int | None = None


@dataclass(frozen=True, slots=True)
class SpendCaps:
    """Most money in a clock hour and in a day of the plan's zone; None: no cap."""

    hour_micro: int | None = None
    day_micro: int | None = None
    enforce: Enforce = Enforce.ON


@dataclass(frozen=True, slots=True)
class OffHours:
    """What holds besides in the hours of `windows` (in the plan's zone), for an account or a line: the tighter of
    each two limits counts, and what either bars is barred. Where the account's own limits or caps are in shadow,
    these hold alone. A line has no `spend`."""

    windows: tuple[Window, ...]
    limits: CallLimits = field(default_factory=CallLimits)
    barred: Barred = field(default_factory=Barred)
    spend: SpendCaps = field(default_factory=SpendCaps)


@dataclass(frozen=True, slots=True)
class Reseller:
    """Groups accounts, whatever their shards. `shard`: where its simultaneous calls are counted."""

    id: ResellerId
    name: str = ""
    shard: Shard = SHARD_ZERO
    limits: CallLimits = field(default_factory=CallLimits)


@dataclass(frozen=True, slots=True)
class Notify:
    """Who is told when a threshold is crossed. `language`: of the mails; empty: that of the settings."""

    email: tuple[str, ...] = ()
    language: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """`opening_micro` is posted once, when the account is first loaded. `credit_limit_micro` ≥ 0: how far under
    zero a postpaid balance may go. `since_ms`: from when on it has allowances; 0: always. `thresholds`:
    None: those of the plan alone."""

    id: AccountId
    plan: PlanId
    modality: Modality
    shard: Shard = SHARD_ZERO
    name: str = ""
    active: bool = True
    opening_micro: int = 0
    credit_limit_micro: int = 0
    limits: CallLimits = field(default_factory=CallLimits)
    barred: Barred = field(default_factory=Barred)
    spend: SpendCaps = field(default_factory=SpendCaps)
    reseller: ResellerId | None = None
    enforce: Enforce = Enforce.ON
    since_ms: int = 0
    notify: Notify = field(default_factory=Notify)
    off_hours: OffHours | None = None
    thresholds: OwnThresholds | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """`endpoint` and `account_code` are what the switch knows the line by; `area` goes before short numbers."""

    id: LineId
    account: AccountId
    endpoint: str
    account_code: str = ""
    area: str = ""
    active: bool = True
    limits: CallLimits = field(default_factory=CallLimits)
    barred: Barred = field(default_factory=Barred)
    off_hours: OffHours | None = None


@dataclass(frozen=True, slots=True)
class Trunk:
    """`pattern`: shell pattern on channel names of the switch, such as ``PJSIP/trunk-*``. `max_calls`: on each
    switch that has it."""

    id: TrunkId
    switch: SwitchId | None
    pattern: str
    max_calls: int | None = None
    enforce: Enforce = Enforce.ON


class PayerSource(StrEnum):
    ACCOUNT_CODE = "accountcode"
    ENDPOINT = "endpoint"
    VARIABLE = "variable"


@dataclass(frozen=True, slots=True)
class SwitchRules:
    """How to read one switch: where the payer stands, in this order; never the caller id.
    `payer_variable`: the channel variable for PayerSource.VARIABLE."""

    id: SwitchId
    payer: tuple[PayerSource, ...] = (PayerSource.ACCOUNT_CODE, PayerSource.ENDPOINT, PayerSource.VARIABLE)
    payer_variable: str = "RATER_ACCOUNT"


class Catalog(Protocol):
    """What the engine asks a snapshot. Look-ups are in memory and never block."""

    @property
    def version(self) -> int: ...
    @property
    def accounts(self) -> Mapping[AccountId, Account]: ...
    @property
    def resellers(self) -> Mapping[ResellerId, Reseller]: ...
    @property
    def lines(self) -> Mapping[LineId, Line]: ...
    @property
    def trunks(self) -> Mapping[TrunkId, Trunk]: ...
    @property
    def switches(self) -> Mapping[SwitchId, SwitchRules]: ...
    @property
    def plans(self) -> Mapping[PlanId, object]: ...

    def line_by_endpoint(self, endpoint: str) -> Line | None: ...

    def line_by_account_code(self, account_code: str) -> Line | None: ...

    def rate(self, plan: PlanId, number: str, area: str, at_ms: int) -> Rated | Refused:
        """The price of calling `number` (as dialled) at that moment, under a plan, from an area."""
        ...

    def class_limits(self, plan: PlanId, at_ms: int) -> Mapping[str, int]:
        """Most simultaneous legs of a class that each account of the plan may have, where it says nothing else."""
        ...

    def off_hours(self, owner: Account | Line, at_ms: int) -> OffHours | None:
        """The rule of an account or a line for off-hours, where it has one and that moment lies in them."""
        ...

    def terms(self, account: AccountId, destination_class: str, at_ms: int) -> Terms:
        """Floor, allowances for that class in the cycle that `at_ms` lies in, thresholds."""
        ...
