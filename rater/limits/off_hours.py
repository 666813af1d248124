"""Off-hours: stricter limits in the hours when nobody looks, which is when lines are abused. Pure.

A rule is looked up for a moment and gives the limits for that moment, which the scripts are then asked for like any
others; so nothing of it is kept in the store, and a rule that changes acts from the next decision on.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from zoneinfo import ZoneInfo

from rater.rating.bands import Day, Window


def holds(windows: Iterable[Window], at_ms: int, zone: ZoneInfo) -> bool:
    """Whether any of the windows holds at a moment, by the wall clock of the zone."""
    local = dt.datetime.fromtimestamp(at_ms / 1000, zone)
    second = (local.hour * 60 + local.minute) * 60 + local.second
    today = local.date()
    yesterday = today - dt.timedelta(days=1)
    return any(
        _from_today(window, second, today) or _from_yesterday(window, second, yesterday) for window in windows
    )


def _from_today(window: Window, second: int, today: dt.date) -> bool:
    begun = window.from_s <= second and (second < window.to_s or window.over_midnight)
    return begun and window.on(_day(today, window))


def _from_yesterday(window: Window, second: int, yesterday: dt.date) -> bool:
    return window.over_midnight and second < window.to_s and window.on(_day(yesterday, window))


def _day(date: dt.date, window: Window) -> Day:
    return Day(date.weekday(), frozenset(calendar for calendar in window.calendars if calendar.has(date)))


def tighter(one: int | None, other: int | None) -> int | None:
    """The smaller of two limits; None is none."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
