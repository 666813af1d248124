"""Numbers read by the new dial plan, in bulk: each different one once, and remembered while there is room.

What pricing needs of a number is small: its key for the look-up, the class that a row must have, and the class
whose class row stands for it where no prefix has a rate.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from rater.catalog.pricing import PricedPlan
from rater.rating.compiled import pack
from rater.rating.normalise import EMERGENCY
from rater.rating.normalise_presets import area_pattern, reading_changes_ms
from rater.rating.reading import Normalised, NumberRefused
from rater.rerate.model import PLACE, Int64s, Numbers, Outcome, distinct, encoded

CACHED = 200_000
ANY_CLASS = -1
Texts = tuple[npt.NDArray[np.integer], list[str]]
"""A text column as places in a list."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One number: `outcome` is RERATED when it can be priced, EMERGENCY when it is free, else why it cannot.

    `key`: 0 for a number that only class rows may price. `wanted`: the class that a row must have, ANY_CLASS when
    the deck decides. `otherwise`: the class whose class row stands for it then.
    """

    outcome: Outcome
    number: str
    detail: str = ""
    key: int = 0
    wanted: int = ANY_CLASS
    otherwise: int = ANY_CLASS


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Of many numbers; see `Reading`."""

    outcome: npt.NDArray[np.int8]
    key: npt.NDArray[np.uint64]
    wanted: npt.NDArray[np.int16]
    otherwise: npt.NDArray[np.int16]
    number: object
    """Arrow text column."""
    detail: object
    """Arrow text column."""


class _Known:
    """Readings as columns that grow."""

    def __init__(self) -> None:
        self._outcome, self._key = array("b"), array("Q")
        self._wanted, self._otherwise = array("h"), array("h")
        self._number: list[str] = []
        self._detail: list[str] = []

    def __len__(self) -> int:
        return len(self._number)

    def add(self, reading: Reading) -> None:
        self._outcome.append(PLACE[reading.outcome])
        self._key.append(reading.key)
        self._wanted.append(reading.wanted)
        self._otherwise.append(reading.otherwise)
        self._number.append(reading.number)
        self._detail.append(reading.detail)

    def take(self, place: Int64s, which: npt.NDArray[np.integer]) -> Readings:
        """For each of `which`, the reading that stands at that one of the places."""
        rows, at = place[which], place.tolist()
        return Readings(
            np.array(self._outcome, np.int8)[rows],
            np.array(self._key, np.uint64)[rows],
            np.array(self._wanted, np.int16)[rows],
            np.array(self._otherwise, np.int16)[rows],
            encoded(list(map(self._number.__getitem__, at)), which),
            encoded(list(map(self._detail.__getitem__, at)), which),
        )


class NumberReader:
    """Reads numbers for one plan. `numbers`: which digits its events give."""

    def __init__(self, plan: PricedPlan, numbers: Numbers) -> None:
        self._plan = plan
        self._numbers = numbers
        preset = plan.plan.dial_plan.preset
        self._changes_ms = np.array(reading_changes_ms(preset), np.int64)
        self.needs_area = bool(area_pattern(preset))
        """Whether some numbers mean something only in the line's area."""
        self._classes = {name: place for place, name in enumerate(plan.tariff.deck.classes)}
        self._known = _Known()
        self._places: dict[tuple[str, int], dict[Hashable, int]] = {}
        """By area and period: where in `_known` a number stands."""

    def read(self, dialled: Texts, reached: Texts, areas: Texts, at_ms: Int64s) -> Readings:
        """The readings of numbers dialled in areas at moments. `reached`: empty texts unless those are read."""
        if len(self._known) >= CACHED:
            self._known = _Known()
            self._places.clear()
        period = np.searchsorted(self._changes_ms, at_ms, side="right")
        where = period * len(areas[1]) + areas[0]
        mixed = where
        for codes, texts in (dialled, reached):
            mixed = mixed * len(texts) + codes
        _, first, which = distinct(mixed)
        place = np.empty(len(first), np.int64)
        for one in np.unique(where[first]).tolist():
            rows = np.flatnonzero(where[first] == one)
            of = first[rows]
            area, number = areas[1][one % len(areas[1])], one // len(areas[1])
            place[rows] = self._stand(dialled, reached, area, number, of, at_ms)
        return self._known.take(place, which)

    def _stand(
        self, dialled: Texts, reached: Texts, area: str, period: int, rows: Int64s, at_ms: Int64s
    ) -> list[int]:
        """Where the readings of some numbers of one area and period stand; new ones are read."""
        places = self._places.setdefault((area, period), {})
        from_phone = list(map(dialled[1].__getitem__, dialled[0][rows].tolist()))
        arrived = list(map(reached[1].__getitem__, reached[0][rows].tolist()))
        keys: list[Hashable] = [*(from_phone if len(reached[1]) == 1 else zip(from_phone, arrived, strict=True))]
        found = list(map(places.get, keys))
        for i, at in enumerate(found):
            if at is None:
                found[i] = places[keys[i]] = len(self._known)
                self._known.add(self._read(from_phone[i], arrived[i], area, int(at_ms[rows[i]])))
        return cast("list[int]", found)

    def _read(self, dialled: str, reached: str, area: str, at_ms: int) -> Reading:
        """As `PricedPlan.price` reads it, up to where a price is looked for."""
        read = self._outcome(dialled, reached, area, at_ms)
        if isinstance(read, NumberRefused):
            return Reading(Outcome(read.reason.code), read.number or dialled, read.detail)
        if read.emergency:
            return Reading(Outcome.EMERGENCY, read.number)
        barred = self._plan.barred(read)
        if barred:
            return Reading(Outcome.BLOCKED_DESTINATION, read.number, barred)
        klass = self._classes.get(read.destination_class, len(self._classes))
        if read.short:
            return Reading(Outcome.RERATED, read.number, wanted=klass)
        final = read.class_is_final
        return Reading(
            Outcome.RERATED, read.number, "", pack(read.number[:16]), klass if final else ANY_CLASS,
            ANY_CLASS if final else klass,
        )  # fmt: skip

    def _outcome(self, dialled: str, reached: str, area: str, at_ms: int) -> Normalised | NumberRefused:
        """A number that was reached is read in international form; one that has none, as dialled."""
        if self._numbers is Numbers.REACHED:
            read = self._plan.dial_plan.read(f"+{reached}", area=area, at_ms=at_ms)
            if isinstance(read, Normalised) and read.number == reached:
                return read
        return self._plan.dial_plan.read(dialled, area=area, at_ms=at_ms)


EMERGENCY_CLASS = EMERGENCY
