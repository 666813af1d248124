"""One row of a deck, in full."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OnMax(StrEnum):
    """What happens when a call has cost its maximum."""

    FREE = "free"
    """It goes on for nothing."""
    CUT = "cut"
    """It ends."""


@dataclass(frozen=True, slots=True)
class Rate:
    """One row of a deck. Prices are `price_num`/`price_den` micro-units a second, exact, in lowest terms.

    `tier_from_s`: the position in the call where this row's price begins. `band`: empty for any. In force from
    `valid_from_ms` until just before `valid_until_ms`; None: open. The connect fee, the minimum, the maximum and
    the free seconds of a call are those of the row in force at its first second. `carrier_num`: None when the
    deck gives no cost.
    """

    prefix: str
    destination: str
    destination_class: str
    price_num: int
    price_den: int
    connect_micro: int = 0
    first_s: int = 1
    next_s: int = 1
    free_s: int = 0
    min_micro: int = 0
    max_micro: int | None = None
    on_max: OnMax = OnMax.FREE
    tier_from_s: int = 0
    band: str = ""
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None
    carrier_num: int | None = None
    carrier_den: int = 1
