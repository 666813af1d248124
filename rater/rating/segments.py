"""Which rows of a deck price which seconds of a call: the readable twin of `native/rater_native/pricing.pyx`.

From a prefix's rows in force at the call's beginning, the *ladder* of the moment's band (its own rows when it has
any, else those for any band), and from the ladder the highest tier that the call has reached, give one row. The
call walks along in increments; where another row would price the next second, a segment ends, but an increment
begun is charged whole, so the edge moves to the next increment's beginning.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rater.rating.timeline import ANY_BAND, Edges


@dataclass(frozen=True, slots=True)
class Row:
    """What of a row decides its place: `row` in the deck, and its terms."""

    row: int
    band: int
    tier_from_s: int
    first_s: int
    next_s: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """A segment to be: from `from_s` on in steps of `step_s` at the price of `row`."""

    from_s: int
    step_s: int
    row: int


def rows_in_force(terms: npt.NDArray[np.void], rows: Sequence[int], places: Sequence[int], at_ms: int) -> list[Row]:
    """Those of a group's `rows` (with `places` of their terms) that are in force at `at_ms`."""
    found = []
    for row, place in zip(rows, places, strict=True):
        term = terms[place]
        if term["valid_from_ms"] <= at_ms < term["valid_until_ms"]:
            found.append(
                Row(row, int(term["band"]), int(term["tier_from_s"]), int(term["first_s"]), int(term["next_s"]))
            )
    return found


def ladder(rows: Sequence[Row], band: int) -> list[Row]:
    """The rows that price a moment of `band`, by tier: its own, else those for any band."""
    own = [row for row in rows if row.band == band]
    return sorted(own or [row for row in rows if row.band == ANY_BAND], key=lambda row: row.tier_from_s)


def row_at(rows: Sequence[Row], edges: Edges, at_ms: int, position_s: int) -> Row | None:
    """The row that prices the second `position_s` of a call that began at `at_ms`; None in hours without a rate."""
    place = bisect_right(edges.at_s, (at_ms + position_s * 1000) // 1000) - 1
    reached = [r for r in ladder(rows, int(edges.band[place])) if r.tier_from_s <= position_s]
    return reached[-1] if reached else None


def changes(rows: Sequence[Row], edges: Edges, at_ms: int, horizon_s: int) -> list[int]:
    """The positions, after 0 and before the horizon, at which another row may begin to price the call."""
    first = bisect_right(edges.at_s, at_ms // 1000)
    last = bisect_right(edges.at_s, at_ms // 1000 + horizon_s)
    by_band = (-(-(int(edge_s) * 1000 - at_ms) // 1000) for edge_s in edges.at_s[first:last])
    by_tier = (row.tier_from_s for row in rows)
    return sorted({position for position in (*by_band, *by_tier) if 0 < position < horizon_s})


def stretches(rows: Sequence[Row], edges: Edges, at_ms: int, horizon_s: int) -> list[Stretch]:
    """The segments of a call of up to `horizon_s`. `rows` must cover its hours; raises LookupError otherwise."""
    found: list[Stretch] = []
    for stretch in _walk(rows, edges, at_ms, horizon_s):
        if found and (found[-1].row, found[-1].step_s) == (stretch.row, stretch.step_s):
            continue
        found.append(stretch)
    return found


def _walk(rows: Sequence[Row], edges: Edges, at_ms: int, horizon_s: int) -> Iterator[Stretch]:
    edge_positions = changes(rows, edges, at_ms, horizon_s)
    position_s = 0
    row = _require(row_at(rows, edges, at_ms, 0))
    if row.first_s != row.next_s:
        yield Stretch(0, row.first_s, row.row)
        position_s = row.first_s
    while position_s < horizon_s:
        row = _require(row_at(rows, edges, at_ms, position_s))
        end_s = horizon_s
        for change_s in edge_positions[bisect_right(edge_positions, position_s) :]:
            if row_at(rows, edges, at_ms, change_s) != row:
                end_s = change_s
                break
        yield Stretch(position_s, row.next_s, row.row)
        position_s += -(-(end_s - position_s) // row.next_s) * row.next_s


def _require(row: Row | None) -> Row:
    if row is None:
        raise LookupError("the rows in force leave this moment without a rate")
    return row
