"""A plan made ready: number in, price out. Joins the dial plan, the deck, and what the plan bars.

Which row of the deck prices a number:

1. the longest prefix of the number with a rate in force. Where the dial plan determines the class (local or long
   distance, toll-free …), only a row of that class will do, and the next shorter prefix is tried;
2. else the *class row* of the number's class: a row whose prefix begins with ``#``. Such a prefix is not dialled;
   it stands for its class.

Short numbers (public services and the like) have no prefix; for them only class rows count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from zoneinfo import ZoneInfo

import numpy as np

from rater.catalog.plan import Plan
from rater.catalog.rated import Rated, Refused
from rater.catalog.terms import PlanTerms
from rater.errors import InputError
from rater.money import MAX_CALL_S, Quote, Segment
from rater.rating.compiled import CompiledDeck, unpack
from rater.rating.margin import below_floor, carrier_prices
from rater.rating.normalise import EMERGENCY, DialPlan
from rater.rating.normalise_presets import dial_plan
from rater.rating.reading import Normalised, NumberRefused
from rater.rating.tariff import Found, NoRate, PlanTariff
from rater.verdict import Reason

CLASS_ROW = "#"
_FIRST_CLASS_KEY = 12 << 60


@dataclass(frozen=True)
class Priced:
    """A number with its price, and all that explains it. `found`: None for an emergency number, which is free.
    `below_margin`: see `rater.rating.margin`."""

    read: Normalised
    quote: Quote
    found: Found | None
    steps: tuple[str, ...]
    below_margin: str = ""


class PricedPlan:
    """A plan with the decks of its versions, the first's first. It prices by the version in force at the call's
    beginning; all else that it shows is of its first version, see `at`.

    Raises CatalogError when a deck does not fit its version's bands, InputError when its class rows are wrong.
    """

    def __init__(self, plan: Plan, decks: Sequence[CompiledDeck]) -> None:
        deck, *later_decks = decks
        self.plan = plan
        self.id, self.key = plan.id, plan.key
        self.margin_enforce = plan.margin.enforce
        self.margin_percent = plan.margin.floor_percent
        self.blocked_classes, self.blocked_prefixes = plan.blocked_classes, plan.blocked_prefixes
        self._later = tuple(
            PricedPlan(replace(later, later=()), [its]) for later, its in zip(plan.later, later_decks, strict=True)
        )
        self.zone = ZoneInfo(plan.zone)
        self.class_limits: Mapping[str, int] = MappingProxyType(dict(plan.class_limits))
        self.terms = PlanTerms(plan, self.zone)
        self.dial_plan: DialPlan = dial_plan(plan.dial_plan)
        self.tariff = PlanTariff(
            plan.id, plan.currency, plan.decimals, plan.rounding, self.zone, plan.bands, deck, plan.max_call_s
        )
        self.class_rows = class_rows(deck)
        self._free = Quote((Segment(0, 1, 0, 1),), plan.currency, EMERGENCY, horizon_s=MAX_CALL_S)

    @property
    def versions(self) -> tuple[PricedPlan, ...]:
        return (self, *self._later)

    def at(self, at_ms: int) -> PricedPlan:
        """The version in force at a moment."""
        if not self._later:
            return self
        for version in reversed(self._later):
            if version.plan.valid_from_ms is not None and version.plan.valid_from_ms <= at_ms:
                return version
        return self

    def bands_from(self, at_ms: int) -> set[str]:
        """Names of the bands of the version in force at a moment, and of those to come."""
        later = [version for version in self.versions if (version.plan.valid_from_ms or 0) > at_ms]
        return {band.name for version in (self.at(at_ms), *later) for band in version.plan.bands}

    def rate(self, number: str, area: str, at_ms: int, version: int) -> Rated | Refused:
        answer = self.price(number, area, at_ms)
        if isinstance(answer, Refused):
            return answer
        priced = answer
        found, read = priced.found, priced.read
        enforce = self.at(at_ms).margin_enforce
        if found is None:
            return Rated(
                priced.quote, read.number, "", "Emergency", EMERGENCY, self.id, version, read.emergency,
                priced.steps, priced.below_margin, enforce,
            )  # fmt: skip
        return Rated(
            priced.quote, read.number, found.prefix, found.destination, found.destination_class, self.id, version,
            read.emergency, priced.steps, priced.below_margin, enforce,
        )  # fmt: skip

    def price(self, number: str, area: str, at_ms: int) -> Priced | Refused:
        """The price of a number as dialled. Never raises, whatever was dialled."""
        version = self.at(at_ms)
        if version is not self:
            return version.price(number, area, at_ms)
        outcome = self.dial_plan.read(number, area, at_ms)
        if isinstance(outcome, NumberRefused):
            return Refused(outcome.reason, outcome.number or number, outcome.detail, outcome.steps)
        read = outcome
        if read.emergency:
            return Priced(read, self._free, None, read.steps)
        barred = self.barred(read)
        if barred:
            return Refused(Reason.BLOCKED_DESTINATION, read.number, barred, read.steps)
        steps = list(read.steps)
        answer = self._find(read, at_ms, steps)
        if isinstance(answer, NoRate):
            return Refused(Reason.NO_RATE, read.number, answer.detail, tuple(steps))
        found = answer
        if found.destination_class in self.blocked_classes:
            detail = f"the plan {self.id} bars the class {found.destination_class}"
            return Refused(Reason.BLOCKED_DESTINATION, read.number, detail, tuple(steps))
        return Priced(read, found.quote, found, tuple(steps), self._below_margin(found, at_ms))

    def _below_margin(self, found: Found, at_ms: int) -> str:
        """Nothing is known of the margin where the deck gives no cost: then it is not below the floor."""
        floor_percent = self.margin_percent
        if floor_percent is None:
            return ""
        prices = carrier_prices(self.tariff, found, at_ms)
        return "" if prices is None else below_floor(found.quote, prices, floor_percent)

    def barred(self, read: Normalised) -> str:
        """Why the number is barred before any price is looked for; empty when it is not."""
        if read.class_is_final and read.destination_class in self.blocked_classes:
            return f"the plan {self.id} bars the class {read.destination_class}"
        for prefix in self.blocked_prefixes:
            if read.number.startswith(prefix):
                return f"the plan {self.id} bars numbers that begin with {prefix}"
        return ""

    def _find(self, read: Normalised, at_ms: int, steps: list[str]) -> Found | NoRate:
        by_prefix = (
            NoRate("short numbers are priced by class") if read.is_short else self._by_prefix(read, at_ms, steps)
        )
        if isinstance(by_prefix, Found):
            return by_prefix
        klass = read.destination_class
        row = self.class_rows.get(klass)
        if row is None:
            by_class = f"no class row for {klass}" if klass else "no class that the dial plan knows"
            return NoRate(f"{by_prefix.detail}; {by_class}")
        found = self.tariff.quote(row, at_ms)
        if isinstance(found, NoRate):
            return NoRate(f"{by_prefix.detail}; class row {row} ({klass}): {found.detail}")
        if found.prefix != row:
            return NoRate(f"{by_prefix.detail}; class row {row} ({klass}) has no rate in force")
        steps.append(f"rate.class: no prefix prices the number; row {row} stands for {klass}")
        return found

    def _by_prefix(self, read: Normalised, at_ms: int, steps: list[str]) -> Found | NoRate:
        number, wanted = read.number, read.destination_class
        while number:
            found = self.tariff.quote(number, at_ms)
            if isinstance(found, NoRate) and number == read.number:
                return found
            if isinstance(found, NoRate):
                break
            if not read.class_is_final or found.destination_class == wanted:
                return found
            klass = found.destination_class
            steps.append(f"rate.prefix: {found.prefix} is a rate for {klass}, not for {wanted}: passed over")
            number = number[: len(found.prefix) - 1]
        return NoRate(f"no prefix of {read.number} has a rate of class {wanted} in force")


def class_rows(deck: CompiledDeck) -> dict[str, str]:
    """Each class with a class row → that row's prefix. Raises ClassRowError when a prefix stands for two classes
    or two prefixes for one."""
    rows: dict[str, str] = {}
    first = int(np.searchsorted(deck.keys, np.uint64(_FIRST_CLASS_KEY)))
    for group in range(first, len(deck.keys)):
        prefix = unpack(int(deck.keys[group]))
        terms = deck.row_terms[int(deck.group_start[group]) : int(deck.group_start[group + 1])]
        names = sorted({deck.classes[int(place)] for place in deck.terms["class_"][terms]})
        if len(names) > 1:
            raise ClassRowError(prefix, f"the class row {prefix} stands for {' and '.join(names)}")
        if names[0] in rows:
            raise ClassRowError(prefix, f"the class rows {rows[names[0]]} and {prefix} both stand for {names[0]}")
        rows[names[0]] = prefix
    return rows


class ClassRowError(InputError):
    def __init__(self, prefix: str, message: str) -> None:
        super().__init__(
            message, hint="Give each class one prefix beginning with #, and each such prefix one class."
        )
        self.prefix = prefix
