"""How Python itself is kept from holding up calls: when threads hand over, and when cycles are looked for."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

SWITCH_S = 0.0005
ALL_AFTER_S, ALL_AT_LATEST_S = 3600.0, 86400.0
QUIET_LEGS = 200
LEFT_OVER, OF_A_LEG = 500_000, 100
"""How many more objects than were freed since the last look are too many: some 200 bytes each, four times as many a
leg as it has. A look takes half a microsecond an object."""
_making: list[None] = []
"""One for each block of `uncollected` that runs."""


def share_the_interpreter() -> None:
    """A thread that reads a catalogue or answers a scrape hands the interpreter over soon: calls wait for it.
    Python's own 5 ms, twice or three times on a call's way, would be its whole latency."""
    sys.setswitchinterval(SWITCH_S)


def spare_the_collector() -> None:
    """Let the collector of cycles pass over all that lives now: a catalogue has millions of objects and no cycles,
    and looking through it would hold up calls for seconds. What is replaced is freed as ever, by its count.

    Nor is it to look by itself at what is new: its count of new objects falls with every old one that is freed, so
    that by the time it rises to a limit of a thousand there may be twenty thousand to look at, for 30 ms."""
    gc.freeze()
    gc.disable()


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """While a catalogue is made, in whatever thread: looking for cycles at every so many new objects, or among all
    of them afterwards, would take longer than making them, and hold up every other thread."""
    was = gc.isenabled()
    gc.disable()
    _making.append(None)
    try:
        yield
    finally:
        gc.freeze()
        _making.pop()
        if was:
            gc.enable()


class Collector:
    """Looks for cycles when that holds up few: an hour after the last time if hardly anybody talks, after a day in
    any case; and at once when there are many more objects than legs account for. A call leaves no cycle; a
    connection that failed may, or somebody who asked for the metrics."""

    def __init__(self, now_s: float) -> None:
        self._looked_at_s = now_s

    def step(self, now_s: float, live_legs: int) -> bool:
        """Whether it looked. `now_s`: monotonic."""
        passed_s = now_s - self._looked_at_s
        is_time = passed_s >= (ALL_AFTER_S if live_legs <= QUIET_LEGS else ALL_AT_LATEST_S)
        too_many = not _making and gc.get_count()[0] > LEFT_OVER + OF_A_LEG * live_legs
        if not is_time and not too_many:
            return False
        self._looked_at_s = now_s
        gc.collect()
        return True
