"""What a deck's file may hold: columns, bounds, and the rules that rows of one prefix must keep together."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

import babel
import babel.numbers

from rater.money import MAX_DENOMINATOR, MAX_PRICE_NUM, MICRO
from rater.rating.bands import Band
from rater.rating.compiled import ALWAYS_FROM_MS, ALWAYS_UNTIL_MS
from rater.rating.moments import format_moment
from rater.rating.timeline import uncovered

REQUIRED = ("prefix", "destination", "class", "price")
OPTIONAL = (
    "connect_fee", "per", "first", "next", "free_below", "min_charge", "max_charge", "on_max", "tier_from", "band",
    "valid_from", "valid_until", "carrier_cost",
)  # fmt: skip
ON_MAX = {"": 0, "free": 0, "cut": 1}
PRICE_PLACES = 9
MAX_FEE_MICRO = 10**13
MAX_PRICE_MICRO_PER_S = 99_000 * MICRO
"""So that the longest call with the longest increments stays under `rater.money.MAX_AMOUNT_MICRO`."""
MAX_STEP_S = 3600
MAX_PER_S = 86_400
MAX_DESTINATION = 200

SECONDS = {
    "per": (1, MAX_PER_S),
    "first": (1, MAX_STEP_S),
    "next": (1, MAX_STEP_S),
    "free_below": (0, 3600),
    "tier_from": (0, 86_399),
}
"""Columns of whole seconds, with the least and the most."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a deck is read for: the plan's zone, classes, bands in order, and decimal sign."""

    zone: ZoneInfo
    classes: frozenset[str]
    bands: tuple[Band, ...]
    decimal_sign: str = "."


def decimal_sign(locale: str) -> str:
    """The decimal sign of a locale such as ``pt_BR``; a point without one."""
    return babel.numbers.get_decimal_symbol(babel.Locale.parse(locale)) if locale else "."


def delimiter_of(header: str) -> str:
    return ";" if ";" in header else ","


def whole_seconds(name: str, text: str) -> int | None:
    """The seconds of a column of `SECONDS`; None when the text is none or out of bounds."""
    low, high = SECONDS[name]
    if not (text.isascii() and text.isdigit() and len(text) < 9 and low <= int(text) <= high):
        return None
    return int(text)


def price_in_range(price: Fraction) -> bool:
    """Whether a price in micro-units a second can be computed with exactly, however long the call."""
    return (
        price.numerator <= MAX_PRICE_NUM and price.denominator <= MAX_DENOMINATOR and price <= MAX_PRICE_MICRO_PER_S
    )


class Shape(NamedTuple):
    """What of a row decides when it prices: the rows of one prefix must fit together in this."""

    band: str
    tier_from_s: int
    valid_from_ms: int
    valid_until_ms: int
    price_den: int = 1


class Fault(NamedTuple):
    """What keeps the rows of a prefix from pricing its calls: the column to mend, what is wrong, what would do."""

    column: str
    message: str
    expected: str


@dataclass
class Together:
    """The rules for the rows of one prefix. Collects the sets of bands that some prefix has rates for."""

    bands: tuple[Band, ...]
    band_sets: set[frozenset[str]] = field(default_factory=set)
    _faults: dict[tuple[Shape, ...], Fault | None] = field(default_factory=dict)
    _gaps: dict[frozenset[str], tuple[str, ...]] = field(default_factory=dict)

    def fault(self, shapes: Sequence[Shape]) -> Fault | None:
        """What is wrong with rows of these shapes as one prefix, besides overlaps: hours without a rate at some
        time, tiers without a beginning, prices that cannot be added up exactly."""
        known = tuple(sorted(shapes))
        if known not in self._faults:
            self._faults[known] = self._fault(known)
        return self._faults[known]

    def _fault(self, shapes: Sequence[Shape]) -> Fault | None:
        if math.lcm(*(shape.price_den for shape in shapes)) > MAX_DENOMINATOR:
            return Fault("price", "has prices whose intervals have no common multiple in the exact range",
                         "intervals (per) that divide one another")  # fmt: skip
        for since_ms, _ in _spans(shapes):
            now = [shape for shape in shapes if shape.valid_from_ms <= since_ms < shape.valid_until_ms]
            if not now:
                continue
            begun = frozenset(shape.band for shape in now if shape.tier_from_s == 0)
            headless = sorted({shape.band for shape in now} - begun)
            if headless:
                band = f" of band {headless[0]}" if headless[0] else ""
                what = f"has a tier{band} but no rate from 0 on{_from(since_ms)}"
                return Fault("tier_from", what, "a row with tier_from 0 for every band with tiers")
            self.band_sets.add(begun)
            missing = self._missing(begun)
            if missing:
                hours = ", ".join(name or "hours of no band" for name in missing)
                return Fault("band", f"has no rate for: {hours}{_from(since_ms)}", "a rate for every hour")
        return None

    def _missing(self, names: frozenset[str]) -> tuple[str, ...]:
        if names not in self._gaps:
            self._gaps[names] = uncovered(self.bands, names)
        return self._gaps[names]

    def sorted_band_sets(self) -> tuple[tuple[str, ...], ...]:
        return tuple(sorted(tuple(sorted(names)) for names in self.band_sets))


def overlap(shapes: Iterable[Shape]) -> bool:
    """Whether two rows would price the same second of the same calls."""
    order = sorted(shapes)
    return any(one[:2] == other[:2] and other.valid_from_ms < one.valid_until_ms for one, other in pairwise(order))


def _spans(shapes: Sequence[Shape]) -> Iterator[tuple[int, int]]:
    """The stretches of time in which the same rows are in force."""
    moments: Collection[int] = {
        moment for shape in shapes for moment in (shape.valid_from_ms, shape.valid_until_ms)
    }
    order = sorted(moments)
    return pairwise(order)


@lru_cache(maxsize=64)
def _from(since_ms: int) -> str:
    return "" if since_ms in (ALWAYS_FROM_MS, ALWAYS_UNTIL_MS) else f" from {format_moment(since_ms)} on"
