"""Allowances with hours: bands of their plan, as a catalogue writes them and as terms carry them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rater.catalog.hours import REACH_MS, PlanHours
from rater.catalog.pieces import from_pieces, to_pieces
from rater.catalog.snapshot import Snapshot
from rater.ids import AccountId
from rater.money import MAX_CALL_S
from rater.rating.bands import Band, Window
from rater.rating.timeline import ANY_BAND, Timeline

from .support import FILES, PLANS, catalog, problems

PARIS = ZoneInfo("Europe/Paris")
CID = AccountId("cid")
NIGHT = """
[[plan.basic.band]]
name = "night"
windows = [{ from = "22:00", to = "06:00" }]
"""
HOURS = PLANS.replace("day = 15\n", 'day = 15\nhours = ["night", "peak"]\n').replace(
    "\n[[plan.basic.allowance]]", f"{NIGHT}\n[[plan.basic.allowance]]"
)


def ms(text: str, fold: int = 0) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=PARIS, fold=fold).timestamp() * 1000)


def at(bands: tuple[tuple[int, str], ...], at_ms: int) -> str:
    return [name for from_ms, name in bands if from_ms <= at_ms][-1]


def terms_at(snapshot: Snapshot, text: str) -> tuple[tuple[int, str], ...]:
    return snapshot.terms(CID, "mobile", ms(text)).bands


def test_terms_say_which_band_is_in_force_when(tmp_path: Path) -> None:
    snapshot = catalog(tmp_path, plans=HOURS)
    terms = snapshot.terms(CID, "mobile", ms("2026-11-24T12:00"))
    [allowance] = terms.allowances
    assert allowance.hours == ("night", "peak")
    assert terms.bands == (
        (ms("2026-11-24T08:00") - REACH_MS, ""),
        *((ms(when), band) for when, band in (
            ("2026-11-23T08:00", "peak"), ("2026-11-23T20:00", ""), ("2026-11-23T22:00", "night"),
            ("2026-11-24T06:00", ""),
            ("2026-11-24T08:00", "peak"), ("2026-11-24T20:00", ""), ("2026-11-24T22:00", "night"),
            ("2026-11-25T06:00", ""), ("2026-11-25T08:00", "peak"), ("2026-11-25T20:00", ""),
        )),
        (ms("2026-11-24T20:00") + REACH_MS, ""),
    )  # fmt: skip


def test_the_terms_are_the_same_object_until_the_next_band(tmp_path: Path) -> None:
    snapshot = catalog(tmp_path, plans=HOURS)
    first = snapshot.terms(CID, "mobile", ms("2026-11-24T08:00"))
    assert snapshot.terms(CID, "mobile", ms("2026-11-24T20:00") - 1) is first
    assert snapshot.terms(CID, "mobile", ms("2026-11-24T20:00")) is not first
    assert snapshot.terms(CID, "fixed", ms("2026-11-24T09:00")).bands is not None


def test_a_plan_without_bands_has_none_in_its_terms(tmp_path: Path) -> None:
    snapshot = catalog(tmp_path)
    assert snapshot.terms(AccountId("dora"), "mobile", ms("2026-11-24T12:00")).bands == ()


def test_on_the_night_when_the_clock_is_put_back_an_hour_counts_twice(tmp_path: Path) -> None:
    plans = HOURS.replace('from = "22:00", to = "06:00"', 'from = "02:00", to = "03:00"')
    bands = terms_at(catalog(tmp_path, plans=plans), "2026-10-24T23:00")
    begins = [from_ms for from_ms, band in bands if band == "night" and ms("2026-10-25T00:00") < from_ms]
    [first, *_] = begins
    assert first == ms("2026-10-25T02:00")
    assert at(bands, ms("2026-10-25T02:30")) == at(bands, ms("2026-10-25T02:30", fold=1)) == "night"
    ends = next(from_ms for from_ms, band in bands if from_ms > first and band != "night")
    assert ends - first == 2 * 3_600_000
    assert ends == ms("2026-10-25T03:00")


def test_on_the_night_when_the_clock_is_put_ahead_the_hour_does_not_come(tmp_path: Path) -> None:
    plans = HOURS.replace('from = "22:00", to = "06:00"', 'from = "02:00", to = "03:00"')
    bands = terms_at(catalog(tmp_path, plans=plans), "2026-03-28T23:00")
    assert [f for f, name in bands if name == "night"] == [
        ms(f"2026-03-{day}T02:00") for day in (27, 28, 30, 31)
    ]  # fmt: skip
    assert at(bands, ms("2026-03-29T03:00")) == "", "03:00 is a second after 01:59:59"


def test_holidays_are_those_of_the_bands(tmp_path: Path) -> None:
    """Peak is not on the first of May, a Friday."""
    bands = terms_at(catalog(tmp_path, plans=HOURS), "2026-04-30T12:00")
    assert at(bands, ms("2026-04-30T12:00")) == "peak"
    assert at(bands, ms("2026-05-01T12:00")) == ""


def test_they_travel_with_the_snapshot(tmp_path: Path) -> None:
    snapshot = catalog(tmp_path, plans=HOURS)
    again = from_pieces(to_pieces(snapshot))
    noon = ms("2026-11-24T12:00")
    assert again.terms(CID, "mobile", noon) == snapshot.terms(CID, "mobile", noon)
    assert again.content.plans == snapshot.content.plans


@given(hours=st.integers(0, 24 * 900), minute=st.integers(0, 59))
def test_they_reach_beyond_any_leg_and_agree_with_rating(hours: int, minute: int) -> None:
    bands = (
        Band("weekend", (Window(frozenset({5, 6})),)),
        Band("night", (Window(from_s=22 * 3600, to_s=6 * 3600),)),
    )
    now_ms = ms("2025-01-01T00:00") + hours * 3_600_000 + minute * 60_000
    from_ms, until_ms, found = PlanHours(bands, PARIS).around(now_ms)
    assert from_ms <= now_ms < until_ms
    assert found[0][0] <= from_ms - MAX_CALL_S * 1000
    assert found[-1][0] > until_ms + MAX_CALL_S * 1000
    assert [edge[0] for edge in found] == sorted({edge[0] for edge in found})
    names = ["weekend", "night"]
    edges = Timeline(PARIS, bands, names).between(found[0][0] // 1000, found[-1][0] // 1000)
    for at_s, place in zip(edges.at_s.tolist(), edges.band.tolist(), strict=True):
        assert at(found, at_s * 1000) == ("" if place == ANY_BAND else names[place])
    assert at(found, from_ms) == at(found, until_ms - 1), "one band is in force all the while"


def test_a_band_without_end_is_followed_for_a_while(tmp_path: Path) -> None:
    hours = PlanHours((Band("always", (Window(),)),), PARIS)
    now_ms = ms("2026-11-24T12:00")
    _, until_ms, found = hours.around(now_ms)
    assert until_ms > now_ms
    assert [name for _, name in found] == ["always", ""]


def band(name: str, window: str) -> str:
    return f'[[plan.basic.band]]\nname = "{name}"\nwindows = [{{ {window} }}]\n'


LATE = 'days = "mon", from = "09:00", to = "10:00"'
FAULTS = [
    ('hours = [@@"nigth"]', "", '"nigth" cannot stand here'),
    ('hours = ["peak", @@"peak"]', "", "stands here twice"),
    ("hours = @@[]", "", "the list is empty"),
    ('hours = @@"peak"', "", "is no list"),
    ('hours = ["all", @@"late"]', band("all", "") + band("late", LATE), "never in force"),
]


@pytest.mark.parametrize(("line", "bands", "message"), FAULTS)
def test_a_fault_in_hours_has_its_place(tmp_path: Path, line: str, bands: str, message: str) -> None:
    plans = PLANS.replace("day = 15\n", f"day = 15\n{line}\n").replace(
        "[[plan.basic.allowance]]", f"{bands}\n[[plan.basic.allowance]]"
    )
    before, _, _ = plans.partition("@@")
    problem, *_ = problems(tmp_path, {**FILES, "plans.toml": plans.replace("@@", "")})
    assert message in problem.message
    assert (problem.line, problem.column) == (before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1)


def test_a_band_that_is_in_force_on_holidays_alone_will_do(tmp_path: Path) -> None:
    """Peak leaves it those."""
    plans = HOURS.replace('"night", "peak"', '"late"').replace(NIGHT, band("late", LATE))
    assert catalog(tmp_path, plans=plans)


def test_hours_in_a_plan_without_bands_are_a_fault(tmp_path: Path) -> None:
    plans = PLANS + '\n[[plan.sp.allowance]]\nid = "m"\nclasses = ["fixed"]\nminutes = 1\nhours = ["night"]\n'
    messages = [problem.message for problem in problems(tmp_path, {**FILES, "plans.toml": plans})]
    assert "the plan has no bands" in messages


def test_a_version_with_other_bands_keeps_the_hours_of_its_allowances(tmp_path: Path) -> None:
    version = """
[[plan.basic.version]]
valid_from = "2027-01-01"

[[plan.basic.version.band]]
name = "night"
windows = [{ from = "18:00", to = "22:00" }]
"""
    place = HOURS.index("[plan.sp]")
    plans = HOURS[:place] + version + HOURS[place:]
    messages = [p.message for p in problems(tmp_path, {**FILES, "plans.toml": plans}) if p.file == "plans.toml"]
    assert messages == ["the allowance 'minutes' has the hours 'peak', which no band here has"]
