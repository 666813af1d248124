"""Row 44 of docs/faults.md: amounts that a double would round are refused where they enter."""

from __future__ import annotations

from pathlib import Path

import pytest

from rater.catalog.files import read_catalog
from rater.errors import RaterError
from rater.money import MAX_AMOUNT_MICRO, format_amount, parse_amount
from tests.faults.support import CATALOG, Site, play


def _catalog(folder: Path, *, opening: str = "1", price: str = "0.01") -> Path:
    for name, text in CATALOG.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace('"100000"', f'"{opening}"').replace("fixed,0.01,1", f"fixed,{price},1"))
    return folder


def test_44_the_largest_amount_is_exact_as_a_double() -> None:
    for amount_micro in (MAX_AMOUNT_MICRO, MAX_AMOUNT_MICRO - 1):
        assert int(float(amount_micro)) == amount_micro
    assert MAX_AMOUNT_MICRO + MAX_AMOUNT_MICRO // 10**6 < 2**53
    assert parse_amount(format_amount(MAX_AMOUNT_MICRO)) == MAX_AMOUNT_MICRO


@pytest.mark.parametrize("opening", ["9000000000.000001", "9007199254.740993", "1" + "0" * 30, "-9000000000.01"])
def test_44_an_opening_beyond_it_is_refused_at_its_place(tmp_path: Path, opening: str) -> None:
    with pytest.raises(RaterError) as refused:
        read_catalog(_catalog(tmp_path, opening=opening))
    assert "accounts.toml" in str(refused.value)


def test_44_the_largest_opening_is_taken(tmp_path: Path) -> None:
    read_catalog(_catalog(tmp_path, opening="9000000000"))


@pytest.mark.parametrize("price", ["9007199254.74", "1" + "0" * 30])
def test_44_a_price_beyond_it_is_refused_at_its_cell(tmp_path: Path, price: str) -> None:
    with pytest.raises(RaterError) as refused:
        read_catalog(_catalog(tmp_path, price=price))
    assert "retail.csv" in str(refused.value)


def test_44_a_credit_that_would_lift_a_balance_beyond_it_changes_nothing(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        before = await here.account()
        for amount in ("9000000000", "9000000000.000001"):
            ended = await here.command("account", "credit", "RICH", amount)
            assert ended.returncode in (1, 2), ended.stdout
            assert "Traceback" not in ended.stderr
        assert await here.account() == before

    play(tmp_path, case)


def test_44_credits_up_to_the_edge_are_exact_to_the_micro(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        ended = await here.command("account", "credit", "RICH", "8999899999.999999", "--op-id", "edge")
        assert ended.returncode == 0, ended.stderr
        assert (await here.account()).balance_micro == MAX_AMOUNT_MICRO - 1

    play(tmp_path, case)
