"""A plan's prices: what rating is asked, and what it answers. No balances, no accounts, no I/O.

`PlanTariff.quote` finds the longest prefix of a number with a rate in force and makes the `Quote` of a call from
it: segments by band, by position in the call, by first and next increment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

import numpy as np

from rater.errors import CatalogError, Problem
from rater.ids import PlanId
from rater.money import MAX_CALL_S, Quote, Rounding, affordable_s, billed_s, cumulative_micro
from rater.rating.bands import Band
from rater.rating.call_segments import CallEdges, Row, pick, segments
from rater.rating.compiled import (
    ALWAYS_FROM_MS,
    ALWAYS_UNTIL_MS,
    MAX_PREFIX,
    NO_CARRIER,
    NO_MAXIMUM,
    CompiledDeck,
    pack,
)
from rater.rating.rate import OnMax, Rate
from rater.rating.timeline import Timeline, uncovered

RATES_KEPT = 50_000


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
    _timeline: Timeline = field(init=False, repr=False)
    _rates: dict[int, Rate] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        known = {band.name for band in self.bands}
        problems = [
            Problem(
                str(self.plan), 0, 0, f"the deck names the band {name}, which the plan has not", "one of its bands"
            )
            for name in self.deck.bands
            if name not in known
        ]
        for names in self.deck.band_sets:
            missing = () if problems else uncovered(self.bands, names)
            if missing:
                hours = ", ".join(name or "hours of no band" for name in missing)
                problems.append(Problem(str(self.plan), 0, 0, f"some prefixes have no rate for: {hours}", "one"))
        if problems:
            raise CatalogError(problems)
        object.__setattr__(self, "_timeline", Timeline(self.zone, self.bands, self.deck.bands))

    def quote(self, number: str, at_ms: int, horizon_s: int | None = None) -> Found | NoRate:
        """The price of a call to `number` (normalised: digits, ``*``, ``#``) that begins at `at_ms`."""
        edges = self._edges(at_ms)
        for group in self._groups(number):
            rows = self._in_force(group, at_ms)
            row = pick(rows, 0, edges.band_at(0))
            if row is not None:
                quote = self._quote(row, rows, edges, min(horizon_s or self.max_call_s, self.max_call_s))
                rate = row.rate
                return Found(quote, rate.prefix, rate.destination, rate.destination_class, row.number)
        return NoRate(f"no prefix of {number} has a rate in force")

    def cost(self, number: str, at_ms: int, seconds: int) -> Cost | None:
        """The price of a call that lasts `seconds`; the same as C(seconds) of its quote. None: no rate."""
        found = self.quote(number, at_ms)
        if isinstance(found, NoRate):
            return None
        return Cost(cumulative_micro(found.quote, seconds), billed_s(found.quote, seconds), found.row)

    def rate(self, row: int) -> Rate:
        """A deck row in full."""
        deck = self.deck
        t = deck.terms[int(deck.row_terms[row])]
        since, until = int(t["valid_from_ms"]), int(t["valid_until_ms"])
        maximum, carrier = int(t["max_micro"]), int(t["carrier_num"])
        return Rate(
            prefix=deck.prefix(row),
            destination=deck.destination(row),
            destination_class=deck.classes[int(t["class_"])],
            price_num=int(t["price_num"]),
            price_den=int(t["price_den"]),
            connect_micro=int(t["connect_micro"]),
            first_s=int(t["first_s"]),
            next_s=int(t["next_s"]),
            free_s=int(t["free_s"]),
            min_micro=int(t["min_micro"]),
            max_micro=None if maximum == NO_MAXIMUM else maximum,
            on_max=OnMax.CUT if t["cut"] else OnMax.FREE,
            tier_from_s=int(t["tier_from_s"]),
            band=deck.bands[int(t["band"])] if t["band"] >= 0 else "",
            valid_from_ms=None if since == ALWAYS_FROM_MS else since,
            valid_until_ms=None if until == ALWAYS_UNTIL_MS else until,
            carrier_num=None if carrier == NO_CARRIER else carrier,
            carrier_den=int(t["carrier_den"]),
        )

    def passed_over(self, number: str, at_ms: int) -> tuple[PassedOver, ...]:
        """For explanations: every row of every prefix of `number` that is not part of its quote."""
        found = self.quote(number, at_ms)
        chosen = found.prefix if isinstance(found, Found) else ""
        used = {s.band for s in found.quote.segments} if isinstance(found, Found) else set()
        over = []
        for group in self._groups(number):
            in_force = {row.number for row in self._in_force(group, at_ms)}
            for number_of_row in self._rows(group):
                rate = self.rate(number_of_row)
                if number_of_row not in in_force:
                    over.append(PassedOver(rate, "not in force at that time"))
                elif rate.prefix != chosen:
                    why = (
                        "a longer prefix has a rate" if len(rate.prefix) < len(chosen) else "no rate for that hour"
                    )
                    over.append(PassedOver(rate, why))
                elif rate.band not in used:
                    over.append(PassedOver(rate, "the call does not reach its hours"))
        return tuple(over)

    # -- finding -------------------------------------------------------------------------------------------------

    def _groups(self, number: str) -> Iterator[int]:
        """The groups of the prefixes of `number`, the longest first."""
        keys = self.deck.keys
        for length in range(min(len(number), MAX_PREFIX), 0, -1):
            key = pack(number[:length])
            place = int(keys.searchsorted(np.uint64(key)))
            if place < len(keys) and int(keys[place]) == key:
                yield place

    def _rows(self, group: int) -> range:
        return range(int(self.deck.group_start[group]), int(self.deck.group_start[group + 1]))

    def _in_force(self, group: int, at_ms: int) -> list[Row]:
        rows = [Row(number, self._cached(number)) for number in self._rows(group)]
        return [
            row
            for row in rows
            if (row.rate.valid_from_ms is None or row.rate.valid_from_ms <= at_ms)
            and (row.rate.valid_until_ms is None or at_ms < row.rate.valid_until_ms)
        ]

    def _cached(self, row: int) -> Rate:
        rate = self._rates.get(row)
        if rate is None:
            if len(self._rates) > RATES_KEPT:
                self._rates.clear()
            rate = self._rates[row] = self.rate(row)
        return rate

    def _edges(self, at_ms: int) -> CallEdges:
        edges = self._timeline.around(at_ms)
        start_s = at_ms // 1000
        place = int(edges.at_s.searchsorted(start_s, side="right")) - 1
        names = [self.deck.bands[int(b)] if b >= 0 else "" for b in edges.band[place:]]
        return CallEdges([max(0, int(at) - start_s) for at in edges.at_s[place:]], names)

    def _quote(self, first: Row, rows: list[Row], edges: CallEdges, horizon_s: int) -> Quote:
        rate = first.rate
        quote = Quote(
            tuple(segments(first, rows, edges, horizon_s)),
            self.currency,
            rate.destination_class,
            unit_micro=10 ** (6 - self.decimals),
            rounding=self.rounding,
            free_s=rate.free_s,
            connect_micro=rate.connect_micro,
            min_micro=rate.min_micro,
            max_micro=rate.max_micro,
            horizon_s=horizon_s,
        )
        if rate.on_max is OnMax.CUT and rate.max_micro is not None:
            without = replace(quote, max_micro=None)
            return replace(without, horizon_s=max(1, affordable_s(without, 0, rate.max_micro)))
        return quote
