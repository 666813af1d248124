"""Both prices added up by account, class and prefix, each currency by itself, and the proof that the sums agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from rater.rerate.model import OUTCOMES, Int64s, Rerated, distinct

VIEWS = ("account", "class", "prefix")
Key = tuple[str, str]
"""(account, class or prefix; currency)."""


@dataclass(slots=True)
class Sums:
    """`unpriced`: of them, the events without a new price, and what was charged for them. So new − (old −
    unpriced) is the difference."""

    events: int = 0
    seconds: int = 0
    old_micro: int = 0
    new_micro: int = 0
    unpriced: int = 0
    unpriced_micro: int = 0

    @property
    def difference_micro(self) -> int:
        return self.new_micro - (self.old_micro - self.unpriced_micro)

    def add(self, *numbers: int) -> None:
        events, seconds, old_micro, new_micro, unpriced, unpriced_micro = numbers
        self.events += events
        self.seconds += seconds
        self.old_micro += old_micro
        self.new_micro += new_micro
        self.unpriced += unpriced
        self.unpriced_micro += unpriced_micro

    def numbers(self) -> tuple[int, ...]:
        return (self.events, self.seconds, self.old_micro, self.new_micro, self.unpriced, self.unpriced_micro)


@dataclass(slots=True)
class Tally:
    """Grows with each `add`. `own_micro`: by currency, the money pieces of the events by themselves."""

    totals: dict[str, Sums] = field(default_factory=dict)
    views: dict[str, dict[Key, Sums]] = field(default_factory=lambda: {view: {} for view in VIEWS})
    outcomes: Counter[str] = field(default_factory=Counter)
    outcomes_micro: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What was charged for the events of an outcome, by (outcome, currency)."""
    own_micro: Counter[str] = field(default_factory=Counter)
    beyond_limit: int = 0
    changed: int = 0
    _fingerprint: int = 0

    def add(self, rerated: Rerated) -> None:
        events, priced = rerated.events, rerated.priced
        unpriced = (~priced).astype(np.int64)
        columns = (
            np.ones(len(events), np.int64), events.duration_s, events.amount_micro,
            rerated.new_micro, unpriced, events.amount_micro * unpriced,
        )  # fmt: skip
        currency, currencies = events.codes("currency")
        for name, numbers in zip(currencies, _grouped(currency, len(currencies), columns), strict=True):
            self.totals.setdefault(name, Sums()).add(*numbers)
        for view, sums in self.views.items():
            codes, names = events.codes(view)
            mixed = codes.astype(np.int64) * len(currencies) + currency
            for code, numbers in zip(*_present(mixed, columns), strict=True):
                key = names[code // len(currencies)], currencies[code % len(currencies)]
                sums.setdefault(key, Sums()).add(*numbers)
        self._add_outcomes(rerated, currency, currencies)
        self.beyond_limit += int((rerated.beyond_limit & priced).sum())
        self._add_changed(rerated)

    def _add_changed(self, rerated: Rerated) -> None:
        events = rerated.events
        rows = np.flatnonzero(rerated.priced & (rerated.new_micro != events.amount_micro))
        ids, old, new = (
            events.texts["id"].take(rows).to_pylist(),
            events.amount_micro[rows],
            rerated.new_micro[rows],
        )
        for id_, before, after in zip(ids, old.tolist(), new.tolist(), strict=True):
            digest = blake2b(f"{before} {after} {id_}".encode(), digest_size=16).digest()
            self._fingerprint = (self._fingerprint + int.from_bytes(digest)) % 2**128
        self.changed += len(rows)

    @property
    def name(self) -> str:
        """Of the events that change and by how much, in whatever order and from whichever files they were read."""
        return f"{self._fingerprint:032x}"[:16]

    def _add_outcomes(self, rerated: Rerated, currency: npt.NDArray[np.int32], currencies: list[str]) -> None:
        events = rerated.events
        mixed = rerated.outcome.astype(np.int64) * len(currencies) + currency
        columns = (np.ones(len(events), np.int64), events.amount_micro)
        for code, (count, micro) in zip(*_present(mixed, columns), strict=True):
            outcome, name = OUTCOMES[code // len(currencies)].value, currencies[code % len(currencies)]
            self.outcomes[outcome] += count
            self.outcomes_micro[outcome, name] += micro
        of_piece = currency[events.piece_event]
        own = _grouped(of_piece, len(currencies), (events.piece_micro,))
        self.own_micro.update({name: numbers[0] for name, numbers in zip(currencies, own, strict=True)})

    @property
    def unpriced(self) -> int:
        return sum(sums.unpriced for sums in self.totals.values())

    def faults(self) -> list[str]:
        """Where sums that must agree do not, in words: nothing, unless the program is wrong."""
        found = []
        for currency, total in sorted(self.totals.items()):
            if total.old_micro != self.own_micro[currency]:
                found.append(f"{currency}: the events' own money is {self.own_micro[currency]} micro-units, "
                             f"the old total {total.old_micro}")  # fmt: skip
            for view, sums in self.views.items():
                added = Sums()
                for key, part in sums.items():
                    if key[1] == currency:
                        added.add(*part.numbers())
                if added.numbers() != total.numbers():
                    found.append(
                        f"{currency}: the sums by {view} are {added.numbers()}, the total {total.numbers()}"
                    )
        return found


def _present(codes: Int64s, columns: tuple[Int64s, ...]) -> tuple[list[int], list[tuple[int, ...]]]:
    """The codes that occur and the sums of each."""
    present, _, group = distinct(codes)
    return present.tolist(), _grouped(group, len(present), columns)


def _grouped(codes: npt.NDArray[np.integer], groups: int, columns: tuple[Int64s, ...]) -> list[tuple[int, ...]]:
    """For each group the sum of each column, exactly: the halves of 64 bits are added apart, each within what a
    double holds."""
    sums = []
    for column in columns:
        high = np.bincount(codes, column >> 32, groups)
        low = np.bincount(codes, column & 0xFFFFFFFF, groups)
        sums.append([(int(h) << 32) + int(lo) for h, lo in zip(high, low, strict=True)])
    return list(zip(*sums, strict=True))
