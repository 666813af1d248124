"""What the parts of re-rating hand to one another: events in columns, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int64s = npt.NDArray[np.int64]


class Numbers(StrEnum):
    """Which digits the new dial plan reads."""

    DIALLED = "dialled"
    """The number as dialled."""
    REACHED = "reached"
    """The number that was reached, as the event has it normalised, in international form; as dialled where the
    new dial plan cannot read that (short numbers)."""


class Outcome(StrEnum):
    """What became of an event. Those of `UNPRICED` have no new price; their old one stands."""

    RERATED = "rerated"
    ALLOWANCE = "allowance"
    """Allowances paid all of it: no money to compare."""
    UNANSWERED = "unanswered"
    INBOUND = "inbound"
    EMERGENCY = "emergency"
    NO_PLAN = "no_plan"
    NO_LINE = "no_line"
    OTHER_CURRENCY = "other_currency"
    MALFORMED_NUMBER = "malformed_number"
    UNKNOWN_NUMBER = "unknown_number"
    BLOCKED_DESTINATION = "blocked_destination"
    NO_RATE = "no_rate"


OUTCOMES = tuple(Outcome)
PLACE = {outcome: place for place, outcome in enumerate(OUTCOMES)}
UNPRICED = OUTCOMES[PLACE[Outcome.NO_PLAN] :]


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Rated events as columns, in the order read. `texts`: the columns that hold text, dictionary-encoded but for
    ``id``. `allowance_s`: taken from allowances; `billed_s`: billed in money. The money
    pieces of all are flat: piece i belongs to event ``piece_event[i]``, which never falls."""

    texts: dict[str, Any]
    rated_at_ms: Int64s
    ended_at_ms: Int64s
    duration_s: Int64s
    billed_s: Int64s
    allowance_s: Int64s
    amount_micro: Int64s
    emergency: npt.NDArray[np.bool_]
    piece_event: Int64s
    piece_from_s: Int64s
    piece_to_s: Int64s
    piece_micro: Int64s
    _codes: dict[str, tuple[npt.NDArray[np.int32], list[str]]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.amount_micro)

    def codes(self, name: str) -> tuple[npt.NDArray[np.int32], list[str]]:
        """A text column as places in a list of its distinct values."""
        if name not in self._codes:
            column = self.texts[name]
            self._codes[name] = column.indices.to_numpy(), column.dictionary.to_pylist()
        return self._codes[name]


@dataclass(frozen=True, slots=True, eq=False)
class Rerated:
    """Events with what they cost under the new catalogue. Columns as long as `events`; `outcome`: place in
    `OUTCOMES`. Where an outcome is one of `UNPRICED`, `new_micro` is 0 and means nothing."""

    events: Events
    outcome: npt.NDArray[np.int8]
    new_micro: Int64s
    new_billed_s: Int64s
    beyond_limit: npt.NDArray[np.bool_]
    """The new plan would have ended the leg earlier; it is priced up to there."""
    new_texts: dict[str, Any]
    """``plan``, ``number``, ``class``, ``prefix``, ``destination``, ``detail``: Arrow text columns."""

    @property
    def priced(self) -> npt.NDArray[np.bool_]:
        """Which events have a new price, be it that nothing is to pay."""
        return self.outcome < PLACE[Outcome.NO_PLAN]


def distinct(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Int64s, npt.NDArray[np.int32]]:
    """The different values in order of appearance, where each stands first, and which of them each value is.

    By a hash table: several times as fast as `numpy.unique`, which sorts.
    """
    coded = pa.array(values).dictionary_encode()
    which = coded.indices.to_numpy()
    first = np.empty(len(coded.dictionary), np.int64)
    first[which[::-1]] = np.arange(len(values) - 1, -1, -1)
    return coded.dictionary.to_numpy(), first, which


def encoded(values: list[str], places: npt.NDArray[Any]) -> Any:
    """An Arrow text column: the value at each place."""
    return pa.array(values, pa.string()).take(pa.array(places))
