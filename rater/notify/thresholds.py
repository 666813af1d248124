"""Thresholds for people: what one is called and what its crossing says. Pure.

Whether a threshold was crossed is decided by the charging script that moves the money or the minutes, once per
crossing; nothing here looks at a balance.
"""

from __future__ import annotations

from rater.charging.terms import Threshold, ThresholdKind
from rater.events.notices import ThresholdRecord
from rater.money import format_amount


def describe(threshold: Threshold) -> str:
    """What the threshold watches: ``balance below 5.00``, ``80 % of local used``."""
    if threshold.kind is ThresholdKind.MONEY_BELOW:
        return f"balance below {format_amount(threshold.value)}"
    return f"{threshold.value} % of {threshold.grant or 'the allowance'} used"


def sentence(record: ThresholdRecord, *, currency: str = "") -> str:
    """One line for a message to a person: ``Account ACME: the balance fell below 5.00 BRL; it is 4.80 BRL.``"""
    unit = f" {currency}" if currency else ""
    if record.kind == "money_below":
        text = f"the balance fell below {record.value}{unit}; it is {record.after}{unit}"
    else:
        text = f"{record.value} % of {record.grant or 'the allowance'} is used ({_minutes(record.after_raw)} min)"
    return f"Account {record.account}: {text}."


def _minutes(seconds: int) -> str:
    """Whole minutes with seconds: ``12:05``."""
    return f"{seconds // 60}:{seconds % 60:02d}"
