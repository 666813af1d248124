"""A plan: what its accounts may call, with which allowances. Values only; the prices are in its deck."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from rater.catalog.classes import NEVER_IN_A_DECK
from rater.catalog.cycles import Cycle
from rater.catalog.model import Enforce
from rater.catalog.thresholds import Thresholds
from rater.charging.terms import Consumption, Tier
from rater.ids import GrantId, PlanId
from rater.money import MAX_CALL_S, MICRO, Cadence, Rounding
from rater.rating.bands import Band
from rater.rating.normalise_presets import DialPlanSettings


class WhenExhausted(StrEnum):
    """What an account of modality allowance gets when the allowance is used up."""

    BLOCK = "block"
    """Nothing more."""
    CREDIT = "credit"
    """It draws on its balance, down to zero."""
    POSTPAID = "postpaid"
    """It draws on its balance, down to its credit limit under zero."""


@dataclass(frozen=True, slots=True)
class RolloverRule:
    """What is left at a cycle's end goes on for `cycles` more: at most `max_s`, and at least `min_s` even of an
    allowance that was used up."""

    max_s: int
    min_s: int = 0
    cycles: int = 1


@dataclass(frozen=True, slots=True)
class Allowance:
    """Seconds of some classes, or of all when `classes` is empty, new with each cycle. `also`: classes that draw on
    it after their own allowances are used up, as long distance may on local. Lower `priority` is used first.
    `prorate`: an account that begins within a cycle gets its part of it. `hours`: bands of the plan, outside which
    nothing of it is used; none: always."""

    id: str
    grant: GrantId
    classes: tuple[str, ...]
    seconds: int
    also: tuple[str, ...] = ()
    cadence: Cadence = field(default_factory=Cadence)
    cycle: Cycle = field(default_factory=Cycle)
    priority: int = 0
    rollover: RolloverRule | None = None
    prorate: bool = False
    hours: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Margin:
    """The least part of a call's price, in percent, that must be left beside the carrier's cost; None: no floor."""

    floor_percent: int | None = None
    enforce: Enforce = Enforce.ON


@dataclass(frozen=True, slots=True)
class Plan:
    """`decimals`: to which amounts are rounded. `deck`: the file, as named. `bands`: in order of precedence.
    `class_limits`: most simultaneous legs of a class, for each account by itself.
    `blocked_classes`: sorted. `blocked_prefixes`: beginnings of normalised numbers. `valid_from_ms`: when this
    version of the plan comes into force; None for the first. `later`: the versions after the first, by time."""

    id: PlanId
    currency: str
    zone: str
    deck: str
    dial_plan: DialPlanSettings
    name: str = ""
    decimals: int = 4
    rounding: Rounding = Rounding.HALF_UP
    locale: str = ""
    max_call_s: int = MAX_CALL_S
    bands: tuple[Band, ...] = ()
    allowances: tuple[Allowance, ...] = ()
    when_exhausted: WhenExhausted = WhenExhausted.BLOCK
    seconds_order: Consumption = Consumption.EARLIEST_EXPIRY
    money_order: Consumption = Consumption.EARLIEST_EXPIRY
    thresholds: Thresholds = field(default_factory=Thresholds)
    blocked_classes: tuple[str, ...] = ()
    blocked_prefixes: tuple[str, ...] = ()
    class_limits: tuple[tuple[str, int], ...] = ()
    margin: Margin = field(default_factory=Margin)
    valid_from_ms: int | None = None
    later: tuple[Plan, ...] = ()

    @property
    def versions(self) -> tuple[Plan, ...]:
        """The first version and all later ones, by time."""
        return (self, *self.later)

    @property
    def key(self) -> PlanId:
        """Names one version: the plan, and ``@`` with the moment from which on it is in force."""
        return self.id if self.valid_from_ms is None else PlanId(f"{self.id}@{self.valid_from_ms}")

    @property
    def unit_micro(self) -> int:
        return int(MICRO // 10**self.decimals)

    def allowances_for(self, destination_class: str) -> list[tuple[Allowance, Tier]]:
        """Those of the class itself, then those that it may also draw on, then those of all classes; each in the
        order of the file. Of no class (""): all."""
        if not destination_class:
            return [(a, Tier.OWN) for a in self.allowances]
        own = [(a, Tier.OWN) for a in self.allowances if destination_class in a.classes]
        linked = [(a, Tier.LINKED) for a in self.allowances if destination_class in a.also]
        generic = [(a, Tier.GENERIC) for a in self.allowances if not a.classes]
        return own + linked + (generic if destination_class not in NEVER_IN_A_DECK else [])
