"""One clock for all daemons: the store's."""

from __future__ import annotations

import asyncio

from rater.charging.store_clock import StoreClock
from rater.clock import ManualClock


class Store:
    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms

    async def time_ms(self) -> int:
        return self.at_ms


def test_before_the_first_measurement_the_machines_clock_stands_for_it() -> None:
    own = ManualClock(wall_ms=5_000, monotonic_ms=40)
    clock = StoreClock(own)
    own.advance(7)
    assert (clock.wall_ms(), clock.monotonic_ms()) == (5_007, 47)


def test_35_once_measured_a_step_of_the_machines_clock_changes_nothing() -> None:
    own = ManualClock(wall_ms=5_000, monotonic_ms=40)
    clock = StoreClock(own)
    asyncio.run(clock.measure(Store(9_000)))
    own.step_wall(-3_600_000)
    own.advance(25)
    assert clock.wall_ms() == 9_025


def test_it_follows_the_store() -> None:
    clock = StoreClock(ManualClock())
    for at_ms in (1_000, 999, 7_200_000):
        asyncio.run(clock.measure(Store(at_ms)))
        assert clock.wall_ms() == at_ms
