"""From bands to moments: when which band is in force, as sorted edges in UTC.

Built a month at a time and kept: the hot path only searches two arrays. A local day is first written as a pattern
(seconds of the day → band); the zone's offset from UTC, constant between two changes of the clock, then moves the
pattern to UTC. Where the clock jumps back, the pattern's seconds are passed twice; where it jumps ahead, skipped.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, product
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from rater.errors import InputError
from rater.rating.bands import DAY_S, Band, Calendar, Day

ANY_BAND = -1
LAST_AT_MS = 4_102_444_800_000
"""2100-01-01: calls lie before it."""
_CHUNK_S = 32 * DAY_S
_AHEAD_S = 2 * DAY_S
_SAMPLE_S = 3 * 3600
_MOST_CALENDARS = 5
_EPOCH = dt.date(1970, 1, 1)

Pattern = tuple[tuple[int, int], ...]
"""(second of the local day, index of the band from there on), the first at 0."""


@dataclass(frozen=True, eq=False)
class Edges:
    """Band `band[i]` is in force from `at_s[i]` (UTC seconds, sorted) to the next; known for [from_s, until_s)."""

    from_s: int
    until_s: int
    at_s: npt.NDArray[np.int64]
    band: npt.NDArray[np.int16]


def day_pattern(bands: Sequence[Band], day: Day, before: Day) -> Pattern:
    """The bands of one local day by their place in `bands`, ANY_BAND where none holds."""
    spans: list[tuple[int, int, int]] = []
    for index, band in enumerate(bands):
        for window in band.windows:
            if window.on(day):
                spans.append((window.from_s, DAY_S if window.over_midnight else window.to_s, index))
            if window.over_midnight and window.on(before):
                spans.append((0, window.to_s, index))
    pattern: list[tuple[int, int]] = []
    for second in sorted({0, *(s[0] for s in spans), *(s[1] for s in spans)} - {DAY_S}):
        holding = [index for start, end, index in spans if start <= second < end]
        now = min(holding, default=ANY_BAND)
        if not pattern or pattern[-1][1] != now:
            pattern.append((second, now))
    return tuple(pattern)


def calendars_of(bands: Iterable[Band]) -> tuple[Calendar, ...]:
    """The distinct calendars of the bands. Raises InputError for more than a plan may have."""
    found = {calendar: None for band in bands for window in band.windows for calendar in window.calendars}
    if len(found) > _MOST_CALENDARS:
        raise InputError(f"a plan's bands use {len(found)} calendars", hint=f"At most {_MOST_CALENDARS}.")
    return tuple(found)


def reachable(bands: Sequence[Band]) -> frozenset[int]:
    """The bands that are ever in force, with ANY_BAND when some hours belong to none.

    Looked at by kinds of days (weekday, holiday or not, the day before a holiday or not), not by dates.
    """
    calendars = calendars_of(bands)
    some = [
        frozenset(s) for s in chain.from_iterable(combinations(calendars, n) for n in range(len(calendars) + 1))
    ]
    found: set[int] = set()
    for weekday, today, yesterday in product(range(7), some, some):
        pattern = day_pattern(bands, Day(weekday, today), Day((weekday - 1) % 7, yesterday))
        found.update(index for _, index in pattern)
    return frozenset(found)


def uncovered(bands: Sequence[Band], named: Iterable[str]) -> tuple[str, ...]:
    """What a set of rates for the bands `named` leaves without a rate: names of bands; "" for hours of no band.

    Empty when a rate for any band ("") is among them.
    """
    have = set(named)
    if "" in have:
        return ()
    missing = ["" if index == ANY_BAND else bands[index].name for index in sorted(reachable(bands))]
    return tuple(name for name in missing if name not in have)


class Timeline:
    """The edges of `bands` in `zone`, with each band as its place in `names` (ANY_BAND for one not in it)."""

    def __init__(self, zone: ZoneInfo, bands: Sequence[Band], names: Sequence[str]) -> None:
        self._zone = zone
        self._bands = tuple(bands)
        self._calendars = calendars_of(bands)
        places = {name: place for place, name in enumerate(names)}
        self._place = {i: places.get(band.name, ANY_BAND) for i, band in enumerate(bands)} | {ANY_BAND: ANY_BAND}
        self._chunks: dict[int, Edges] = {}
        self._patterns: dict[tuple[Day, Day], Pattern] = {}

    def around(self, at_ms: int) -> Edges:
        """The edges from some time before `at_ms` to at least a day and an hour after."""
        number = at_ms // 1000 // _CHUNK_S
        edges = self._chunks.get(number)
        if edges is None:
            start_s = number * _CHUNK_S
            edges = self._chunks[number] = self.between(start_s, start_s + _CHUNK_S + _AHEAD_S)
        return edges

    def covering(self, first_ms: int, last_ms: int) -> Edges:
        """The edges for calls that begin between two moments, both included."""
        return self.between(first_ms // 1000, last_ms // 1000 + _AHEAD_S)

    def between(self, from_s: int, until_s: int) -> Edges:
        """Raises ValueError outside 1970 to 2100."""
        if not 0 <= from_s < until_s <= LAST_AT_MS // 1000 + _CHUNK_S + _AHEAD_S:
            raise ValueError(f"a call's time must lie between 1970 and 2100, not at {from_s} s")
        if not any(place != ANY_BAND for place in self._place.values()):
            return Edges(from_s, until_s, np.array([from_s], np.int64), np.array([ANY_BAND], np.int16))
        at_s: list[int] = []
        band: list[int] = []
        for start_s, end_s, offset_s in self._offsets(from_s, until_s):
            for second, place in self._local(start_s + offset_s, end_s + offset_s):
                if not band or band[-1] != place:
                    at_s.append(second - offset_s)
                    band.append(place)
        return Edges(from_s, until_s, np.array(at_s, np.int64), np.array(band, np.int16))

    def _local(self, start_s: int, end_s: int) -> Iterable[tuple[int, int]]:
        """(local second, place) from `start_s` on, where the wall clock runs evenly."""
        for number in range(start_s // DAY_S, -(-end_s // DAY_S)):
            pattern = self._pattern(_EPOCH + dt.timedelta(days=number))
            midnight = number * DAY_S
            for (second, index), (following, _) in zip(pattern, (*pattern[1:], (DAY_S, 0)), strict=True):
                begin, end = max(midnight + second, start_s), min(midnight + following, end_s)
                if begin < end:
                    yield begin, self._place[index]

    def _pattern(self, date: dt.date) -> Pattern:
        day, before = self._day(date), self._day(date - dt.timedelta(days=1))
        pattern = self._patterns.get((day, before))
        if pattern is None:
            pattern = self._patterns[day, before] = day_pattern(self._bands, day, before)
        return pattern

    def _day(self, date: dt.date) -> Day:
        return Day(date.weekday(), frozenset(c for c in self._calendars if c.has(date)))

    def _offsets(self, from_s: int, until_s: int) -> Iterable[tuple[int, int, int]]:
        """(from, until, seconds ahead of UTC): stretches in which the zone's clock runs evenly."""
        start_s, offset_s = from_s, self._offset(from_s)
        sampled_s = from_s
        while sampled_s < until_s:
            next_s = min(sampled_s + _SAMPLE_S, until_s)
            if self._offset(next_s) != offset_s:
                change_s = self._change(sampled_s, next_s)
                yield start_s, change_s, offset_s
                start_s, offset_s = change_s, self._offset(change_s)
                next_s = change_s
            sampled_s = next_s
        if start_s < until_s:
            yield start_s, until_s, offset_s

    def _change(self, low_s: int, high_s: int) -> int:
        """The first second after `low_s` at which the offset is another; `high_s` has another."""
        offset_s = self._offset(low_s)
        while high_s - low_s > 1:
            middle_s = (low_s + high_s) // 2
            if self._offset(middle_s) == offset_s:
                low_s = middle_s
            else:
                high_s = middle_s
        return high_s

    def _offset(self, second: int) -> int:
        offset = dt.datetime.fromtimestamp(second, self._zone).utcoffset()
        assert offset is not None  # a zone always has one
        return round(offset.total_seconds())
