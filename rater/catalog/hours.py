"""Which band of a plan is in force when, as the terms of a leg carry it: the bands that rating uses.

A leg looks no further than `REACH_MS` ahead of its request, and never further back than its beginning, since none
lasts longer than `MAX_CALL_S`. Where the bands do not reach, none is said to be in force: what is bound to hours is
closed then.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np

from rater.money import MAX_CALL_S
from rater.rating.bands import Band
from rater.rating.timeline import ANY_BAND, LAST_AT_MS, Timeline

REACH_MS = MAX_CALL_S * 1000 + 3_600_000
"""The longest leg, and an hour for clocks that differ."""


class PlanHours:
    """The bands of one plan, by the moment. The same object is given out while the same band is in force, so that
    what is made of it is made a few times a day."""

    def __init__(self, bands: tuple[Band, ...], zone: ZoneInfo) -> None:
        self._names = tuple(band.name for band in bands)
        self._timeline = Timeline(zone, bands, self._names)
        self._kept: tuple[int, int, tuple[tuple[int, str], ...]] = (0, 0, ())

    def around(self, at_ms: int) -> tuple[int, int, tuple[tuple[int, str], ...]]:
        """(from, until, bands as in `Terms`): they serve every moment in between."""
        if not self._names or not 0 <= at_ms < LAST_AT_MS:
            return 0, 2**62, ()
        if not self._kept[0] <= at_ms < self._kept[1]:
            from_ms, until_ms = self._in_force(at_ms)
            self._kept = (from_ms, until_ms, self._between(max(0, from_ms - REACH_MS), until_ms + REACH_MS))
        return self._kept

    def _in_force(self, at_ms: int) -> tuple[int, int]:
        """From when until when the band of a moment is, as far as is known without looking for long."""
        edges = self._timeline.around(at_ms)
        place = int(np.searchsorted(edges.at_s, at_ms // 1000, side="right"))
        until_s = edges.until_s - REACH_MS // 1000 if place == len(edges.at_s) else int(edges.at_s[place])
        return int(edges.at_s[place - 1]) * 1000, min(until_s * 1000, LAST_AT_MS)

    def _between(self, from_ms: int, until_ms: int) -> tuple[tuple[int, str], ...]:
        edges = self._timeline.between(from_ms // 1000, until_ms // 1000)
        names = ["" if place == ANY_BAND else self._names[place] for place in edges.band.tolist()]
        return (
            *((at_s * 1000, name) for at_s, name in zip(edges.at_s.tolist(), names, strict=True)),
            (until_ms, ""),
        )
