"""Exact money, and the one place that divides.

Amounts are integers of micro-units: 10⁻⁶ of the currency, named ``_micro``. A price is a fraction of integers,
micro-units per second. A `Quote` is the price of one leg as ordered segments, independent of any balance. Its
cumulative function

    C(n) = 0                                              for n ≤ free_s
    C(n) = round(clamp(connect + Σ price_i · billed_i(n)))    beyond

is rounded once, as a whole, so that for any slicing 0 ≤ a ≤ b ≤ c the slices telescope:
(C(b) − C(a)) + (C(c) − C(b)) = C(c) − C(a). C never falls as n grows. Every other implementation (the compiled
kernel, the Lua scripts) computes this same function and is tested against this one.

Bounds. Lua in Redis computes with doubles, exact up to 2⁵³. `MAX_AMOUNT_MICRO` lies under that; a segment's
``price_num · seconds`` stays under it because ``price_num ≤ MAX_PRICE_NUM`` and a leg lasts at most `MAX_CALL_S`;
fractions are summed over the least common multiple of the denominators, at most `MAX_DENOMINATOR`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from typing import Any

from rater.errors import AmountError

MICRO = 1_000_000
MAX_AMOUNT_MICRO = 9_000_000_000_000_000
MAX_CALL_S = 86_400
MAX_PRICE_NUM = 100_000_000_000
MAX_DENOMINATOR = 1_000_000_000
_AMOUNT = re.compile(r"([+-]?)(\d{1,16})(?:\.(\d+))?", re.ASCII)


class Rounding(IntEnum):
    """How a cumulative amount meets the smallest unit. Values are stored; never renumber."""

    UP = 0
    DOWN = 1
    HALF_UP = 2
    HALF_EVEN = 3


def parse_amount(text: str) -> int:
    """Micro-units of a decimal text such as ``-12.345678``.

    Raises AmountError when it is no plain decimal, has more than six decimals, or is out of range. Nothing is
    rounded: ``0.0000001`` is refused.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise AmountError(f"{text!r} is not an amount", hint="Write digits and a point, such as 12.50.")
    sign, whole, decimals = match.group(1), match.group(2), match.group(3) or ""
    decimals = decimals.rstrip("0")
    if len(decimals) > 6:
        raise AmountError(f"{text!r} has more than six decimals", hint="The smallest amount is 0.000001.")
    micro = int(whole) * MICRO + int(decimals.ljust(6, "0"))
    if micro > MAX_AMOUNT_MICRO:
        raise AmountError(f"{text!r} is out of range", hint=f"At most {format_amount(MAX_AMOUNT_MICRO)}.")
    return -micro if sign == "-" else micro


def format_amount(amount_micro: int, *, decimals: int = 2) -> str:
    """A decimal text without loss: at least `decimals` places, more where the amount has more."""
    sign = "-" if amount_micro < 0 else ""
    whole, rest = divmod(abs(amount_micro), MICRO)
    places = f"{rest:06d}".rstrip("0").ljust(decimals, "0")
    return f"{sign}{whole}.{places}" if places else f"{sign}{whole}"


def round_fraction(num: int, den: int, unit_micro: int, rounding: Rounding) -> int:
    """``num/den`` micro-units (not negative, den > 0) to a multiple of `unit_micro`."""
    step = den * unit_micro
    units, rest = divmod(num, step)
    if rest:
        twice = 2 * rest
        up = (
            rounding is Rounding.UP
            or (rounding is Rounding.HALF_UP and twice >= step)
            or (rounding is Rounding.HALF_EVEN and (twice > step or (twice == step and units % 2 == 1)))
        )
        units += up
    return units * unit_micro


def duration_s(duration_ms: int) -> int:
    """Whole seconds of an answered leg: to the nearest, half up, but at least one.

    Nearest, since the switch's timer ends a 4 s slice at 4.00x s and signalling jitters by milliseconds either
    way; at least one, so that answered legs cannot be had for nothing.
    """
    if duration_ms < 0:
        raise ValueError(f"a duration cannot be negative: {duration_ms} ms")
    return max(1, (duration_ms + 500) // 1000)


@dataclass(frozen=True, slots=True)
class Segment:
    """Seconds ``from_s`` up to the next segment's ``from_s`` (the last: to the horizon) at one price.

    Billed in increments of `step_s` counted from `from_s`; an increment begun is charged whole, so every segment
    but the last is a multiple of its step long. `price_num`/`price_den` are micro-units per second.
    """

    from_s: int
    step_s: int
    price_num: int
    price_den: int
    band: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of one leg. Raises AmountError when it leaves the exact range (see the module's text).

    `unit_micro`: the smallest unit of the rounding (10 000 for two decimals). `free_s`: a leg this long or
    shorter costs nothing. `max_micro`: None for no maximum. `horizon_s`: the longest the leg may last.
    """

    segments: tuple[Segment, ...]
    currency: str
    destination_class: str
    unit_micro: int = 1
    rounding: Rounding = Rounding.HALF_UP
    free_s: int = 0
    connect_micro: int = 0
    min_micro: int = 0
    max_micro: int | None = None
    horizon_s: int = MAX_CALL_S

    def __post_init__(self) -> None:
        _check(bool(self.segments) and self.segments[0].from_s == 0, "the first segment must start at 0")
        _check(0 < self.horizon_s <= MAX_CALL_S, f"a leg may last 1 to {MAX_CALL_S} s")
        _check(1 <= self.unit_micro <= 10**12, "the rounding unit must be 1 to 10^12 micro-units")
        _check(0 <= self.free_s <= MAX_CALL_S, "free seconds must be 0 to a day")
        for amount in (self.connect_micro, self.min_micro, self.max_micro or 0):
            _check(0 <= amount <= 10**13, "connect fee, minimum and maximum must be 0 to 10 000 000")
        denominator = 1
        for segment, following in zip(self.segments, (*self.segments[1:], None), strict=True):
            _check(segment.step_s >= 1, "an increment is at least one second")
            _check(0 <= segment.price_num <= MAX_PRICE_NUM and segment.price_den >= 1, "price out of range")
            denominator = math.lcm(denominator, segment.price_den)
            if following is not None:
                length = following.from_s - segment.from_s
                _check(length > 0 and length % segment.step_s == 0, "a segment must hold whole increments")
        _check(denominator <= MAX_DENOMINATOR, "the price intervals have no common multiple within range")
        _check(self._within_range(), f"a leg could cost more than {format_amount(MAX_AMOUNT_MICRO)}")

    def _within_range(self) -> bool:
        """Whether C stays within range up to the horizon, also before a maximum holds it down."""
        dearest = max(s.price_num // s.price_den + 1 for s in self.segments)
        longest_s = self.horizon_s + max(s.step_s for s in self.segments)
        if self.connect_micro + dearest * longest_s <= MAX_AMOUNT_MICRO:
            return True  # nearly always; what follows is the exact answer
        exact = sum(
            Fraction(s.price_num * billed, s.price_den) for s, billed in billed_segments(self, self.horizon_s)
        )
        return self.connect_micro + exact <= MAX_AMOUNT_MICRO

    def to_wire(self) -> list[Any]:
        """The msgpack form that the Lua scripts read: flat, positions fixed.

        [version, horizon_s, free_s, connect_micro, min_micro, max_micro or -1, unit_micro, rounding, denominator,
        currency, class, [from_s, step_s, price_num, price_den, band, …]]
        """
        flat: list[Any] = []
        for s in self.segments:
            flat += (s.from_s, s.step_s, s.price_num, s.price_den, s.band)
        return [
            1, self.horizon_s, self.free_s, self.connect_micro, self.min_micro,
            -1 if self.max_micro is None else self.max_micro, self.unit_micro, int(self.rounding),
            math.lcm(*(s.price_den for s in self.segments)), self.currency, self.destination_class, flat,
        ]  # fmt: skip

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Quote:
        version, horizon, free, connect, minimum, maximum, unit, rounding, _, currency, klass, flat = wire
        _check(version == 1, f"unknown quote version {version}")
        segments = tuple(Segment(*flat[i : i + 5]) for i in range(0, len(flat), 5))
        return cls(segments, currency, klass, unit, Rounding(rounding), free, connect, minimum,
                   None if maximum < 0 else maximum, horizon)  # fmt: skip


def _check(good: bool, message: str) -> None:
    if not good:
        raise AmountError(message)


def billed_s(quote: Quote, seconds: int) -> int:
    """Seconds billed for a leg of `seconds`: whole increments; 0 within the free seconds."""
    if seconds <= quote.free_s:
        return 0
    return sum(billed for _, billed in billed_segments(quote, seconds))


def billed_segments(quote: Quote, seconds: int) -> list[tuple[Segment, int]]:
    """Each segment that a leg of `seconds` reaches, with the seconds billed in it."""
    reached = []
    following = (*(s.from_s for s in quote.segments[1:]), None)
    for segment, end_s in zip(quote.segments, following, strict=True):
        covered_s = (seconds if end_s is None else min(seconds, end_s)) - segment.from_s
        if covered_s <= 0:
            break
        reached.append((segment, -(-covered_s // segment.step_s) * segment.step_s))
    return reached


def cumulative_micro(quote: Quote, seconds: int) -> int:
    """C(seconds), the price of a leg that long. Raises ValueError outside 0 … horizon."""
    if not 0 <= seconds <= quote.horizon_s:
        raise ValueError(f"{seconds} s lies outside the quote's 0 to {quote.horizon_s} s")
    if seconds <= quote.free_s:
        return 0
    exact = Fraction(quote.connect_micro)
    for segment, billed in billed_segments(quote, seconds):
        exact += Fraction(segment.price_num * billed, segment.price_den)
    exact = max(exact, Fraction(quote.min_micro))
    if quote.max_micro is not None:
        exact = min(exact, Fraction(quote.max_micro))
    return round_fraction(exact.numerator, exact.denominator, quote.unit_micro, quote.rounding)


def affordable_s(quote: Quote, from_s: int, budget_micro: int) -> int:
    """The longest n, from_s ≤ n ≤ horizon, with C(n) − C(from_s) ≤ budget (budget ≥ 0)."""
    paid_micro = cumulative_micro(quote, from_s)
    low, high = from_s, quote.horizon_s
    while low < high:
        middle = (low + high + 1) // 2
        if cumulative_micro(quote, middle) - paid_micro <= budget_micro:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(frozen=True, slots=True)
class Cadence:
    """How an allowance counts seconds: nothing up to `free_s`, then `first_s`, then steps of `next_s`."""

    free_s: int = 0
    first_s: int = 1
    next_s: int = 1

    def counted_s(self, seconds: int) -> int:
        """A(seconds): what a leg of `seconds` takes from the allowance when it covers it from the start."""
        if seconds <= self.free_s or seconds <= 0:
            return 0
        if seconds <= self.first_s:
            return self.first_s
        return self.first_s + -(-(seconds - self.first_s) // self.next_s) * self.next_s

    def covers_s(self, from_s: int, budget_s: int, horizon_s: int) -> int:
        """The longest n, from_s ≤ n ≤ horizon, with A(n) − A(from_s) ≤ budget."""
        spent_s = self.counted_s(from_s)
        low, high = from_s, horizon_s
        while low < high:
            middle = (low + high + 1) // 2
            if self.counted_s(middle) - spent_s <= budget_s:
                low = middle
            else:
                high = middle - 1
        return low
