"""Numbers read by the new dial plan, in bulk: each different one once, and remembered while there is room.

What pricing needs of a number is small: its key for the look-up, the class that a row must have, and the class
whose class row stands for it where no prefix has a rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rater.catalog.pricing import PricedPlan
from rater.rating.compiled import pack
from rater.rating.normalise import EMERGENCY, Normalised, NumberRefused
from rater.rating.normalise_presets import area_pattern, reading_changes_ms
from rater.rerate.model import PLACE, Int64s, Numbers, Outcome, encoded

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
        self._cache: dict[tuple[str, str, str, int], Reading] = {}

    def read(self, dialled: Texts, reached: Texts, areas: Texts, at_ms: Int64s) -> Readings:
        """The readings of numbers dialled in areas at moments, with the numbers that they reached."""
        period = np.searchsorted(self._changes_ms, at_ms, side="right")
        mixed = period.astype(np.int64)
        for codes, texts in (dialled, reached, areas):
            mixed = mixed * len(texts) + codes
        _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
        found = [
            self._one(
                dialled[1][int(dialled[0][i])], reached[1][int(reached[0][i])], areas[1][int(areas[0][i])],
                int(period[i]), int(at_ms[i]),
            )
            for i in first.tolist()
        ]  # fmt: skip
        return Readings(
            np.array([PLACE[r.outcome] for r in found], np.int8)[inverse],
            np.array([r.key for r in found], np.uint64)[inverse],
            np.array([r.wanted for r in found], np.int16)[inverse],
            np.array([r.otherwise for r in found], np.int16)[inverse],
            encoded([r.number for r in found], inverse),
            encoded([r.detail for r in found], inverse),
        )

    def _one(self, dialled: str, reached: str, area: str, period: int, at_ms: int) -> Reading:
        where = (dialled, reached, area, period)
        reading = self._cache.get(where)
        if reading is None:
            if len(self._cache) >= CACHED:
                self._cache.clear()
            reading = self._cache[where] = self._read(dialled, reached, area, at_ms)
        return reading

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
