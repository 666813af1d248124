# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, overflowcheck=True
"""Prices in closed form. The readable twins are `rater.money` and `rater.rating.reference`.

Everything is exact: int64 with overflow checked, fractions over the least common multiple of the denominators. An
amount is kept as whole micro-units and a rest under that multiple, so that nothing here comes near 2^63: prices,
durations and denominators have the bounds of `rater.money`. What leaves them raises OverflowError.
"""

import numpy as np

from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef enum:
    UP = 0
    DOWN = 1
    HALF_UP = 2
    HALF_EVEN = 3
    MAX_DENOMINATOR = 1000000000

cdef int64_t MAX_AMOUNT_MICRO = 9000000000000000


# whole + rest/den, with 0 <= rest < den.
cdef struct Amount:
    int64_t whole
    int64_t rest
    int64_t den


cdef int64_t gcd(int64_t a, int64_t b) noexcept nogil:
    while b:
        a, b = b, a % b
    return a


cdef int add(Amount* sum, int64_t num, int64_t den) except -1 nogil:
    """Adds num/den. Raises OverflowError when the denominators have no common multiple within range."""
    cdef int64_t common
    if den != sum.den:
        common = sum.den // gcd(sum.den, den) * den
        if common > MAX_DENOMINATOR:
            raise OverflowError("the price intervals have no common multiple within range")
        sum.rest *= common // sum.den
        sum.den = common
    sum.whole += num // den
    sum.rest += num % den * (sum.den // den)
    if sum.rest >= sum.den:
        sum.rest -= sum.den
        sum.whole += 1
    return 0


cdef int64_t rounded(const Amount* amount, int64_t unit, int rounding) except? -1 nogil:
    """The amount to a multiple of `unit`."""
    cdef int64_t units = amount.whole // unit
    cdef int64_t over = amount.whole % unit
    cdef int64_t twice
    if over == 0 and amount.rest == 0:
        return units * unit
    if rounding == UP:
        units += 1
    elif rounding != DOWN:
        twice = 2 * over - unit
        # Twice the remainder against the unit: over the middle, or exactly on it.
        if twice > 0 or (twice == -1 and 2 * amount.rest > amount.den) or (twice == 0 and amount.rest > 0):
            units += 1
        elif (twice == 0 and amount.rest == 0) or (twice == -1 and 2 * amount.rest == amount.den):
            units += 1 if rounding == HALF_UP else units & 1
    return units * unit


cdef int64_t billed_in(const Segment* segment, int64_t end_s) except? -1 nogil:
    """Seconds billed of a segment up to `end_s`, which lies in it: whole increments."""
    return (end_s - segment.from_s + segment.step_s - 1) // segment.step_s * segment.step_s


cdef int64_t end_of(const Segment* segments, Py_ssize_t i, Py_ssize_t count, int64_t seconds) noexcept nogil:
    """Where a leg of `seconds` leaves segment i."""
    return min(seconds, segments[i + 1].from_s) if i + 1 < count else seconds


cdef int64_t billed(const Segment* segments, Py_ssize_t count, const Bill* bill, int64_t seconds) except? -1 nogil:
    cdef int64_t sum_s = 0
    cdef Py_ssize_t i = 0
    if seconds <= bill.free_s:
        return 0
    while i < count and segments[i].from_s < seconds:
        sum_s += billed_in(&segments[i], end_of(segments, i, count, seconds))
        i += 1
    return sum_s


cdef int64_t charge(const Segment* segments, Py_ssize_t count, const Bill* bill, int64_t seconds) except? -1 nogil:
    """C(seconds), see `rater.money`."""
    cdef Amount sum
    cdef Py_ssize_t i = 0
    if seconds <= bill.free_s:
        return 0
    sum.whole, sum.rest, sum.den = bill.connect_micro, 0, 1
    while i < count and segments[i].from_s < seconds:
        add(&sum, segments[i].num * billed_in(&segments[i], end_of(segments, i, count, seconds)), segments[i].den)
        i += 1
    if sum.whole < bill.min_micro:
        sum.whole, sum.rest = bill.min_micro, 0
    if bill.max_micro >= 0 and sum.whole >= bill.max_micro:
        sum.whole, sum.rest = bill.max_micro, 0
    if sum.whole > MAX_AMOUNT_MICRO:
        raise OverflowError("the price of this leg leaves the exact range")
    return rounded(&sum, bill.unit_micro, bill.rounding)


# Amounts that a budget holds: up to half of `twice_micro`, itself included unless `strict`.
cdef struct Limit:
    int64_t twice_micro
    bint strict


cdef int limit_for(int64_t budget_micro, int64_t unit, int rounding, Limit* limit) except -1 nogil:
    """The exact amounts that are rounded to at most `budget_micro`."""
    cdef int64_t units = budget_micro // unit
    if rounding == UP:
        limit.twice_micro, limit.strict = 2 * units * unit, False
    elif rounding == DOWN:
        limit.twice_micro, limit.strict = 2 * (units + 1) * unit, True
    else:
        limit.twice_micro = (2 * units + 1) * unit
        limit.strict = rounding == HALF_UP or units % 2 == 1
    return 0


cdef bint within(const Amount* amount, const Limit* limit) except -1 nogil:
    cdef int64_t room = limit.twice_micro - 2 * amount.whole
    if room < 0 or room >= 2:
        return room >= 2
    if limit.strict:
        return 2 * amount.rest < room * amount.den
    return 2 * amount.rest <= room * amount.den


cdef bint holds(const Amount* paid, const Segment* segment, int64_t increments, const Limit* limit) except -1 nogil:
    """Whether the limit holds what is paid and so many increments of a segment."""
    cdef Amount sum = paid[0]
    add(&sum, segment.num * (segment.step_s * increments), segment.den)
    return within(&sum, limit)


cdef int64_t increments_within(
    const Amount* paid, const Segment* segment, int64_t most, const Limit* limit
) except -1 nogil:
    """The most increments of a segment that the limit holds, fewer than `most`: by division, then made exact."""
    cdef double room = 0.5 * limit.twice_micro - paid.whole
    cdef double each = <double>segment.num * segment.step_s / segment.den
    cdef int64_t guess = <int64_t>min(max(room / each, 0.0), <double>(most - 1))
    while guess > 0 and not holds(paid, segment, guess, limit):
        guess -= 1
    while guess < most - 1 and holds(paid, segment, guess + 1, limit):
        guess += 1
    return guess


cdef int64_t reach(
    const Segment* segments, Py_ssize_t count, const Bill* bill, int64_t from_s, int64_t budget_micro
) except -1 nogil:
    """The longest n, from_s <= n <= horizon, with C(n) - C(from_s) <= budget."""
    cdef int64_t total = charge(segments, count, bill, from_s) + budget_micro
    cdef Limit limit
    cdef Amount paid, minimum
    cdef int64_t n = 0, increments
    cdef Py_ssize_t i = 0
    if budget_micro < 0:
        return from_s
    if charge(segments, count, bill, bill.horizon_s) <= total:
        return bill.horizon_s
    limit_for(total, bill.unit_micro, bill.rounding, &limit)
    paid.whole, paid.rest, paid.den = bill.connect_micro, 0, 1
    minimum.whole, minimum.rest, minimum.den = bill.min_micro, 0, 1
    if within(&paid, &limit) and within(&minimum, &limit):
        while i < count:
            n = segments[i].from_s
            increments = billed_in(&segments[i], end_of(segments, i, count, bill.horizon_s)) // segments[i].step_s
            if not holds(&paid, &segments[i], increments, &limit):
                n += increments_within(&paid, &segments[i], increments, &limit) * segments[i].step_s
                break
            add(&paid, segments[i].num * (segments[i].step_s * increments), segments[i].den)
            i += 1
    return min(max(n, from_s, bill.free_s), bill.horizon_s)


cdef int load(object quote, Bill* bill, Room* room) except -1:
    """Reads a `rater.money.Quote`, which has checked its own bounds."""
    cdef Segment* segment
    segments = quote.segments
    maximum = quote.max_micro
    bill.free_s, bill.connect_micro, bill.min_micro = quote.free_s, quote.connect_micro, quote.min_micro
    bill.max_micro = -1 if maximum is None else maximum
    bill.unit_micro, bill.rounding, bill.horizon_s = quote.unit_micro, quote.rounding, quote.horizon_s
    room.count = 0
    room.size = len(segments)
    room.items = <Segment*>PyMem_RawRealloc(NULL, <size_t>room.size * sizeof(Segment))
    if room.items == NULL:
        raise MemoryError()
    for item in segments:
        segment = room.items + room.count
        segment.from_s, segment.step_s, segment.row = item.from_s, item.step_s, 0
        segment.num, segment.den = item.price_num, item.price_den
        room.count += 1
    return 0


cdef int64_t checked(object seconds, const Bill* bill) except -1:
    if not 0 <= seconds <= bill.horizon_s:
        raise ValueError(f"{seconds} s lies outside the quote's 0 to {bill.horizon_s} s")
    return seconds


def cumulative_micro(quote, seconds):
    """C(seconds), the price of a leg that long. Raises ValueError outside 0 … horizon."""
    cdef Bill bill
    cdef Room room
    room.items = NULL
    try:
        load(quote, &bill, &room)
        return charge(room.items, room.count, &bill, checked(seconds, &bill))
    finally:
        PyMem_RawFree(room.items)


def billed_s(quote, seconds):
    """Seconds billed for a leg of `seconds`: whole increments; 0 within the free seconds."""
    cdef Bill bill
    cdef Room room
    room.items = NULL
    try:
        load(quote, &bill, &room)
        return billed(room.items, room.count, &bill, seconds)
    finally:
        PyMem_RawFree(room.items)


def affordable_s(quote, from_s, budget_micro):
    """The longest n, from_s ≤ n ≤ horizon, with C(n) − C(from_s) ≤ budget (budget ≥ 0)."""
    cdef Bill bill
    cdef Room room
    cdef int64_t budget = min(budget_micro, 2 * MAX_AMOUNT_MICRO)  # no leg costs more
    room.items = NULL
    try:
        load(quote, &bill, &room)
        return reach(room.items, room.count, &bill, checked(from_s, &bill), budget)
    finally:
        PyMem_RawFree(room.items)


def parse_decimals(
    const int32_t[::1] start not None, const uint8_t[::1] text not None, str sign not None, int places, int64_t most
):
    """Decimal texts × 10^places, exactly; empty ones −1. And the place of the first that is no plain decimal, has
    more places, or exceeds `most` (after scaling, at most 10^17), else −1."""
    values = np.zeros(max(0, start.shape[0] - 1), np.int64)
    cdef int64_t[::1] out = values
    cdef Py_ssize_t i, bad = -1
    cdef uint8_t point = ord(sign)
    if most > 10**17:
        raise ValueError("at most 10^17")
    with nogil:
        for i in range(out.shape[0]):
            out[i] = decimal(text, start[i], start[i + 1], point, places, most)
            if out[i] == NO_DECIMAL:
                bad = i
                break
    return values, bad


cdef enum:
    NO_DECIMAL = -2


cdef int64_t decimal(
    const uint8_t[::1] text, Py_ssize_t i, Py_ssize_t end, uint8_t point, int places, int64_t most
) noexcept nogil:
    """One text, scaled; -1 when empty; NO_DECIMAL when it is unfit."""
    cdef int64_t value = 0
    cdef Py_ssize_t begin = i
    cdef int left = -1
    if i == end:
        return -1
    while i < end:
        if text[i] == point and left < 0 and i > begin and i + 1 < end:
            left = places
        elif not 48 <= text[i] <= 57 or (left == 0 and text[i] != 48):
            return NO_DECIMAL
        elif left != 0:
            value = value * 10 + (text[i] - 48)
            left -= left > 0
            if value > most:
                return NO_DECIMAL
        i += 1
    for i in range(places if left < 0 else left):
        value *= 10
        if value > most:
            return NO_DECIMAL
    return value
