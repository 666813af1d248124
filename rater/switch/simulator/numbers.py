"""Whom the simulated callers call: numbers drawn from the catalogue's own decks, dialled as people there dial.

The catalogue is the judge: a drawn number is used when it rates under the prefix that it was drawn for, and a
shorter way of dialling it (national, local) when it is read as that same number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from random import Random

import phonenumbers

from rater.catalog.model import Catalog, Line, Rated
from rater.ids import PlanId

EMERGENCY = ("190", "112", "911", "192", "193")
MALFORMED = ("12a4", "0x33", "1234;5", "00#*", "+", "5511 98765")
UNKNOWN = ("099", "0000", "1999999", "00999123", "+999123456789", "7")
_LENGTHS = tuple(range(8, 16))
_TRIES = 24
_NEAR_SHARE = 0.85


class Prefixes:
    """The prefixes of one deck, without plus: those called every day, and the others. A shorter prefix holds more
    numbers and is called more often."""

    def __init__(self, near: Sequence[str], far: Sequence[str]) -> None:
        self._lists = [_weighed(prefixes) for prefixes in (near, far)]

    def pick(self, random: Random) -> str | None:
        near, far = self._lists
        prefixes, weights = near if near[0] and (not far[0] or random.random() < _NEAR_SHARE) else far
        return random.choices(prefixes, cum_weights=weights)[0] if prefixes else None


def _weighed(prefixes: Sequence[str]) -> tuple[Sequence[str], list[float]]:
    """With cumulative weights: each digit more halves it."""
    return prefixes, list(accumulate(2.0 ** -len(prefix) for prefix in prefixes))


class NumberBook:
    """Draws numbers for lines, which are named by their endpoint. `at_ms`: the wall time at which they shall rate.

    Raises KeyError for an endpoint or a plan that is not there.
    """

    def __init__(self, catalog: Catalog, prefixes: Mapping[PlanId, Prefixes], *, at_ms: int) -> None:
        self._catalog = catalog
        self._prefixes = prefixes
        self._at_ms = at_ms
        self._length: dict[tuple[PlanId, str], int] = {}

    def draw(self, endpoint: str, random: Random) -> str | None:
        """A number that exists for this line, as dialled; None when the catalogue has none of those tried."""
        line = self._line(endpoint)
        plan = self._catalog.accounts[line.account].plan
        for _ in range(_TRIES):
            prefix = self._prefixes[plan].pick(random)
            number = self._complete(plan, line, prefix, random) if prefix is not None else None
            if number is not None:
                return self._as_dialled(plan, line, number, random)
        return None

    def emergency(self, endpoint: str, random: Random) -> str | None:
        """An emergency number where this line is; None when the catalogue knows none."""
        line = self._line(endpoint)
        plan = self._catalog.accounts[line.account].plan
        known = [number for number in EMERGENCY if self._is_emergency(plan, line, number)]
        return random.choice(known) if known else None

    def malformed(self, random: Random) -> str:
        return random.choice(MALFORMED)

    def unknown(self, random: Random) -> str:
        return random.choice(UNKNOWN)

    def _line(self, endpoint: str) -> Line:
        line = self._catalog.line_by_endpoint(endpoint)
        if line is None:
            raise KeyError(f"no line has the endpoint {endpoint}")
        return line

    def _complete(self, plan: PlanId, line: Line, prefix: str, random: Random) -> str | None:
        """Digits behind the prefix, as many as numbers there have."""
        known = self._length.get((plan, prefix))
        for length in (known,) if known is not None else _LENGTHS:
            missing = length - len(prefix)
            if missing < 1:
                continue
            number = prefix + "".join(random.choices("0123456789", k=missing))
            if known is None and not _has_length(number):
                continue
            rated = self._rate(plan, line, "+" + number)
            if rated is not None and rated.number == number and rated.prefix == prefix:
                self._length[plan, prefix] = length
                return number
        return None

    def _as_dialled(self, plan: PlanId, line: Line, number: str, random: Random) -> str:
        """One of the ways to dial it that lead to the same number from this line."""
        national = [number[cut:] for cut in (1, 2, 3)]
        local = [text[len(line.area) :] for text in national if line.area and text.startswith(line.area)]
        ways = [*local, *(f"0{text}" for text in national), *national, f"00{number}", f"+{number}"]
        good = [way for way in ways if way and self._reads_as(plan, line, way, number)]
        return random.choice(good[:3])

    def _reads_as(self, plan: PlanId, line: Line, dialled: str, number: str) -> bool:
        rated = self._rate(plan, line, dialled)
        return rated is not None and rated.number == number

    def _is_emergency(self, plan: PlanId, line: Line, number: str) -> bool:
        rated = self._rate(plan, line, number)
        return rated is not None and rated.emergency

    def _rate(self, plan: PlanId, line: Line, dialled: str) -> Rated | None:
        rated = self._catalog.rate(plan, dialled, area=line.area, at_ms=self._at_ms)
        return rated if isinstance(rated, Rated) else None


def _has_length(number: str) -> bool:
    """Whether numbers of its country are as long as this one, without plus."""
    try:
        parsed = phonenumbers.parse("+" + number)
    except phonenumbers.NumberParseException:
        return False
    reason = phonenumbers.is_possible_number_with_reason(parsed)
    return bool(reason == phonenumbers.ValidationResult.IS_POSSIBLE)
