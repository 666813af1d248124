"""When allowances are renewed: months of every length, weeks, days, and the nights when clocks change."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rater.catalog.cycles import Cycle, CycleKind

M, W, D = CycleKind.MONTHLY, CycleKind.WEEKLY, CycleKind.DAILY


def ms(text: str, zone: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


# kind, day, zone, at → start, end (local)
CASES = [
    (M, 1, "Europe/Paris", "2026-11-24T10:00", "2026-11-01T00:00", "2026-12-01T00:00"),
    (M, 1, "Europe/Paris", "2026-12-01T00:00", "2026-12-01T00:00", "2027-01-01T00:00"),
    (M, 1, "Europe/Paris", "2026-11-30T23:59", "2026-11-01T00:00", "2026-12-01T00:00"),
    (M, 15, "America/Sao_Paulo", "2026-01-03T12:00", "2025-12-15T00:00", "2026-01-15T00:00"),
    (M, 31, "Europe/Paris", "2026-02-10T12:00", "2026-01-31T00:00", "2026-02-28T00:00"),
    (M, 31, "Europe/Paris", "2026-02-28T00:00", "2026-02-28T00:00", "2026-03-31T00:00"),
    (M, 31, "Europe/Paris", "2028-02-29T12:00", "2028-02-29T00:00", "2028-03-31T00:00"),
    (M, 29, "Europe/Paris", "2026-03-01T12:00", "2026-02-28T00:00", "2026-03-29T00:00"),
    (M, 30, "Europe/Paris", "2026-04-29T12:00", "2026-03-30T00:00", "2026-04-30T00:00"),
    (W, 0, "Europe/Paris", "2026-11-24T10:00", "2026-11-23T00:00", "2026-11-30T00:00"),
    (W, 6, "Europe/Paris", "2026-11-21T10:00", "2026-11-15T00:00", "2026-11-22T00:00"),
    (W, 2, "Europe/Paris", "2026-01-01T10:00", "2025-12-31T00:00", "2026-01-07T00:00"),
    (D, 0, "Europe/Paris", "2026-03-29T12:00", "2026-03-29T00:00", "2026-03-30T00:00"),
    (D, 0, "Europe/Paris", "2026-10-25T02:30", "2026-10-25T00:00", "2026-10-26T00:00"),
    # Brazil's last summer time began at midnight: 2018-11-04 has no 00:00, its day begins at 01:00.
    (D, 0, "America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04T01:00", "2018-11-05T00:00"),
    # In Havana midnight comes twice when the clock goes back.
    (D, 0, "America/Havana", "2026-11-01T12:00", "2026-11-01T00:00", "2026-11-02T00:00"),
]


@pytest.mark.parametrize(("kind", "day", "zone", "at", "start", "end"), CASES)
def test_cycle_holds_its_moment(kind: CycleKind, day: int, zone: str, at: str, start: str, end: str) -> None:
    assert Cycle(kind, day).bounds(ms(at, zone), ZoneInfo(zone)) == (ms(start, zone), ms(end, zone))


def test_day_of_a_changing_clock_is_23_or_25_hours_long() -> None:
    paris = ZoneInfo("Europe/Paris")
    for at, hours in (("2026-03-29T12:00", 23), ("2026-10-25T12:00", 25), ("2026-06-01T12:00", 24)):
        start, end = Cycle(D, 0).bounds(ms(at, "Europe/Paris"), paris)
        assert end - start == hours * 3_600_000


def test_second_midnight_of_a_night_belongs_to_the_same_cycle() -> None:
    zone = ZoneInfo("America/Havana")
    first = int(dt.datetime(2026, 11, 1, 0, 0, tzinfo=zone, fold=0).timestamp() * 1000)
    second = int(dt.datetime(2026, 11, 1, 0, 0, tzinfo=zone, fold=1).timestamp() * 1000)
    assert second - first == 3_600_000
    assert Cycle(D, 0).bounds(first, zone) == Cycle(D, 0).bounds(second, zone)
    assert Cycle(D, 0).bounds(first - 1, zone)[1] == first


@given(
    st.sampled_from([(M, d) for d in range(1, 32)] + [(W, d) for d in range(7)] + [(D, 0)]),
    st.integers(0, 4_000_000_000_000),
    st.sampled_from(
        ["UTC", "Europe/Paris", "America/Sao_Paulo", "America/Havana", "Asia/Kathmandu", "Pacific/Apia"]
    ),
)
def test_cycles_follow_one_another_without_gap(cycle: tuple[CycleKind, int], at_ms: int, zone: str) -> None:
    tz = ZoneInfo(zone)
    start, end = Cycle(*cycle).bounds(at_ms, tz)
    assert start <= at_ms < end
    assert Cycle(*cycle).bounds(end, tz)[0] == end
    assert Cycle(*cycle).bounds(start - 1, tz)[1] == start
    assert Cycle(*cycle).bounds(end - 1, tz) == (start, end)
