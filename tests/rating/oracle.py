"""An oracle for prices: counts a call second by second in exact fractions. Shares no code with the product.

It is told rates as plain values and hours as a function of the second, and follows the rules of docs/rating.md
literally: at each second at which an increment begins, which rate is in force, how long is the increment, what
does it cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class OracleRate:
    """One row of a deck. Amounts in the currency; `per_s`: seconds that `price` is for; times in epoch ms."""

    prefix: str
    price: Fraction
    per_s: int = 60
    first_s: int = 1
    next_s: int = 1
    band: str = ""
    tier_from_s: int = 0
    connect: Fraction = Fraction(0)
    free_s: int = 0
    minimum: Fraction = Fraction(0)
    maximum: Fraction | None = None
    cut: bool = False
    from_ms: int | None = None
    until_ms: int | None = None

    def in_force(self, at_ms: int) -> bool:
        return (self.from_ms is None or at_ms >= self.from_ms) and (self.until_ms is None or at_ms < self.until_ms)


def rates_for(rates: Sequence[OracleRate], number: str, at_ms: int) -> list[OracleRate]:
    """The rates in force of the longest prefix that has any."""
    for length in range(len(number), 0, -1):
        found = [rate for rate in rates if rate.prefix == number[:length] and rate.in_force(at_ms)]
        if found:
            return found
    return []


def rate_at(rates: Sequence[OracleRate], band: str, second: int) -> OracleRate:
    """Of the band's own rates, else of those for any hour, the highest tier reached."""
    own = [rate for rate in rates if rate.band == band and band] or [rate for rate in rates if not rate.band]
    return max((rate for rate in own if rate.tier_from_s <= second), key=lambda rate: rate.tier_from_s)


def prices(
    rates: Sequence[OracleRate], band_at: Callable[[int], str], longest_s: int
) -> tuple[list[Fraction], list[int]]:
    """For 0 … longest_s seconds: the amount before rounding and before a maximum that cuts; the seconds billed.

    `band_at`: the band at so many seconds after the call's beginning.
    """
    first = rate_at(rates, band_at(0), 0)
    amounts, billed = [Fraction(0)], [0]
    paid_until_s, total = 0, first.connect
    for second in range(longest_s):
        if second == paid_until_s:
            rate = rate_at(rates, band_at(second), second)
            step_s = rate.first_s if second == 0 else rate.next_s
            total += rate.price * step_s / rate.per_s
            paid_until_s += step_s
        amount = max(total, first.minimum)
        if first.maximum is not None and not first.cut:
            amount = min(amount, first.maximum)
        free = second + 1 <= first.free_s
        amounts.append(Fraction(0) if free else amount)
        billed.append(0 if free else paid_until_s)
    return amounts, billed


def rounded(amount: Fraction, decimals: int, rule: str) -> Fraction:
    """To so many decimals: ``up``, ``down``, ``half_up`` or ``half_even``."""
    scaled = amount * 10**decimals
    below = scaled.numerator // scaled.denominator
    rest = scaled - below
    half = Fraction(1, 2)
    if rest == 0 or rule == "down":
        up = False
    elif rule == "up":
        up = True
    else:
        up = rest > half or (rest == half and (rule == "half_up" or below % 2 == 1))
    return Fraction(below + up, 10**decimals)


def horizon_s(amounts: Sequence[Fraction], first: OracleRate, decimals: int, rule: str) -> int:
    """The longest call that a maximum which cuts lets be: the last second whose price is not above it."""
    last = len(amounts) - 1
    if not first.cut or first.maximum is None:
        return last
    fits = [n for n, amount in enumerate(amounts) if rounded(amount, decimals, rule) <= first.maximum]
    return max(1, fits[-1])


def longest_affordable(costs: Sequence[Fraction], from_s: int, budget: Fraction) -> int:
    """The longest call from `from_s` on whose further cost is within the budget, by trying each."""
    return max(n for n in range(from_s, len(costs)) if costs[n] - costs[from_s] <= budget)
