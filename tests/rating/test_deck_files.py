"""Decks from files: the two readers against each other, and what only a whole file can be wrong in."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rater.errors import Problem
from rater.rating import deck_columns, deck_rows
from rater.rating.bands import Band, Window
from rater.rating.compiled import CompiledDeck, text_table
from rater.rating.deck import import_deck
from rater.rating.deck_format import OPTIONAL, REQUIRED, Expected

ZONE = ZoneInfo("America/Sao_Paulo")
BANDS = (Band("peak", (Window(frozenset(range(5)), 8 * 3600, 20 * 3600),)), Band("off", (Window(),)))
EXPECTED = Expected(ZONE, frozenset({"fixed", "mobile"}), BANDS)
COMMA = Expected(ZONE, frozenset({"fixed", "mobile"}), BANDS, ",")

GOOD = {
    "prefix": ["1", "33", "331", "3312", "44", "#1", "*7", "999999999999999"],
    "destination": ["France", "Côte d’Ivoire", "a, b", 'say "no"', "x" * 200],
    "class": ["fixed", "mobile"],
    "price": ["0", "0.1", "0.10", "1", "0.333333333", "12.5"],
    "connect_fee": ["", "0", "0.05"],
    "per": ["", "60", "1", "7"],
    "first": ["", "1", "30", "60"],
    "next": ["", "1", "6"],
    "free_below": ["", "0", "3"],
    "min_charge": ["", "0.10"],
    "max_charge": ["", "5", "0.10"],
    "on_max": ["", "free", "cut"],
    "tier_from": ["", "0", "60"],
    "band": ["", "", "peak", "off"],
    "valid_from": ["", "", "2026-01-01", "2026-07-01T12:00"],
    "valid_until": ["", "", "2026-07-01T12:00", "2027-01-01T00:00Z"],
    "carrier_cost": ["", "0.05", "0.050"],
}
ODD = {
    "prefix": ["", "33x", "1234567890123456", " 33", "３３", "+33"],
    "destination": ["", " France", "x" * 201, "\x00"],
    "class": ["", "other", "fixed "],
    "price": [
        "",
        "-1",
        "1e3",
        "0,1",
        ".5",
        "5.",
        "nan",
        "99999999999",
        "0.1234567891",
        "0.1000000000000",
        "9" * 60,
    ],
    "connect_fee": ["x", "0.0000001", "10000001", "00000000000000000000000000000001"],
    "per": ["0", "86401", "1.5", "٣"],
    "first": ["0", "3601", " 1"],
    "next": ["-1", "+1"],
    "free_below": ["3601"],
    "min_charge": ["9"],
    "max_charge": ["-0"],
    "on_max": ["stop", "FREE"],
    "tier_from": ["86400"],
    "band": ["night"],
    "valid_from": ["yesterday", "2026-13-01", "0001-01-01", "2028-01-01"],
    "valid_until": ["2025-01-01", "9999-12-31"],
    "carrier_cost": ["x"],
}


def by_columns(data: bytes, expected: Expected) -> CompiledDeck | None:
    return deck_columns.read(pa.BufferReader(data), expected)


def quoted(text: str, delimiter: str) -> str:
    special = any(sign in text for sign in (delimiter, '"'))
    return '"' + text.replace('"', '""') + '"' if special else text


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, Expected]:
    """A deck that may be good, odd or wrong, in any order of columns and any writing."""
    optional = draw(st.lists(st.sampled_from(OPTIONAL), unique=True, max_size=6))
    names = draw(st.permutations([*REQUIRED, *optional]))
    expected = draw(st.sampled_from([EXPECTED, COMMA]))
    delimiter = ";" if expected is COMMA else draw(st.sampled_from([",", ";"]))
    oddly = draw(st.integers(0, 3)) == 0
    lines = [delimiter.join(names)]
    for _ in range(draw(st.integers(0 if oddly else 1, 6))):
        cells = []
        for name in names:
            odd = oddly and draw(st.integers(0, 6)) == 0
            cell = draw(st.sampled_from(ODD[name] if odd else GOOD[name]))
            if (expected is COMMA and not odd and name in ("price", "carrier_cost")) or name.endswith("_fee"):
                cell = cell.replace(".", expected.decimal_sign)
            cells.append(quoted(cell, delimiter))
        lines.append(delimiter.join(cells))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    bom = draw(st.sampled_from(["", "\ufeff"]))
    return (bom + end.join(lines) + draw(st.sampled_from(["", end]))).encode(), expected


def same(one: CompiledDeck, other: CompiledDeck) -> bool:
    return one.to_bytes() == other.to_bytes()


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files())
def test_both_readers_make_the_same_deck_of_a_file(file: tuple[bytes, Expected]) -> None:
    data, expected = file
    fast, slow = by_columns(data, expected), deck_rows.read(data, "deck.csv", expected)
    if fast is None:
        return
    assert isinstance(slow, CompiledDeck), slow
    assert same(fast, slow)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_give_a_deck_or_problems(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("d") / "deck.csv"
    for head in (b"", b"prefix,destination,class,price\n", b"price;class;prefix;destination\n33"):
        path.write_bytes(head + data)
        result = import_deck(path, zone=ZONE, classes=("fixed",))
        if not isinstance(result, CompiledDeck):
            assert result
            assert all(isinstance(problem, Problem) and problem.expected for problem in result)


@pytest.mark.parametrize(
    "text",
    [
        "prefix,destination,class,price\n33,France,fixed,0.1\n",
        "\ufeffclass;price;prefix;destination\r\nfixed;0.1;33;France\r\n",
        'prefix,destination,class,price\n44,"a, b",fixed,0.1\n33,"say ""no""",mobile,0.10\n',
        "PREFIX, Destination ,class,price\n33,France,fixed,0.1\n",
        "prefix,destination,class,price,band\n33,F,fixed,0.1,peak\n33,F,fixed,0.1,off\n1,U,fixed,0.2,\n",
    ],
)
def test_plain_files_are_read_by_columns(text: str) -> None:
    fast, slow = by_columns(text.encode(), EXPECTED), deck_rows.read(text.encode(), "d", EXPECTED)
    assert isinstance(fast, CompiledDeck)
    assert isinstance(slow, CompiledDeck)
    assert same(fast, slow)


def test_a_decimal_comma_is_read_by_columns_too() -> None:
    deck = by_columns(b"prefix;destination;class;price;connect_fee\n55;Brasil;fixed;0,60;0,05\n", COMMA)
    assert isinstance(deck, CompiledDeck)
    assert deck.terms[["price_num", "price_den", "connect_micro"]].tolist() == [(10_000, 1, 50_000)]


def problems(rows: str, header: str) -> list[tuple[int, int, str]]:
    data = f"{header}\n{rows}".encode()
    assert by_columns(data, EXPECTED) is None
    found = deck_rows.read(data, "d.csv", EXPECTED)
    assert isinstance(found, tuple)
    return [(p.line, p.column, p.message) for p in found]


TIMED = "prefix,destination,class,price,band,tier_from,valid_from,valid_until,per"


@pytest.mark.parametrize(
    ("rows", "line", "column", "named"),
    [
        # The off-peak rate ends in July, the peak rate does not: from then on nights have no price.
        (
            "33,F,fixed,1,peak,,,,\n33,F,fixed,1,off,,,2026-07-01,\n",
            2,
            5,
            "no rate for: off from 2026-07-01T03:00:00Z",
        ),
        # A tier of a band that prices nothing before it.
        ("33,F,fixed,1,,,,,\n33,F,fixed,1,peak,60,,,\n", 2, 6, "a tier of band peak but no rate from 0 on"),
        ("33,F,fixed,1,,60,,,\n", 2, 6, "a tier but no rate from 0 on"),
        ("33,F,fixed,1,,,2026-01-01,2026-03-01,\n33,F,fixed,1,,,2026-02-01,,\n", 3, 1, "overlaps line 2"),
        ("33,F,fixed,1,,,,,86399\n33,F,fixed,1,,60,,,86381\n", 2, 4, "no common multiple"),
    ],
)
def test_rows_of_a_prefix_must_fit_together(rows: str, line: int, column: int, named: str) -> None:
    (fault,) = problems(rows, TIMED)
    assert fault[:2] == (line, column)
    assert named in fault[2]


def test_rates_that_follow_one_another_fit() -> None:
    rows = "33,F,fixed,1,,,,2026-07-01,\n33,F,fixed,2,,,2026-07-01,,\n34,F,fixed,2,,,2026-07-01,2026-08-01,\n"
    deck = by_columns(f"{TIMED}\n{rows}".encode(), EXPECTED)
    assert deck is not None
    july = int(dt.datetime(2026, 7, 1, tzinfo=ZONE).timestamp() * 1000)
    assert deck.terms["valid_from_ms"].tolist()[1:] == [july, july]


def test_a_price_beyond_the_exact_range_is_refused_with_its_place() -> None:
    assert problems("33,F,fixed,99001,1\n", "prefix,destination,class,price,per") == [
        (2, 4, "price: '99001' per 1 s is out of the exact range")
    ]
    assert by_columns(b"prefix,destination,class,price,per\n33,F,fixed,98999,1\n", EXPECTED) is not None


def test_every_fault_of_a_file_is_found_in_one_run() -> None:
    rows = "33,F,fixed,x\n,F,fixed,1\n44,,nope,1\n55,F,fixed\n"
    assert [(line, column) for line, column, _ in problems(rows, "prefix,destination,class,price")] == [
        (2, 4), (3, 1), (4, 2), (4, 3), (5, 1),
    ]  # fmt: skip


def test_a_file_full_of_faults_tells_the_first_thousand() -> None:
    found = problems("33,F,nope,1\n" * 5000, "prefix,destination,class,price")
    assert len(found) == 1001
    assert found[999][0] == found[1000][0] == 1001
    assert "more faults" in found[1000][2]


def test_a_deck_of_many_rows_keeps_each_row(tmp_path: Path) -> None:
    path = tmp_path / "deck.csv"
    with path.open("w") as file:
        file.write("prefix,destination,class,price\n")
        file.writelines(
            f"{number},To {number % 97},fixed,{number % 1000 / 1000}\n" for number in range(100_000, 160_000)
        )
    deck = import_deck(path, zone=ZONE, classes=("fixed",))
    assert isinstance(deck, CompiledDeck)
    assert (len(deck), len(deck.keys), len(deck.terms)) == (60_000, 60_000, 1000)
    for row in (0, 1, 31_234, 59_999):
        number = 100_000 + row
        terms = deck.terms[deck.row_terms[row]]
        assert deck.prefix(row) == str(number)
        assert deck.destination(row) == f"To {number % 97}"
        assert terms["price_num"] * 60 * 1000 == number % 1000 * 1_000_000 * terms["price_den"]


def test_texts_become_a_table() -> None:
    start, text = text_table(["é", "", "ab"])
    assert start.tolist() == [0, 2, 2, 4]
    assert text.tobytes() == "éab".encode()
    assert np.asarray(start).dtype == np.int32
