# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, overflowcheck=True
"""From a number, a moment and a duration to money. Readable twins: `rater.rating.segments`, `.reference`.

A deck's arrays are used as they are (`rater.rating.compiled`, which has checked that they fit together); the hours of
its bands come from a `rater.rating.timeline.Timeline`, about a month at a time.
"""

import numpy as np

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint64_t

from rater_native.pricing cimport Bill, Room, Segment, billed, charge, reach
from rater_native.trie cimport Trie, key_of, longest, shorter

cdef enum:
    ANY_BAND = -1
    MAX_CALL_S = 86400


cdef struct Terms:
    int64_t connect_micro
    int64_t price_num
    int64_t min_micro
    int64_t max_micro
    int64_t valid_from_ms
    int64_t valid_until_ms
    int64_t carrier_num
    int32_t price_den
    int32_t carrier_den
    int32_t first_s
    int32_t next_s
    int32_t free_s
    int32_t tier_from_s
    int16_t band
    int16_t class_
    int16_t cut
    int16_t spare


cdef int append(Room* room, int64_t from_s, int64_t step_s, int32_t row, const Terms* terms) except -1 nogil:
    cdef Segment* items
    cdef Segment* last = room.items + room.count - 1
    if room.count and last.row == row and last.step_s == step_s:
        return 0
    if room.count == room.size:
        items = <Segment*>PyMem_RawRealloc(room.items, <size_t>(2 * room.size + 8) * sizeof(Segment))
        if items == NULL:
            raise MemoryError()
        room.items = items
        room.size = 2 * room.size + 8
    last = room.items + room.count
    last.from_s, last.step_s, last.row = from_s, step_s, row
    last.num, last.den = terms.price_num, terms.price_den
    room.count += 1
    return 0


cdef struct Deck:
    const int32_t* group_start
    const int32_t* row_terms
    const Terms* terms


# Band `band[i]` is in force from `at_s[i]` (UTC seconds) to the next; known from `from_s` to `until_s`.
cdef struct Hours:
    const int64_t* at_s
    const int16_t* band
    Py_ssize_t count
    int64_t from_s
    int64_t until_s


cdef bint in_force(const Terms* terms, int64_t at_ms) noexcept nogil:
    return terms.valid_from_ms <= at_ms < terms.valid_until_ms


cdef int32_t pick(
    const Deck* deck, int32_t group, int64_t at_ms, int band, int64_t position_s, int64_t* next_tier_s
) noexcept nogil:
    """The row that prices a second of a call, -1 for none; and where the next tier of its ladder begins."""
    cdef int32_t row, own = -1, any_band = -1
    cdef int64_t own_tier = -1, any_tier = -1, own_next = MAX_CALL_S, any_next = MAX_CALL_S
    cdef bint has_own = False
    cdef const Terms* terms
    for row in range(deck.group_start[group], deck.group_start[group + 1]):
        terms = deck.terms + deck.row_terms[row]
        if not in_force(terms, at_ms):
            continue
        if terms.band == ANY_BAND:
            if terms.tier_from_s > position_s:
                any_next = min(any_next, terms.tier_from_s)
            elif terms.tier_from_s > any_tier:
                any_tier, any_band = terms.tier_from_s, row
        elif terms.band == band:
            has_own = True
            if terms.tier_from_s > position_s:
                own_next = min(own_next, terms.tier_from_s)
            elif terms.tier_from_s > own_tier:
                own_tier, own = terms.tier_from_s, row
    next_tier_s[0] = own_next if has_own else any_next
    return own if has_own else any_band


cdef Py_ssize_t hour_at(const Hours* hours, int64_t at_s) noexcept nogil:
    """The place in the hours that holds a second."""
    cdef Py_ssize_t low = 0, high = hours.count, middle
    while high - low > 1:
        middle = (low + high) // 2
        if hours.at_s[middle] <= at_s:
            low = middle
        else:
            high = middle
    return low


cdef int walk(
    const Deck* deck, const Hours* hours, int32_t group, int64_t at_ms, int64_t horizon_s, Room* room
) except -1 nogil:
    """Fills `room` with the segments of a call. See `rater.rating.segments` for the rules."""
    cdef int64_t at_s = at_ms // 1000, position_s = 0, end_s, next_tier_s, unused
    cdef Py_ssize_t hour = hour_at(hours, at_s), later
    cdef const Terms* terms
    cdef int32_t row = require(pick(deck, group, at_ms, hours.band[hour], 0, &next_tier_s))
    room.count = 0
    terms = deck.terms + deck.row_terms[row]
    if terms.first_s != terms.next_s:
        append(room, 0, terms.first_s, row, terms)
        position_s = terms.first_s
    while position_s < horizon_s:
        while hour + 1 < hours.count and hours.at_s[hour + 1] <= at_s + position_s:
            hour += 1
        row = require(pick(deck, group, at_ms, hours.band[hour], position_s, &next_tier_s))
        terms = deck.terms + deck.row_terms[row]
        end_s = min(horizon_s, next_tier_s)
        later = hour + 1
        while later < hours.count and hours.at_s[later] - at_s < end_s:
            if pick(deck, group, at_ms, hours.band[later], hours.at_s[later] - at_s, &unused) != row:
                end_s = hours.at_s[later] - at_s
                break
            later += 1
        append(room, position_s, terms.next_s, row, terms)
        position_s += (end_s - position_s + terms.next_s - 1) // terms.next_s * terms.next_s
    return 0


cdef int32_t require(int32_t row) except -1 nogil:
    if row < 0:
        raise LookupError("the rows in force leave this moment without a rate")
    return row


cdef void bill_for(const Terms* terms, Bill* bill, int64_t unit_micro, int rounding, int64_t horizon_s) noexcept nogil:
    bill.free_s, bill.connect_micro = terms.free_s, terms.connect_micro
    bill.min_micro, bill.max_micro = terms.min_micro, terms.max_micro
    bill.unit_micro, bill.rounding, bill.horizon_s = unit_micro, rounding, horizon_s


cdef class Pricer:
    """A deck with a plan's rounding and hours: from a number, a moment and a duration to money.

    `timeline`: a `rater.rating.timeline.Timeline`; `rounding`: a `rater.money.Rounding`.
    """

    cdef Trie trie
    cdef Deck deck
    cdef Hours hours
    cdef Room room
    cdef object _timeline
    cdef object _held
    cdef object _edges
    cdef int64_t unit_micro
    cdef int64_t max_call_s
    cdef int rounding

    def __init__(self, deck, timeline, unit_micro, rounding, max_call_s):
        cdef const int32_t[::1] group_start = deck.group_start
        cdef const int32_t[::1] row_terms = deck.row_terms if len(deck.row_terms) else np.zeros(1, np.int32)
        cdef const uint8_t[::1] terms = deck.terms.view(np.uint8) if len(deck.terms) else np.zeros(88, np.uint8)
        if deck.terms.dtype.itemsize != sizeof(Terms):
            raise ValueError("the deck's terms have another layout")
        self.trie = Trie(deck.keys)
        self._held = (group_start, row_terms, terms)
        self.deck.group_start = &group_start[0]
        self.deck.row_terms = &row_terms[0]
        self.deck.terms = <const Terms*>&terms[0]
        self._timeline = timeline
        self.unit_micro, self.rounding, self.max_call_s = unit_micro, rounding, max_call_s

    def __dealloc__(self):
        PyMem_RawFree(self.room.items)

    @property
    def nbytes(self):
        """What the look-up holds in memory, the deck's keys included."""
        return self.trie.nbytes

    def groups(self, str number not None):
        """The groups of all prefixes of `number`, the longest first."""
        return self.trie.groups(number)

    cdef int look(self, int64_t at_ms) except -1:
        """Has the hours around a moment at hand."""
        cdef int64_t at_s = at_ms // 1000
        if at_ms < 0 or not (self.hours.from_s <= at_s and at_s + MAX_CALL_S < self.hours.until_s):
            self._edges = self._timeline.around(at_ms)
            self._take(self._edges, &self.hours)
        return 0

    cdef int _take(self, edges, Hours* hours) except -1:
        cdef const int64_t[::1] at_s = edges.at_s
        cdef const int16_t[::1] band = edges.band
        hours.at_s, hours.band, hours.count = &at_s[0], &band[0], at_s.shape[0]
        hours.from_s, hours.until_s = edges.from_s, edges.until_s
        return 0

    cdef int32_t group_in_force(self, int32_t group, int64_t at_ms) noexcept nogil:
        """`group`, or the longest shorter prefix with a row in force; -1 when there is none."""
        cdef int32_t row
        while group >= 0:
            for row in range(self.deck.group_start[group], self.deck.group_start[group + 1]):
                if in_force(self.deck.terms + self.deck.row_terms[row], at_ms):
                    return group
            group = shorter(&self.trie.tree, group)
        return -1

    cdef int32_t lay(self, str number, int64_t at_ms, int64_t horizon_s) except? -2:
        """Fills the room with the segments of a call; the group that prices it, -1 for none."""
        cdef int32_t group
        self.look(at_ms)
        group = self.group_in_force(longest(&self.trie.tree, key_of(number)), at_ms)
        if group >= 0:
            walk(&self.deck, &self.hours, group, at_ms, horizon_s, &self.room)
        return group

    def key(self, str number not None, int64_t at_ms, int64_t horizon_s):
        """What all calls with the same `parts` have in common, or None as there."""
        cdef int32_t group = self.lay(number, at_ms, horizon_s)
        cdef int64_t* values
        cdef Py_ssize_t i
        cdef bytes key
        if group < 0:
            return None
        key = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>sizeof(int64_t) * (2 + 3 * self.room.count))
        values = <int64_t*>PyBytes_AS_STRING(key)
        values[0], values[1] = group, horizon_s
        for i in range(self.room.count):
            values[2 + 3 * i] = self.room.items[i].from_s
            values[3 + 3 * i] = self.room.items[i].step_s
            values[4 + 3 * i] = self.room.items[i].row
        return key

    def parts(self, str number not None, int64_t at_ms, int64_t horizon_s):
        """(prefix length, first row, horizon, ((from, step, price num, price den, band), …)), or None.

        None: no prefix has a rate in force. The horizon is shorter than asked where the maximum cuts the call.
        """
        cdef Bill bill
        cdef const Terms* terms
        cdef Py_ssize_t i
        cdef int32_t group = self.lay(number, at_ms, horizon_s)
        if group < 0:
            return None
        terms = self.deck.terms + self.deck.row_terms[self.room.items[0].row]
        if terms.cut and terms.max_micro >= 0:
            bill_for(terms, &bill, self.unit_micro, self.rounding, horizon_s)
            bill.max_micro = -1
            horizon_s = max(1, reach(self.room.items, self.room.count, &bill, 0, terms.max_micro))
        segments = []
        for i in range(self.room.count):
            if self.room.items[i].from_s < horizon_s:
                terms = self.deck.terms + self.deck.row_terms[self.room.items[i].row]
                segments.append((
                    self.room.items[i].from_s, self.room.items[i].step_s,
                    terms.price_num, terms.price_den, terms.band,
                ))
        return self.trie.length(group), self.room.items[0].row, horizon_s, tuple(segments)

    def cost(self, str number not None, int64_t at_ms, int64_t seconds):
        """(micro-units, seconds billed, first row) of a call; None: no rate in force."""
        cdef int64_t billed_seconds = 0, amount
        cdef int32_t group
        if not 0 <= seconds <= self.max_call_s:
            raise ValueError(f"{seconds} s lies outside the plan's 0 to {self.max_call_s} s")
        self.look(at_ms)
        group = self.group_in_force(longest(&self.trie.tree, key_of(number)), at_ms)
        if group < 0:
            return None
        amount = self.amount(group, &self.hours, at_ms, seconds, &self.room, &billed_seconds)
        return amount, billed_seconds, self.room.items[0].row

    cdef int64_t amount(
        self, int32_t group, const Hours* hours, int64_t at_ms, int64_t seconds, Room* room, int64_t* billed_seconds
    ) except -1 nogil:
        """The price of a call; the first segment's row is left in `room`."""
        cdef Bill bill
        walk(&self.deck, hours, group, at_ms, max(1, seconds), room)
        bill_for(
            self.deck.terms + self.deck.row_terms[room.items[0].row], &bill, self.unit_micro, self.rounding, seconds
        )
        billed_seconds[0] = billed(room.items, room.count, &bill, seconds)
        return charge(room.items, room.count, &bill, seconds)

    def cost_many(
        self, const uint64_t[::1] keys not None, const int64_t[::1] at_ms not None, const int64_t[::1] seconds not None,
        const int16_t[::1] wanted=None, const int32_t[::1] class_group=None,
    ):
        """`cost` of many calls: amounts, seconds billed, first rows (−1 where there is no rate).

        `wanted`: the class that a row must have (−1: any); a prefix of another is passed over for the next shorter.
        `class_group`: by class, the group of the row that stands for it where no prefix has a rate; −1: none.
        """
        cdef Py_ssize_t i, count = keys.shape[0]
        cdef Hours hours
        cdef Room room
        cdef int64_t billed_seconds = 0
        if at_ms.shape[0] != count or seconds.shape[0] != count or (wanted is not None and wanted.shape[0] != count):
            raise ValueError("the arrays must be equally long")
        if wanted is not None and class_group is not None and (
            np.max(wanted, initial=-1) >= class_group.shape[0]
            or np.max(class_group, initial=-1) >= self.trie.count
            or np.min(class_group, initial=-1) < -1
        ):
            raise ValueError("the classes and groups lie outside those of the deck")
        amounts, billed_each, rows = np.zeros(count, np.int64), np.zeros(count, np.int32), np.full(count, -1, np.int32)
        if count == 0:
            return amounts, billed_each, rows
        if np.min(seconds) < 0 or np.max(seconds) > self.max_call_s:
            raise ValueError(f"durations must lie within the plan's 0 to {self.max_call_s} s")
        edges = self._timeline.covering(int(np.min(at_ms)), int(np.max(at_ms)))
        self._take(edges, &hours)
        cdef int64_t[::1] out_amount = amounts
        cdef int32_t[::1] out_billed = billed_each
        cdef int32_t[::1] out_row = rows
        cdef int32_t group
        room.items, room.count, room.size = NULL, 0, 0
        try:
            with nogil:
                for i in range(count):
                    if wanted is None or wanted[i] < 0:
                        group = self.group_in_force(longest(&self.trie.tree, keys[i]), at_ms[i])
                    else:
                        group = self.group_of_class(
                            longest(&self.trie.tree, keys[i]), at_ms[i], &hours, wanted[i],
                            class_group[wanted[i]] if class_group is not None else -1,
                        )
                    if group >= 0:
                        out_amount[i] = self.amount(group, &hours, at_ms[i], seconds[i], &room, &billed_seconds)
                        out_billed[i], out_row[i] = <int32_t>billed_seconds, room.items[0].row
        finally:
            PyMem_RawFree(room.items)
        return amounts, billed_each, rows

    cdef int32_t group_of_class(
        self, int32_t group, int64_t at_ms, const Hours* hours, int wanted, int32_t otherwise
    ) noexcept nogil:
        """The longest prefix from `group` on whose first row is of the class, else `otherwise` when in force."""
        cdef int64_t unused
        cdef int32_t row
        group = self.group_in_force(group, at_ms)
        while group >= 0:
            row = pick(&self.deck, group, at_ms, hours.band[hour_at(hours, at_ms // 1000)], 0, &unused)
            if row >= 0 and self.deck.terms[self.deck.row_terms[row]].class_ == wanted:
                return group
            group = self.group_in_force(shorter(&self.trie.tree, group), at_ms)
        return otherwise if otherwise >= 0 and self.group_in_force(otherwise, at_ms) == otherwise else -1
