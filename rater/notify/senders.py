"""What a target of deliveries must do, and the plainest of them: files of JSON lines.

A sender is handed records in order and says which of them it has for good. Only those are acknowledged to the
outbox; the others are handed over again, so a target may see a record twice and never misses one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rater.clock import Clock
from rater.errors import ConfigError, RaterError
from rater.events.notices import PublicRecord
from rater.events.record import iso_ms
from rater.events.stream import Entry

BATCH = 500


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the outbox and the record made of it."""

    entry: Entry
    record: PublicRecord


class SinkDown(RaterError):
    """The target does not take deliveries at present. `delivered`: those that it took before it failed."""

    def __init__(self, message: str, *, delivered: Sequence[Item] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.delivered = tuple(delivered)


class ItemRefused(RaterError):
    """The target will never take this one item, whatever is waited for. `delivered` as above."""

    def __init__(self, message: str, item: Item, *, delivered: Sequence[Item] = ()) -> None:
        super().__init__(message)
        self.item = item
        self.delivered = tuple(delivered)


class Sender(Protocol):
    """One target. `name` is also its consumer group's: targets wait for each other in nothing. `batch`: the most
    entries handed over at a time."""

    name: str
    batch: int

    async def run(self) -> None:
        """Keep what the target needs (a connection) until cancelled; then take leave of it."""
        ...

    async def wait_up(self) -> None:
        """Return as soon as deliveries can be tried."""
        ...

    def wants(self, record: PublicRecord) -> bool:
        """Whether the record is for this target at all; one that is not counts as delivered."""
        ...

    async def deliver(self, items: Sequence[Item]) -> None:
        """Return when all are delivered for good. Raises SinkDown or ItemRefused. Concurrent calls are allowed."""
        ...


class FileSender:
    """Appends to ``rater-YYYY-MM-DD.jsonl`` (the day of delivery, UTC) in `folder`, one record a line.

    A delivery is on the disk before it counts. A line that a crash left half-written is removed before the next
    is appended; its record is delivered again.
    """

    name = "files"
    batch = BATCH

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self._clock = clock
        self._lock = asyncio.Lock()
        self._path: Path | None = None
        self._file: int | None = None
        self._end = 0

    def open(self) -> None:
        """Make the folder. Raises ConfigError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        except OSError as error:
            raise ConfigError(
                f"cannot make the folder for records {self.folder}: {error.strerror}",
                hint="Choose another: [publish] files = …",
            ) from error

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self._close()

    async def wait_up(self) -> None:
        return

    def wants(self, record: PublicRecord) -> bool:
        return True

    async def deliver(self, items: Sequence[Item]) -> None:
        data = "".join(f"{item.record.to_json()}\n" for item in items).encode()
        async with self._lock:
            try:
                await asyncio.to_thread(self._append, data)
            except OSError as error:
                self._close()
                raise SinkDown(f"cannot write to {self._path or self.folder}: {error.strerror}") from error

    def _append(self, data: bytes) -> None:
        path = self.folder / f"rater-{iso_ms(self._clock.wall_ms())[:10]}.jsonl"
        if path != self._path or self._file is None or not path.exists():
            self._close()
            self._path, self._file = path, os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
            self._end = _end_of_whole_lines(self._file)
        view, position = memoryview(data), self._end
        os.ftruncate(self._file, position)
        while view:
            written = os.pwrite(self._file, view, position)
            view, position = view[written:], position + written
        os.fsync(self._file)
        self._end = position

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _end_of_whole_lines(file: int) -> int:
    """The position after the last newline."""
    end = os.fstat(file).st_size
    while end:
        start = max(0, end - 65_536)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
