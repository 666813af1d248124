"""`rater price` and `rater catalog check` as their users run them: keys, exit codes, every vector of the pack."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from rater.rating.normalise_brazil import AREAS

from .support import CONFIG, FILES, run, run_json, write

BRAZIL, DEMO = str(CONFIG / "catalog-brazil"), str(CONFIG / "catalog")
AT = "2026-12-01T12:00"


def price(*words: str, plan: str = "basico", area: str = "11") -> tuple[int, dict[str, Any]]:
    return run_json("price", "--catalog", BRAZIL, "--plan", plan, "--area", area, "--at", AT, *words)


def test_the_example_of_the_pack() -> None:
    code, answer = run_json(
        "price", "--catalog", BRAZIL, "--plan", "basico", "--area", "11", "--to", "11998765432", "--seconds", "31"
    )
    assert code == 0
    assert (answer["billed_seconds"], answer["class"]) == (36, "mobile_local")
    assert answer["amount"] == "0.27"


@pytest.mark.parametrize(
    ("seconds", "billed"), [(0, 0), (3, 0), (4, 30), (30, 30), (31, 36), (36, 36), (37, 42), (43, 48), (61, 66)]
)
def test_cadence_30_6_3(seconds: int, billed: int) -> None:
    _, answer = price("--to", "11998765432", "--seconds", str(seconds))
    assert answer["billed_seconds"] == billed
    exact = Decimal("0.45") * billed / 60
    assert Decimal(str(answer["amount"])) == exact.quantize(Decimal("0.01"), "ROUND_HALF_UP")


@pytest.mark.parametrize(
    ("to", "klass"),
    [
        ("33334444", "fixed_local"),
        ("2133334444", "fixed_ld"),
        ("998765432", "mobile_local"),
        ("021 21 998765432".replace(" ", ""), "mobile_ld"),
        ("0021442079460000", "intl_fixed"),
        ("0021447911123456", "intl_mobile"),
        ("08001234567", "toll_free"),
        ("03001234567", "shared_cost"),
        ("156", "public_service"),
        ("190", "emergency"),
        ("40041234", "fixed_local"),
        ("+5511998765432", "mobile_local"),
    ],
)
def test_classes_of_the_pack(to: str, klass: str) -> None:
    code, answer = price("--to", to, "--seconds", "60")
    assert (code, answer["class"]) == (0, klass)


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("9011998765432", "collect_call"),
        ("09001234567", "blocked_destination"),
        ("+8816123456789", "blocked_destination"),
        ("11 998765432", "malformed_number"),
        ("", "malformed_number"),
        ("2033334444", "unknown_number"),
        ("+999123456", "unknown_number"),
    ],
)
def test_denial_says_why_and_ends_with_1(to: str, reason: str) -> None:
    code, answer = price("--to", to, "--seconds", "60")
    assert (code, answer["denied"]) == (1, reason)
    assert answer["detail"]
    code, out, _ = run("price", "--catalog", BRAZIL, "--plan", "basico", "--to", to, "--seconds", "60")
    assert code == 1
    assert out.startswith(f"denied: {reason}: ")


def test_every_area_code_is_local_to_itself_and_distant_to_others() -> None:
    for area in sorted(AREAS)[::6]:
        other = "11" if area != "11" else "21"
        assert price("--to", f"0{area}33334444", "--seconds", "9", area=area)[1]["class"] == "fixed_local"
        assert price("--to", f"0{area}33334444", "--seconds", "9", area=other)[1]["class"] == "fixed_ld"


def test_json_has_the_promised_keys_and_adds_up() -> None:
    _, answer = run_json(
        "price", "--catalog", DEMO, "--plan", "bureau", "--to", "0142345678", "--seconds", "200", "--explain",
        "--at", "2026-11-24T18:58:30",
    )  # fmt: skip
    promised = {"amount", "currency", "billed_seconds", "prefix", "destination", "class", "segments", "number",
                "steps", "catalog_version", "plan"}  # fmt: skip
    assert promised <= answer.keys()
    segments = answer["segments"]
    assert {"from", "seconds", "price", "band", "amount"} <= segments[0].keys()
    assert [(s["from"], s["seconds"], s["band"]) for s in segments] == [(0, 120, "peak"), (120, 120, "off_peak")]
    total = sum(Decimal(s["amount"]) for s in segments) + Decimal(answer["connect"])
    assert total == Decimal(answer["amount"])
    assert answer["explanation"]["amount"] == answer["amount"]
    assert answer["explanation"]["passed_over"] == []


def test_explanation_is_readable() -> None:
    code, out, _ = run(
        "price", "--catalog", BRAZIL, "--plan", "basico", "--area", "11", "--to", "11998765432", "--seconds", "31",
        "--explain",
    )  # fmt: skip
    assert code == 0
    for part in ("brazil.local", "#03", "billed 36 s", "0.27 BRL"):
        assert part in out


def test_time_without_a_zone_is_in_the_plans_zone() -> None:
    local = price("--to", "33334444", "--seconds", "9", "--at", "2026-12-01T06:59", plan="horario")[1]
    utc = price("--to", "33334444", "--seconds", "9", "--at", "2026-12-01T10:00Z", plan="horario")[1]
    assert local["at"] == "2026-12-01T06:59:00-03:00"
    assert utc["at"] == "2026-12-01T07:00:00-03:00"
    assert local["segments"][0]["band"] == "reduzido"
    assert utc["segments"][0]["band"] == "normal"


@pytest.mark.parametrize(
    ("at", "band"),
    [
        ("2026-12-01T07:00", "normal"),
        ("2026-12-01T20:59", "normal"),
        ("2026-12-01T21:00", "reduzido"),
        ("2026-12-05T12:00", "normal"),
        ("2026-12-06T12:00", "reduzido"),
        ("2026-12-25T12:00", "reduzido"),
    ],
)
def test_normal_and_reduced_hours(at: str, band: str) -> None:
    _, answer = price("--to", "33334444", "--seconds", "4", "--at", at, plan="horario")
    assert answer["segments"][0]["band"] == band


def test_dated_local_area_is_explained() -> None:
    _, before = price("--to", "33334444", "--seconds", "9", "--at", "2026-06-20T23:59")
    _, after = price("--to", "33334444", "--seconds", "9", "--at", "2026-06-21T00:00")
    assert any("no municipality table" in step for step in before["steps"])
    assert not any("no municipality table" in step for step in after["steps"])


def test_line_gives_plan_and_area() -> None:
    code, answer = run_json("price", "--catalog", BRAZIL, "--line", "2101", "--to", "33334444", "--seconds", "30")
    assert code == 0
    assert (answer["plan"], answer["number"], answer["class"]) == ("horario", "552133334444", "fixed_local")
    _, other = run_json(
        "price", "--catalog", BRAZIL, "--line", "2101", "--area", "11", "--to", "33334444", "--seconds", "30"
    )
    assert other["number"] == "551133334444"


@pytest.mark.parametrize(
    "words",
    [
        ["--to", "1"],
        ["--seconds", "5"],
        ["--to", "112", "--seconds", "-1"],
        ["--to", "112", "--seconds", "x"],
        ["--to", "112", "--seconds", "86401"],
        ["--to", "112", "--seconds", "5", "--plan", "nope"],
        ["--to", "112", "--seconds", "5", "--line", "nope"],
        ["--to", "112", "--seconds", "5", "--area", "10"],
        ["--to", "112", "--seconds", "5", "--at", "yesterday"],
        ["--to", "112", "--seconds", "5", "--at", "1969-01-01"],
        ["--to", "112", "--seconds", "5", "--at", "9999-12-31"],
        ["--to", "112", "--seconds", "5", "--catalog", "/nowhere"],
    ],
)
def test_bad_arguments_end_with_2_and_a_message(words: list[str]) -> None:
    code, out, err = run("price", "--catalog", BRAZIL, "--plan", "basico", *words)
    assert (code, out) == (2, "")
    assert err.strip()
    assert "Traceback" not in err


def test_plan_or_line_is_needed() -> None:
    code, _, err = run("price", "--catalog", BRAZIL, "--to", "112", "--seconds", "5")
    assert code == 2
    assert "--plan" in err


def test_call_that_its_maximum_cuts_is_refused_beyond(tmp_path: Path) -> None:
    deck = "prefix,destination,class,price,max_charge,on_max\n33,France,fixed,0.60,0.10,cut\n"
    folder = str(write(tmp_path, FILES | {"decks/retail.csv": deck}))
    words = ("price", "--catalog", folder, "--plan", "basic", "--to", "+33142345678", "--seconds")
    assert run_json(*words, "10")[1]["amount"] == "0.10"
    code, _, err = run(*words, "11")
    assert code == 2
    assert "10 s" in err


def test_default_moment_is_now_in_the_plans_zone() -> None:
    _, answer = run_json("price", "--catalog", BRAZIL, "--plan", "basico", "--to", "190", "--seconds", "5")
    told = dt.datetime.fromisoformat(str(answer["at"]))
    assert abs(told - dt.datetime.now(ZoneInfo("America/Sao_Paulo"))) < dt.timedelta(minutes=5)


def test_check_counts_what_it_read(tmp_path: Path) -> None:
    code, answer = run_json("catalog", "check", str(write(tmp_path, FILES)))
    assert code == 0
    del answer["folder"]
    assert answer == {"ok": True, "plans": 2, "rates": 7, "accounts": 4, "lines": 4, "trunks": 1, "switches": 1}


def test_check_lists_every_problem_and_ends_with_2(tmp_path: Path) -> None:
    folder = str(write(tmp_path, FILES | {"accounts.toml": FILES["accounts.toml"].replace('"12.50"', "12.50")}))
    code, answer = run_json("catalog", "check", folder)
    assert (code, answer["ok"]) == (2, False)
    problem = answer["problems"][0]
    assert (problem["file"], problem["line"], problem["column"]) == ("accounts.toml", 4, 11)
    code, out, err = run("catalog", "check", folder)
    assert (code, out) == (2, "")
    assert "accounts.toml:4:11: 12.50 is a floating-point number" in err
    assert 'expected "12.50", in quotes' in err
