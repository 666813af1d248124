"""A plan's prices: what rating is asked, and what it answers. No balances, no accounts, no I/O.

`PlanTariff.quote` finds the longest prefix of a number with a rate in force and makes the `Quote` of a call from
it: segments by band, by position in the call, by first and next increment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from rater.dialled import are_symbols
from rater.errors import CatalogError, Problem
from rater.ids import PlanId
from rater.kept import Kept
from rater.money import MAX_CALL_S, MICRO, Quote, Rounding, Segment
from rater.rating.bands import Band
from rater.rating.compiled import (
    ALWAYS_FROM_MS,
    ALWAYS_UNTIL_MS,
    NO_CARRIER,
    NO_MAXIMUM,
    TERMS,
    CompiledDeck,
    unpack,
)
from rater.rating.kernel import Pricer
from rater.rating.moments import format_moment
from rater.rating.rate import OnMax, Rate
from rater.rating.segments import Stretch, rows_in_force, stretches
from rater.rating.timeline import Timeline, uncovered

_QUOTES_KEPT = 20_000


@dataclass(frozen=True)
class Found:
    """A number's price. `row`: the deck row of the first second; `PlanTariff.rate(row)` gives it in full."""

    quote: Quote
    prefix: str
    destination: str
    destination_class: str
    row: int


@dataclass(frozen=True)
class NoRate:
    """No prefix of the number has a rate in force then; `detail` says so for a person."""

    detail: str


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A row that begins the number but was not used, and why."""

    rate: Rate
    why: str


class Cost(NamedTuple):
    """What a call costs, without the quote that says why. `row`: the deck row of its first second."""

    amount_micro: int
    billed_s: int
    row: int


class _Made:
    """What numbers with the same prefix have in common while the same rows price them; `length`: of that prefix."""

    def __init__(self, quote: Quote, length: int, destination: str, destination_class: str, row: int) -> None:
        self.quote, self.length, self.row = quote, length, row
        self.destination, self.destination_class = destination, destination_class


class PlanTariff:
    """The prices of one plan. `decimals`: how many the currency is rounded to, 0 to 6, in the way of `rounding`;
    `unit_micro`: the smallest unit of that rounding.

    `bands`: in their order of precedence. Raises CatalogError when the deck names a band that is not there or
    leaves hours of them without a rate.
    """

    def __init__(
        self, plan: PlanId, currency: str, decimals: int, rounding: Rounding, zone: ZoneInfo,
        bands: tuple[Band, ...], deck: CompiledDeck, max_call_s: int = MAX_CALL_S,
    ) -> None:  # fmt: skip
        if not (0 <= decimals <= 6 and 0 < max_call_s <= MAX_CALL_S):
            raise ValueError("a tariff rounds to 0 to 6 decimals, and calls last 1 second to a day")
        problems = band_problems(plan, bands, deck)
        if problems:
            raise CatalogError(problems)
        self.plan, self.currency, self.zone, self.bands, self.deck = plan, currency, zone, bands, deck
        self.rounding, self.max_call_s = rounding, max_call_s
        self.unit_micro = int(MICRO // 10**decimals)
        self.timeline = Timeline(zone, bands, deck.bands)
        self.pricer = Pricer(deck, self.timeline, self.unit_micro, int(rounding), max_call_s)
        self._made = Kept(_QUOTES_KEPT)
        """By what the pricer says: the prefix and the hours are in it, the number is not."""

    def quote(self, number: str, at_ms: int, horizon_s: int | None = None) -> Found | NoRate:
        """The price of a call to `number` (normalised: digits, ``*``, ``#``) that begins at `at_ms`.

        Raises ValueError for a time outside 1970 to 2100.
        """
        if not are_symbols(number, 0):
            return NoRate(f"{number!r} is not a number: only digits, * and # are")
        horizon = self.max_call_s if horizon_s is None else min(horizon_s, self.max_call_s)
        key = self.pricer.key(number, at_ms, horizon)
        if key is None:
            return NoRate(self._missing(number))
        made: _Made | None = self._made.get(key)
        if made is None:
            made = self._make(number, at_ms, horizon)
            self._made.put(key, made)
        return Found(made.quote, number[: made.length], made.destination, made.destination_class, made.row)

    def _make(self, number: str, at_ms: int, horizon_s: int) -> _Made:
        parts = self.pricer.parts(number, at_ms, horizon_s)
        assert parts is not None
        length, row, horizon, flat = parts
        rate = self._terms(row)
        names = self.deck.bands
        maximum = int(rate["max_micro"])
        klass = self.deck.classes[rate["class_"]]
        quote = Quote(
            tuple(Segment(f, step, num, den, names[band] if band >= 0 else "") for f, step, num, den, band in flat),
            self.currency, klass, self.unit_micro, self.rounding, int(rate["free_s"]), int(rate["connect_micro"]),
            int(rate["min_micro"]), None if maximum == NO_MAXIMUM else maximum, horizon,
        )  # fmt: skip
        return _Made(quote, length, self.deck.destination(row), klass, row)

    def cost(self, number: str, at_ms: int, seconds: int) -> Cost | None:
        """The price of a call that lasts `seconds`; the same as C(seconds) of its quote. None: no rate.

        Raises ValueError for more seconds than a call may last.
        """
        cost = self.pricer.cost(number, at_ms, seconds)
        return None if cost is None else Cost._make(cost)

    def rate(self, row: int) -> Rate:
        """A row of the deck in full."""
        return rate_of(self.deck, row)

    def passed_over(
        self, number: str, at_ms: int, found: Found | NoRate, seconds: int | None = None
    ) -> tuple[PassedOver, ...]:
        """For explanations: every row that could have priced `number` and does not, for a call as long as its quote
        or of `seconds`."""
        return tuple(_passed_over(self, number, at_ms, found, seconds))

    def stretches(self, found: Found, at_ms: int, seconds: int) -> list[Stretch]:
        """Which rows of the deck price which seconds of a call of `seconds` (at least the first)."""
        group = int(np.searchsorted(self.deck.group_start, found.row, side="right")) - 1
        rows = range(int(self.deck.group_start[group]), int(self.deck.group_start[group + 1]))
        terms = self.deck.row_terms[rows.start : rows.stop].tolist()
        in_force = rows_in_force(self.deck.terms, rows, terms, at_ms)
        return stretches(in_force, self.timeline.around(at_ms), at_ms, max(1, seconds))

    def carrier_cost(self, found: Found, at_ms: int, seconds: int) -> Fraction | None:
        """What the carrier is owed for a call, exact, in micro-units: each second talked at its row's cost.

        None when a row that prices some of the seconds gives none.
        """
        cost = Fraction(0)
        walk = self.stretches(found, at_ms, seconds)
        ends = [*(stretch.from_s for stretch in walk[1:]), seconds]
        for stretch, end_s in zip(walk, ends, strict=True):
            rate = self.rate(stretch.row)
            if rate.carrier_num is None:
                return None
            cost += Fraction(rate.carrier_num * max(0, min(end_s, seconds) - stretch.from_s), rate.carrier_den)
        return cost

    def _terms(self, row: int) -> np.void:
        terms: np.void = self.deck.terms[self.deck.row_terms[row]]
        return terms

    def _missing(self, number: str) -> str:
        groups = self.pricer.groups(number)
        if not groups:
            return f"no prefix of {number} is in the deck"
        prefixes = ", ".join(unpack(int(self.deck.keys[group])) for group in groups)
        return f"no prefix of {number} has a rate in force then (looked at: {prefixes})"


def band_problems(plan: str, bands: Sequence[Band], deck: CompiledDeck) -> list[Problem]:
    """What keeps a deck from being used with these bands."""
    names = {band.name for band in bands}
    problems = [
        Problem(plan, 0, 0, f"the deck names a band {name!r}", f"one of {', '.join(sorted(names)) or 'no bands'}")
        for name in deck.bands
        if name not in names
    ]
    for named in () if problems else deck.band_sets:
        missing = uncovered(bands, named)
        if missing:
            hours = ", ".join(repr(name) if name else "those of no band" for name in missing)
            message = f"a prefix has rates for {', '.join(named)} only, which leaves hours without a rate"
            problems.append(Problem(plan, 0, 0, message, f"rates for the hours {hours}, or a rate for any band"))
    return problems


def rate_of(deck: CompiledDeck, row: int) -> Rate:
    """A row of a deck in full."""
    terms = {name: int(deck.terms[deck.row_terms[row]][name]) for name in TERMS.names or ()}
    carrier = terms["carrier_num"]
    return Rate(
        prefix=deck.prefix(row),
        destination=deck.destination(row),
        destination_class=deck.classes[terms["class_"]],
        price_num=terms["price_num"],
        price_den=terms["price_den"],
        connect_micro=terms["connect_micro"],
        first_s=terms["first_s"],
        next_s=terms["next_s"],
        free_s=terms["free_s"],
        min_micro=terms["min_micro"],
        max_micro=None if terms["max_micro"] == NO_MAXIMUM else terms["max_micro"],
        on_max=OnMax.CUT if terms["cut"] else OnMax.FREE,
        tier_from_s=terms["tier_from_s"],
        band=deck.bands[terms["band"]] if terms["band"] >= 0 else "",
        valid_from_ms=None if terms["valid_from_ms"] == ALWAYS_FROM_MS else terms["valid_from_ms"],
        valid_until_ms=None if terms["valid_until_ms"] == ALWAYS_UNTIL_MS else terms["valid_until_ms"],
        carrier_num=None if carrier == NO_CARRIER else carrier,
        carrier_den=terms["carrier_den"],
    )


def _passed_over(
    tariff: PlanTariff, number: str, at_ms: int, found: Found | NoRate, seconds: int | None
) -> Iterator[PassedOver]:
    used: frozenset[int] = frozenset()
    groups = list(tariff.pricer.groups(number))
    if isinstance(found, Found):
        length_s = found.quote.horizon_s if seconds is None else seconds
        used = frozenset(stretch.row for stretch in tariff.stretches(found, at_ms, length_s))
        groups += [group for group in tariff.pricer.groups(found.prefix) if group not in groups]
    deck = tariff.deck
    for group in groups:
        for row in range(int(deck.group_start[group]), int(deck.group_start[group + 1])):
            if row not in used:
                rate = tariff.rate(row)
                yield PassedOver(rate, _why(rate, found, at_ms))


def _why(rate: Rate, found: Found | NoRate, at_ms: int) -> str:
    if rate.valid_from_ms is not None and at_ms < rate.valid_from_ms:
        return f"not yet in force: valid from {format_moment(rate.valid_from_ms)}"
    if rate.valid_until_ms is not None and at_ms >= rate.valid_until_ms:
        return f"no longer in force: valid until {format_moment(rate.valid_until_ms)}"
    if isinstance(found, NoRate):
        return "a rate of another class than the number's"
    if rate.prefix != found.prefix:
        if found.prefix.startswith(rate.prefix):
            return f"shorter prefix than {found.prefix}"
        return f"a rate for {rate.destination_class}; the number is of class {found.destination_class}"
    if rate.band:
        return f"other band: {rate.band}"
    if rate.tier_from_s:
        return f"the call does not reach the tier that begins at {rate.tier_from_s} s"
    return "the band of each moment has a rate of its own"
