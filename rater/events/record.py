"""What all public records share: how they are checked, written as JSON, and how times and amounts read in them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from rater.errors import AmountError
from rater.events.stream import UnreadableEntry
from rater.money import format_amount


class Record(BaseModel):
    """A public record: immutable, no fields beyond those documented."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def to_json(self) -> str:
        """One line of JSON, keys in the documented order."""
        return self.model_dump_json(by_alias=True)

    def to_dict(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True, mode="json")


def iso_ms(at_ms: int) -> str:
    """``2026-01-31T23:59:59.999Z``."""
    seconds, millis = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"


def iso_or_none(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso_ms(at_ms)


def amount_fields(result: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """For each name both forms: ``name`` as decimal text and ``name_micro``. Raises KeyError, ValueError."""
    fields: dict[str, Any] = {}
    for name in names:
        amount_micro = int(result[f"{name}_micro"])
        fields[name] = format_amount(amount_micro)
        fields[f"{name}_micro"] = amount_micro
    return fields


BROKEN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError, AmountError)
"""What values of the wrong kind or size make of reading an entry; anything else is a fault of ours."""


def unreadable(kind: str, error: Exception) -> UnreadableEntry:
    """The error for an entry that could not be made into a record, its reason on one line."""
    reason = " ".join(str(error).split())[:300]
    return UnreadableEntry(f"a {kind} entry that makes no record: {type(error).__name__}: {reason}")
