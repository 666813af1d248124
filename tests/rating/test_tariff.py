"""Quotes against an oracle that counts second by second in exact fractions."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rater.ids import PlanId
from rater.money import Rounding, affordable_s, cumulative_micro
from rater.rating.bands import Band, Window
from rater.rating.compiled import CompiledDeck
from rater.rating.deck import import_deck
from rater.rating.explain import explain, price, render
from rater.rating.tariff import Found, NoRate, PlanTariff

ZONE = ZoneInfo("Europe/Paris")
CLASSES = ("fixed", "mobile")
PEAK = Band("peak", (Window(frozenset(range(5)), 8 * 3600, 20 * 3600),))
OFF = Band("off", (Window(),))
HEADER = (
    "prefix,destination,class,price,per,first,next,connect_fee,free_below,min_charge,max_charge,"
    "on_max,band,tier_from\n"
)


def deck(folder: Path, rows: str, *, header: str = HEADER, bands: tuple[Band, ...] = (PEAK, OFF)) -> CompiledDeck:
    path = folder / "deck.csv"
    path.write_text(header + rows)
    result = import_deck(path, zone=ZONE, classes=CLASSES, bands=bands)
    assert isinstance(result, CompiledDeck), result
    return CompiledDeck.from_bytes(result.to_bytes())


def tariff(compiled: CompiledDeck, bands: tuple[Band, ...] = (PEAK, OFF), decimals: int = 6) -> PlanTariff:
    return PlanTariff(PlanId("p"), "EUR", decimals, Rounding.HALF_UP, ZONE, bands, compiled)


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp() * 1000)


def found(t: PlanTariff, number: str, moment: str) -> Found:
    answer = t.quote(number, at(moment))
    assert isinstance(answer, Found), answer
    return answer


def test_the_longest_prefix_with_a_rate_in_force_prices_the_call(tmp_path: Path) -> None:
    header = "prefix,destination,class,price,valid_from,valid_until\n"
    rows = (
        "33,France,fixed,0.06,,\n336,Mobile,mobile,0.60,2026-01-01,2026-07-01\n3361,Special,mobile,6,2027-01-01,\n"
    )
    t = tariff(deck(tmp_path, rows, header=header, bands=()), ())
    assert found(t, "33612345678", "2026-05-01T12:00").prefix == "336"
    assert found(t, "33612345678", "2026-08-01T12:00").prefix == "33"
    assert found(t, "33612345678", "2027-08-01T12:00").prefix == "3361"
    assert isinstance(t.quote("4412345", at("2026-08-01T12:00")), NoRate)


def test_a_call_over_a_band_edge_is_split_and_an_increment_begun_keeps_its_price(tmp_path: Path) -> None:
    rows = "33,France,fixed,0.60,60,60,60,,,,,,peak,\n33,France,fixed,0.06,60,6,6,,,,,,off,\n"
    quote = found(tariff(deck(tmp_path, rows)), "33123456789", "2026-11-23T19:58:30").quote
    assert [(s.from_s, s.step_s, s.band) for s in quote.segments[:2]] == [(0, 60, "peak"), (120, 6, "off")]
    assert cumulative_micro(quote, 120) == 1_200_000
    assert cumulative_micro(quote, 121) == 1_206_000


@pytest.mark.parametrize(
    ("moment", "edge_s"),
    [
        ("2026-03-29T01:59:00", 3660),  # the night that has no 02:00–03:00: 19:00 elapsed would be an hour more
        ("2026-10-25T02:59:00", 3660),  # and the one that has it twice
    ],
)
def test_bands_follow_the_wall_clock_on_the_nights_that_change_it(tmp_path: Path, moment: str, edge_s: int) -> None:
    night = Band("night", (Window(from_s=0, to_s=3 * 3600 if "03-29" not in moment else 4 * 3600),))
    rows = "33,France,fixed,0.60,60,1,1,,,,,,night,\n33,France,fixed,0.06,60,1,1,,,,,,off,\n"
    bands = (night, OFF)
    quote = found(tariff(deck(tmp_path, rows, bands=bands), bands), "331234567", moment).quote
    assert quote.segments[1].from_s == edge_s


def test_tiers_minimum_maximum_and_free_seconds(tmp_path: Path) -> None:
    rows = (
        "33,France,fixed,0.60,60,30,6,0.10,3,0.50,2.00,cut,,\n33,France,fixed,0.30,60,6,6,,,,,,,120\n"
        "34,Spain,fixed,0.60,60,1,1,,,,1.00,free,,\n"
    )
    t = tariff(deck(tmp_path, rows))
    quote = found(t, "331234567", "2026-11-23T12:00").quote
    assert [(s.from_s, s.step_s, s.price_num) for s in quote.segments] == [
        (0, 30, 10_000),
        (30, 6, 10_000),
        (120, 6, 5_000),
    ]
    assert [cumulative_micro(quote, n) for n in (3, 4, 30, 31, 126)] == [0, 500_000, 500_000, 500_000, 1_330_000]
    assert cumulative_micro(quote, quote.horizon_s) <= 2_000_000 < 2_000_001
    assert quote.horizon_s == 120 + 6 * 23
    spain = found(t, "341234567", "2026-11-23T12:00").quote
    assert cumulative_micro(spain, 86_400) == 1_000_000


@settings(max_examples=60, deadline=None)
@given(
    start=st.integers(at("2026-01-01T00:00") // 1000, at("2026-12-31T00:00") // 1000),
    peak=st.tuples(st.integers(0, 999), st.sampled_from([1, 6, 30, 60]), st.sampled_from([1, 6, 30, 60])),
    off=st.tuples(st.integers(0, 999), st.sampled_from([1, 6, 30, 60]), st.sampled_from([1, 6, 30, 60])),
    seconds=st.integers(1, 20_000),
    cuts=st.lists(st.floats(0, 1), max_size=4),
)
def test_a_quote_is_what_counting_second_by_second_gives(
    tmp_path_factory: pytest.TempPathFactory,
    start: int,
    peak: tuple[int, int, int],
    off: tuple[int, int, int],
    seconds: int,
    cuts: list[float],
) -> None:
    def line(band: str, rate: tuple[int, int, int]) -> str:
        return f"33,France,fixed,0.{rate[0]:03d},60,{rate[1]},{rate[2]},,,,,,{band},\n"

    t = tariff(deck(tmp_path_factory.mktemp("d"), line("peak", peak) + line("off", off)))
    answer = t.quote("33123", start * 1000)
    assert isinstance(answer, Found)
    exact, covered = Fraction(0), 0
    while covered < seconds:
        local = dt.datetime.fromtimestamp(start + covered, ZONE)
        price_milli, first, following = peak if local.weekday() < 5 and 8 <= local.hour < 20 else off
        step = first if covered == 0 else following
        exact += Fraction(price_milli * 1000 * step, 60)
        covered += step
    assert cumulative_micro(answer.quote, seconds) == int(exact + Fraction(1, 2))
    points = sorted({0, seconds, *(int(seconds * cut) for cut in cuts)})
    slices = [cumulative_micro(answer.quote, b) - cumulative_micro(answer.quote, a) for a, b in pairwise(points)]
    assert sum(slices) == cumulative_micro(answer.quote, seconds)
    assert min(slices) >= 0
    budget = cumulative_micro(answer.quote, seconds)
    longest = affordable_s(answer.quote, 0, budget)
    assert cumulative_micro(answer.quote, longest) <= budget
    assert longest == answer.quote.horizon_s or cumulative_micro(answer.quote, longest + 1) > budget
    assert price(answer.quote, seconds).exact == exact


def test_an_explanation_names_what_was_used_and_what_was_passed_over(tmp_path: Path) -> None:
    rows = "33,France,fixed,0.60,60,1,1,,,,,,,\n331,Paris,fixed,0.30,60,1,1,,,,,,,\n"
    t = tariff(deck(tmp_path, rows))
    moment = at("2026-11-23T12:00")
    e = explain(
        t, found(t, "33112", "2026-11-23T12:00"), number="33112", dialled="0112", steps=("fr.national",),
        at_ms=moment, seconds=90, version=7,
    )  # fmt: skip
    assert (e["prefix"], e["amount"], e["billed_seconds"]) == ("331", "0.45", 90)
    assert [o["prefix"] for o in e["passed_over"]] == ["33"]
    text = render(e)
    assert "passed over: 33" in text
    assert text.endswith("= 0.45 EUR")


@pytest.mark.parametrize(
    ("rows", "line", "column", "named"),
    [
        ("33x,France,fixed,0.1,,,,,,,,,,\n", 2, 1, "prefix"),
        ("33,France,fix,0.1,,,,,,,,,,\n", 2, 3, "class"),
        ("33,France,fixed,-0.1,,,,,,,,,,\n", 2, 4, "price"),
        ("33,France,fixed,0.1,0,,,,,,,,,\n", 2, 5, "per"),
        ("33,France,fixed,0.1,,,,,,,,,night,\n", 2, 13, "band"),
        ("33,France,fixed,0.1,,,,,,,,,peak,\n", 2, 13, "no rate for"),
        ("33,France,fixed,0.1,,,,,,,,,,\n33,France,fixed,0.2,,,,,,,,,,\n", 3, 1, "duplicate of line 2"),
        ("33,France,fixed,0.1,,,,,,5,1,,,\n", 2, 11, "max_charge"),
        ("33,France,fixed\n", 2, 1, "fields"),
        ("", 1, 1, "no rates"),
    ],
)
def test_a_fault_in_a_deck_is_named_with_line_and_column(
    tmp_path: Path, rows: str, line: int, column: int, named: str
) -> None:
    path = tmp_path / "deck.csv"
    path.write_text(HEADER + rows)
    problems = import_deck(path, zone=ZONE, classes=CLASSES, bands=(PEAK, OFF))
    assert isinstance(problems, tuple)
    assert [(p.line, p.column) for p in problems] == [(line, column)]
    assert named in problems[0].message
    assert problems[0].expected


def test_semicolons_a_byte_order_mark_and_a_decimal_comma_are_read(tmp_path: Path) -> None:
    path = tmp_path / "deck.csv"
    path.write_text("\ufeffclass;price;destination;prefix\nfixed;0,60;Brasil;55\n", encoding="utf-8")
    result = import_deck(path, zone=ZONE, classes=CLASSES, locale="pt_BR")
    assert isinstance(result, CompiledDeck), result
    assert cumulative_micro(found(tariff(result, ()), "5511", "2026-11-23T12:00").quote, 60) == 600_000
