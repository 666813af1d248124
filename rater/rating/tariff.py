"""A plan's prices: what rating is asked, and what it answers. No balances, no accounts, no I/O.

`PlanTariff.quote` finds the longest prefix of a number with a rate in force and makes the `Quote` of a call from it:
segments by band, by position in the call, by first and next increment.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import ZoneInfo

from rater.ids import PlanId
from rater.money import MAX_CALL_S, Quote, Rounding
from rater.rating.bands import Band
from rater.rating.compiled import CompiledDeck


class OnMax(StrEnum):
    """What happens when a call has cost its maximum."""

    FREE = "free"
    """It goes on for nothing."""
    CUT = "cut"
    """It ends."""


@dataclass(frozen=True, slots=True)
class Rate:
    """One row of a deck. Prices are `price_num`/`price_den` micro-units a second, exact, in lowest terms.

    `tier_from_s`: the position in the call where this row's price begins. `band`: empty for any. In force from
    `valid_from_ms` until just before `valid_until_ms`; None: open. The connect fee, the minimum, the maximum and
    the free seconds of a call are those of the row in force at its first second. `carrier_num`: None when the
    deck gives no cost.
    """

    prefix: str
    destination: str
    destination_class: str
    price_num: int
    price_den: int
    connect_micro: int = 0
    first_s: int = 1
    next_s: int = 1
    free_s: int = 0
    min_micro: int = 0
    max_micro: int | None = None
    on_max: OnMax = OnMax.FREE
    tier_from_s: int = 0
    band: str = ""
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None
    carrier_num: int | None = None
    carrier_den: int = 1


@dataclass(frozen=True, slots=True)
class Found:
    """A number's price. `row`: the deck row of the first second; `PlanTariff.rate(row)` gives it in full."""

    quote: Quote
    prefix: str
    destination: str
    destination_class: str
    row: int


@dataclass(frozen=True, slots=True)
class NoRate:
    """No prefix of the number has a rate in force then; `detail` says so for a person."""

    detail: str


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A row that begins the number but was not used, and why."""

    rate: Rate
    why: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call costs, without the quote that says why."""

    amount_micro: int
    billed_s: int
    row: int


@dataclass(frozen=True, eq=False)
class PlanTariff:
    """The prices of one plan. `decimals`: how many the currency is rounded to, 0 to 6, in the way of `rounding`.

    `bands`: in their order of precedence. Raises CatalogError when the deck names a band that is not there or
    leaves hours of them without a rate.
    """

    plan: PlanId
    currency: str
    decimals: int
    rounding: Rounding
    zone: ZoneInfo
    bands: tuple[Band, ...]
    deck: CompiledDeck
    max_call_s: int = MAX_CALL_S

    def quote(self, number: str, at_ms: int, horizon_s: int | None = None) -> Found | NoRate:
        """The price of a call to `number` (normalised: digits, ``*``, ``#``) that begins at `at_ms`."""
        ...

    def cost(self, number: str, at_ms: int, seconds: int) -> Cost | None:
        """The price of a call that lasts `seconds`; the same as C(seconds) of its quote. None: no rate."""
        ...

    def rate(self, row: int) -> Rate: ...

    def passed_over(self, number: str, at_ms: int) -> tuple[PassedOver, ...]:
        """For explanations: every row of every prefix of `number` that is not part of its quote."""
        ...
