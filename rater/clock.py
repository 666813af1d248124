"""Two kinds of time, never mixed: the wall clock picks the day and the band, the monotonic one measures.

Both are handed to whoever needs them, so that tests and the simulation turn them by hand. Wall times are
milliseconds since 1970-01-01 UTC and stand in names as ``_at_ms``; spans stand as ``_ms`` or ``_s``. Also
compiled: a call reads them some thirty times.
"""

from __future__ import annotations

import time


class Clock:
    def wall_ms(self) -> int:
        """Milliseconds since the epoch, UTC; may jump."""
        raise NotImplementedError

    def monotonic_ms(self) -> int:
        """Milliseconds since some fixed moment; never goes back."""
        raise NotImplementedError


class SystemClock(Clock):
    def wall_ms(self) -> int:
        now_ns = time.time_ns()
        return now_ns // 1_000_000

    def monotonic_ms(self) -> int:
        now_ns = time.monotonic_ns()
        return now_ns // 1_000_000


class ManualClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self, wall_ms: int = 1_767_225_600_000, monotonic_ms: int = 0) -> None:
        self._wall_ms = wall_ms
        self._monotonic_ms = monotonic_ms

    def wall_ms(self) -> int:
        return self._wall_ms

    def monotonic_ms(self) -> int:
        return self._monotonic_ms

    def advance(self, span_ms: int) -> None:
        if span_ms < 0:
            raise ValueError("time only advances; use step_wall to set the wall clock back")
        self._wall_ms += span_ms
        self._monotonic_ms += span_ms

    def step_wall(self, span_ms: int) -> None:
        """The wall clock is corrected; the monotonic one does not notice."""
        self._wall_ms += span_ms
