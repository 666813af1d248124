"""When something happened on a switch, by one clock for the whole connection."""

from __future__ import annotations

import re

from rater.switch.ami_parse import Frame

_TIMESTAMP = re.compile(r"(\d{9,11})(?:\.(\d{1,9}))?", re.ASCII)


def parse_timestamp(text: str) -> int | None:
    """Milliseconds of ``1795479963.128699``; None when it is none."""
    if len(text) == 17 and text[10] == ".":  # as switches write it in our time
        digits = text[:10] + text[11:]
        if digits.isdecimal() and digits.isascii():
            return int(digits) // 1000
    stamp = _TIMESTAMP.fullmatch(text)
    if stamp is None:
        return None
    return int(stamp[1]) * 1000 + int((stamp[2] or "0")[:3].ljust(3, "0"))


class SwitchTime:
    """The first event of a connection decides: with a timestamp (``timestampevents``) the switch's own clock
    counts, without one the arrival by the monotonic clock, set to `base_ms` (wall less monotonic) once. Never a
    mixture: an event whose timestamp is spoilt is dated from the last good one."""

    def __init__(self, base_ms: int = 0) -> None:
        self.source = ""
        """``switch`` or ``arrival``; empty before any event."""
        self._base_ms = base_ms
        self.last_ms = 0
        """The newest good timestamp."""
        self._last_ns = 0

    def at_ms(self, frame: Frame, arrived_ns: int) -> int:
        """`arrived_ns`: time.monotonic_ns() when the frame was read."""
        at_ms = parse_timestamp(frame.get("Timestamp", ""))
        if not self.source:
            self.source = "arrival" if at_ms is None else "switch"
        if self.source == "arrival":
            return self._base_ms + arrived_ns // 1_000_000
        if at_ms is None:
            return self.last_ms + max(0, arrived_ns - self._last_ns) // 1_000_000
        self.last_ms, self._last_ns = at_ms, arrived_ns
        return at_ms
