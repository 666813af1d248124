"""Row 43 of docs/faults.md: what cannot be logged harms nobody."""

from __future__ import annotations

import io
from typing import cast

from rater.logs import Shedding


class Disk(io.StringIO):
    """Full when told."""

    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_43_lost_lines_are_told_when_there_is_room_again() -> None:
    disk = Disk()
    log = Shedding(disk)
    print("one", file=cast(io.StringIO, log), flush=True)
    disk.full = True
    for number in range(3):
        print(f"lost {number}", file=cast(io.StringIO, log), flush=True)
    disk.full = False
    print("two", file=cast(io.StringIO, log), flush=True)
    print("three", file=cast(io.StringIO, log), flush=True)
    told = disk.getvalue()
    assert told == "one\n3 log lines were lost: they could not be written\ntwo\nthree\n"
