from collections.abc import Hashable

import numpy as np
import numpy.typing as npt

from rater.rating.compiled import CompiledDeck
from rater.rating.timeline import Timeline

class Pricer:
    """A deck with a plan's rounding and hours: from a number, a moment and a duration to money.

    `timeline`: a `rater.rating.timeline.Timeline`; `rounding`: a `rater.money.Rounding`.
    """

    def __init__(
        self, deck: CompiledDeck, timeline: Timeline, unit_micro: int, rounding: int, max_call_s: int
    ) -> None: ...
    @property
    def nbytes(self) -> int:
        """What the look-up holds in memory, the deck's keys included."""

    def groups(self, number: str) -> tuple[int, ...]:
        """The groups of all prefixes of `number`, the longest first."""

    def key(self, number: str, at_ms: int, horizon_s: int) -> Hashable | None:
        """What all calls with the same `parts` have in common, or None as there. Much sooner had than these."""

    def parts(
        self, number: str, at_ms: int, horizon_s: int
    ) -> tuple[int, int, int, tuple[tuple[int, int, int, int, int], ...]] | None:
        """(prefix length, first row, horizon, ((from, step, price num, price den, band), …)), or None.

        None: no prefix has a rate in force. The horizon is shorter than asked where the maximum cuts the call.
        """

    def cost(self, number: str, at_ms: int, seconds: int) -> tuple[int, int, int] | None:
        """(micro-units, seconds billed, first row) of a call; None: no rate in force."""

    def cost_many(
        self,
        keys: npt.NDArray[np.uint64],
        at_ms: npt.NDArray[np.int64],
        seconds: npt.NDArray[np.int64],
        wanted: npt.NDArray[np.int16] | None = None,
        class_group: npt.NDArray[np.int32] | None = None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """`cost` of many calls: amounts, seconds billed, first rows (−1 where there is no rate).

        `wanted`: the class that a row must have (−1: any); a prefix of another is passed over for the next shorter.
        `class_group`: by class, the group of the row that stands for it where no prefix has a rate; −1: none.
        """
