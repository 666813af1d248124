"""What time it is, by the store's clock: one for all daemons, whatever their machines believe.

Leases, validities and cycles in the store are compared by all daemons, so that a wall clock that is set wrong on
one machine must not matter. A daemon measures how far the store's clock is from its own monotonic one, and counts
on from there; a step of its own wall clock changes nothing.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from rater.clock import Clock
from rater.errors import StoreError

MEASURE_S = 15.0
JUMP_MS = 1_000
"""A change larger than that was no drift: somebody has set a clock."""
log = structlog.get_logger(__name__)


class TimeSource(Protocol):
    async def time_ms(self) -> int:
        """Wall time by the store's own clock."""
        ...


class StoreClock(Clock):
    """Before the first measurement the machine's wall clock stands for the store's. `own`: the machine's."""

    def __init__(self, own: Clock) -> None:
        self._own = own
        self._offset_ms = own.wall_ms() - own.monotonic_ms()

    def wall_ms(self) -> int:
        return self._own.monotonic_ms() + self._offset_ms

    def monotonic_ms(self) -> int:
        return self._own.monotonic_ms()

    async def measure(self, source: TimeSource) -> None:
        """Ask once; the answer is taken as given half-way. Raises what `source` raises."""
        before_ms = self._own.monotonic_ms()
        told_ms = await source.time_ms()
        offset_ms = told_ms - (before_ms + self._own.monotonic_ms()) // 2
        if abs(offset_ms - self._offset_ms) > JUMP_MS:
            log.warning("the store's clock and ours differ", by_ms=offset_ms - self._offset_ms)
        self._offset_ms = offset_ms

    async def keep(self, source: TimeSource) -> None:
        """Measure again and again, until cancelled. While the store is away the last measurement stands."""
        while True:
            try:
                await self.measure(source)
            except (StoreError, OSError) as error:
                log.debug("the store's clock could not be read", error=str(error))
            await asyncio.sleep(MEASURE_S)
