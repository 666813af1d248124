"""The kernel in readable Python: the twin of the modules in `rater_native` that rate, tested against them.

It is chosen by ``RATER_KERNEL=reference`` (see `rater.rating.kernel`) and never used in place of a missing one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Hashable

import numpy as np
import numpy.typing as npt

from rater.money import Quote, Rounding, Segment, affordable_s, billed_s, cumulative_micro
from rater.rating.compiled import MAX_PREFIX, NO_MAXIMUM, SYMBOLS, CompiledDeck, pack, unpack
from rater.rating.segments import Row, row_at, rows_in_force, stretches
from rater.rating.timeline import Timeline

__all__ = ["Pricer", "Trie", "affordable_s", "billed_s", "cumulative_micro", "pack_texts", "parse_decimals"]

Parts = tuple[int, int, int, tuple[tuple[int, int, int, int, int], ...]]


def _shared(one: str, other: str) -> str:
    """What both begin with."""
    length = 0
    for mine, its in zip(one, other, strict=False):
        if mine != its:
            break
        length += 1
    return one[:length]


class Trie:
    """Sorted prefixes, which are a digit trie depth first. A prefix's group is its place among the keys.

    The longest prefix of a number stands last before the number, or is a prefix of what stands there.
    """

    def __init__(self, keys: npt.NDArray[np.uint64]) -> None:
        self._group = {unpack(key): group for group, key in enumerate(keys.tolist())}
        self._prefixes = sorted(self._group)

    def lookup(self, number: str) -> int:
        """The group of the longest prefix of `number`; −1 when there is none."""
        while number:
            place = bisect_right(self._prefixes, number) - 1
            if place < 0:
                break
            prefix = self._prefixes[place]
            if number.startswith(prefix):
                return self._group[prefix]
            number = _shared(prefix, number)
        return -1

    def groups(self, number: str) -> tuple[int, ...]:
        """The groups of all prefixes of `number`, the longest first."""
        begins = (number[:length] for length in range(len(number), 0, -1))
        return tuple(self._group[prefix] for prefix in begins if prefix in self._group)

    def lookup_many(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
        """The same for many numbers as keys (see `rater.rating.compiled`)."""
        return np.array([self.lookup(unpack(key)) for key in keys.tolist()], np.int32)


class Pricer:
    """A deck with a plan's rounding and hours: from a number, a moment and a duration to money."""

    def __init__(
        self, deck: CompiledDeck, timeline: Timeline, unit_micro: int, rounding: int, max_call_s: int
    ) -> None:
        self._deck = deck
        self._timeline = timeline
        self._unit_micro = unit_micro
        self._rounding = Rounding(rounding)
        self._max_call_s = max_call_s
        self._trie = Trie(deck.keys)

    @property
    def nbytes(self) -> int:
        """What the look-up holds in memory, about: a text, a list's and a dictionary's place for each prefix."""
        return len(self._deck.keys) * 240

    def groups(self, number: str) -> tuple[int, ...]:
        """The groups of all prefixes of `number`, the longest first."""
        return self._trie.groups(number)

    def key(self, number: str, at_ms: int, horizon_s: int) -> Hashable | None:
        """What all calls with the same `parts` have in common, or None as there."""
        return self.parts(number, at_ms, horizon_s)

    def parts(self, number: str, at_ms: int, horizon_s: int) -> Parts | None:
        """(prefix length, first row, horizon, ((from, step, price num, price den, band), …)), or None.

        None: no prefix has a rate in force. The horizon is shorter than asked where the maximum cuts the call.
        """
        group = self._group_in_force(number, at_ms)
        if group is None:
            return None
        row, quote = self._quote(group, at_ms, horizon_s, cut=True)
        flat = tuple((s.from_s, s.step_s, s.price_num, s.price_den, int(s.band)) for s in quote.segments)
        return len(self._prefix(group)), row, quote.horizon_s, flat

    def cost(self, number: str, at_ms: int, seconds: int) -> tuple[int, int, int] | None:
        """(micro-units, seconds billed, first row) of a call; None: no rate in force."""
        if not 0 <= seconds <= self._max_call_s:
            raise ValueError(f"{seconds} s lies outside the plan's 0 to {self._max_call_s} s")
        group = self._group_in_force(number, at_ms)
        return None if group is None else self._cost(group, at_ms, seconds)

    def cost_many(
        self,
        keys: npt.NDArray[np.uint64],
        at_ms: npt.NDArray[np.int64],
        seconds: npt.NDArray[np.int64],
        wanted: npt.NDArray[np.int16] | None = None,
        class_group: npt.NDArray[np.int32] | None = None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """`cost` of many calls: amounts, seconds billed, first rows (−1 where there is no rate).

        `wanted`: the class that a row must have (−1: any); a prefix of another is passed over for the next shorter.
        `class_group`: by class, the group of the row that stands for it where no prefix has a rate; −1: none.
        """
        count = len(keys)
        if not len(at_ms) == len(seconds) == (count if wanted is None else len(wanted)) == count:
            raise ValueError("the arrays must be equally long")
        if (
            wanted is not None
            and class_group is not None
            and not (
                wanted.max(initial=-1) < len(class_group)
                and class_group.max(initial=-1) < len(self._deck.keys)
                and class_group.min(initial=-1) >= -1
            )
        ):
            raise ValueError("the classes and groups lie outside those of the deck")
        amounts, billed, rows = np.zeros(count, np.int64), np.zeros(count, np.int32), np.full(count, -1, np.int32)
        for i in range(count):
            number, at, duration = unpack(int(keys[i])), int(at_ms[i]), int(seconds[i])
            if not 0 <= duration <= self._max_call_s:
                raise ValueError(f"durations must lie within the plan's 0 to {self._max_call_s} s")
            klass = -1 if wanted is None else int(wanted[i])
            otherwise = -1 if klass < 0 or class_group is None else int(class_group[klass])
            group = self._group_in_force(number, at, klass)
            if group is None and otherwise >= 0 and self._in_force(otherwise, at):
                group = otherwise
            if group is not None:
                amounts[i], billed[i], rows[i] = self._cost(group, at, duration)
        return amounts, billed, rows

    def _group_in_force(self, number: str, at_ms: int, wanted: int = -1) -> int | None:
        """The longest prefix with a rate in force (and, unless −1, of the class `wanted` in its first second)."""
        edges = self._timeline.around(at_ms)
        for group in self._trie.groups(number):
            rows = self._in_force(group, at_ms)
            if rows and wanted < 0:
                return group
            first = row_at(rows, edges, at_ms, 0)
            if first is not None and self._terms(first.row)["class_"] == wanted:
                return group
        return None

    def _cost(self, group: int, at_ms: int, seconds: int) -> tuple[int, int, int]:
        row, quote = self._quote(group, at_ms, max(1, seconds), cut=False)
        return cumulative_micro(quote, seconds), billed_s(quote, seconds), row

    def _quote(self, group: int, at_ms: int, horizon_s: int, *, cut: bool) -> tuple[int, Quote]:
        """The first row and the quote of a group with a rate in force."""
        walk = stretches(self._in_force(group, at_ms), self._timeline.around(at_ms), at_ms, horizon_s)
        segments = tuple(self._segment(s.from_s, s.step_s, s.row) for s in walk)
        return walk[0].row, self._priced(walk[0].row, segments, horizon_s, cut)

    def _prefix(self, group: int) -> str:
        return unpack(int(self._deck.keys[group]))

    def _terms(self, row: int) -> np.void:
        terms: np.void = self._deck.terms[self._deck.row_terms[row]]
        return terms

    def _in_force(self, group: int, at_ms: int) -> list[Row]:
        rows = range(int(self._deck.group_start[group]), int(self._deck.group_start[group + 1]))
        places = self._deck.row_terms[rows.start : rows.stop].tolist()
        return rows_in_force(self._deck.terms, rows, places, at_ms)

    def _segment(self, from_s: int, step_s: int, row: int) -> Segment:
        terms = self._terms(row)
        return Segment(from_s, step_s, int(terms["price_num"]), int(terms["price_den"]), str(terms["band"]))

    def _priced(self, row: int, segments: tuple[Segment, ...], horizon_s: int, cut: bool) -> Quote:
        terms = self._terms(row)
        maximum = int(terms["max_micro"])
        free, connect, minimum = int(terms["free_s"]), int(terms["connect_micro"]), int(terms["min_micro"])
        if cut and terms["cut"] and maximum != NO_MAXIMUM:
            unlimited = Quote(
                segments, "", "", self._unit_micro, self._rounding, free, connect, minimum, None, horizon_s
            )
            horizon_s = max(1, affordable_s(unlimited, 0, maximum))
            segments = tuple(s for s in segments if s.from_s < horizon_s)
        return Quote(
            segments, "", "", self._unit_micro, self._rounding, free, connect, minimum,
            None if maximum == NO_MAXIMUM else maximum, horizon_s,
        )  # fmt: skip


def pack_texts(start: npt.NDArray[np.int32], text: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint64], int]:
    """Keys of texts (as in an Arrow string array), and the place of the first that is no prefix, else −1."""
    keys = np.zeros(len(start) - 1, np.uint64)
    for i in range(len(keys)):
        symbols = bytes(text[start[i] : start[i + 1]])
        if not 1 <= len(symbols) <= MAX_PREFIX or any(chr(symbol) not in SYMBOLS for symbol in symbols):
            return keys, i
        keys[i] = pack(symbols.decode())
    return keys, -1


def parse_decimals(
    start: npt.NDArray[np.int32], text: npt.NDArray[np.uint8], sign: str, places: int, most: int
) -> tuple[npt.NDArray[np.int64], int]:
    """Decimal texts × 10^places, exactly; empty ones −1. And the place of the first that is no plain decimal, has
    more places, or exceeds `most` (after scaling), else −1."""
    values = np.zeros(len(start) - 1, np.int64)
    for i in range(len(values)):
        value = decimal_value(bytes(text[start[i] : start[i + 1]]).decode("utf-8", "replace"), sign, places)
        if value is None or value > most:
            return values, i
        values[i] = value
    return values, -1


_DECIMAL = {sign: re.compile(rf"0*(\d{{1,17}})(?:{re.escape(sign)}(\d+))?", re.ASCII) for sign in ".,"}


def decimal_value(text: str, sign: str, places: int) -> int | None:
    """The text × 10^places; −1 for an empty one; None when it is no plain decimal or has more places."""
    if not text:
        return -1
    match = _DECIMAL[sign].fullmatch(text)
    if match is None:
        return None
    whole, decimals = match[1], match[2] or ""
    kept, dropped = decimals[:places], decimals[places:]
    return None if dropped.strip("0") else int(whole + kept.ljust(places, "0"))
