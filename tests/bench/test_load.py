"""The benchmark of the whole path at its small size: real Redis, real daemon, some seconds of calls. Nothing here
looks at times: machines differ. What must hold everywhere is that every call is decided and the books balance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # bench is no part of the package

from bench.load.captures import bursts  # noqa: E402
from bench.load.histogram import Histogram  # noqa: E402
from bench.load.mix import mix  # noqa: E402
from bench.load.records import CallRecord, Fate, RecordFile, read_records  # noqa: E402


def run(*words: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.load.run", *words, "--json"],
        cwd=ROOT, capture_output=True, text=True, timeout=240, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_every_call_of_a_short_run_is_decided_and_the_books_balance() -> None:
    result = run("--only", "gate", "--rate", "25", "--seconds", "4", "--warm", "1", "--switches", "3")[-1]
    for name in ("calls_per_s", "p50_ms", "p99_ms", "p999_ms", "daemon_us_per_call", "redis_us_per_call"):
        assert result[name] > 0, name
    books = result["books"]
    assert result["books_balance"], books["faults"]
    assert books["calls"] > 80
    assert books["rated"] > books["calls"] / 2
    assert books["denied"] > 0
    assert books["crossings"] > 0, "thresholds are on"
    assert books["allowance_s"] > 0, "allowances are on"
    assert result["figures"]["events_per_call"] > 15


def test_a_histogram_keeps_every_value_to_three_per_cent() -> None:
    histogram = Histogram()
    values = [int(1.01**n * 1000) for n in range(1200)]
    for value in values:
        histogram.record(value)
    for percent in (50, 99, 99.9, 100):
        exact = values[-int(-len(values) * percent // 100) - 1] / 1e6
        assert exact <= histogram.percentile_ms(percent) <= exact * 1.04
    assert Histogram().percentile_ms(99) == 0


@pytest.mark.parametrize("kind", mix().kinds, ids=lambda kind: kind.name)
def test_a_kind_of_call_is_told_as_captured_with_its_own_names(kind: Any) -> None:
    values = [b"<%d>" % slot for slot in range(13)]
    told = b"".join(burst.render(values) for burst in (mix().begin, kind.allowed, *(s.burst for s in kind.steps)))
    assert b"1001" not in told
    assert b"1795" not in told, "times and ids of the capture"
    assert told.count(b"Event: Hangup\r\n") >= told.count(b"Event: Newchannel\r\n") - 1
    assert told.endswith(b"\r\n\r\n")
    assert kind.steps[-1].ends


def test_shares_of_the_kinds_make_a_whole() -> None:
    assert sum(kind.share for kind in mix().kinds) == pytest.approx(1)


def test_a_capture_is_cut_where_a_switch_waits() -> None:
    asked, *_ = bursts("gate")
    assert [name for name, _ in asked] == ["Newchannel", "AsyncAGIStart"]


def test_records_come_back_as_written(tmp_path: Path) -> None:
    record = CallRecord(3, 1_795_000_000, 9, 7, 0xFFFFFFFF, Fate.CUT, 1, 2, True, 5, -6)
    file = RecordFile(tmp_path / "calls.bin")
    file.write(record)
    file.close()
    assert list(read_records(tmp_path / "calls.bin")) == [record]
