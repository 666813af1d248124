"""Events from files: what is read alike whatever the format, and what is said of files that are damaged."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rater.errors import InputError
from rater.rerate import source as sources
from rater.rerate.model import Events
from rater.rerate.seen import Seen
from rater.rerate.source import Source, event_files
from tests.rerate.support import ALWAYS, T0, event, write_jsonl, write_parquet

DENIED = {"schema": "rater.denied/1", "id": "x", "account": "acme", "dialled": "1", "attempted_at": "2026-09-21"}
THRESHOLD = {"schema": "rater.threshold/1", "id": "y", "account": "acme", "value": "1.00", "at": "2026-09-21"}


def some(count: int = 20) -> list[Any]:
    return [
        event(seconds=1 + i, at_ms=T0 + i * 60_000, leg=f"pbx1.b.{i}", allowances=[(0, i // 3)] if i % 3 else [])
        for i in range(count)
    ]


def columns(batches: list[Events]) -> list[tuple[Any, ...]]:
    """Every event as one comparable row."""
    rows = []
    for events in batches:
        texts = {name: (column if name == "id" else column.dictionary_decode()).to_pylist()
                 for name, column in events.texts.items()}  # fmt: skip
        for i in range(len(events)):
            mine = events.piece_event == i
            pieces = np.stack([events.piece_from_s[mine], events.piece_to_s[mine], events.piece_micro[mine]])
            rows.append((
                *(texts[name][i] for name in sorted(texts)), events.rated_at_ms[i], events.ended_at_ms[i],
                events.duration_s[i], events.billed_s[i], events.allowance_s[i], events.amount_micro[i],
                events.emergency[i], pieces.tolist(),
            ))  # fmt: skip
    return rows


def test_every_format_gives_the_same_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = some(60)
    lines = write_jsonl(tmp_path / "a.jsonl", made)
    zipped = tmp_path / "a.jsonl.gz"
    zipped.write_bytes(gzip.compress(lines.read_bytes()))
    table = write_parquet(tmp_path / "a.parquet", made)
    read = columns(list(Source(*ALWAYS).files([lines])))
    assert len(read) == 60
    assert columns(list(Source(*ALWAYS).files([zipped]))) == read
    assert columns(list(Source(*ALWAYS).files([table]))) == read
    monkeypatch.setattr(sources, "ROWS", 7)
    monkeypatch.setattr(sources, "RECORDS", 3)
    for path in (lines, zipped, table):
        batches = list(Source(*ALWAYS).files([path]))
        assert len(batches) > 3, "the events came in several parts"
        assert columns(batches) == read


def test_repeats_other_records_and_other_times_are_passed_over(tmp_path: Path) -> None:
    made = some(20)
    path = write_jsonl(tmp_path / "a.jsonl", [*made[:12], DENIED, "", THRESHOLD, *made[5:], made[0]])
    since_ms = T0 + 3 * 60_000
    source = Source(since_ms, T0 + 15 * 60_000)
    read = [name for events in source.files([path, path]) for name in events.texts["id"].to_pylist()]
    ended = [one.id for one in made if since_ms <= T0 + int(one.id.rpartition(".")[2]) * 60_000 + 3000
             + one.duration_ms < T0 + 15 * 60_000]  # fmt: skip
    assert read == ended
    assert source.others == 4
    assert source.repeats + len(read) + source.outside == 2 * (12 + 15 + 1)


def test_an_older_event_without_rated_at_counts_from_its_attempt(tmp_path: Path) -> None:
    one = event()
    record = one.to_dict()
    del record["rated_at"]
    (events,) = Source(*ALWAYS).files([write_jsonl(tmp_path / "a.jsonl", [record])])
    assert events.rated_at_ms[0] == T0 - 40
    (events,) = Source(*ALWAYS).files([write_jsonl(tmp_path / "b.jsonl", [one])])
    assert events.rated_at_ms[0] == T0


def changed(**changes: Any) -> str:
    return json.dumps(event().to_dict() | changes)


def without(name: str) -> str:
    record = event().to_dict()
    del record[name]
    return json.dumps(record)


MONEY = event().to_dict()["money"]
DAMAGED = [
    (event().to_json()[:-20], "not JSON"),
    ("{}", "a JSON object without a schema"),
    ("[1]", "not a JSON object"),
    ('{"schema": "rater.rated/2"}', "schema 'rater.rated/2'"),
    ("\x00", "not JSON"),
    (event().to_json() + event().to_json(), "not JSON: trailing characters"),
    (without("dialled"), "no dialled"),
    (without("money"), "no money"),
    (changed(plan=None), "plan is None: input should be a valid string"),
    (changed(amount_micro="12"), "amount_micro is '12': input should be a valid integer"),
    (changed(amount_micro=1.5), "amount_micro is 1.5: input should be a valid integer"),
    (changed(amount_micro=2**70), "input should be less than"),
    (changed(amount_micro=1), "its pieces of money add up to 45000 micro-units, amount_micro is 1"),
    (changed(amount_micro=-5), "amount_micro is -5"),
    (changed(duration_s=-1), "duration_s is -1"),
    (changed(duration_s=86_401), "duration_s is 86401"),
    (changed(duration_s=30), "a piece of its money lies outside the leg"),
    (changed(emergency="no"), "emergency is 'no': input should be a valid boolean"),
    (changed(ended_at="yesterday"), "ended_at is 'yesterday', no ISO 8601 time"),
    (changed(rated_at="1969-12-31T00:00:00Z"), "not a time between 1970 and 2099"),
    (changed(attempted_at=5), "attempted_at is 5: input should be a valid string"),
    (changed(money=5), "money is 5: input should be a valid array"),
    (changed(money=[{**MONEY[0], "to_s": "60"}]), "money, entry 1, to_s is '60': input"),
    (changed(money=[{"from_s": 0, "to_s": 60}]), "the event has no money, entry 1, amount_micro"),
    (changed(money=[None]), "money, entry 1 is None: "),
    ('{"schema": "rater.rated/1", "id": "' + "x" * 2**20 + '"}', "the line is longer than 1048576 bytes"),
    (changed(billed_s=-3), "billed_s is less than what its allowances paid"),
]


@pytest.mark.parametrize(("line", "message"), DAMAGED, ids=[message for _, message in DAMAGED])
def test_a_damaged_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    made = some(4)
    path = write_jsonl(tmp_path / "a.jsonl", [*made[:2], "", line, *made[2:]])
    with pytest.raises(InputError) as caught:
        list(Source(*ALWAYS).files([path]))
    assert caught.value.message.startswith(f"{path}:4: "), caught.value.message
    assert message in caught.value.message
    assert caught.value.hint


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        event().to_json().encode() + b"\n" + event().to_json().encode().replace(b"acme", b"ac\xff") + b"\n"
    )
    with pytest.raises(InputError, match=r"a\.jsonl:2: not JSON: invalid unicode"):
        list(Source(*ALWAYS).files([path]))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_bytes_a_file_holds_there_is_no_other_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    good = "".join(f"{one.to_json()}\n" for one in GOOD).encode()
    at = data.draw(st.integers(0, len(good)))
    junk = data.draw(st.binary(max_size=6) | st.sampled_from([b"null", b"-1", b'"', b"}", b"[", b"\n", b"1e9"]))
    removed = data.draw(st.integers(0, 40))
    path = tmp_path_factory.mktemp("fuzz") / "a.jsonl"
    path.write_bytes(good[:at] + junk + good[at + removed :])
    try:
        for events in Source(*ALWAYS).files([path]):
            assert len(events) <= 4
    except InputError as error:
        assert str(path) in error.message


GOOD = some(3)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def _text(path: Path) -> None:
    path.write_text("no parquet")


@pytest.mark.parametrize("damage", [_cut, _text])
def test_a_damaged_parquet_file_is_named(damage: Callable[[Path], None], tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", some())
    damage(path)
    with pytest.raises(InputError, match=r"a\.parquet cannot be read as Parquet"):
        list(Source(*ALWAYS).files([path]))


def test_a_parquet_file_of_something_else_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.table({"id": ["x"]}), path)
    with pytest.raises(InputError, match=r"a\.parquet has no column schema"):
        list(Source(*ALWAYS).files([path]))
    table = pyarrow.parquet.read_table(write_parquet(path, some(3)))
    at = table.column_names.index("money")
    pyarrow.parquet.write_table(table.set_column(at, "money", pa.array(["a", "b", "c"])), path)
    with pytest.raises(InputError, match=r"the column money is string"):
        list(Source(*ALWAYS).files([path]))
    wrong = some(3)
    wrong[1] = wrong[1].model_copy(update={"amount_micro": 7})
    with pytest.raises(InputError, match=r"a\.parquet: row 2: its pieces of money add up"):
        list(Source(*ALWAYS).files([write_parquet(path, wrong)]))


def test_names_of_files(tmp_path: Path) -> None:
    made = some(2)
    b, a = write_jsonl(tmp_path / "b.jsonl", made), write_parquet(tmp_path / "a.parquet", made)
    write_jsonl(tmp_path / ".c.jsonl.5.part", made)
    assert event_files([tmp_path]) == [a, b]
    assert event_files([b, a]) == [b, a]
    with pytest.raises(InputError, match="there is no file"):
        event_files([tmp_path / "none.jsonl"])
    with pytest.raises(InputError, match="CSV is for spreadsheets"):
        event_files([tmp_path / "x.csv"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no"):
        event_files([tmp_path / "empty"])


@given(st.lists(st.lists(st.tuples(st.text("ab", max_size=4), st.booleans()), max_size=20), max_size=12))
def test_each_id_is_new_once(batches: list[list[tuple[str, bool]]]) -> None:
    seen, known = Seen(), set()
    for batch in batches:
        expected = []
        for name, wanted in batch:
            expected.append(wanted and name not in known)
            if wanted:
                known.add(name)
        wanted_all = np.array([wanted for _, wanted in batch], np.bool_)
        assert seen.new([name for name, _ in batch], wanted_all).tolist() == expected
