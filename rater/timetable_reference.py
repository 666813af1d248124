"""Who is due when, the earliest first; the readable twin of `rater_native.timetable`."""

from __future__ import annotations

import heapq


class Timetable:
    """`number` decides between those that are due at the same moment; no two have the same."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, due_ms: int, number: int, who: str) -> None:
        heapq.heappush(self._heap, (due_ms, number, who))

    def next_ms(self) -> int | None:
        """When the next one is due."""
        return self._heap[0][0] if self._heap else None

    def pop(self, now_ms: int) -> tuple[int, int, str] | None:
        """Moment, number and name of the next one, if it is due."""
        return heapq.heappop(self._heap) if self._heap and self._heap[0][0] <= now_ms else None
