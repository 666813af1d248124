"""Records as files: JSON lines, or CSV with one flat row per record. A file appears whole or not at all.

Whole records come from the outbox as it stands: what was delivered and is older than the publisher keeps
(`[publish] keep_hours`) is no longer there.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from redis.asyncio import Redis

from rater.errors import InputError
from rater.events.notices import DeniedRecord, PublicRecord, ThresholdRecord, record_of
from rater.events.rated import RatedEvent
from rater.events.record import Record
from rater.events.stream import TO, UnreadableEntry, decode_entry, outbox_key

PAGE = 1000


class Format(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"


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


class RecordWriter:
    """Writes records of one kind to an open text file; `count` says how many."""

    def __init__(self, file: IO[str], form: Format, kind: Kind) -> None:
        self.count = 0
        self._file = file
        self._rows: Any = None
        if form is Format.CSV:
            self._columns = [f.alias or name for name, f in _TYPES[kind].model_fields.items()]
            self._rows = csv.writer(file)
            self._rows.writerow(self._columns)

    def write(self, record: PublicRecord) -> None:
        self.count += 1
        if self._rows is None:
            self._file.write(f"{record.to_json()}\n")
        else:
            values = record.to_dict()
            self._rows.writerow([_cell(values[column]) for column in self._columns])


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
def whole_file(path: Path) -> Iterator[IO[str]]:
    """A text file that takes its name only when the block ends well; otherwise what stood there stays.

    Raises InputError when it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("x", encoding="utf-8", newline="") as file:
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
