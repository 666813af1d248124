"""A number to its price: the look-up alone, a quote for numbers that come for the first time and again."""

from __future__ import annotations

import random
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from rater.ids import PlanId
from rater.money import Rounding
from rater.rating.compiled import CompiledDeck
from rater.rating.deck import import_deck
from rater.rating.normalise_countries import place_of
from rater.rating.tariff import Found, PlanTariff

AT_MS = 1_790_000_000_000
ZONE = ZoneInfo("Europe/Paris")


@pytest.fixture(scope="module")
def tariff(size: int, tmp_path_factory: pytest.TempPathFactory) -> PlanTariff:
    rng = random.Random(1)
    prefixes = {str(number) for number in range(1, 10)}
    prefixes |= {str(rng.randrange(10, 10 ** rng.randrange(2, 9))) for _ in range(size)}
    path = Path(tmp_path_factory.mktemp("deck"), "deck.csv")
    rows = (f"{prefix},Somewhere,fixed,0.{rng.randrange(1000, 9999)},1,1\n" for prefix in sorted(prefixes))
    path.write_text("prefix,destination,class,price,first,next\n" + "".join(rows))
    deck = import_deck(path, zone=ZONE, classes=("fixed",))
    assert isinstance(deck, CompiledDeck), deck
    return PlanTariff(PlanId("p"), "EUR", 4, Rounding.HALF_UP, ZONE, (), deck)


@pytest.fixture(scope="module")
def numbers() -> list[str]:
    rng = random.Random(2)
    return [str(rng.randrange(10**10, 10**11)) for _ in range(100)]


def test_lookup_of_100_numbers(benchmark: BenchmarkFixture, tariff: PlanTariff, numbers: list[str]) -> None:
    assert all(benchmark(lambda: [tariff.pricer.groups(number) for number in numbers]))


def test_cost_of_100_calls(benchmark: BenchmarkFixture, tariff: PlanTariff, numbers: list[str]) -> None:
    assert all(benchmark(lambda: [tariff.cost(number, AT_MS, 61) for number in numbers]))


def test_100_quotes_known(benchmark: BenchmarkFixture, tariff: PlanTariff, numbers: list[str]) -> None:
    found = benchmark(lambda: [tariff.quote(number, AT_MS) for number in numbers])
    assert all(isinstance(each, Found) for each in found)


def test_100_quotes_made_anew(benchmark: BenchmarkFixture, tariff: PlanTariff, numbers: list[str]) -> None:
    def anew() -> list[object]:
        tariff._made.clear()
        return [tariff.quote(number, AT_MS) for number in numbers]

    assert len(benchmark(anew)) == len(numbers)


def test_100_new_numbers_read(benchmark: BenchmarkFixture) -> None:
    rng = random.Random(3)
    new = [f"336{rng.randrange(10**8):08d}" for _ in range(100)]
    places = benchmark(lambda: [place_of(number) for number in new])
    assert {place.code for place in places} == {"33"}
