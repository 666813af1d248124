"""Which part of a leg's amount is owed to what: connection fee, each tariff segment, minimum, maximum.

The amount is rounded once, as a whole (see `rater.money`), so the parts cannot each be rounded and still add up.
They are found as differences instead. Let S₀(n) be the rounded price of the connection fee alone for a leg of n
seconds, S₁(n) with the first segment too, and so on through the minimum and the maximum; the last of them is C(n).
The share of stage i in the stretch from a to b is

    (Sᵢ(b) − Sᵢ₋₁(b)) − (Sᵢ(a) − Sᵢ₋₁(a))

and these shares add up to C(b) − C(a) to the micro-unit, whatever was rounded where.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from rater.money import MICRO, Quote, Segment, billed_segments, round_fraction

LineKind = Literal["connect", "time", "minimum", "maximum"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bill for a leg. `segment` only for ``time``; `from_s` and `billed_s` are then the stretch
    of billed seconds. A ``maximum`` is negative; so may be a ``minimum``, when the part of the leg it was raised
    for is already paid."""

    kind: LineKind
    from_s: int
    billed_s: int
    segment: Segment | None
    amount_micro: int


def merge_pieces(pieces: Iterable[tuple[str, int, int, int]]) -> list[tuple[str, int, int, int]]:
    """Pieces (grant or "", from_s, to_s, amount) with neighbours of one payer joined. Amounts telescope."""
    merged: list[tuple[str, int, int, int]] = []
    for grant, from_s, to_s, amount in pieces:
        if merged and merged[-1][0] == grant and merged[-1][2] == from_s:
            _, first_s, _, before = merged.pop()
            from_s, amount = first_s, before + amount
        merged.append((grant, from_s, to_s, amount))
    return merged


def break_down(quote: Quote, from_s: int, to_s: int) -> list[Line]:
    """The lines of the stretch `from_s` to `to_s` (0 ≤ from ≤ to ≤ horizon); they sum to C(to) − C(from).

    A ``time`` line stands for each segment in which seconds are billed, free of charge or not; the other kinds
    only where they are not zero.
    """
    shares = [after - before for before, after in zip(_shares(quote, from_s), _shares(quote, to_s), strict=True)]
    lines = [Line("connect", from_s, 0, None, shares[0])] if shares[0] else []
    billed_before = _billed(quote, from_s)
    for index, (segment, billed) in enumerate(zip(quote.segments, _billed(quote, to_s), strict=True)):
        newly_s = billed - billed_before[index]
        if newly_s or shares[index + 1]:
            start_s = segment.from_s + billed_before[index]
            lines.append(Line("time", start_s, newly_s, segment, shares[index + 1]))
    if shares[-2]:
        lines.append(Line("minimum", from_s, 0, None, shares[-2]))
    if shares[-1]:
        lines.append(Line("maximum", from_s, 0, None, shares[-1]))
    return lines


def _billed(quote: Quote, seconds: int) -> list[int]:
    """Seconds billed in each of the quote's segments by a leg that long."""
    if seconds <= quote.free_s:
        return [0] * len(quote.segments)
    reached = [billed for _, billed in billed_segments(quote, seconds)]
    return reached + [0] * (len(quote.segments) - len(reached))


def _shares(quote: Quote, seconds: int) -> list[int]:
    """What each stage adds to the rounded price of a leg that long: connect, segments, minimum, maximum."""
    if seconds <= quote.free_s:
        return [0] * (len(quote.segments) + 3)
    den = math.lcm(*(segment.price_den for segment in quote.segments))
    exact = [quote.connect_micro * den]
    for segment, billed_s in zip(quote.segments, _billed(quote, seconds), strict=True):
        exact.append(exact[-1] + segment.price_num * billed_s * (den // segment.price_den))
    exact.append(max(exact[-1], quote.min_micro * den))
    exact.append(exact[-1] if quote.max_micro is None else min(exact[-1], quote.max_micro * den))
    stages = [round_fraction(value, den, quote.unit_micro, quote.rounding) for value in exact]
    return [stage - before for stage, before in zip(stages, (0, *stages[:-1]), strict=True)]


def price_fraction(segment: Segment) -> str:
    """The exact price in micro-units per second, reduced: ``5000/3``, ``2500``."""
    return str(Fraction(segment.price_num, segment.price_den))


def price_per_minute(segment: Segment) -> str:
    """The price in units of the currency per minute, for reading: exact where it has at most nine decimals, else
    rounded to nine."""
    price = Fraction(segment.price_num * 60, segment.price_den * MICRO)
    nine = Decimal(round(price * 10**9)).scaleb(-9)
    text = f"{nine:f}"
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"
