"""From a table of rated events to columns that can be relied on: every fault named with its place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rater.errors import InputError
from rater.money import MAX_AMOUNT_MICRO, MAX_CALL_S
from rater.rerate.columns import COLUMNS, MAY_BE_NULL, RATED_SCHEMA, TEXTS
from rater.rerate.model import Events, Int64s

Where = Callable[[int], str]
_LAST_AT_MS = 4_102_444_800_000


def checked(table: pa.Table, where: Where) -> tuple[Events, list[str]]:
    """The events of a table that holds nothing else, and their ids. Raises InputError for the first fault."""
    for name in COLUMNS.names:
        if name not in MAY_BE_NULL and table[name].null_count:
            row = pc.index(pc.is_null(table[name]), True).as_py()
            raise fault(where(row), f"the event has no {name}")
    attempted_ms = _moments(table, "attempted_at", where)
    ended_ms = _moments(table, "ended_at", where, otherwise=attempted_ms)
    rated_ms = _moments(table, "rated_at", where, otherwise=attempted_ms)
    piece_event, piece_from, piece_to = _pieces(table, "money", where)
    taken = _pieces(table, "allowance", where)[0], _piece_field(table, "allowance", "seconds", where)
    allowance_s = sums_by(*taken, len(table))
    texts = {name: table[name].combine_chunks().dictionary_encode() for name in TEXTS}
    texts["id"] = table["id"].combine_chunks()
    events = Events(
        texts=texts,
        rated_at_ms=rated_ms,
        ended_at_ms=ended_ms,
        duration_s=_integers(table["duration_s"]),
        billed_s=_integers(table["billed_s"]) - allowance_s,
        allowance_s=allowance_s,
        amount_micro=_integers(table["amount_micro"]),
        emergency=table["emergency"].combine_chunks().to_numpy(zero_copy_only=False),
        piece_event=piece_event,
        piece_from_s=piece_from,
        piece_to_s=piece_to,
        piece_micro=_piece_field(table, "money", "amount_micro", where),
    )
    _check_sums(events, where)
    return events, texts["id"].to_pylist()


def _check_sums(events: Events, where: Where) -> None:
    """Durations in bounds, pieces within them, and the pieces' money as much as the event's."""
    count = len(events)
    _require((events.duration_s >= 0) & (events.duration_s <= MAX_CALL_S), where,
             lambda i: f"duration_s is {events.duration_s[i]}, not 0 to {MAX_CALL_S}")  # fmt: skip
    _require((events.amount_micro >= 0) & (events.amount_micro <= MAX_AMOUNT_MICRO), where,
             lambda i: f"amount_micro is {events.amount_micro[i]}, not 0 to {MAX_AMOUNT_MICRO}")  # fmt: skip
    _require((events.allowance_s >= 0) & (events.billed_s >= 0), where,
             lambda i: "billed_s is less than what its allowances paid")  # fmt: skip
    inside = (
        (events.piece_from_s >= 0)
        & (events.piece_from_s <= events.piece_to_s)
        & (events.piece_to_s <= events.duration_s[events.piece_event])
        & (events.piece_micro >= 0)
        & (events.piece_micro <= MAX_AMOUNT_MICRO)
    )
    good = np.ones(count, np.bool_)
    good[events.piece_event[~inside]] = False
    _require(good, where, lambda i: "a piece of its money lies outside the leg, or is negative")
    paid = sums_by(events.piece_event, events.piece_micro, count)
    _require(paid == events.amount_micro, where,
             lambda i: f"its pieces of money add up to {paid[i]} micro-units, amount_micro is "
                       f"{events.amount_micro[i]}")  # fmt: skip


def _require(good: npt.NDArray[np.bool_], where: Where, message: Callable[[int], str]) -> None:
    if not good.all():
        row = int(np.argmin(good))
        raise fault(where(row), message(row))


def fault(place: str, message: str) -> InputError:
    return InputError(
        f"{place}: {message}", hint=f"Every rated event must be whole ({RATED_SCHEMA}, docs/events.md)."
    )


def sums_by(event: Int64s, values: Int64s, count: int) -> Int64s:
    """The sum of the values of each event; `event` never falls."""
    running = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=running[1:])
    pieces = np.bincount(event, minlength=count)
    ends = np.cumsum(pieces)
    sums: Int64s = running[ends] - running[ends - pieces]  # exact even where the running sum wraps around
    return sums


def _integers(column: Any) -> Int64s:
    return np.asarray(column.combine_chunks().to_numpy(), np.int64)


def _pieces(table: pa.Table, name: str, where: Where) -> tuple[Int64s, Int64s, Int64s]:
    """(event, from_s, to_s) of the pieces in a list column."""
    event = pc.list_parent_indices(table[name].combine_chunks()).to_numpy().astype(np.int64)
    return event, _piece_field(table, name, "from_s", where), _piece_field(table, name, "to_s", where)


def _piece_field(table: pa.Table, name: str, part: str, where: Where) -> Int64s:
    pieces = table[name].combine_chunks()
    values = pc.struct_field(pieces.flatten(), part)
    if values.null_count:
        row = pc.list_parent_indices(pieces)[pc.index(pc.is_null(values), True).as_py()].as_py()
        raise fault(where(row), f"a piece in {name} has no {part}")
    return np.asarray(values.to_numpy(), np.int64)


def _moments(table: pa.Table, name: str, where: Where, otherwise: Int64s | None = None) -> Int64s:
    """A column of times in milliseconds; `otherwise` stands where there is none."""
    column = table[name].combine_chunks()
    try:
        moments = pc.cast(column, pa.timestamp("ms", "UTC")).cast(pa.int64())
    except pa.ArrowException:
        moments = pa.array([_moment(text, name, where(row)) for row, text in enumerate(column.to_pylist())],
                           pa.int64())  # fmt: skip
    values = np.asarray(pc.fill_null(moments, -1).to_numpy(), np.int64)
    if otherwise is not None:
        values = np.where(np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False)), otherwise, values)
    _require((values >= 0) & (values < _LAST_AT_MS), where,
             lambda i: f"{name} is {column[i].as_py()!r}, not a time between 1970 and 2099")  # fmt: skip
    return values


def _moment(text: str | None, name: str, place: str) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise fault(place, f"{name} is {text!r}, no ISO 8601 time") from error
