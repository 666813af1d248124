"""How often the event loop turns under load, as network cards moderate their interrupts.

A turn for every few events costs much in system calls, in wake-ups of other processes and in cold caches; while
there is much to do, turns are kept apart, so that each reads, decides and writes more at a time."""

from __future__ import annotations

import time
from asyncio import AbstractEventLoop
from collections.abc import Callable

APART_S = 0.001
"""From the beginning of a turn to the next; one that takes longer is followed at once."""
BUSY, IDLE = 0.6, 0.45
"""Shares of its thread's time: turns are kept apart from `BUSY` on, until it is below `IDLE`. With less to do, an
answer at once is worth more than the time it takes."""
LOOK_S = 0.05


class Moderation:
    """Of the loop of this thread; begins with `look`, which sees to itself from then on."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        *,
        now_s: Callable[[], float] = time.monotonic,
        worked_s: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.on = False
        self._loop = loop
        self._now_s, self._worked_s, self._sleep = now_s, worked_s, sleep
        self._looked_s, self._worked_until_s = now_s(), worked_s()
        self._turned_s = self._looked_s

    def look(self) -> None:
        now_s, worked_s = self._now_s(), self._worked_s()
        share = (worked_s - self._worked_until_s) / max(now_s - self._looked_s, LOOK_S)
        self._looked_s, self._worked_until_s = now_s, worked_s
        was_on, self.on = self.on, share >= (IDLE if self.on else BUSY)
        if self.on and not was_on:
            self._loop.call_soon(self._turn)
        self._loop.call_later(LOOK_S, self.look)

    def _turn(self) -> None:
        """Before the sockets are looked at, after what the last turn wrote has gone out."""
        left_s = self._turned_s + APART_S - self._now_s()
        if left_s > 0:
            self._sleep(left_s)
        self._turned_s = self._now_s()
        if self.on:
            self._loop.call_soon(self._turn)
