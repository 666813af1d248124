"""Rated events from files (JSON lines or Parquet, as `rater events export` and the publisher write them) and from
records, as checked columns. Repeats of an id are passed over, so that what was delivered twice counts once.

A file is read in parts of some ten thousand events, so that memory does not grow with it.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from rater.errors import InputError
from rater.rerate.checks import checked
from rater.rerate.columns import COLUMNS, RATED_SCHEMA
from rater.rerate.lines import HINT, record_of_line
from rater.rerate.model import Events
from rater.rerate.seen import Seen

LINE_BYTES = 2**20
ROWS = 65_536
"""Events at a time: enough that what is done once for all of them weighs little."""
RECORDS = 4096
"""Records at a time while they are dictionaries, which take ten times the room of columns."""
_OTHER_SCHEMAS = pa.array(["rater.denied/1", "rater.threshold/1"])
Where = Callable[[int], str]
"""Tells where a row of a table was read, for messages."""


@dataclass(slots=True)
class Source:
    """Turns tables of records into the events of a period: ``since_ms ≤ end < until_ms``.

    `others`: records of other kinds. `repeats`: events seen before. `outside`: events of other times.
    """

    since_ms: int
    until_ms: int
    others: int = 0
    repeats: int = 0
    outside: int = 0
    _seen: Seen = field(default_factory=Seen)

    def files(self, paths: Iterable[Path], progress: Callable[[int], None] = lambda done: None) -> Iterator[Events]:
        """The events of files, in order; `progress` is told of bytes read. Raises InputError."""
        for path in paths:
            tables = _parquet(path, progress) if is_parquet(path) else _json_lines(path, progress)
            for table, where in tables:
                events = self.take(table, where)
                if len(events):
                    yield events

    def records(self, records: list[dict[str, Any]], where: Where) -> Events:
        """The events among records as dictionaries."""
        return self.take(pa.Table.from_pylist(records, schema=COLUMNS), where)

    def take(self, table: pa.Table, where: Where) -> Events:
        """The events of a table with the columns `COLUMNS`. Raises InputError for the first that is wrong."""
        rows = self._rated(table, where)
        events, ids = checked(table.take(rows), lambda i: where(rows[i].as_py()))
        in_time = (events.ended_at_ms >= self.since_ms) & (events.ended_at_ms < self.until_ms)
        new = self._seen.new(ids, in_time)
        self.outside += int((~in_time).sum())
        self.repeats += int((in_time & ~new).sum())
        return events if new.all() else checked(table.take(rows).filter(pa.array(new)), where)[0]

    def _rated(self, table: pa.Table, where: Where) -> Any:
        """The rows that hold rated events. Raises InputError for a record of an unknown schema."""
        schema = table["schema"]
        rated = pc.fill_null(pc.equal(schema, RATED_SCHEMA), False)
        other = pc.fill_null(pc.is_in(schema, value_set=_OTHER_SCHEMAS), False)
        strange = pc.invert(pc.or_(rated, other))
        if pc.any(strange).as_py():
            row = pc.index(strange, True).as_py()
            raise InputError(
                f"{where(row)}: a record of schema {schema[row].as_py()!r}",
                hint=f"Give files of records as `rater events export` writes them ({RATED_SCHEMA}).",
            )
        self.others += pc.sum(other).as_py() or 0
        return pc.indices_nonzero(rated.combine_chunks() if isinstance(rated, pa.ChunkedArray) else rated)


def is_parquet(path: Path) -> bool:
    return path.suffix == ".parquet"


def event_files(paths: Iterable[Path]) -> list[Path]:
    """The files named, and of each folder its files of events by name. Raises InputError."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if _is_events(p) and not p.name.startswith("."))
            if not inside:
                raise InputError(f"{path} holds no *.jsonl, *.jsonl.gz or *.parquet", hint="Name the files.")
            found += inside
        elif path.suffix == ".csv":
            raise InputError(
                f"{path}: CSV is for spreadsheets and is not read back",
                hint="Export again with --format jsonl or --format parquet.",
            )
        elif not path.is_file():
            raise InputError(f"there is no file {path}", hint="Write one with `rater events export`.")
        else:
            found.append(path)
    return found


def _is_events(path: Path) -> bool:
    return path.name.endswith((".jsonl", ".jsonl.gz", ".parquet"))


def _parquet(path: Path, progress: Callable[[int], None]) -> Iterator[tuple[pa.Table, Where]]:
    size, before = path.stat().st_size, 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            missing = [name for name in COLUMNS.names if name not in file.schema_arrow.names and name != "rated_at"]
            if missing:
                raise InputError(
                    f"{path} has no column {missing[0]}",
                    hint="Give a file that `rater events export --format parquet` wrote.",
                )
            rows = max(1, file.metadata.num_rows)
            names = [name for name in COLUMNS.names if name in file.schema_arrow.names]
            for batch in file.iter_batches(ROWS, columns=names):
                yield _conform(pa.Table.from_batches([batch]), path), partial(_row_of, path, before)
                before += len(batch)
                progress(len(batch) * size // rows)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}", hint="It may be cut off.") from error


def _conform(table: pa.Table, path: Path) -> pa.Table:
    """The table with exactly the columns of `COLUMNS`, of their types; a file may hold more inside its lists."""
    columns = []
    for wanted in COLUMNS:
        if wanted.name not in table.column_names:
            columns.append(pa.nulls(len(table), wanted.type))
            continue
        column = table[wanted.name].combine_chunks()
        try:
            columns.append(_cast(column, wanted.type))
        except (pa.ArrowException, KeyError) as error:
            raise InputError(
                f"{path}: the column {wanted.name} is {column.type}, not {wanted.type}",
                hint="Give a file that `rater events export --format parquet` wrote.",
            ) from error
    return pa.Table.from_arrays(columns, schema=COLUMNS)


def _cast(column: Any, wanted: pa.DataType) -> Any:
    """Lists of structs keep only the fields asked for."""
    if not pa.types.is_list(wanted):
        return column.cast(wanted)
    if not (pa.types.is_list(column.type) and pa.types.is_struct(column.type.value_type)):
        raise KeyError(column.type)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    column = pa.concat_arrays([column])
    values = column.values
    fields = [pc.struct_field(values, f.name).cast(f.type) for f in wanted.value_type]
    inner = pa.StructArray.from_arrays(fields, fields=list(wanted.value_type))
    return pa.ListArray.from_arrays(column.offsets, inner, mask=pc.is_null(column) if column.null_count else None)


def _json_lines(path: Path, progress: Callable[[int], None]) -> Iterator[tuple[pa.Table, Where]]:
    told = 0
    try:
        with path.open("rb") as raw:
            for table, numbers in _tables(path, gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw):
                yield table, partial(_line_of, path, numbers)
                done = raw.tell()
                progress(done - told)
                told = done
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}", hint="Is it whole, and may you read it?") from error


def _tables(path: Path, file: Any) -> Iterator[tuple[pa.Table, list[int]]]:
    """The records of a file, `ROWS` at a time, with their lines."""
    tables: list[pa.Table] = []
    lines: list[int] = []
    for records, numbers in _parts(path, file):
        tables.append(pa.Table.from_pylist(records, schema=COLUMNS))
        lines += numbers
        if len(lines) >= ROWS:
            yield pa.concat_tables(tables), lines
            tables, lines = [], []
    if tables:
        yield pa.concat_tables(tables), lines


def _parts(path: Path, file: Any) -> Iterator[tuple[list[dict[str, Any]], list[int]]]:
    """The records of a file, `RECORDS` at a time, with their lines. Empty lines hold none."""
    records: list[dict[str, Any]] = []
    numbers: list[int] = []
    for number in count(1):
        line = file.readline(LINE_BYTES + 1)
        if not line:
            break
        if len(line) > LINE_BYTES:
            raise InputError(f"{path}:{number}: the line is longer than {LINE_BYTES} bytes", hint=HINT)
        if not line.isspace():
            records.append(record_of_line(line, f"{path}:{number}"))
            numbers.append(number)
        if len(records) == RECORDS:
            yield records, numbers
            records, numbers = [], []
    if records:
        yield records, numbers


def _row_of(path: Path, before: int, row: int) -> str:
    return f"{path}: row {before + row + 1}"


def _line_of(path: Path, numbers: list[int], row: int) -> str:
    return f"{path}:{numbers[row]}"


def as_columns(record: dict[str, Any]) -> dict[str, Any]:
    """Of a public record what re-rating reads."""
    return {name: record.get(name) for name in COLUMNS.names}
