"""The comparison as files: each event, the three views, and the adjustments proposed; CSV or Parquet.

The folder takes its name only when all of it is complete; an earlier report there is replaced as a whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from rater.errors import InputError
from rater.rerate.model import OUTCOMES, Int64s, Rerated
from rater.rerate.tally import VIEWS, Key, Sums, Tally

AMOUNT = pa.decimal128(19, 6)
SUM = pa.decimal128(28, 6)
SUMMARY = "summary.json"
_TEXTS = ("account", "line", "plan", "dialled", "number", "class", "prefix", "currency")
_COMPARED = ("plan", "number", "class", "prefix")
_EVENT = pa.schema(
    [
        ("id", pa.string()), ("ended_at", pa.timestamp("ms", "UTC")),
        ("account", pa.string()), ("line", pa.string()), ("dialled", pa.string()),
        *((f"{age}_{name}", pa.string()) for name in _COMPARED for age in ("old", "new")),
        ("new_destination", pa.string()),
        ("seconds", pa.int64()), ("allowance_seconds", pa.int64()),
        ("old_billed", pa.int64()), ("new_billed", pa.int64()), ("currency", pa.string()),
        ("old", AMOUNT), ("new", AMOUNT), ("difference", AMOUNT), ("outcome", pa.string()), ("detail", pa.string()),
    ]
)  # fmt: skip


class ReportFormat(StrEnum):
    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What an account would be given back (``credit``) or charged beside (``debit``). Nobody has posted it."""

    op_id: str
    account: str
    currency: str
    direction: str
    amount_micro: int
    reason: str


def adjustments(tally: Tally, reason: str) -> list[Adjustment]:
    """One for each account and currency with a difference, in order. The same differences of the same
    events have the same operation ids."""
    return [
        Adjustment(
            f"rerate:{tally.name}:{account}:{currency}", account, currency,
            "debit" if sums.difference_micro > 0 else "credit", abs(sums.difference_micro), reason,
        )
        for (account, currency), sums in sorted(tally.views["account"].items())
        if sums.difference_micro
    ]  # fmt: skip


class Report:
    """Writes a report into a folder that is still to get its name."""

    def __init__(self, folder: Path, form: ReportFormat) -> None:
        self.folder = folder
        self.form = form
        self._events = self._writer("events", _EVENT)

    def events(self, rerated: Rerated) -> None:
        """One row for each event."""
        self._events.write_table(self._safe(_event_table(rerated)))

    def finish(self, tally: Tally, proposed: Iterable[Adjustment], summary: Mapping[str, Any]) -> None:
        """The views, the adjustments and the summary."""
        self._events.close()
        for view in VIEWS:
            self._table(f"by_{view}", _view_table(view, tally.views[view]))
        self._table("adjustments", _adjustment_table(list(proposed)))
        (self.folder / SUMMARY).write_text(json.dumps(summary, ensure_ascii=False, indent=2) + "\n", "utf-8")

    def close(self) -> None:
        self._events.close()

    def _table(self, name: str, table: pa.Table) -> None:
        writer = self._writer(name, table.schema)
        writer.write_table(self._safe(table))
        writer.close()

    def _writer(self, name: str, schema: pa.Schema) -> Any:
        path = self.folder / f"{name}.{self.form}"
        if self.form is ReportFormat.PARQUET:
            return pyarrow.parquet.ParquetWriter(path, schema, compression="zstd")
        return pyarrow.csv.CSVWriter(path, _csv_schema(schema))

    def _safe(self, table: pa.Table) -> pa.Table:
        """For CSV: times as elsewhere, and no text that a spreadsheet would run as a formula, since callers choose
        what they dial."""
        if self.form is ReportFormat.PARQUET:
            return table
        columns = []
        for column in table.columns:
            if pa.types.is_timestamp(column.type):
                column = pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ")
            elif column.type == pa.string():
                dangerous = pc.match_substring_regex(column, r"^[=+\-@\t\r]")
                number = pc.match_substring_regex(column, r"^[+-][0-9]*\.?[0-9]+$")
                formula = pc.and_(dangerous, pc.invert(number))
                column = pc.if_else(formula, pc.binary_join_element_wise("'", column, ""), column)
            columns.append(column)
        return pa.table(columns, schema=_csv_schema(table.schema))


def _csv_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema([(f.name, pa.string() if pa.types.is_timestamp(f.type) else f.type) for f in schema])


def _event_table(rerated: Rerated) -> pa.Table:
    events, priced = rerated.events, rerated.priced
    texts = {name: events.texts[name].dictionary_decode() for name in _TEXTS}
    values: dict[str, Any] = {
        "id": events.texts["id"],
        "ended_at": pa.array(events.ended_at_ms).cast(pa.timestamp("ms", "UTC")),
        **{name: texts[name] for name in ("account", "line", "dialled", "currency")},
        **{f"old_{name}": texts[name] for name in ("plan", "number", "class", "prefix")},
        **{f"new_{name}": column for name, column in rerated.new_texts.items()},
        "seconds": events.duration_s,
        "allowance_seconds": events.allowance_s,
        "old_billed": events.billed_s,
        "new_billed": pa.array(rerated.new_billed_s, mask=~priced),
        "old": decimals(events.amount_micro),
        "new": decimals(rerated.new_micro, priced),
        "difference": decimals(rerated.new_micro - events.amount_micro, priced),
        "outcome": pa.array([o.value for o in OUTCOMES]).take(pa.array(rerated.outcome)),
        "detail": rerated.new_texts["detail"],
    }
    return pa.table([values[name] for name in _EVENT.names], schema=_EVENT)


def decimals(micro: Int64s, valid: Any = None) -> Any:
    """Micro-units as decimals with six places, without a detour through binary fractions; null where not valid."""
    words = np.empty((len(micro), 2), np.int64)
    words[:, 0] = micro
    words[:, 1] = micro >> 63
    amounts = pa.Array.from_buffers(AMOUNT, len(micro), [None, pa.py_buffer(words)])
    return amounts if valid is None else pc.if_else(pa.array(valid), amounts, pa.scalar(None, AMOUNT))


def _view_table(view: str, sums: Mapping[Key, Sums]) -> pa.Table:
    rows = sorted(sums.items())
    columns: dict[str, Any] = {
        view: pa.array([key[0] for key, _ in rows], pa.string()),
        "currency": pa.array([key[1] for key, _ in rows], pa.string()),
        "events": pa.array([s.events for _, s in rows], pa.int64()),
        "seconds": pa.array([s.seconds for _, s in rows], pa.int64()),
        "old": _sum_column([s.old_micro for _, s in rows]),
        "new": _sum_column([s.new_micro for _, s in rows]),
        "difference": _sum_column([s.difference_micro for _, s in rows]),
        "unpriced_events": pa.array([s.unpriced for _, s in rows], pa.int64()),
        "unpriced_old": _sum_column([s.unpriced_micro for _, s in rows]),
    }
    return pa.table(columns)


def _adjustment_table(proposed: list[Adjustment]) -> pa.Table:
    columns: dict[str, Any] = {
        name: pa.array([getattr(a, name) for a in proposed], pa.string())
        for name in ("op_id", "account", "currency", "direction")
    }
    columns["amount"] = _sum_column([a.amount_micro for a in proposed])
    columns["reason"] = pa.array([a.reason for a in proposed], pa.string())
    return pa.table(columns)


def _sum_column(micro: list[int]) -> Any:
    return pa.array([Decimal(value).scaleb(-6) for value in micro], SUM)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill; it takes the place of `folder` only when the block ends well.

    Raises InputError when it cannot be made, or when `folder` holds something else than an earlier report.
    """
    if folder.exists() and not _is_report(folder):
        raise InputError(
            f"{folder} exists and holds something else than a report", hint="Name a new folder: --out DIR."
        )
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        partial.mkdir()
        yield partial
        if folder.exists():
            folder.rename(old)
        try:
            partial.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    except OSError as error:
        raise InputError(
            f"cannot write {folder}: {error.strerror or error}", hint="Name a folder inside one that exists."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _is_report(folder: Path) -> bool:
    """An empty folder, or one with a report and nothing else."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    stems = ("events", "adjustments", *(f"by_{view}" for view in VIEWS))
    ours = {SUMMARY, *(f"{stem}.{form}" for stem in stems for form in ReportFormat)}
    return not names or (SUMMARY in names and names <= ours)
