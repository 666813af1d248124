"""How Python itself is kept from holding up calls: when threads hand over, and when cycles are looked for."""

from __future__ import annotations

import gc
import sys

SWITCH_S = 0.0005
COLLECT_AFTER = (1000, 5, 1_000_000_000)
"""New objects before the collector looks at them, how often it does before it looks at those that stayed, too, and
never by itself at the rest: a look takes a microsecond an object, so the first two hold up calls for 1 and 5 ms."""
ALL_AFTER_S, ALL_AT_LATEST_S = 3600.0, 86400.0
QUIET_LEGS = 200


def share_the_interpreter() -> None:
    """A thread that reads a catalogue or answers a scrape hands the interpreter over soon: calls wait for it.
    Python's own 5 ms, twice or three times on a call's way, would be its whole latency."""
    sys.setswitchinterval(SWITCH_S)


def spare_the_collector() -> None:
    """Let the collector of cycles pass over all that lives now: a catalogue has millions of objects and no cycles,
    and looking through it would hold up calls for seconds. What is replaced is freed as ever, by its count."""
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


class Collector:
    """Looks for the cycles that grew old, when that holds up few: an hour after the last time if hardly anybody
    talks, after a day in any case. A call leaves none; a connection that failed may."""

    def __init__(self, now_s: float) -> None:
        self._looked_at_s = now_s

    def step(self, now_s: float, live_legs: int) -> bool:
        """Whether it looked. `now_s`: monotonic."""
        passed_s = now_s - self._looked_at_s
        if passed_s < ALL_AFTER_S or (live_legs > QUIET_LEGS and passed_s < ALL_AT_LATEST_S):
            return False
        self._looked_at_s = now_s
        gc.collect()
        return True
