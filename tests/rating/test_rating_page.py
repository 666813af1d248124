"""docs/rating.md says what the product does: its columns, its example, its keys."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rater.cli import app
from rater.rating.deck_format import OPTIONAL, REQUIRED

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "rating.md").read_text(encoding="utf-8")


def table_keys(heading: str) -> set[str]:
    section = PAGE.split(f"## {heading}", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| (`[^|]+?) \|", section, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([a-z_]+)`", cell)}


def test_every_column_of_a_deck_is_documented() -> None:
    assert table_keys("Decks: the columns") == {*REQUIRED, *OPTIONAL}


def test_the_example_prints_what_stands_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (block,) = re.findall(r"```console\n\$ rater (.+?)\n(.+?)\n```", PAGE, re.DOTALL)
    result = CliRunner().invoke(app, shlex.split(block[0]), env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert result.output.rstrip() == block[1]


def test_every_key_of_an_explanation_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = "price --catalog config/catalog --plan bureau --to 0142345678 --seconds 200 --explain --json"
    result = CliRunner().invoke(app, shlex.split(words))
    assert set(json.loads(result.output)["explanation"]) == table_keys("Explanations")
