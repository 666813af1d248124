"""Decks as CSV files: read whole, checked whole, compiled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from rater.errors import Problem
from rater.rating.bands import Band
from rater.rating.compiled import CompiledDeck


def import_deck(
    path: Path,
    *,
    zone: ZoneInfo,
    classes: Collection[str],
    bands: Sequence[Band] = (),
    locale: str = "",
) -> CompiledDeck | tuple[Problem, ...]:
    """The compiled deck of a CSV file, or everything that is wrong with it. See docs/rating.md for the columns.

    `zone`: in which the file's dates and times are meant. `classes`: those that may stand in it. `bands`: the
    plan's, in order. `locale`: such as ``pt_BR``, for the decimal sign; empty: a point.
    """
    ...
