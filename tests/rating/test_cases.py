"""The table of cases, `cases.csv`, over both kernels: what a tariff manager would check by hand.

Tariffs are those of ``catalog/`` beside this file and of the Brazil pack. `working` is the amount before rounding,
as arithmetic on the tariff's own figures; the table itself is checked with it, without any code of the product.
`split`: the billed seconds of each segment with its band (``-`` where a rate for any hour was used).
"""

from __future__ import annotations

import ast
import csv
import datetime as dt
from collections.abc import Iterator
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Context, Decimal
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rater.catalog.files import read_catalog
from rater.catalog.model import Refused
from rater.catalog.pricing import Priced, PricedPlan
from rater.events.breakdown import break_down
from rater.money import Rounding, billed_s, cumulative_micro, parse_amount
from rater.rating.explain import price

from .kernels import KERNELS, Kernel, each_kernel

HERE = Path(__file__).parent
CATALOGS = (HERE / "catalog", HERE.parents[1] / "config" / "catalog-brazil")
Case = dict[str, str]


def table() -> list[Case]:
    with (HERE / "cases.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


CASES = table()
PRICED = [case for case in CASES if ":" not in case["amount"]]
DENIED = [case for case in CASES if case["amount"].startswith("denied:")]
CUT = [case for case in CASES if case["amount"].startswith("cut:")]


def named(case: Case) -> str:
    return f"{case['tariff']} {case['number']} {case['start']} {case['seconds']}s: {case['shows']}"


@cache
def plans() -> dict[str, PricedPlan]:
    return {str(name): plan for folder in CATALOGS for name, plan in read_catalog(folder).plans.items()}


@cache
def plan_of(tariff: str, kernel: Kernel) -> PricedPlan:
    return kernel.plan(plans()[tariff])


def answer(case: Case, kernel: Kernel) -> tuple[PricedPlan, int, Priced | Refused]:
    plan = plan_of(case["tariff"], kernel)
    start = dt.datetime.fromisoformat(case["start"])
    at_ms = int((start if start.tzinfo else start.replace(tzinfo=plan.zone)).timestamp() * 1000)
    return plan.at(at_ms), at_ms, plan.price(case["number"], area=case["area"], at_ms=at_ms)


def split(text: str) -> list[tuple[int, str]]:
    parts = (part.split() for part in text.split("+") if part.strip())
    return [(int(seconds), band[0] if band and band[0] != "-" else "") for seconds, *band in parts]


def worked(text: str) -> Fraction:
    """The value of sums, products and quotients of decimal numbers, exactly."""

    def value(node: ast.AST) -> Fraction:
        if isinstance(node, ast.BinOp):
            left, right = value(node.left), value(node.right)
            if isinstance(node.op, ast.Add):
                return left + right
            return left * right if isinstance(node.op, ast.Mult) else left / right
        literal = ast.get_source_segment(text, node)
        assert literal is not None
        return Fraction(literal)

    return value(ast.parse(text, mode="eval").body)


ROUNDINGS = {
    Rounding.UP: ROUND_UP, Rounding.DOWN: ROUND_DOWN,
    Rounding.HALF_UP: ROUND_HALF_UP, Rounding.HALF_EVEN: ROUND_HALF_EVEN,
}  # fmt: skip


def test_the_table_is_large_and_each_case_stands_once() -> None:
    assert len(CASES) >= 100
    assert len({named(case) for case in CASES}) == len(CASES)
    assert {case["tariff"] for case in CASES} >= set(read_catalog(HERE / "catalog").plans)


@pytest.mark.parametrize("case", PRICED, ids=named)
def test_the_table_agrees_with_itself(case: Case) -> None:
    plan = plan_of(case["tariff"], KERNELS[0])
    start = dt.datetime.fromisoformat(case["start"]).replace(tzinfo=plan.zone)
    version = plan.at(int(start.timestamp() * 1000)).plan
    exact = worked(case["working"])
    # Two hundred digits hold any of these fractions closely enough to decide every rounding but a tie, and a tie
    # is a finite decimal.
    with_digits = Decimal(exact.numerator * 10**200 // exact.denominator).scaleb(-200)
    if Fraction(with_digits) != exact:
        with_digits += Decimal(1).scaleb(-200)
    rounded = with_digits.quantize(Decimal(1).scaleb(-version.decimals), ROUNDINGS[version.rounding], Context(400))
    assert Decimal(case["amount"]) == rounded
    assert sum(seconds for seconds, _ in split(case["split"])) in (int(case["billed"]), 0)


def over_an_edge(case: Case) -> bool:
    """Whether a day ends or a clock changes in the call, in its tariff's zone; also where a clock has just changed,
    and what it shows comes twice."""
    zone = plan_of(case["tariff"], KERNELS[0]).zone
    start = dt.datetime.fromisoformat(case["start"])
    start = (start if start.tzinfo else start.replace(tzinfo=zone)).astimezone(dt.UTC)
    moments = (start, start + dt.timedelta(seconds=int(case["seconds"])), start - dt.timedelta(hours=1))
    begin, end, before = (moment.astimezone(zone) for moment in moments)
    return (
        begin.date() != end.date() or begin.utcoffset() != end.utcoffset() or before.utcoffset() != end.utcoffset()
    )


OVER_AN_EDGE = [case for case in PRICED if over_an_edge(case)]


@each_kernel
@pytest.mark.parametrize("case", OVER_AN_EDGE, ids=named)
def test_36_a_call_over_midnight_or_a_changed_clock_is_split_in_the_tariffs_zone(
    case: Case, kernel: Kernel
) -> None:
    check(case, kernel)


def test_36_both_folds_of_the_hour_that_comes_twice_are_in_the_table() -> None:
    assert len(OVER_AN_EDGE) >= 10
    offsets = {case["start"][19:] for case in OVER_AN_EDGE if case["start"].startswith("2026-10-25T02")}
    assert offsets >= {"+02:00", "+01:00"}


@each_kernel
@pytest.mark.parametrize("case", [case for case in PRICED if case not in OVER_AN_EDGE], ids=named)
def test_case(case: Case, kernel: Kernel) -> None:
    check(case, kernel)


def check(case: Case, kernel: Kernel) -> None:
    version, at_ms, priced = answer(case, kernel)
    assert isinstance(priced, Priced), priced
    found, quote, seconds = priced.found, priced.quote, int(case["seconds"])
    amount_micro, billed = parse_amount(case["amount"]), int(case["billed"])
    assert quote.destination_class == case["class"]
    assert (found.prefix if found is not None else "") == case["prefix"]
    assert kernel.cumulative_micro(quote, seconds) == amount_micro
    assert kernel.billed_s(quote, seconds) == billed
    assert (cumulative_micro(quote, seconds), billed_s(quote, seconds)) == (amount_micro, billed)
    assert quote.currency == version.plan.currency
    assert list(_segments(quote, seconds)) == split(case["split"])
    if found is not None:
        number = found.prefix if found.prefix.startswith("#") else priced.read.number
        cost = version.tariff.cost(number, at_ms, seconds)
        assert cost is not None
        assert (cost.amount_micro, cost.billed_s, cost.row) == (amount_micro, billed, found.row)


def _segments(quote: Any, seconds: int) -> Iterator[tuple[int, str]]:
    for line in break_down(quote, 0, seconds):
        if line.segment is not None:
            yield line.billed_s, line.segment.band


@pytest.mark.parametrize("case", PRICED, ids=named)
def test_event_and_explanation_and_slices_say_the_same(case: Case) -> None:
    """Quote = sum of slices = the event's lines = the explanation, to the micro."""
    _, _, priced = answer(case, KERNELS[0])
    assert isinstance(priced, Priced)
    quote, seconds, amount_micro = priced.quote, int(case["seconds"]), parse_amount(case["amount"])
    explained = price(quote, seconds)
    assert (explained.amount_micro, explained.billed_s) == (amount_micro, int(case["billed"]))
    assert sum(line.amount_micro for line in break_down(quote, 0, seconds)) == amount_micro
    points = sorted({0, 1, seconds // 3, seconds // 2, max(0, seconds - 1), seconds} & set(range(seconds + 1)))
    lines = [line for a, b in pairwise(points) for line in break_down(quote, a, b)]
    assert sum(line.amount_micro for line in lines) == amount_micro
    assert sum(line.billed_s for line in lines) == int(case["billed"])


@each_kernel
@pytest.mark.parametrize("case", DENIED, ids=named)
def test_denied_case(case: Case, kernel: Kernel) -> None:
    _, _, refused = answer(case, kernel)
    assert isinstance(refused, Refused), refused
    assert f"denied:{refused.reason.code}" == case["amount"]
    assert refused.detail


@each_kernel
@pytest.mark.parametrize("case", CUT, ids=named)
def test_case_that_the_maximum_cuts(case: Case, kernel: Kernel) -> None:
    _, _, priced = answer(case, kernel)
    assert isinstance(priced, Priced), priced
    assert f"cut:{priced.quote.horizon_s}" == case["amount"]
    assert priced.found is not None
    assert (priced.found.prefix, priced.quote.destination_class) == (case["prefix"], case["class"])
