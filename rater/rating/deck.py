"""Decks as CSV files: read whole, checked whole, compiled. See docs/rating.md for the columns.

There are two readers. `rater.rating.deck_columns` reads a file column by column, fast, and knows only whether all
of it is plain and right. When it is not, `rater.rating.deck_rows` reads it row by row and says what is wrong where,
or compiles what is right but unusual, such as spaces around values. Where both compile, the decks are the same.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa

from rater.errors import Problem
from rater.rating import deck_columns, deck_rows
from rater.rating.bands import Band
from rater.rating.compiled import CompiledDeck
from rater.rating.deck_format import Expected, decimal_sign

__all__ = ["import_deck"]


def import_deck(
    path: Path,
    *,
    zone: ZoneInfo,
    classes: Collection[str],
    bands: Sequence[Band] = (),
    locale: str = "",
) -> CompiledDeck | tuple[Problem, ...]:
    """The compiled deck of a CSV file, or everything that is wrong with it.

    `zone`: in which the file's dates and times are meant. `classes`: those that may stand in it. `bands`: the
    plan's, in order. `locale`: such as ``pt_BR``, for the decimal sign; empty: a point.
    """
    expected = Expected(zone, frozenset(classes), tuple(bands), decimal_sign(locale))
    try:
        with pa.OSFile(str(path)) as file:
            deck = deck_columns.read(file, expected)
        return deck or deck_rows.read(path.read_bytes(), str(path), expected)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        return (Problem(str(path), 0, 0, f"cannot be read: {why}", "a CSV file"),)
