"""How long things took, counted in buckets. Each call counts in some; so this is also compiled."""

from __future__ import annotations

_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)


class Histogram:
    """Counts per bucket, not yet cumulative; the last bucket has no upper bound."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, value_s: float) -> None:
        place = 0
        for bound_s in _BOUNDS_S:
            if value_s <= bound_s:
                break
            place += 1
        self.counts[place] += 1
        self.sum_s += value_s

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus has them: up to which bound how many in all."""
        counts, cumulative = self.counts[:], 0
        rows: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, _BOUNDS_S), "+Inf"), counts, strict=True):
            cumulative += count
            rows.append((bound, cumulative))
        return rows


class Latencies:
    """One for each of several kinds."""

    def __init__(self) -> None:
        self.of: dict[str, Histogram] = {}

    def observe(self, kind: str, latency_s: float) -> None:
        known = self.of.get(kind)
        if known is None:
            known = self.of[kind] = Histogram()
        known.observe(latency_s)
