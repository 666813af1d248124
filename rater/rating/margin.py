"""What a call earns beside what the carrier takes, compared as whole price functions. Pure.

The price is C(n) of the quote. The cost is the carrier's price of each second (the deck's ``carrier_cost``) along
the same rows that make the quote's segments, without increments or fees: decks do not tell how carriers round.

Both grow in straight lines within a segment, so that their difference is least at a segment's edge. Therefore the
margin is looked at where it can be least: after the first minute (shorter calls are judged by it, since a fee or
free seconds would say anything of them), at the end of each segment after that, and at the longest call. A call of
at least a minute then earns the floor whenever it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from rater.money import Quote, Rounding, cumulative_micro, format_amount, round_fraction
from rater.rating.rate import Rate
from rater.rating.segments import rows_in_force, stretches
from rater.rating.tariff import Found, PlanTariff

FIRST_S = 60

CarrierPrices = Sequence[tuple[int, Fraction]]
"""From which second on the carrier takes how many micro-units a second."""


def carrier_prices(tariff: PlanTariff, found: Found, at_ms: int) -> CarrierPrices | None:
    """Along the rows of a quote; None when one of them gives no cost."""
    deck = tariff.deck
    group = int(np.searchsorted(deck.group_start, found.row, side="right")) - 1
    rows = range(int(deck.group_start[group]), int(deck.group_start[group + 1]))
    in_force = rows_in_force(deck.terms, rows, deck.row_terms[rows.start : rows.stop].tolist(), at_ms)
    prices = []
    known: dict[int, Rate] = {}
    for stretch in stretches(in_force, tariff.timeline.around(at_ms), at_ms, found.quote.horizon_s):
        rate = known.get(stretch.row) or known.setdefault(stretch.row, tariff.rate(stretch.row))
        if rate.carrier_num is None:
            return None
        prices.append((stretch.from_s, Fraction(rate.carrier_num, rate.carrier_den)))
    return prices


def cost_micro(prices: CarrierPrices, seconds: int) -> Fraction:
    """What the carrier takes for a call that long, exactly."""
    ends = [from_s for from_s, _ in prices[1:]] + [seconds]
    spans = zip(prices, ends, strict=True)
    return sum((price * max(0, min(end_s, seconds) - from_s) for (from_s, price), end_s in spans), Fraction())


def below_floor(quote: Quote, prices: CarrierPrices, floor_percent: int) -> str:
    """Where, for a person, less than the floor is left of the price; empty when it is not."""
    edges = {min(FIRST_S, quote.horizon_s), quote.horizon_s}
    edges |= {s.from_s for s in quote.segments if FIRST_S < s.from_s < quote.horizon_s}
    for seconds in sorted(edges):
        price, cost = cumulative_micro(quote, seconds), cost_micro(prices, seconds)
        if 100 * (price - cost) < floor_percent * price:
            costs = format_amount(round_fraction(cost.numerator, cost.denominator, 1, Rounding.UP))
            sold = f"{seconds} s are sold for {format_amount(price)} and cost {costs}"
            return f"{sold}: less than {floor_percent} % is left"
    return ""
