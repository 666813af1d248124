"""Moments as catalogues write them, in a zone or with an offset of their own; and as explanations show them."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

EXPECTED = "a date such as 2026-11-01 or 2026-11-01T00:00"


def parse_moment(text: str, zone: ZoneInfo) -> int | None:
    """Milliseconds of an ISO 8601 date or time, without an offset in `zone`; None when it is none.

    Of a time that the clock passes twice the first is meant; one that it skips lies as far after the skip.
    """
    try:
        moment = dt.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def format_moment(at_ms: int) -> str:
    """A moment in UTC, as ISO 8601."""
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
