"""Calendars and bands of `plans.toml`."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping

from rater.catalog.cycles import WEEKDAYS
from rater.catalog.table import Table, describe
from rater.errors import InputError
from rater.rating.bands import DAY_S, EVERY_DAY, Band, Calendar, OnHolidays, Window
from rater.rating.timeline import ANY_BAND, reachable

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_HOUR = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def read_calendar(name: str, table: Table) -> Calendar:
    country, subdivision = table.text("country", ""), table.text("subdivision", "")
    dates = set()
    for i, text in enumerate(table.texts("dates", pattern=_DATE, expected='dates such as "2026-12-24"')):
        try:
            dates.add(dt.date.fromisoformat(text))
        except ValueError:
            table.fault_at(("dates", i), f"there is no day {text}", "a date that exists")
    if not country and "dates" not in table:
        table.fault(None, "the calendar is empty", "country, dates, or both")
    table.finish()
    try:
        return Calendar(name, country, subdivision, tuple(sorted(dates)))
    except InputError as error:
        table.fault("country", error.message, error.hint or "a country code of ISO 3166")
        return Calendar(name, dates=tuple(sorted(dates)))


def read_bands(table: Table, calendars: Mapping[str, Calendar]) -> tuple[Band, ...]:
    bands: list[Band] = []
    for entry in table.tables("band"):
        name = entry.text("name", pattern=_NAME, expected="a name in lower-case letters, digits and _")
        if any(band.name == name for band in bands):
            entry.fault("name", f"the band {name!r} stands here twice", "another name")
        windows = entry.tables("windows")
        if not windows:
            entry.fault(None, f"the band {name!r} has no windows", 'windows = [{ days = "mon-fri", … }]')
        bands.append(Band(name, tuple(read_window(window, calendars) for window in windows)))
        entry.finish()
    return tuple(bands)


def ever_in_force(bands: tuple[Band, ...]) -> frozenset[str]:
    """Names of the bands to which those before them leave some hours; all, when they use too many calendars, which
    is found elsewhere."""
    try:
        return frozenset(bands[index].name for index in reachable(bands) if index != ANY_BAND)
    except InputError:
        return frozenset(band.name for band in bands)


def read_window(table: Table, calendars: Mapping[str, Calendar]) -> Window:
    """Hours of some days, as bands and off-hours have them."""
    days = _days(table)
    from_s, to_s = _hour(table, "from", 0), _hour(table, "to", DAY_S)
    if from_s == DAY_S:
        table.fault("from", '"24:00" begins nothing', 'a time from "00:00" to "23:59"')
        from_s = 0
    on = table.choice("holidays", OnHolidays, OnHolidays.ANY)
    names = table.texts("calendars", among=calendars)
    table.finish()
    if (on is OnHolidays.ANY) != (not names):
        table.fault(
            "holidays" if "holidays" in table else None,
            "holidays and calendars belong together",
            'holidays = "only" or "except" with calendars, or neither',
        )
        return Window(days, from_s, to_s)
    try:
        return Window(days, from_s, to_s, on, tuple(calendars[name] for name in names))
    except InputError as error:
        table.fault(None, error.message, error.hint or "a window that holds at some time")
        return Window()


def _days(table: Table) -> frozenset[int]:
    """``mon-fri``, ``sat``, ``mon,wed,fri-sun``; every day when absent."""
    text = table.text("days", "mon-sun", expected='days such as "mon-fri" or "sat,sun"')
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        last = last or first
        if first not in WEEKDAYS or last not in WEEKDAYS:
            table.fault("days", f"{describe(text)} are no weekdays", 'such as "mon-fri" or "sat,sun"')
            return EVERY_DAY
        start, count = WEEKDAYS.index(first), (WEEKDAYS.index(last) - WEEKDAYS.index(first)) % 7 + 1
        days.update((start + i) % 7 for i in range(count))
    return frozenset(days)


def _hour(table: Table, key: str, default: int) -> int:
    text = table.text(key, "", pattern=_HOUR, expected='a time such as "08:00"')
    if not text:
        return default
    hour, minute = text.split(":")
    return int(hour) * 3600 + int(minute) * 60
