"""A histogram of latencies as HdrHistogram keeps them: every value to three per cent, in constant memory.

Buckets of a power of two of nanoseconds, each in 32 equal parts; what is recorded costs one addition. Latencies
are kept whole, so that a percentile is read off at the end and none is an average of averages.
"""

from __future__ import annotations

from collections.abc import Sequence

PARTS = 32
_BITS = 5
_SIZE = (64 - _BITS) * PARTS


class Histogram:
    """Values in nanoseconds; what is negative counts as 0."""

    def __init__(self) -> None:
        self.counts = [0] * _SIZE
        self.largest_ns = 0

    def record(self, value_ns: int) -> None:
        if value_ns > self.largest_ns:
            self.largest_ns = value_ns
        if value_ns < PARTS:
            self.counts[max(0, value_ns)] += 1
            return
        shift = value_ns.bit_length() - _BITS - 1
        self.counts[shift * PARTS + (value_ns >> shift)] += 1

    def add(self, other: Histogram) -> None:
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.largest_ns = max(self.largest_ns, other.largest_ns)

    @property
    def count(self) -> int:
        return sum(self.counts)

    def percentile_ms(self, percent: float) -> float:
        """The value that so many per cent of all do not exceed: the upper end of its bucket; 0 when empty."""
        total = self.count
        wanted, seen = max(1, -(-total * percent // 100)), 0
        for place, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return min(_upper_ns(place), self.largest_ns) / 1e6
        return 0.0

    def figures(self, percents: Sequence[float] = (50, 90, 99, 99.9)) -> dict[str, float]:
        """``{"count": …, "p50_ms": …, "p999_ms": …, "max_ms": …}``."""
        named = {f"p{percent:g}_ms".replace(".", ""): round(self.percentile_ms(percent), 3) for percent in percents}
        return {"count": self.count, **named, "max_ms": round(self.largest_ns / 1e6, 3)}

    def buckets(self) -> list[tuple[float, int]]:
        """Upper end in milliseconds and count, of the buckets that hold something."""
        return [(_upper_ns(place) / 1e6, count) for place, count in enumerate(self.counts) if count]


def _upper_ns(place: int) -> int:
    if place < 2 * PARTS:
        return place
    shift, part = place // PARTS - 1, place % PARTS + PARTS
    return ((part + 1) << shift) - 1
