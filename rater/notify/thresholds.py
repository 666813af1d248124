"""Thresholds for people: what one is called and what its crossing says. Pure.

Whether a threshold was crossed is decided by the charging script that moves the money or the minutes, once per
crossing; nothing here looks at a balance.
"""

from __future__ import annotations

from rater.charging.terms import Threshold, ThresholdKind
from rater.events.notices import ThresholdRecord
from rater.money import format_amount

_NAMES = {
    "money_below": "balance below",
    "money_above": "balance at or above",
    "spend_hour": "spent in an hour:",
    "spend_day": "spent in a day:",
    "spend_cycle": "spent in a cycle:",
}
_SENTENCES = {
    "money_below": "the balance fell below {value}; it is {after}",
    "money_above": "the balance rose to {value} or more; it is {after}",
    "spend_hour": "{value} were spent in this hour; it is {after} now",
    "spend_day": "{value} were spent today; it is {after} now",
    "spend_cycle": "{value} were spent in this cycle; it is {after} now",
}


def describe(threshold: Threshold) -> str:
    """What the threshold watches: ``balance below 5.00``, ``80 % of local used``."""
    if threshold.kind is ThresholdKind.ALLOWANCE_PERCENT:
        return f"{threshold.value} % of {threshold.grant or 'the allowance'} used"
    return f"{_NAMES[threshold.kind]} {format_amount(threshold.value)}"


def sentence(record: ThresholdRecord, *, currency: str = "") -> str:
    """One line for a message to a person: ``Account ACME: the balance fell below 5.00 BRL; it is 4.80 BRL.``"""
    unit = f" {currency}" if currency else ""
    if record.kind == "allowance_percent":
        text = f"{record.value} % of {record.grant or 'the allowance'} is used ({_minutes(record.after_raw)} min)"
    else:
        text = _SENTENCES[record.kind].format(value=f"{record.value}{unit}", after=f"{record.after}{unit}")
    return f"Account {record.account}: {text}."


def _minutes(seconds: int) -> str:
    """Whole minutes with seconds: ``12:05``."""
    return f"{seconds // 60}:{seconds % 60:02d}"
