"""The generator's own account of the calls: one fixed record for each that is over, written as it ends."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, NamedTuple

_LAYOUT = struct.Struct("<HIIIIBBBBqq")
BLOCK = 1 << 16
NO_NUMBER = 0xFFFFFFFF
"""In a record whose number is none of the usual ones."""


class Fate(IntEnum):
    """What became of a call."""

    ANSWERED = 0
    UNANSWERED = 1
    DENIED = 2
    CUT = 3
    """The switch's timer ended the talk."""
    HUNG_UP = 4
    """A manager ended it."""
    NO_VERDICT = 5
    """The gate's guard struck."""
    AWAY = 6
    """Nobody was there to be asked."""


class CallRecord(NamedTuple):
    """`unique`: the caller's channel, as the switch calls it, in two numbers. `legs`: how many rated events there
    must be, for the trunks dialled so far and for the line that it was sent to. `doubtful`: the connection was down
    for a part of it. Times in µs of the switch's clock, 0 when there is none; `reason`: place in the generator's
    list of reasons."""

    switch: int
    unique_s: int
    unique_n: int
    line: int
    number: int
    fate: Fate
    legs: int
    reason: int
    doubtful: bool
    answered_us: int
    ended_us: int


class RecordFile:
    """Written a block at a time."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb", buffering=BLOCK)

    def write(self, record: CallRecord) -> None:
        self.note(*record)

    def note(self, *record: int) -> None:
        """The same, by a `CallRecord`'s fields in their order."""
        self._file.write(_LAYOUT.pack(*record))

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_records(path: Path) -> Iterator[CallRecord]:
    with path.open("rb") as file:
        while block := file.read(_LAYOUT.size * 4096):
            for values in _LAYOUT.iter_unpack(block):
                yield CallRecord._make(values)._replace(fate=Fate(values[5]), doubtful=bool(values[8]))
