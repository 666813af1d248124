"""`rater price --explain`: why a price is what it is, as text and as JSON; who pays; what the carrier takes."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from .support import CONFIG, FILES, run, run_json, write

TARIFFS = str(Path(__file__).parents[1] / "rating" / "catalog")
BRAZIL, DEMO = str(CONFIG / "catalog-brazil"), str(CONFIG / "catalog")

CALLS = [
    (DEMO, "bureau", "0142345678", "2026-11-24T18:58:30", 200, ()),
    (BRAZIL, "franquia", "11998765432", "2026-12-01T12:00", 61, ("--area", "11", "--allowance", "movel_local=40")),
    (BRAZIL, "horario", "11998765432", "2026-12-01T20:59:00", 90, ("--area", "11", "--allowance", "full")),
    (BRAZIL, "horario", "0021442079460000", "2026-12-06T12:00", 61, ("--area", "11")),
    (TARIFFS, "steps", "+390612345678", "2026-05-04T12:00", 190, ()),
    (TARIFFS, "steps", "+390612345678", "2026-05-04T12:00", 4, ()),
    (TARIFFS, "steps", "+390612345678", "2026-05-04T12:00", 2, ()),
    (TARIFFS, "hours", "+33642345678", "2026-11-23T19:59:30", 120, ()),
    (TARIFFS, "second", "+33612345678", "2026-05-04T12:00", 7, ()),
    (TARIFFS, "dated", "+33142345678", "2027-08-01T12:00", 7, ()),
]


def words(call: tuple[str, str, str, str, int, tuple[str, ...]]) -> list[str]:
    catalog, plan, to, at, seconds, more = call
    return ["price", "--catalog", catalog, "--plan", plan, "--to", to, "--at", at, "--seconds", str(seconds),
            *more, "--explain"]  # fmt: skip


def facts(value: Any) -> Iterator[str]:
    """Every value that a person should find in the text."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from facts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from facts(inner)
    elif value is not None and value != "":
        yield str(value)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call[1]} {call[2]} {call[4]}s")
def test_the_text_has_every_fact_of_the_json(call: Any) -> None:
    _, answer = run_json(*words(call))
    code, text, _ = run(*words(call))
    assert code == 0
    for fact in facts(answer["explanation"]):
        assert fact in text, fact


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call[1]} {call[2]} {call[4]}s")
def test_the_parts_of_an_explanation_add_up(call: Any) -> None:
    _, answer = run_json(*words(call))
    e = answer["explanation"]
    shares = [e["connect"], e["minimum"], e["maximum"], *(segment["amount"] for segment in e["segments"])]
    assert sum(map(Decimal, shares)) == Decimal(e["amount"]) == Decimal(answer["amount"])
    assert sum(segment["seconds"] for segment in e["segments"]) == e["billed_seconds"] == answer["billed_seconds"]


def explained(*more: str, plan: str = "second", to: str = "+33612345678", at: str = "2026-05-04T12:00") -> Any:
    return run_json("price", "--catalog", TARIFFS, "--plan", plan, "--to", to, "--at", at, "--seconds", "60",
                    "--explain", *more)[1]  # fmt: skip


def test_candidates_passed_over_are_named_with_the_reason() -> None:
    over = {row["prefix"]: row["why"] for row in explained(at="2026-07-01T00:00")["explanation"]["passed_over"]}
    assert over == {
        "3361": "no longer in force: valid until 2026-06-30T22:00:00Z",
        "33": "shorter prefix than 336",
    }
    over = {row["prefix"]: row["why"] for row in explained(to="+33621345678")["explanation"]["passed_over"]}
    assert over["33621"] == "not yet in force: valid from 2026-06-30T22:00:00Z"
    rows = explained(plan="hours", to="+33142345678", at="2026-11-23T12:00")["explanation"]["passed_over"]
    assert {row["band"]: row["why"] for row in rows} == {"off": "other band: off", "holiday": "other band: holiday"}
    rows = explained(plan="steps", to="+441632960000")["explanation"]["passed_over"]
    assert [row["why"] for row in rows] == [
        "the call does not reach the tier that begins at 60 s",
        "the call does not reach the tier that begins at 600 s",
    ]


def test_a_denial_names_the_candidates_too(tmp_path: Path) -> None:
    deck = "prefix,destination,class,price,valid_until\n33,France,fixed,0.02,2026-01-01\n"
    folder = str(write(tmp_path, FILES | {"decks/retail.csv": deck}))
    asked = ("price", "--catalog", folder, "--plan", "basic", "--to", "+33142345678", "--seconds", "9", "--at",
             "2026-05-01", "--explain")  # fmt: skip
    code, answer = run_json(*asked)
    assert (code, answer["denied"]) == (1, "no_rate")
    (row,) = answer["passed_over"]
    assert (row["prefix"], row["why"]) == ("33", "no longer in force: valid until 2025-12-31T23:00:00Z")
    assert row["why"] in run(*asked)[1]


@pytest.mark.parametrize(
    ("given", "paid"),
    [
        (["full"], [("movel_local", 0, 61, 66, None)]),
        (["movel_local=66"], [("movel_local", 0, 61, 66, None)]),
        # 36 of the 40 seconds are whole increments; C(61) − C(36) = 0.50 − 0.27.
        (["movel_local=40"], [("movel_local", 0, 36, 36, None), (None, 36, 61, None, "0.23")]),
        (["movel_local=29"], [(None, 0, 61, None, "0.50")]),
        (["fixo_local=600"], [(None, 0, 61, None, "0.50")]),
    ],
)
def test_allowances_pay_first_and_money_the_rest(given: list[str], paid: list[tuple[object, ...]]) -> None:
    more = [word for name in given for word in ("--allowance", name)]
    code, answer = run_json(
        "price", "--catalog", BRAZIL, "--plan", "franquia", "--area", "11", "--to", "11998765432",
        "--seconds", "61", "--at", "2026-12-01T12:00", *more,
    )  # fmt: skip
    assert code == 0
    assert [(p["allowance"], p["from"], p["to"], p["seconds"], p["amount"]) for p in answer["paid_by"]] == paid


def in_reduced_hours(at: str, seconds: int, *more: str) -> Any:
    return run_json(
        "price", "--catalog", BRAZIL, "--plan", "horario", "--area", "11", "--to", "11998765432",
        "--seconds", str(seconds), "--at", at, "--allowance", "full", *more,
    )[1]  # fmt: skip


@pytest.mark.parametrize(
    ("at", "paid", "opened"),
    [
        ("2026-12-01T20:59:00", [(None, 0, 60), ("reduzido", 60, 90)], [[60, 90]]),
        ("2026-12-02T06:59:30", [("reduzido", 0, 30), (None, 30, 90)], [[0, 30]]),
        ("2026-12-01T12:00:00", [(None, 0, 90)], []),
        ("2026-12-06T12:00:00", [("reduzido", 0, 90)], [[0, 90]]),
        # Free seconds alone are no piece: they go with the first that is counted, the fourth.
        ("2026-12-01T20:59:59.500", [(None, 0, 4), ("reduzido", 4, 90)], [[1, 90]]),
    ],
)
def test_an_allowance_with_hours_pays_while_they_are_in_force(
    at: str, paid: list[tuple[object, ...]], opened: list[list[int]]
) -> None:
    answer = in_reduced_hours(at, 90)
    assert [(p["allowance"], p["from"], p["to"]) for p in answer["paid_by"]] == paid
    assert answer["hours"] == [{"allowance": "reduzido", "hours": ["reduzido"], "open": opened}]


def test_the_text_says_when_hours_are_open() -> None:
    def text(at: str) -> str:
        return run(
            "price", "--catalog", BRAZIL, "--plan", "horario", "--area", "11", "--to", "11998765432",
            "--seconds", "90", "--at", at, "--allowance", "full", "--explain",
        )[1]  # fmt: skip

    assert "the allowance reduzido has the hours reduzido: open 60–90 s" in text("2026-12-01T20:59:00")
    assert "the allowance reduzido has the hours reduzido: closed" in text("2026-12-01T12:00:00")


def test_long_distance_goes_on_in_the_local_allowance() -> None:
    _, answer = run_json(
        "price", "--catalog", BRAZIL, "--plan", "franquia", "--area", "11", "--to", "021998765432",
        "--seconds", "90", "--at", "2026-12-01T12:00",
        "--allowance", "movel_ld=30", "--allowance", "movel_local=600",
    )  # fmt: skip
    assert [(p["allowance"], p["from"], p["to"]) for p in answer["paid_by"]] == [
        ("movel_ld", 0, 30), ("movel_local", 30, 90),
    ]  # fmt: skip


@pytest.mark.parametrize("given", ["nope=1", "movel_local", "movel_local=x", "movel_local=-1", "movel_local=18001"])
def test_an_allowance_that_cannot_be_is_refused(given: str) -> None:
    code, out, err = run(
        "price", "--catalog", BRAZIL, "--plan", "franquia", "--area", "11", "--to", "190", "--seconds", "1",
        "--allowance", given,
    )  # fmt: skip
    assert (code, out) == (2, "")
    assert "--allowance" in err


def test_the_carriers_cost_and_the_margin_are_told() -> None:
    """Charged 4 minutes begun, 0.116 rounded; the carrier is owed 200 s at 0.0072 a minute."""
    _, answer = run_json(*words(CALLS[0]))
    assert (answer["amount"], answer["carrier_cost"], answer["margin"]) == ("0.12", "0.024", "0.096")
    _, without = run_json(*words(CALLS[1]))
    assert (without["carrier_cost"], without["margin"]) == (None, None)


def test_the_carriers_cost_follows_bands_and_tiers(tmp_path: Path) -> None:
    deck = (
        "prefix,destination,class,price,carrier_cost,tier_from,free_below\n"
        "33,France,fixed,0.60,0.30,,3\n33,France,fixed,0.60,0.06,60,\n"
    )
    folder = str(write(tmp_path, FILES | {"decks/retail.csv": deck}))
    asked = ("price", "--catalog", folder, "--plan", "basic", "--to", "+33142345678", "--seconds")
    assert run_json(*asked, "90")[1]["carrier_cost"] == "0.33"  # 60 × 0.30/60 + 30 × 0.06/60
    assert run_json(*asked, "2")[1]["margin"] == "-0.01"  # free for the caller, not for us
    assert run_json(*asked, "0")[1]["carrier_cost"] == "0.00"
