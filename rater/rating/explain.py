"""A price explained: as data, and as text for a person."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from rater.money import Quote
from rater.rating.tariff import Found, PlanTariff


@dataclass(frozen=True, slots=True)
class Part:
    """Seconds of a call at one price. `amount`: exact, in micro-units."""

    from_s: int
    to_s: int
    billed_s: int
    step_s: int
    price_num: int
    price_den: int
    band: str
    amount: Fraction


@dataclass(frozen=True, slots=True)
class Breakdown:
    """C(seconds), taken apart. `exact`: the amount before rounding, in micro-units."""

    seconds: int
    billed_s: int
    free: bool
    connect_micro: int
    parts: tuple[Part, ...]
    exact: Fraction
    amount_micro: int


def price(quote: Quote, seconds: int) -> Breakdown:
    """The price of a leg of `seconds`, with every part of it. Raises ValueError outside the quote's horizon."""
    ...


def explain(
    tariff: PlanTariff,
    found: Found,
    *,
    number: str,
    dialled: str,
    steps: tuple[str, ...],
    at_ms: int,
    seconds: int,
    version: int,
) -> dict[str, Any]:
    """Everything that led to a price, ready for JSON; amounts as decimal strings. `steps`: the rules applied."""
    ...


def render(explanation: dict[str, Any]) -> str:
    """The explanation as plain text."""
    ...
