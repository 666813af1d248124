"""`rater rerate` as a user runs it: the report, its sums, its exit codes, and that it changes nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from rater.events.rated import RatedEvent
from rater.rerate.tally import Sums, Tally
from tests.catalog.support import CONFIG, run, run_json, write
from tests.rerate.support import T0, event, write_jsonl, write_parquet

PERIOD = ("--from", "2026-09-01", "--to", "2026-10-01")
TABLES = ("events", "by_account", "by_class", "by_prefix", "adjustments")


@pytest.fixture
def dearer(tmp_path: Path) -> Path:
    """The French catalogue with mobiles at twice the price, and without rates for Italy."""
    folder = tmp_path / "dearer"
    for path in sorted((CONFIG / "catalog").rglob("*.*")):
        write(folder, {str(path.relative_to(CONFIG / "catalog")): path.read_bytes()})
    deck = folder / "decks/retail.csv"
    lines = [line.replace(",mobile,0.045,", ",mobile,0.09,") for line in deck.read_text().splitlines()]
    deck.write_text("".join(f"{line}\n" for line in lines if not line.startswith("39")))
    return folder


def history() -> list[RatedEvent]:
    dialled = [
        "0612345678",
        "0145678901",
        "+390612345678",
        "0033698765432",
        "112",
        "+442079460000",
        "+4915112345678",
    ]
    return [
        event(
            plan=("seconde", "bureau", "forfait")[i % 3], dialled=dialled[i % 7], seconds=1 + 37 * i % 400,
            at_ms=T0 + i * 600_000, leg=f"pbx1.b.{i}", account=f"acc{i % 5}", line="1001" if i % 2 else "",
            allowances=[(0, i % 7)] if i % 3 == 2 else [],
        )
        for i in range(90)
    ]  # fmt: skip


ITALIAN = sum(one.number.startswith("39") and one.plan != "bureau" for one in history())


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def total(table: Iterable[dict[str, str]], column: str) -> Decimal:
    return sum((Decimal(row[column]) for row in table if row[column]), Decimal(0))


def test_the_report_ties_out_in_every_view(tmp_path: Path, dearer: Path) -> None:
    made = history()
    path, out = write_jsonl(tmp_path / "e.jsonl", made), tmp_path / "report"
    code, summary = run_json("rerate", *PERIOD, "--catalog", str(dearer), "--events", str(path), "--out", str(out))
    assert code == 1, "legs to Italy have no price"
    assert summary["faults"] == []
    assert summary["events"] == len(made)
    assert summary["outcomes"]["no_rate"] == summary["unpriced"] == ITALIAN > 3
    own = Decimal(sum(one.amount_micro for one in made)).scaleb(-6)
    each = rows(out, "events")
    assert [row["id"] for row in each] == [one.id for one in made], "in the order read"
    for view in ("by_account", "by_class", "by_prefix"):
        table = rows(out, view)
        assert total(table, "old") == total(each, "old") == own
        assert total(table, "new") == total(each, "new")
        assert total(table, "difference") == total(each, "difference") > 0
        assert total(table, "new") - (own - total(table, "unpriced_old")) == total(table, "difference")
        assert sum(int(row["unpriced_events"]) for row in table) == ITALIAN
    eur = summary["totals"]["EUR"]
    assert Decimal(eur["old"]) == own
    assert Decimal(eur["difference"]) == total(each, "difference")
    mobiles = next(row for row in rows(out, "by_class") if row["class"] == "mobile")
    assert Decimal(mobiles["difference"]) > 0
    assert all(Decimal(row["difference"]) == 0 for row in rows(out, "by_class") if row["class"] != "mobile")


def test_adjustments_are_proposed_account_by_account(tmp_path: Path, dearer: Path) -> None:
    path, out = write_jsonl(tmp_path / "e.jsonl", history()), tmp_path / "report"
    words = ("rerate", *PERIOD, "--events", str(path), "--out", str(out))
    assert run(*words, "--catalog", str(dearer))[0] == 1
    by_account = {row["account"]: Decimal(row["difference"]) for row in rows(out, "by_account")}
    proposed = rows(out, "adjustments")
    assert {row["account"]: Decimal(row["amount"]) for row in proposed} == {
        account: difference for account, difference in by_account.items() if difference
    }
    assert {row["direction"] for row in proposed} == {"debit"}
    assert len({row["op_id"] for row in proposed}) == len(proposed)
    assert "2026-09-01 to 2026-10-01" in proposed[0]["reason"]


def test_what_became_cheaper_is_credited(tmp_path: Path, dearer: Path) -> None:
    path, out = tmp_path / "e.jsonl", tmp_path / "report"
    record = event(dialled="0612345678", account="ann").to_dict()
    record["money"][0]["amount_micro"] = record["amount_micro"] = 500_000
    write_jsonl(path, [record])
    code, _, _ = run(
        "rerate", *PERIOD, "--catalog", str(dearer), "--events", str(path), "--out", str(out), "--plan",
        "seconde=seconde",
    )  # fmt: skip
    assert code == 0
    (proposed,) = rows(out, "adjustments")
    assert (proposed["account"], proposed["direction"], proposed["amount"]) == ("ann", "credit", "0.410000")


def test_csv_and_parquet_say_the_same_and_a_repeat_is_identical(tmp_path: Path, dearer: Path) -> None:
    made = history()
    lines, table = write_jsonl(tmp_path / "e.jsonl", made), write_parquet(tmp_path / "e.parquet", made)
    words = ("rerate", *PERIOD, "--catalog", str(dearer))
    folders = {name: tmp_path / name for name in ("one", "two", "columns")}
    assert run(*words, "--events", str(lines), "--out", str(folders["one"]))[0] == 1
    assert run(*words, "--events", str(table), "--out", str(folders["two"]))[0] == 1
    assert run(*words, "--events", str(lines), "--out", str(folders["columns"]), "--format", "parquet")[0] == 1
    for name in TABLES:
        text = (folders["one"] / f"{name}.csv").read_bytes()
        assert text == (folders["two"] / f"{name}.csv").read_bytes()
        columns = pyarrow.parquet.read_table(folders["columns"] / f"{name}.parquet")
        read = rows(folders["one"], name)
        assert columns.column_names == list(read[0])
        for row, record in zip(read, columns.to_pylist(), strict=True):
            assert row == {key: _as_csv(value) for key, value in record.items()}
    before = (folders["one"] / "events.csv").read_bytes()
    assert run(*words, "--events", str(lines), "--out", str(folders["one"]))[0] == 1
    assert (folders["one"] / "events.csv").read_bytes() == before
    assert run(*words, "--events", str(lines), "--out", str(folders["one"]), "--format", "parquet")[0] == 1
    assert sorted(p.name for p in folders["one"].iterdir()) == sorted(
        ["summary.json", *(f"{name}.parquet" for name in TABLES)]
    ), "an older report is replaced whole"


def _as_csv(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z" if hasattr(value, "year") else str(value)


def test_a_formula_does_not_reach_a_spreadsheet(tmp_path: Path) -> None:
    record = event().to_dict() | {"account": "=cmd|' /C calc'!A0", "line": ""}
    path, out = write_jsonl(tmp_path / "e.jsonl", [record]), tmp_path / "report"
    run("rerate", *PERIOD, "--catalog", str(CONFIG / "catalog"), "--events", str(path), "--out", str(out))
    assert rows(out, "events")[0]["account"] == "'=cmd|' /C calc'!A0"
    assert rows(out, "by_account")[0]["account"] == "'=cmd|' /C calc'!A0"
    assert rows(out, "events")[0]["dialled"] == "0612345678"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--from", "2026-09-01", "--to", "2026-10-01"), "under which catalogue?"),
        ((*PERIOD, "--catalog", "CATALOG", "--version", "3"), "under which catalogue?"),
        (("--from", "2026-10-01", "--to", "2026-09-01", "--catalog", "CATALOG"), "is not after"),
        (("--from", "soon", "--to", "2026-09-01", "--catalog", "CATALOG"), "'soon' is no moment"),
        (("--from", "0001-01-01", "--to", "2026-09-01", "--catalog", "CATALOG"), "outside 1970 to 2099"),
        ((*PERIOD, "--catalog", "nowhere"), "no such folder"),
        ((*PERIOD, "--catalog", "CATALOG", "--plan", "seconde"), "is no pair"),
        ((*PERIOD, "--catalog", "CATALOG", "--plan", "seconde=none"), "there is no plan 'none'"),
        ((*PERIOD, "--catalog", "CATALOG", "--plan", "a=seconde", "--plan", "a=forfait"), "two new plans for 'a'"),
        ((*PERIOD, "--catalog", "CATALOG", "--out", "taken"), "holds something else than a report"),
        ((*PERIOD, "--catalog", "CATALOG", "--out", "no/where"), "cannot write no/where"),
    ],
)  # fmt: skip
def test_bad_input_is_explained(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_jsonl(tmp_path / "e.jsonl", [event()])
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    words = tuple(str(CONFIG / "catalog") if word == "CATALOG" else word for word in words)
    code, out, err = run("rerate", *words, "--events", str(path))
    assert (code, out) == (2, "")
    assert message in err
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_left_of_a_report_on_damaged_events(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "e.jsonl", [*history(), "not an event"])
    out = tmp_path / "report"
    words = ("rerate", *PERIOD, "--catalog", str(CONFIG / "catalog"), "--events", str(path), "--out", str(out))
    code, _, err = run(*words)
    assert code == 2
    assert f"{path}:91: not JSON" in err
    assert [p.name for p in tmp_path.iterdir()] == ["e.jsonl"]


def test_a_person_sees_totals_classes_and_what_is_missing(tmp_path: Path, dearer: Path) -> None:
    path = write_jsonl(tmp_path / "e.jsonl", history())
    code, out, _ = run("rerate", *PERIOD, "--catalog", str(dearer), "--events", str(path))
    assert code == 1
    for words in (
        "90 events",
        "mobile",
        f"no new price: {ITALIAN} no_rate",
        "emergency",
        "--out DIR writes them down",
    ):
        assert words in out
    code, out, _ = run("rerate", "--from", "2020-01-01", "--to", "2020-02-01", "--catalog", str(dearer),
                       "--events", str(path))  # fmt: skip
    assert code == 0
    assert "0 events" in out


def test_a_sum_that_does_not_tie_out_is_told() -> None:
    tally = Tally()
    tally.totals["EUR"] = Sums(2, 60, 100, 120, 0, 0)
    tally.own_micro["EUR"] = 100
    for sums in tally.views.values():
        sums["a", "EUR"] = Sums(1, 30, 50, 60, 0, 0)
        sums["b", "EUR"] = Sums(1, 30, 50, 60, 0, 0)
    assert tally.faults() == []
    tally.views["class"]["b", "EUR"].new_micro += 1
    assert len(tally.faults()) == 1
    assert "by class" in tally.faults()[0]
    tally.own_micro["EUR"] = 99
    assert "own money is 99" in tally.faults()[0]


def test_the_summary_file_is_the_summary(tmp_path: Path, dearer: Path) -> None:
    path, out = write_jsonl(tmp_path / "e.jsonl", history()), tmp_path / "report"
    _, summary = run_json("rerate", *PERIOD, "--catalog", str(dearer), "--events", str(path), "--out", str(out))
    assert json.loads((out / "summary.json").read_text()) == summary
