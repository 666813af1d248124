import numpy as np
import numpy.typing as npt

from rater.money import Quote

def cumulative_micro(quote: Quote, seconds: int) -> int:
    """C(seconds), the price of a leg that long. Raises ValueError outside 0 … horizon."""

def billed_s(quote: Quote, seconds: int) -> int:
    """Seconds billed for a leg of `seconds`: whole increments; 0 within the free seconds."""

def affordable_s(quote: Quote, from_s: int, budget_micro: int) -> int:
    """The longest n, from_s ≤ n ≤ horizon, with C(n) − C(from_s) ≤ budget (budget ≥ 0)."""

def parse_decimals(
    start: npt.NDArray[np.int32], text: npt.NDArray[np.uint8], sign: str, places: int, most: int
) -> tuple[npt.NDArray[np.int64], int]:
    """Decimal texts × 10^places, exactly; empty ones −1. And the place of the first that is no plain decimal, has
    more places, or exceeds `most` (after scaling, at most 10^17), else −1."""
