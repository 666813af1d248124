"""docs/faults.md has every row, and every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.M)
}


def test_every_row_is_there_once() -> None:
    assert [int(row) for row in re.findall(r"^\| (\d+) \|", PAGE, re.M)] == list(range(1, 46))


def test_every_row_names_a_test_that_has_its_number() -> None:
    rows = {int(n): row for n, row in re.findall(r"^\| (\d+) \|(.*)$", PAGE, re.M)}
    assert [n for n, row in rows.items() if f"`test_{n}_" not in row] == []


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 60
    assert named - TESTS == set()


def test_every_test_of_a_row_is_named() -> None:
    own = {name for path in Path(__file__).parent.glob("test_*.py")
           for name in re.findall(r"^def (test_\d+_\w+)", path.read_text(encoding="utf-8"), re.M)}  # fmt: skip
    assert own - set(re.findall(r"`(test_\w+)`", PAGE)) <= {
        "test_44_the_largest_amount_is_exact_as_a_double", "test_44_the_largest_opening_is_taken",
    }  # fmt: skip
