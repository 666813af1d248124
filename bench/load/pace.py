"""How fast the machine is while something is measured: processor time of a piece of work that is always the same.

Processes beside the measured ones take not only time on the cores, which utime and stime do not count, but also
caches and the other half of a core, which they do. The pace tells by how much."""

from __future__ import annotations

import os
import statistics
import threading
import time
from types import TracebackType
from typing import Any

ROUNDS = 2_000
EVERY_S = 0.25


def one_round_ns() -> float:
    """Processor time of one round of the work."""
    began_ns, table = time.thread_time_ns(), {}
    for number in range(ROUNDS):
        table[number & 255] = str(number).encode() + b"0123456789"
    return (time.thread_time_ns() - began_ns) / ROUNDS


class Pace:
    """Looked at every `EVERY_S` within the block, from a thread."""

    def __enter__(self) -> Pace:
        self._seen = [one_round_ns()]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(EVERY_S):
            self._seen.append(one_round_ns())

    def figures(self) -> dict[str, Any]:
        """`pace_ns`: the median; the lower, the faster is the machine."""
        return {"pace_ns": round(statistics.median(self._seen)), "load_average": round(os.getloadavg()[0], 1)}
