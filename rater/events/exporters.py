"""Records as files: JSON lines, Parquet, or CSV with one flat row per record. A file appears whole or not at all.

Whole records come from the outbox as it stands: what was delivered and is older than the publisher keeps
(`[publish] keep_hours`) is no longer there.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Literal, Protocol, get_args, get_origin

from redis.asyncio import Redis

from rater.errors import InputError
from rater.events.notices import DeniedRecord, PublicRecord, ThresholdRecord, record_of
from rater.events.rated import RatedEvent
from rater.events.record import Record
from rater.events.stream import TO, UnreadableEntry, decode_entry, outbox_key

PAGE = 1000
PARQUET_ROWS = 4096


class Format(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


class Kind(StrEnum):
    RATED = "rated"
    DENIED = "denied"
    THRESHOLD = "threshold"


_TYPES: dict[Kind, type[Record]] = {
    Kind.RATED: RatedEvent,
    Kind.DENIED: DeniedRecord,
    Kind.THRESHOLD: ThresholdRecord,
}


async def stored_records(
    redis: Redis,
    *,
    prefix: str,
    shards: int,
    progress: Callable[[int], None] = lambda done: None,
    unreadable: Callable[[str, str], None] = lambda stream_id, reason: None,
) -> AsyncIterator[PublicRecord]:
    """Every record that the outbox holds, shard by shard in order. `progress` is told of entries read;
    `unreadable` of those that make no record, which are passed over."""
    client: Any = redis  # redis-py's types differ between commands sync and async
    for shard in range(shards):
        after = "-"
        while page := await client.xrange(outbox_key(prefix, shard), min=after, count=PAGE):
            for stream_id, fields in page:
                if TO in fields:  # a repeat for one target
                    continue
                try:
                    yield record_of(decode_entry(shard, stream_id, fields))
                except UnreadableEntry as error:
                    unreadable(stream_id.decode(), error.message)
            progress(len(page))
            after = f"({page[-1][0].decode()}"


def happened_at(record: PublicRecord) -> str:
    """When it happened, ISO 8601 UTC: the end of a leg, the attempt that was denied, the crossing."""
    if isinstance(record, RatedEvent):
        return record.ended_at or record.attempted_at
    return record.attempted_at if isinstance(record, DeniedRecord) else record.at


def kind_of(record: PublicRecord) -> Kind:
    return Kind(record.schema_.removeprefix("rater.").partition("/")[0])


class RecordWriter(Protocol):
    """Writes records of one kind; `count` says how many."""

    count: int

    def write(self, record: PublicRecord) -> None: ...

    def finish(self) -> None:
        """Writes what is still held back."""
        ...


class _JsonLines:
    def __init__(self, file: IO[bytes]) -> None:
        self.count = 0
        self._file = file

    def write(self, record: PublicRecord) -> None:
        self.count += 1
        self._file.write(f"{record.to_json()}\n".encode())

    def finish(self) -> None:
        pass


class _Csv:
    def __init__(self, file: IO[bytes], kind: Kind) -> None:
        self.count = 0
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        self._columns = [f.alias or name for name, f in _TYPES[kind].model_fields.items()]
        self._rows = csv.writer(self._text)
        self._rows.writerow(self._columns)

    def write(self, record: PublicRecord) -> None:
        self.count += 1
        values = record.to_dict()
        self._rows.writerow([_cell(values[column]) for column in self._columns])

    def finish(self) -> None:
        self._text.flush()
        self._text.detach()


class _Parquet:
    """One column per field; lists of pieces as lists of structs."""

    def __init__(self, file: IO[bytes], kind: Kind) -> None:
        import pyarrow.parquet

        self.count = 0
        self._schema = arrow_schema(_TYPES[kind])
        self._file = pyarrow.parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._held: list[dict[str, Any]] = []

    def write(self, record: PublicRecord) -> None:
        self.count += 1
        self._held.append(record.to_dict())
        if len(self._held) >= PARQUET_ROWS:
            self._release()

    def finish(self) -> None:
        self._release()
        self._file.close()

    def _release(self) -> None:
        import pyarrow as pa

        if self._held:
            self._file.write_table(pa.Table.from_pylist(self._held, schema=self._schema))
            self._held.clear()


def arrow_schema(record: type[Record]) -> Any:
    """The Arrow schema of a kind of records, made from the types of its fields."""
    import pyarrow as pa

    return pa.schema([(f.alias or name, _arrow_type(f.annotation)) for name, f in record.model_fields.items()])


def _arrow_type(annotation: Any) -> Any:
    """Text, whole numbers and truth values; one of them or nothing; lists of them and of records."""
    import pyarrow as pa

    plain = {str: pa.string(), int: pa.int64(), bool: pa.bool_()}
    if annotation in plain:
        return plain[annotation]
    inner = [part for part in get_args(annotation) if part not in (type(None), Ellipsis)]
    if get_origin(annotation) is tuple:
        return pa.list_(_arrow_type(inner[0]))
    if get_origin(annotation) is Literal:
        return pa.string()
    if inner:
        return _arrow_type(inner[0])
    return pa.struct([(f.alias or name, _arrow_type(f.annotation)) for name, f in annotation.model_fields.items()])


@contextmanager
def record_file(path: Path, form: Format, kind: Kind) -> Iterator[RecordWriter]:
    """A file of records that takes its name only when the block ends well. Raises InputError."""
    with whole_file(path) as file:
        writer: RecordWriter
        if form is Format.JSONL:
            writer = _JsonLines(file)
        else:
            writer = _Csv(file, kind) if form is Format.CSV else _Parquet(file, kind)
        try:
            yield writer
        finally:
            writer.finish()


def _cell(value: Any) -> Any:
    """Lists and maps as JSON, nothing as an empty cell. A text that a spreadsheet would take for a formula gets an
    apostrophe in front, since callers choose their own names."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    return text[:1] in "+-" and text[1:].replace(".", "", 1).isdecimal()


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name only when the block ends well; otherwise what stood there stays.

    Raises InputError when it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}",
            hint="Name a file in a folder that exists.",
        ) from error
    finally:
        partial.unlink(missing_ok=True)
