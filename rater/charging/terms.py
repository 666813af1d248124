"""What charging may draw on and what bounds it: limits, allowances, grants, thresholds, sharing. No I/O.

Sent with each operation from the catalogue in force, stored nowhere (but a grant made by hand).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from rater.ids import AccountId, GrantId
from rater.money import Cadence
from rater.verdict import Reason


@dataclass(frozen=True)
class Lease:
    """One slot of a simultaneous-call limit. `scope` names what is limited: ``line:1001``, ``line:1001:out``,
    ``account:ACME:in``. The scope's live legs may not exceed `limit`; `reason` is the denial's."""

    scope: str
    limit: int
    reason: Reason
    shadow: bool = False
    """Reached, it is told and denies nothing."""


@dataclass(frozen=True)
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
    CYCLE = "cycle"
    """Of the plan's thresholds."""


@dataclass(frozen=True)
class SpendCap:
    """Most money, charged and reserved, in the window that began at `from_ms`. What a leg is charged counts in the
    window in which it is settled, what live legs hold in the present one. `limit_micro`: None when nothing is
    capped, and what is charged is only counted, for thresholds. Of a window there is one."""

    window: SpendWindow
    limit_micro: int | None
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


@dataclass(frozen=True)
class PastCycle:
    """A cycle of an allowance that is over: what it had, when it ended, until when its rest may be used."""

    valid_from_ms: int
    seconds: int
    ended_at_ms: int
    rolled_until_ms: int


@dataclass(frozen=True)
class Rollover:
    """What is left of a cycle goes on: min(`max_s`, max(left, `min_s`)). `past`: the cycles before, oldest
    first."""

    max_s: int
    min_s: int
    past: tuple[PastCycle, ...]


@dataclass(frozen=True)
class AllowanceTerm:
    """One allowance that applies to this leg, as it stands in this cycle. Lower `priority` is used first.

    The store opens or renews the grant when it first meets it in a new cycle: no sweep renews anything. A slice
    that reaches beyond the cycle opens the next one, [`valid_until_ms`, `next_until_ms`); 0: there is none.
    `hours`: it is drawn on only while one of these bands is in force; none: always.
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
    hours: tuple[str, ...] = ()


class Resource(StrEnum):
    SECONDS = "seconds"
    MONEY = "money"


@dataclass(frozen=True)
class GrantSpec:
    """A grant made by hand: an amount of one resource, valid in [from, to).

    `amount`: seconds, or micro-units. `classes`: the destination classes that it serves, none for all; `also`:
    those that may draw on it after their own. `source`: where it came from, such as ``voucher``, ``gift``,
    ``top_up``. `blocks`: holds nothing (amount 0), and nothing that would be used after it is used at all.
    `cadence`: of seconds. `hours`: bands of the account's plan, as in an `AllowanceTerm`; one that the plan does
    not have (any more) is never in force.
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
    hours: tuple[str, ...] = ()


class ThresholdKind(StrEnum):
    MONEY_BELOW = "money_below"
    """`value` in micro-units; crossed when the balance falls from ≥ value to < value."""
    ALLOWANCE_PERCENT = "allowance_percent"
    """`value` in percent used of `grant`; crossed when the use rises from < value to ≥ value."""
    MONEY_ABOVE = "money_above"
    """`value` in micro-units; crossed when the balance rises from < value to ≥ value."""
    SPEND_HOUR = "spend_hour"
    """`value` in micro-units; crossed when what was charged in the clock hour rises from < value to ≥ value."""
    SPEND_DAY = "spend_day"
    SPEND_CYCLE = "spend_cycle"

    @property
    def window(self) -> SpendWindow | None:
        """Of a threshold on spending; None of others."""
        return _WINDOWS.get(self)


_WINDOWS = {
    ThresholdKind.SPEND_HOUR: SpendWindow.HOUR,
    ThresholdKind.SPEND_DAY: SpendWindow.DAY,
    ThresholdKind.SPEND_CYCLE: SpendWindow.CYCLE,
}


@dataclass(frozen=True)
class Threshold:
    """`once_from_ms`: it is told once in the cycle that began then, however often it is crossed; 0: it recurs, each
    crossing is told."""

    id: str
    kind: ThresholdKind
    value: int
    grant: GrantId | None = None
    once_from_ms: int = 0


@dataclass(frozen=True)
class Terms:
    """What an account may do, from the catalogue in force; sent with each operation, stored nowhere.

    `floor_micro`: the balance may not fall under it (0 prepaid, −limit postpaid). `use_money`: False when an
    exhausted allowance blocks. `shadow`: the leg is reserved and charged whatever limits and balances say, and what
    would have denied or ended it is told with the answer. `bands`: which of the plan's is in force from when on, as
    (from_ms, name), "" where none is; they reach further than any leg, to both sides.
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
    bands: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Quota:
    """How much one member may take from its group in one cycle; the next cycle lasts until `next_until_ms`."""

    amount: int
    valid_from_ms: int
    valid_until_ms: int
    next_until_ms: int = 0


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class SlicePolicy:
    """How much is reserved ahead. `long_s` when there is plenty; towards the end an equal share among the
    account's live legs, never less than `short_s` while money is left."""

    first_s: int = 30
    long_s: int = 60
    short_s: int = 2
