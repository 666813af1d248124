"""Any deck, any start, any slicing, by both kernels, against the oracle that counts second by second."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rater.events.breakdown import break_down
from rater.ids import PlanId
from rater.money import MICRO, Rounding, cumulative_micro
from rater.rating import deck_rows
from rater.rating.bands import Band, Window
from rater.rating.compiled import CompiledDeck, pack
from rater.rating.deck_format import Expected
from rater.rating.explain import price
from rater.rating.tariff import Found, NoRate, PlanTariff

from .kernels import COMPILED, KERNELS, Kernel, each_kernel
from .oracle import OracleRate, horizon_s, longest_affordable, prices, rate_at, rates_for, rounded

LONGEST_S = 1500
ZONES = [ZoneInfo(name) for name in ("UTC", "Europe/Paris", "America/Sao_Paulo", "Australia/Lord_Howe")]
SPANS = {"peak": (8 * 3600, 20 * 3600), "night": (22 * 3600, 2 * 3600 + 1800)}
"""The hours of the bands, every day; `night` runs over midnight and ends within the hour that clocks change in."""
BANDS = tuple(Band(name, (Window(from_s=start, to_s=end),)) for name, (start, end) in SPANS.items())
DAY_S = 86_400
EDGES_S = [0, 2 * 3600, 2 * 3600 + 1800, 3 * 3600, 8 * 3600, 20 * 3600, 22 * 3600]
STEPS = st.sampled_from([1, 6, 7, 30, 60])
JULY_MS = int(dt.datetime(2026, 7, 1, tzinfo=dt.UTC).timestamp() * 1000)
CENTS = st.integers(0, 300).map(lambda cents: Fraction(cents, 100))
PRICES = st.integers(0, 20_000).map(lambda units: Fraction(units, 10_000))


def band_of(local: dt.datetime) -> str:
    """The band of a wall-clock time, for days that are all alike."""
    second = local.hour * 3600 + local.minute * 60 + local.second
    for name, (start, end) in SPANS.items():
        if (start <= second < end) if start < end else (second >= start or second < end):
            return name
    return ""


@dataclass(frozen=True)
class Scene:
    """A tariff with a call to price."""

    rates: tuple[OracleRate, ...]
    zone: ZoneInfo
    decimals: int
    rounding: Rounding
    number: str
    at_ms: int

    def tariff(self) -> PlanTariff:
        return PlanTariff(
            PlanId("p"), "EUR", self.decimals, self.rounding, self.zone, BANDS, self.deck(), max_call_s=LONGEST_S
        )

    def deck(self) -> CompiledDeck:
        """Through the CSV file, as an operator would have written it."""
        names = ("prefix,destination,class,price,per,first,next,band,tier_from,connect_fee,free_below,min_charge,"
                 "max_charge,on_max,valid_from,valid_until")  # fmt: skip
        lines = [",".join(self._cells(rate)) for rate in self.rates]
        deck = deck_rows.read("\n".join([names, *lines]).encode(), "deck", Expected(self.zone, {"fixed"}, BANDS))  # type: ignore[arg-type]
        assert isinstance(deck, CompiledDeck), deck
        return deck

    @staticmethod
    def _cells(rate: OracleRate) -> list[str]:
        def decimal(value: Fraction) -> str:
            return f"{value.numerator * 10_000 // value.denominator / 10_000:.4f}"

        def moment(at_ms: int | None) -> str:
            return "" if at_ms is None else dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).isoformat()

        return [
            rate.prefix, "Somewhere", "fixed", decimal(rate.price), str(rate.per_s), str(rate.first_s),
            str(rate.next_s), rate.band, str(rate.tier_from_s), decimal(rate.connect), str(rate.free_s),
            decimal(rate.minimum), "" if rate.maximum is None else decimal(rate.maximum),
            "cut" if rate.cut else "free", moment(rate.from_ms), moment(rate.until_ms),
        ]  # fmt: skip

    def band_at(self, second: int) -> str:
        # Bands change on whole seconds: the second that the call is in decides.
        return band_of(dt.datetime.fromtimestamp(self.at_ms // 1000 + second, self.zone))

    def costs(self) -> tuple[list[Fraction], list[int]]:
        """The rounded price and the billed seconds of each length up to the horizon."""
        rates = rates_for(self.rates, self.number, self.at_ms)
        amounts, billed = prices(rates, self.band_at, LONGEST_S)
        first = rate_at(rates, self.band_at(0), 0)
        rule = self.rounding.name.lower()
        last = horizon_s(amounts, first, self.decimals, rule)
        capped = [min(a, first.maximum) if first.maximum is not None else a for a in amounts[: last + 1]]
        return [rounded(a, self.decimals, rule) for a in capped], billed[: last + 1]


@st.composite
def ladders(draw: st.DrawFn, prefix: str, band: str, from_ms: int | None, until_ms: int | None) -> list[OracleRate]:
    """The rates of one prefix for one band: a tier from 0 on, and perhaps others."""
    tiers = [0, *sorted(draw(st.sets(st.sampled_from([1, 59, 60, 90, 601]), max_size=2)))]
    maximum = draw(st.none() | CENTS.map(lambda cents: cents + 3))
    return [
        OracleRate(
            prefix, draw(PRICES), draw(st.sampled_from([1, 6, 60, 7])), draw(STEPS), draw(STEPS), band, tier,
            draw(CENTS), draw(st.sampled_from([0, 0, 3, 31])), draw(CENTS), maximum, draw(st.booleans()),
            from_ms, until_ms,
        )
        for tier in tiers
    ]  # fmt: skip


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    rates: list[OracleRate] = []
    for prefix in draw(
        st.lists(st.sampled_from(["3", "33", "331", "3312", "34"]), min_size=1, max_size=4, unique=True)
    ):
        spans = draw(st.sampled_from([[(None, None)], [(None, JULY_MS)], [(JULY_MS, None)],
                                      [(None, JULY_MS), (JULY_MS, None)]]))  # fmt: skip
        for span in spans:
            for band in ("", *draw(st.lists(st.sampled_from(list(SPANS)), unique=True))):
                rates += draw(ladders(prefix, band, *span))
    zone = draw(st.sampled_from(ZONES))
    return Scene(
        tuple(rates), zone, draw(st.sampled_from([0, 2, 4, 6])), draw(st.sampled_from(Rounding)),
        draw(st.sampled_from(["33123", "3312", "34", "3", "33", "339"])), draw(moments(zone)),
    )  # fmt: skip


@st.composite
def moments(draw: st.DrawFn, zone: ZoneInfo) -> int:
    """Starts, many of them shortly before an edge, a change of the clock, midnight, or the change of prices."""
    nights = ["2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-12-31", "2028-02-29", "2026-06-30"]
    date = draw(st.sampled_from(nights) | st.dates(dt.date(2026, 1, 1), dt.date(2028, 12, 31)).map(str))
    wall_s = draw(st.sampled_from(EDGES_S)) - draw(st.integers(-90, LONGEST_S))
    midnight = dt.datetime.fromisoformat(date).replace(tzinfo=zone)
    shift_ms = draw(st.sampled_from([0, 0, 1, 500, 999]))
    near = int(midnight.timestamp() + wall_s) * 1000 + shift_ms
    return draw(st.sampled_from([near, JULY_MS - 1, JULY_MS]))


SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@each_kernel
@settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
@given(scene=scenes(), data=st.data())
def test_prices_are_what_counting_gives(scene: Scene, data: st.DataObject, kernel: Kernel) -> None:
    tariff = kernel.tariff(scene.tariff())
    found = tariff.quote(scene.number, scene.at_ms)
    if not rates_for(scene.rates, scene.number, scene.at_ms):
        assert isinstance(found, NoRate)
        assert tariff.cost(scene.number, scene.at_ms, 60) is None
        return
    assert isinstance(found, Found)
    costs, billed = scene.costs()
    quote, last = found.quote, len(costs) - 1
    assert quote.horizon_s == last
    lengths = {0, 1, min(2, last), last, *data.draw(st.lists(st.integers(0, last), max_size=12))}
    for n in sorted(lengths):
        expected = int(costs[n] * MICRO)
        assert (kernel.cumulative_micro(quote, n), kernel.billed_s(quote, n)) == (expected, billed[n])
        assert cumulative_micro(quote, n) == expected
        cost = tariff.cost(scene.number, scene.at_ms, n)
        assert cost is not None
        assert (cost.amount_micro, cost.billed_s) == (expected, billed[n])
        assert price(quote, n).amount_micro == expected
    assert all(a <= b for a, b in pairwise(costs))
    points = sorted(lengths)
    lines = [line for a, b in pairwise(points) for line in break_down(quote, a, b)]
    assert sum(line.amount_micro for line in lines) == int(costs[last] * MICRO)


@each_kernel
@settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
@given(scene=scenes(), data=st.data())
def test_affordable_seconds_are_the_true_maximum(scene: Scene, data: st.DataObject, kernel: Kernel) -> None:
    if not rates_for(scene.rates, scene.number, scene.at_ms):
        return
    found = kernel.tariff(scene.tariff()).quote(scene.number, scene.at_ms)
    assert isinstance(found, Found)
    costs, _ = scene.costs()
    last = len(costs) - 1
    for _ in range(6):
        from_s = data.draw(st.integers(0, last) | st.just(0))
        reach = costs[data.draw(st.integers(from_s, last))] - costs[from_s]
        budget_micro = max(0, int(reach * MICRO) + data.draw(st.sampled_from([-1, 0, 1, 9_999, 500_000])))
        longest = longest_affordable(costs, from_s, Fraction(budget_micro, MICRO))
        assert kernel.affordable_s(found.quote, from_s, budget_micro) == longest


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(
    scene=scenes(), calls=st.lists(st.tuples(st.integers(-10_000, 10_000), st.integers(0, LONGEST_S)), max_size=8)
)
def test_many_at_once_cost_what_each_costs(scene: Scene, calls: list[tuple[int, int]]) -> None:
    tariff = scene.tariff()
    keys = np.array([pack(scene.number)] * len(calls), np.uint64)
    at_ms = np.array([scene.at_ms + shift * 1000 for shift, _ in calls], np.int64)
    seconds = np.array([n for _, n in calls], np.int64)
    answers = [kernel.tariff(tariff).pricer.cost_many(keys, at_ms, seconds) for kernel in KERNELS]
    for one, other in zip(*answers, strict=True):
        assert one.tolist() == other.tolist()
    for i, (at, n) in enumerate(zip(at_ms.tolist(), seconds.tolist(), strict=True)):
        cost = tariff.cost(scene.number, at, n)
        amount, billed, row = (column[i] for column in answers[0])
        assert (amount, billed, row) == ((0, 0, -1) if cost is None else tuple(cost))


def test_the_oracle_prices_a_call_that_was_priced_by_hand() -> None:
    """30/6/3 at 0.45 a minute: 31 s are 36 s, 0.27."""
    rate = OracleRate("55", Fraction("0.45"), first_s=30, next_s=6, free_s=3)
    amounts, billed = prices([rate], lambda second: "", 61)
    assert [billed[n] for n in (3, 4, 30, 31, 36, 37, 43, 61)] == [0, 30, 30, 36, 36, 42, 48, 66]
    assert amounts[31] == Fraction("0.27")


@pytest.mark.parametrize("number", ["", "33x", "+33", "３３", "33;1", "33 1"])
def test_what_is_no_number_has_no_price(number: str) -> None:
    scene = Scene((OracleRate("33", Fraction(1)),), ZONES[0], 2, Rounding.UP, "33", JULY_MS)
    assert isinstance(COMPILED.tariff(scene.tariff()).quote(number, JULY_MS), NoRate)
