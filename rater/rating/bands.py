"""Bands: named sets of hours in the tariff's zone, and the timeline that they make.

A plan has an ordered list of bands. At any moment the first band that holds the local time is in force; where
none does, only rates for any band apply. Everything is read off the wall clock of the zone: on the night when the
clock is put back an hour of a band happens twice, on the other one it does not happen.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import holidays

from rater.errors import InputError

DAY_S = 86_400
EVERY_DAY = frozenset(range(7))


@dataclass(frozen=True, slots=True)
class Day:
    """What matters of a date: its weekday, and the calendars that have a holiday on it."""

    weekday: int
    holidays: frozenset[Calendar] = frozenset()


class OnHolidays(StrEnum):
    """Whether a window holds on the holidays of its calendars."""

    ANY = "any"
    """Holidays are days like others."""
    ONLY = "only"
    """On holidays alone."""
    EXCEPT = "except"
    """Never on a holiday."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Holidays: those of a country (and subdivision) as the `holidays` library knows them, and a dated list.

    `country`: ISO 3166-1 code such as ``BR``, empty for none; `subdivision`: such as ``SP``. Raises InputError for
    one that the library does not know.
    """

    name: str
    country: str = ""
    subdivision: str = ""
    dates: tuple[dt.date, ...] = ()

    def __post_init__(self) -> None:
        if self.country:
            _country(self.country, self.subdivision)

    def has(self, date: dt.date) -> bool:
        return date in self.dates or (bool(self.country) and date in _country(self.country, self.subdivision))


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of some days. `weekdays`: 0 Monday … 6 Sunday. `from_s`, `to_s`: seconds of the local day.

    A window whose end is not after its beginning runs over midnight into the next day, and belongs to the day on
    which it begins (weekday and holiday alike). Raises InputError when it holds at no time.
    """

    weekdays: frozenset[int] = EVERY_DAY
    from_s: int = 0
    to_s: int = DAY_S
    on_holidays: OnHolidays = OnHolidays.ANY
    calendars: tuple[Calendar, ...] = ()

    def __post_init__(self) -> None:
        if not self.weekdays or not self.weekdays <= EVERY_DAY:
            raise InputError("a window needs weekdays", hint="0 is Monday, 6 is Sunday.")
        if not (0 <= self.from_s < DAY_S and 0 <= self.to_s <= DAY_S):
            raise InputError("a window's hours lie between 00:00 and 24:00")
        if (self.on_holidays is OnHolidays.ANY) != (not self.calendars):
            raise InputError("a window has holidays 'only' or 'except' together with calendars, or neither")

    @property
    def over_midnight(self) -> bool:
        return self.to_s <= self.from_s

    def on(self, day: Day) -> bool:
        """Whether the window begins on such a day."""
        if day.weekday not in self.weekdays:
            return False
        if self.on_holidays is OnHolidays.ANY:
            return True
        holiday = any(calendar in day.holidays for calendar in self.calendars)
        return holiday is (self.on_holidays is OnHolidays.ONLY)


@dataclass(frozen=True, slots=True)
class Band:
    """A named set of hours: all its windows together."""

    name: str
    windows: tuple[Window, ...]

    def to_wire(self) -> list[Any]:
        """A msgpack form: [name, [[weekdays, from_s, to_s, on_holidays, [calendar, …]], …]]."""
        windows = [
            [sorted(w.weekdays), w.from_s, w.to_s, w.on_holidays.value, [_calendar_wire(c) for c in w.calendars]]
            for w in self.windows
        ]
        return [self.name, windows]

    @classmethod
    def from_wire(cls, wire: Iterable[Any]) -> Band:
        name, windows = wire
        return cls(
            name,
            tuple(
                Window(frozenset(days), from_s, to_s, OnHolidays(on), tuple(_calendar(c) for c in calendars))
                for days, from_s, to_s, on, calendars in windows
            ),
        )


def _calendar_wire(calendar: Calendar) -> list[Any]:
    dates = [date.isoformat() for date in calendar.dates]
    return [calendar.name, calendar.country, calendar.subdivision, dates]


def _calendar(wire: list[Any]) -> Calendar:
    name, country, subdivision, dates = wire
    return Calendar(name, country, subdivision, tuple(dt.date.fromisoformat(date) for date in dates))


@lru_cache(maxsize=256)
def _country(country: str, subdivision: str) -> holidays.HolidayBase:
    try:
        return holidays.country_holidays(country, subdiv=subdivision or None)
    except NotImplementedError as error:
        raise InputError(
            f"no holidays are known for {'-'.join(filter(None, (country, subdivision)))}",
            hint="Use an ISO 3166 code such as BR, with a subdivision such as SP, or list the dates.",
        ) from error
