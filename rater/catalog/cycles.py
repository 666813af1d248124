"""When an allowance begins anew: each month on a day, each week on a weekday, each day; at midnight of the zone."""

from __future__ import annotations

import calendar
import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import ZoneInfo

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class CycleKind(StrEnum):
    MONTHLY = "monthly"
    WEEKLY = "weekly"
    DAILY = "daily"


@dataclass(frozen=True, slots=True)
class Cycle:
    """`day`: of the month, 1 to 31, and a shorter month begins its cycle on its last day; or of the week, 0 Monday
    to 6 Sunday; 0 when daily."""

    kind: CycleKind = CycleKind.MONTHLY
    day: int = 1

    def bounds(self, at_ms: int, zone: ZoneInfo) -> tuple[int, int]:
        """The cycle that holds a moment: from its first millisecond until just before the second value.

        A midnight that the clock skips is the moment of the skip; of one that comes twice, the first counts.
        """
        date = dt.datetime.fromtimestamp(at_ms / 1000, zone).date()
        start = self._starts_on_or_before(date)
        # Where midnight comes twice, the local date may lie on either side of the true start.
        while _midnight_ms(start, zone) > at_ms:
            start = self._starts_on_or_before(start - dt.timedelta(days=1))
        end = self._next(start)
        while _midnight_ms(end, zone) <= at_ms:
            start, end = end, self._next(end)
        return _midnight_ms(start, zone), _midnight_ms(end, zone)

    def _starts_on_or_before(self, date: dt.date) -> dt.date:
        if self.kind is CycleKind.DAILY:
            return date
        if self.kind is CycleKind.WEEKLY:
            return date - dt.timedelta(days=(date.weekday() - self.day) % 7)
        this_month = _day_of_month(date.year, date.month, self.day)
        if this_month <= date:
            return this_month
        before = date.replace(day=1) - dt.timedelta(days=1)
        return _day_of_month(before.year, before.month, self.day)

    def _next(self, start: dt.date) -> dt.date:
        if self.kind is CycleKind.DAILY:
            return start + dt.timedelta(days=1)
        if self.kind is CycleKind.WEEKLY:
            return start + dt.timedelta(days=7)
        after = start.replace(day=28) + dt.timedelta(days=4)
        return _day_of_month(after.year, after.month, self.day)


def _day_of_month(year: int, month: int, day: int) -> dt.date:
    return dt.date(year, month, min(day, calendar.monthrange(year, month)[1]))


def _midnight_ms(date: dt.date, zone: ZoneInfo) -> int:
    return int(dt.datetime(date.year, date.month, date.day, tzinfo=zone).timestamp()) * 1000
