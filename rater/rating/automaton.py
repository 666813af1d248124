"""Several patterns held against a number at once: one step of a table for each digit, however many they are.

A number that nobody has called before is the usual case, and would be held against ten regular expressions, one
after the other. Those of dial plans and of the countries' tables are plain: symbols, sets, groups, alternatives,
repetitions. So they are one finite automaton (Glushkov's: a state is the set of places in the patterns that may
have read the last symbol), whose states are made when a number first needs them, and which says of all patterns
which match. `re` is the reference: `tests/rating/test_automaton.py` compares them.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from rater.errors import InputError

SYMBOLS = "0123456789*#+"
_WIDTH, _STATES = 16, 16
_NOWHERE, _NOT_YET = -1, -2
_MAKING = Lock()
_REPEATED = {"?": (0, 1), "*": (0, None), "+": (1, None)}


class NotPlain(InputError):
    """The pattern has something else in it, such as a look ahead."""


@dataclass(frozen=True, slots=True)
class Part:
    """Of a pattern: symbols (`one_of`), or `parts` one after the other or (`either`) instead of each other; so
    often in a row. `most`: None for without end. `captured`: a group that is asked for."""

    one_of: str = ""
    parts: tuple[Part, ...] = ()
    either: bool = False
    least: int = 1
    most: int | None = 1
    captured: bool = False

    @property
    def width(self) -> int | None:
        """Of all that it matches; None where that differs."""
        widths = {1} if self.one_of else {part.width for part in self.parts}
        if self.least != self.most or None in widths:
            return None
        if not self.either:
            return self.least * (1 if self.one_of else sum(part.width or 0 for part in self.parts))
        return self.least * (widths.pop() or 0) if len(widths) == 1 else None


class _Reader:
    """A pattern taken apart. Raises NotPlain."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def read(self) -> Part:
        part = self._alternatives()
        if self._at != len(self._pattern):
            raise self._not_plain()
        return part

    def _not_plain(self) -> NotPlain:
        return NotPlain(f"{self._pattern!r} is no plain pattern, at {self._at}")

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self, text: str) -> bool:
        taken = self._pattern.startswith(text, self._at)
        self._at += len(text) if taken else 0
        return taken

    def _alternatives(self) -> Part:
        found = [self._sequence()]
        while self._take("|"):
            found.append(self._sequence())
        return found[0] if len(found) == 1 else Part(parts=tuple(found), either=True)

    def _sequence(self) -> Part:
        parts = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(self._one()))
        return Part(parts=tuple(parts))

    def _one(self) -> Part:
        if self._take("("):
            captured = not self._take("?:")
            inner = self._alternatives()
            if not self._take(")"):
                raise self._not_plain()
            return Part(parts=(inner,), captured=captured)
        if self._take("["):
            return Part(one_of=self._set())
        if self._take(r"\d"):
            return Part(one_of=SYMBOLS[:10])
        escaped = self._take("\\")
        symbol = self._peek()
        if not symbol or symbol not in SYMBOLS or (symbol.isdigit() if escaped else symbol in "*+"):
            raise self._not_plain()
        self._at += 1
        return Part(one_of=symbol)

    def _set(self) -> str:
        found = ""
        while not self._take("]"):
            if self._take(r"\d"):
                found += SYMBOLS[:10]
                continue
            first = self._peek()
            self._at += 1
            last = first
            if self._take("-"):
                last = self._peek()
                self._at += 1
            if not first or not last or first not in SYMBOLS or (last != first and not "0" <= first <= last <= "9"):
                raise self._not_plain()
            found += SYMBOLS[SYMBOLS.index(first) : SYMBOLS.index(last) + 1]
        if not found:
            raise self._not_plain()
        return found

    def _repeated(self, part: Part) -> Part:
        sign = self._peek()
        if sign in _REPEATED and sign:
            self._at += 1
            least, most = _REPEATED[sign]
        elif self._take("{"):
            end = self._pattern.find("}", self._at)
            bounds = self._pattern[self._at : end].split(",")
            if end < 0 or len(bounds) > 2 or not all(bound.isdigit() for bound in bounds):
                raise self._not_plain()
            self._at = end + 1
            least, most = int(bounds[0]), int(bounds[-1])
        else:
            return part
        if self._peek() in (*_REPEATED, "{") and self._peek():
            raise self._not_plain()
        return Part(parts=(part,), least=least, most=most)


def read_pattern(pattern: str) -> Part:
    """Raises NotPlain for one that is more than symbols, sets, groups, alternatives and repetitions."""
    return _Reader(pattern).read()


def group_start(pattern: str) -> int | None:
    """Where the pattern's one group begins in whatever it matches, when it reaches to the end; else None."""
    part = read_pattern(pattern)
    while len(part.parts) == 1 and not part.captured and part.least == part.most == 1:
        part = part.parts[0]
    if part.captured and part.least == part.most == 1:
        return 0
    if part.either or not part.parts or not part.least == part.most == 1:
        return None
    *before, last = part.parts
    widths = [each.width for each in before]
    if not last.captured or None in widths or any(_captures(each) for each in before):
        return None
    return sum(width or 0 for width in widths)


def _captures(part: Part) -> bool:
    return part.captured or any(_captures(each) for each in part.parts)


class Automaton:
    """Of at most 30 patterns. Raises NotPlain."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._follow: list[int] = [0]
        """After each place, those that may come next, as bits; place 0 stands before the number."""
        self._ends: list[int] = [0]
        """After which places which patterns are whole, as bits of patterns."""
        symbols = [0] * len(SYMBOLS)
        first = 0
        self._nullable = 0
        for number, pattern in enumerate(patterns):
            empty, begins, ends = self._add(read_pattern(pattern), symbols)
            first |= begins
            self._nullable |= empty << number
            for place in _bits(ends):
                self._ends[place] |= 1 << number
        self._follow[0] = first
        self._ends[0] = self._nullable
        self._symbols = tuple(symbols)
        self._numbers: dict[int, int] = {}
        self._reach: list[int] = []
        self._tables = array("i", [_NOT_YET]) * (_WIDTH * _STATES), array("i", [0]) * _STATES
        self._next, self._accepts = self._tables
        self._number(1)

    def _add(self, part: Part, symbols: list[int]) -> tuple[bool, int, int]:
        """Whether it matches nothing at all, with which places it begins, and with which it ends."""
        if part.one_of:
            place = len(self._follow)
            self._follow.append(0)
            self._ends.append(0)
            for symbol in set(part.one_of):
                symbols[SYMBOLS.index(symbol)] |= 1 << place
            return False, 1 << place, 1 << place
        if part.least == part.most == 1:
            return self._add_once(part, symbols)
        once = Part(parts=part.parts, either=part.either)
        empty, begins, ends = True, 0, 0
        for number in range(part.least if part.most is None else part.most):
            its_empty, its_begins, its_ends = self._add_once(once, symbols)
            self._join(ends, its_begins)
            begins |= its_begins if empty else 0
            optional = its_empty or number >= part.least
            ends = its_ends | (ends if optional else 0)
            empty = empty and optional
        if part.most is None:
            its_empty, its_begins, its_ends = self._add_once(once, symbols)
            self._join(its_ends | ends, its_begins)
            begins |= its_begins if empty else 0
            ends |= its_ends
        return empty, begins, ends

    def _add_once(self, part: Part, symbols: list[int]) -> tuple[bool, int, int]:
        if part.either:
            added = [self._add(each, symbols) for each in part.parts]
            begins = ends = 0
            for _, its_begins, its_ends in added:
                begins |= its_begins
                ends |= its_ends
            return any(empty for empty, _, _ in added), begins, ends
        empty, begins, ends = True, 0, 0
        for each in part.parts:
            its_empty, its_begins, its_ends = self._add(each, symbols)
            self._join(ends, its_begins)
            begins |= its_begins if empty else 0
            ends = its_ends | (ends if its_empty else 0)
            empty = empty and its_empty
        return empty, begins, ends

    def _join(self, ends: int, begins: int) -> None:
        for place in _bits(ends):
            self._follow[place] |= begins

    def whole(self, text: str, start: int = 0) -> int:
        """Which patterns match all of the text from `start` on, as bits; −1 where it has other symbols in it."""
        state = 0
        for i in range(start, len(text)):
            place = _place(text[i])
            if place < 0:
                return -1
            state = self._after(state, place)
            if state == _NOWHERE:
                return 0
        return self._accepts[state]

    def beginning(self, text: str, start: int = 0) -> int:
        """Which patterns match some beginning of the text from `start` on, as bits; −1 as of `whole`."""
        state, found = 0, self._accepts[0]
        for i in range(start, len(text)):
            place = _place(text[i])
            if place < 0:
                return -1
            state = self._after(state, place)
            if state == _NOWHERE:
                return found
            found |= self._accepts[state]
        return found

    def _after(self, state: int, place: int) -> int:
        """The state that a symbol leads to, or nowhere."""
        to = self._next[state * _WIDTH + place]
        return self._step(state, place) if to == _NOT_YET else to

    def _step(self, state: int, place: int) -> int:
        """Looked at for the first time, by whichever thread."""
        with _MAKING:
            positions = self._reach[state] & self._symbols[place]
            to = _NOWHERE if not positions else self._number(positions)
            self._next[state * _WIDTH + place] = to
        return to

    def _number(self, positions: int) -> int:
        """The number of the state in which these places may have read the last symbol."""
        known = self._numbers.get(positions)
        if known is not None:
            return known
        number = self._numbers[positions] = len(self._numbers)
        reach = accepts = 0
        for place in _bits(positions):
            reach |= self._follow[place]
            accepts |= self._ends[place]
        self._reach.append(reach)
        if number >= len(self._accepts):
            to, marks = self._tables
            self._tables = to + array("i", [_NOT_YET]) * len(to), marks + array("i", [0]) * number
            self._next, self._accepts = self._tables
        self._accepts[number] = accepts
        return number


class Pattern:
    """A regular expression for a number, `plain` or not. `text`: as written."""

    def __init__(self, text: str) -> None:
        self.text, self.plain = text, True
        self._compiled: re.Pattern[str] | None = None
        self._automaton: Automaton | None = None
        try:
            self._automaton = Automaton((text,))
        except NotPlain:
            self.plain = False
            self._compiled = re.compile(text)

    @property
    def compiled(self) -> re.Pattern[str]:
        """For the seldom case that the automaton does not serve."""
        if self._compiled is None:
            self._compiled = re.compile(self.text)
        return self._compiled

    def whole(self, text: str, start: int = 0) -> bool:
        """Whether all of the text from `start` on matches."""
        found = self._automaton.whole(text, start) if self._automaton is not None else -1
        return found > 0 if found >= 0 else self.compiled.fullmatch(text, start) is not None

    def begins(self, text: str, start: int = 0) -> bool:
        """Whether some beginning of the text from `start` on matches."""
        found = self._automaton.beginning(text, start) if self._automaton is not None else -1
        return found > 0 if found >= 0 else self.compiled.match(text, start) is not None


def _bits(mask: int) -> list[int]:
    """The places of its bits."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found


def _place(symbol: str) -> int:
    """Of a symbol among `SYMBOLS`; −1 when it is none."""
    code = ord(symbol)
    if 48 <= code <= 57:
        return code - 48
    if code == 42:
        return 10
    if code == 35:
        return 11
    return 12 if code == 43 else -1
