"""What the engine tells the metrics of each leg. Also compiled: a call tells of its verdict, of how long that took
and of its end."""

from __future__ import annotations

import time

from rater.events.facts import LegFacts
from rater.metrics import Metrics
from rater.verdict import Reason


class Tally:
    """The counters of one engine."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._decisions = metrics.decisions
        self._verdicts, self._endings, self._charges = metrics.verdicts, metrics.endings, metrics.charges

    def verdict(self, mode: str, reason: Reason) -> None:
        """A leg may begin, or may not."""
        self._verdicts[mode, reason.code] += 1

    def decided(self, arrived_ns: int) -> None:
        """What arrived then, by the monotonic clock, has its answer; nothing when nobody asked (0)."""
        if arrived_ns:
            now_ns = time.monotonic_ns()
            self._decisions.observe((now_ns - arrived_ns) / 1e9)

    def settled(self, facts: LegFacts, currency: str, amount_micro: int) -> None:
        """A leg is over. `currency`: empty when it was not priced."""
        self._endings[facts.disposition, facts.grade] += 1
        if currency:
            self._charges[(currency,)] += amount_micro

    def cut(self, cause: str) -> None:
        """We end a leg."""
        self._metrics.cut(cause)

    def in_shadow(self, kind: str, reason: Reason) -> None:
        """A leg would have been ``denied`` or ``cut``."""
        self._metrics.shadow_denial(kind, reason.code)
