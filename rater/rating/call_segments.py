"""From rates to segments: by band, by position in the call, by first and next increment.

An increment begun is charged whole at its start's price, so a segment ends at the first increment boundary at or
after the edge that ends it, and the next price begins there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from rater.money import Segment
from rater.rating.rate import Rate


@dataclass(frozen=True, slots=True)
class Row:
    """A deck row by its number."""

    number: int
    rate: Rate


class CallEdges:
    """The bands that a call meets: band ``names[i]`` from second ``from_s[i]`` of the call, the first from 0."""

    def __init__(self, from_s: list[int], names: list[str]) -> None:
        self._from_s = from_s
        self._names = names

    def band_at(self, second: int) -> str:
        return self._names[bisect_right(self._from_s, second) - 1]

    def next_edge(self, second: int) -> int | None:
        place = bisect_right(self._from_s, second)
        return self._from_s[place] if place < len(self._from_s) else None


def pick(rows: list[Row], second: int, band: str) -> Row | None:
    """The row that prices a second of the call: of its band before one for any; of those the latest tier."""
    best: Row | None = None
    for row in rows:
        rate = row.rate
        fits = rate.tier_from_s <= second and rate.band in ("", band)
        if fits and (best is None or _precedence(rate) > _precedence(best.rate)):
            best = row
    return best


def _precedence(rate: Rate) -> tuple[bool, int]:
    return rate.band != "", rate.tier_from_s


def segments(first: Row, rows: list[Row], edges: CallEdges, horizon_s: int) -> Iterator[Segment]:
    """The segments of a call whose first second `first` prices, up to the horizon."""
    tiers = sorted({row.rate.tier_from_s for row in rows})
    position, row = 0, first
    pending: Segment | None = None
    while position < horizon_s:
        row = pick(rows, position, edges.band_at(position)) or row
        rate = row.rate
        opening = position == 0 and rate.first_s != rate.next_s
        step_s = rate.first_s if opening else rate.next_s
        ends = [horizon_s, *(tier for tier in tiers if tier > position)]
        edge = edges.next_edge(position)
        if edge is not None:
            ends.append(edge)
        length_s = step_s if opening else -(-(min(ends) - position) // step_s) * step_s
        segment = Segment(position, step_s, rate.price_num, rate.price_den, rate.band)
        if pending is None:
            pending = segment
        elif not _continues(pending, segment):
            yield pending
            pending = segment
        position += length_s
    if pending is not None:
        yield pending


def _continues(one: Segment, other: Segment) -> bool:
    mine = (one.step_s, one.price_num, one.price_den, one.band)
    return mine == (other.step_s, other.price_num, other.price_den, other.band)
