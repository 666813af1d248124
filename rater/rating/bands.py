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
from typing import Any

DAY_S = 86_400
EVERY_DAY = frozenset(range(7))


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

    `country`: ISO 3166-1 code such as ``BR``, empty for none; `subdivision`: such as ``SP``.
    """

    name: str
    country: str = ""
    subdivision: str = ""
    dates: frozenset[dt.date] = frozenset()


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of some days. `weekdays`: 0 Monday … 6 Sunday. `from_s`, `to_s`: seconds of the local day.

    A window whose end is not after its beginning runs over midnight into the next day, and belongs to the day on
    which it begins (weekday and holiday alike).
    """

    weekdays: frozenset[int] = EVERY_DAY
    from_s: int = 0
    to_s: int = DAY_S
    on_holidays: OnHolidays = OnHolidays.ANY
    calendars: tuple[Calendar, ...] = ()


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
    dates = sorted(date.isoformat() for date in calendar.dates)
    return [calendar.name, calendar.country, calendar.subdivision, dates]


def _calendar(wire: list[Any]) -> Calendar:
    name, country, subdivision, dates = wire
    return Calendar(name, country, subdivision, frozenset(dt.date.fromisoformat(date) for date in dates))
