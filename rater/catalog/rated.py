"""What rating answers: a price, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from rater.catalog.enforce import Enforce
from rater.ids import PlanId
from rater.money import Quote
from rater.verdict import Reason


@dataclass(frozen=True)
class Rated:
    """The answer of rating: a quote, and what explains it.

    `number` is normalised E.164 without plus where the dial plan has one; `steps` names each rule applied.
    `emergency`: passes always, free.
    """

    quote: Quote
    number: str
    prefix: str
    destination: str
    destination_class: str
    plan: PlanId
    version: int
    emergency: bool = False
    steps: tuple[str, ...] = ()
    below_margin: str = ""
    """Where less is left of the price than the plan's floor, for a person; empty: nowhere."""
    margin_enforce: Enforce = Enforce.ON


@dataclass(frozen=True)
class Refused:
    """Rating denies: `detail` says, for a person, what was looked for and not found."""

    reason: Reason
    number: str = ""
    detail: str = ""
    steps: tuple[str, ...] = ()
