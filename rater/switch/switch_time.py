"""When something happened on a switch, by one clock for the whole connection."""

from __future__ import annotations


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

    def at_ms(self, stamp_ms: int, arrived_ns: int) -> int:
        """`stamp_ms`: the event's own, -1 when it has none. `arrived_ns`: time.monotonic_ns() when it was read."""
        if not self.source:
            self.source = "arrival" if stamp_ms < 0 else "switch"
        if self.source == "arrival":
            return self._base_ms + arrived_ns // 1_000_000
        if stamp_ms < 0:
            return self.last_ms + max(0, arrived_ns - self._last_ns) // 1_000_000
        self.last_ms, self._last_ns = stamp_ms, arrived_ns
        return stamp_ms
