"""`rater events tail` and `export` as a user runs them, against a real outbox."""

from __future__ import annotations

import asyncio
import csv
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from rater.charging.embedded import EmbeddedRedis
from rater.charging.redis_store import RedisStore
from rater.charging.terms import Terms
from rater.events.stream import outbox_key
from tests.catalog.support import run, run_json

from .support import ALLOWANCE, T0, Desk, leg_facts

HOUR_MS = 3_600_000
DAY = ("--from", "2026-09-21", "--to", "2026-09-22")


def iso(at_ms: int) -> str:
    import datetime as dt

    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).isoformat()


class Outbox:
    """An outbox of its own with three legs, one of them partly paid by an allowance, a denial and what follows."""

    def __init__(self, server: EmbeddedRedis, folder: Path, prefix: str) -> None:
        self.server, self.prefix = server, prefix
        self.config = folder / "rater.toml"
        self.config.write_text(f'[redis]\nurl = "{server.url}"\nprefix = "{prefix}"\n')
        asyncio.run(self._fill())

    async def _desk(self, work: Any) -> None:
        store = RedisStore(self.server.url, prefix=self.prefix)
        await store.start()
        try:
            await work(Desk(store), store)
        finally:
            await store.close()

    async def _fill(self) -> None:
        async def work(desk: Desk, store: RedisStore) -> None:
            await desk.credit(10**9)
            await desk.credit(10**9, "BETA")
            await desk.call(10, leg_facts("leg-0"), terms=ALLOWANCE)
            await desk.call(20, leg_facts("leg-1", "BETA", ended_at_ms=T0 + HOUR_MS, caller="=1+1"))
            await desk.call(None, leg_facts("leg-2", ended_at_ms=T0 + 2 * HOUR_MS, answered_at_ms=None))
            await desk.deny(leg_facts("leg-3", reason="no_rate", detail="none"))

        await self._desk(work)

    def add(self, leg: str, terms: Terms | None = None) -> None:
        """One more leg."""

        async def work(desk: Desk, store: RedisStore) -> None:
            await desk.call(5, leg_facts(leg), terms=terms)

        asyncio.run(self._desk(work))

    def damage(self) -> None:
        """An entry that nobody can read."""

        async def work(desk: Desk, store: RedisStore) -> None:
            await store.redis.xadd(outbox_key(self.prefix, 0), {"k": "rated", "f": b"\xc1", "r": b"\x80"})

        asyncio.run(self._desk(work))

    def words(self, *words: str | Path) -> list[str]:
        return ["events", *map(str, words), "--config", str(self.config)]


@pytest.fixture
def outbox(server: EmbeddedRedis, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Outbox]:
    yield Outbox(server, tmp_path, f"cmd-{abs(hash(request.node.name))}")


def exported(outbox: Outbox, out: Path, *words: str) -> list[dict[str, Any]]:
    code, text, err = run(*outbox.words("export", *words, "--out", out))
    assert code == 0, err
    lines = out.read_text().splitlines()
    assert f"{len(lines)} records written" in text
    return [json.loads(line) for line in lines]


def test_an_export_holds_the_legs_that_ended_in_the_span(outbox: Outbox, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    assert [r["id"] for r in exported(outbox, out, *DAY)] == ["leg-0", "leg-1", "leg-2"]
    first_hour = ("--from", iso(T0), "--to", iso(T0 + HOUR_MS))
    assert [r["id"] for r in exported(outbox, out, *first_hour)] == ["leg-0"], "the end is not included"
    second = ("--from", iso(T0 + HOUR_MS), "--to", iso(T0 + 2 * HOUR_MS))
    assert [r["id"] for r in exported(outbox, out, *second)] == ["leg-1"]
    assert [r["id"] for r in exported(outbox, out, *DAY, "--account", "BETA")] == ["leg-1"]
    assert [r["id"] for r in exported(outbox, out, *DAY, "--kind", "denied")] == ["leg-3"]
    assert exported(outbox, out, "--from", "2020-01-01", "--to", "2021-01-01") == []


def test_every_format_holds_the_same(outbox: Outbox, tmp_path: Path) -> None:
    records = exported(outbox, tmp_path / "a.jsonl", *DAY)
    for form in ("csv", "parquet"):
        words = outbox.words("export", *DAY, "--format", form, "--out", tmp_path / f"a.{form}")
        code, summary = run_json(*words)
        assert (code, summary["records"], summary["unreadable"]) == (0, 3, [])
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    assert table.to_pylist() == records
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(records[0]) == table.column_names
    for row, record in zip(rows, records, strict=True):
        assert row["id"] == record["id"]
        assert int(row["amount_micro"]) == record["amount_micro"]
        assert json.loads(row["allowance"]) == record["allowance"]
        assert json.loads(row["segments"]) == record["segments"]
    assert rows[1]["caller"] == "'=1+1"


def test_an_empty_export_is_a_readable_file(outbox: Outbox, tmp_path: Path) -> None:
    words = ("--from", "2020-01-01", "--to", "2021-01-01", "--kind", "threshold")
    for form in ("csv", "parquet"):
        run(*outbox.words("export", *words, "--format", form, "--out", tmp_path / f"a.{form}"))
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").num_rows == 0
    assert (tmp_path / "a.csv").read_text().startswith("schema,id,account")


def test_an_unreadable_entry_is_told_and_passed_over(outbox: Outbox, tmp_path: Path) -> None:
    outbox.damage()
    code, out, err = run(*outbox.words("export", *DAY, "--out", tmp_path / "a.jsonl"))
    assert code == 1
    assert "3 records written" in out
    assert "passed over an unreadable entry" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--from", "2026-09-22", "--to", "2026-09-21"), "is not after"),
        (("--from", "today", "--to", "2026-09-21"), "'today' is no moment"),
        (("--from", "0001-01-01", "--to", "2026-09-21"), "outside 1970 to 2099"),
        (("--from", "2026-09-21", "--to", "9999-12-31T23:59:59-14:00"), "--to"),
    ],
)
def test_a_span_that_is_none_is_explained(
    words: tuple[str, ...], message: str, outbox: Outbox, tmp_path: Path
) -> None:
    code, _, err = run(*outbox.words("export", *words, "--out", tmp_path / "a.jsonl"))
    assert code == 2
    assert message in err
    assert not (tmp_path / "a.jsonl").exists()


def test_an_export_that_cannot_be_written_leaves_what_was_there(outbox: Outbox, tmp_path: Path) -> None:
    code, _, err = run(*outbox.words("export", *DAY, "--out", tmp_path / "no" / "a.jsonl"))
    assert code == 2
    assert "cannot write" in err
    out = tmp_path / "a.jsonl"
    out.write_text("old\n")
    outbox.config.write_text('[redis]\nurl = "redis://127.0.0.1:1/0"\n')
    code, _, err = run(*outbox.words("export", *DAY, "--out", out))
    assert code == 1
    assert "no Redis answers" in err
    assert out.read_text() == "old\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "rater.toml"]


def test_tail_shows_the_newest_in_order(outbox: Outbox) -> None:
    _, out, _ = run(*outbox.words("tail", "--once", "--json"))
    records = [json.loads(line) for line in out.splitlines()]
    assert [r["id"] for r in records if r["schema"] != "rater.threshold/1"] == ["leg-0", "leg-1", "leg-2", "leg-3"]
    assert any(r["schema"] == "rater.threshold/1" for r in records)
    _, out, _ = run(*outbox.words("tail", "--once", "--json", "-n", "1"))
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["leg-3"]
    _, out, _ = run(*outbox.words("tail", "--once", "--json", "--account", "BETA", "--kind", "rated"))
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["leg-1"]
    _, out, _ = run(*outbox.words("tail", "--once"))
    assert "10 s of local" in out
    assert "no_rate (none)" in out


def test_tail_goes_on_with_each_new_record(outbox: Outbox) -> None:
    words = [sys.executable, "-c", "from rater.cli import main; main()", *outbox.words("tail", "--json", "-n", "1")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["id"] == "leg-3"
        outbox.add("leg-9")
        assert json.loads(process.stdout.readline())["id"] == "leg-9"
    finally:
        watchdog.cancel()
        process.terminate()
        process.communicate(timeout=20)
