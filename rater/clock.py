"""Two kinds of time, never mixed: the wall clock picks the day and the band, the monotonic one measures.

Both are handed to whoever needs them, so that tests and the simulation turn them by hand. Wall times are
milliseconds since 1970-01-01 UTC and stand in names as ``_at_ms``; spans stand as ``_ms`` or ``_s``.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def wall_ms(self) -> int:
        """Milliseconds since the epoch, UTC; may jump."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds since some fixed moment; never goes back."""
        ...


class SystemClock:
    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


class ManualClock:
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
