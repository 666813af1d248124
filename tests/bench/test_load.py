"""The benchmark of the whole path at its small size: real Redis, real daemon, some seconds of calls. Nothing here
looks at times: machines differ. What must hold everywhere is that every call is decided and the books balance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # bench is no part of the package

from bench.load import compiled, report  # noqa: E402
from bench.load.captures import bursts, joined  # noqa: E402
from bench.load.histogram import Histogram  # noqa: E402
from bench.load.machine import Machine  # noqa: E402
from bench.load.mix import mix  # noqa: E402
from bench.load.people import People  # noqa: E402
from bench.load.records import CallRecord, Fate, RecordFile, read_records  # noqa: E402
from bench.load.site import Generator  # noqa: E402
from tests.servers import DEBIAN_WANTED  # noqa: E402


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
    assert books["calls"] > 40
    assert books["rated"] > 0
    assert books["denied"] > 0
    assert books["crossings"] > 0, "thresholds are on"
    assert books["allowance_s"] > 0, "allowances are on"
    assert result["figures"]["events_per_call"] > 15


def test_a_daemon_that_ended_is_not_waited_for(tmp_path: Path) -> None:
    generator = Generator(tmp_path, People(20, 10), 1)
    log = tmp_path / "rater.log"
    log.write_text("no such switch\n")
    generator.daemons[log] = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    try:
        with pytest.raises(RuntimeError, match="the daemon ended with 3: no such switch"):
            generator.answer()
    finally:
        generator.process.terminate()
        generator.process.wait()


def test_many_calls_can_be_held_and_ended() -> None:
    result = run("--only", "live", "--calls", "60", "--fill-rate", "30", "--seconds", "2", "--switches", "2")[-1]
    assert result["books_balance"], result["books"]["faults"]
    assert result["live"] > 10
    assert result["books"]["rated"] >= result["live"]


def test_a_catalogue_is_swapped_under_load() -> None:
    words = "--only swap --prefixes 3000 --rate 200 --seconds 4 --switches 2"
    result = run(*words.split())[-1]
    assert result["books_balance"], result["books"]["faults"]
    assert result["loaded_within_s"] > 0


def test_daemons_share_the_switches_and_masters_the_accounts() -> None:
    sites = [(2, 1), (2, 3)] if DEBIAN_WANTED else [(2, 1)]
    words = "--only spread --spread-rate 25 --step-seconds 3 --switches 4 --spread"
    results = run(*words.split(), *(f"{daemons}x{masters}" for daemons, masters in sites))
    assert [(result["daemons"], result["masters"]) for result in results] == sites
    for result in results:
        assert result["books_balance"], result["books"]["faults"]
        assert result["books"]["rated"] > 0


def test_a_soak_with_faults_leaks_nothing() -> None:
    words = "--only soak --rate 40 --minutes 0.1 --part-seconds 3 --switches 2"
    result = run(*words.split())[-1]
    assert result["books_balance"], result["books"]["faults"]
    assert result["faults"] == ["cut", "redis"]
    assert result["books"]["doubtful"] > 0, "calls lived while the connections were cut"


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


def test_what_is_compiled_puts_a_burst_together_as_its_source_does() -> None:
    folder = compiled.built()
    assert folder is not None, "it can be built wherever the tests run"
    spec = compiled.Finder(folder).find_spec("bench.load.template")
    assert spec is not None
    assert spec.loader is not None
    template = module_from_spec(spec)
    spec.loader.exec_module(template)
    every = [mix().begin, mix().denied, mix().guard, mix().away, mix().cut, mix().dropped]
    every += [burst for kind in mix().kinds for burst in (kind.allowed, *(step.burst for step in kind.steps))]
    values = [bytes([slot + 65]) * slot for slot in range(13)]
    for burst in every:
        render = template.Template(burst.texts, burst.slots)
        assert render(values) == joined(burst.texts, burst.slots)(values)
    with pytest.raises(IndexError):
        render(values[:1])
    with pytest.raises(TypeError):
        render([None] * 13)
    with pytest.raises(ValueError, match="by turns"):
        template.Template((b"", b""), ())


def test_shares_of_the_kinds_make_a_whole() -> None:
    assert sum(kind.share for kind in mix().kinds) == pytest.approx(1)


def test_a_capture_is_cut_where_a_switch_waits() -> None:
    asked, *_ = bursts("gate")
    assert [name for name, _ in asked] == ["Newchannel", "AsyncAGIStart"]


def test_results_are_told_beside_those_of_the_run_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results_page = tmp_path / "RESULTS.md"
    results_page.write_text("# What was measured\n\n## Charging\nkept\n")
    monkeypatch.setattr(report, "RESULTS", results_page)
    monkeypatch.setattr(report, "FOLDER", tmp_path / "results")
    for rate in (100.0, 120.0):
        figures = {
            "load_average": 1.5, "pace_ns": 140, "disk_percent": 0.5,
            "seconds": 5, "events_per_call": 28, "actions_per_call": 8,
            "lateness": {"p99_ms": 1}, "cpu_us_per_call": {"generator": 90},
            "cpu_share": {"daemon": 0.1, "redis": 0.1, "generator": 0.1},
        }  # fmt: skip
        run_of = {
            "rate": rate, "calls_per_s": rate, "p50_ms": 1, "p99_ms": 2, "p999_ms": 3, "daemon_us_per_call": 400,
            "redis_us_per_call": 300, "books_balance": True, "figures": figures,
        }  # fmt: skip
        report.write(*report.keep({"gate": [run_of] * 3, "ramp": [run_of]}, "bench/run"))
    page = results_page.read_text()
    assert page.count("## The whole path") == 1
    assert page.startswith("# What was measured\n\n## Charging\nkept\n")
    assert (
        "| full life cycles, sustained | ≥ 2,000 calls/s | ≥ 5,000 calls/s | **120 (120–120)** | 3 | 100 |" in page
    )
    assert (tmp_path / "results" / "whole-path.svg").read_text().startswith("<svg")


def test_records_come_back_as_written(tmp_path: Path) -> None:
    record = CallRecord(3, 1_795_000_000, 9, 7, 0xFFFFFFFF, Fate.CUT, 1, 2, True, 5, -6)
    file = RecordFile(tmp_path / "calls.bin")
    file.write(record)
    file.close()
    assert list(read_records(tmp_path / "calls.bin")) == [record]


@pytest.mark.parametrize("own_cores", [True, False])
def test_daemons_share_no_core_with_the_others_unless_asked_to(own_cores: bool) -> None:
    machine, cores = Machine(own_cores=own_cores), os.sched_getaffinity(0)
    with (
        subprocess.Popen(["sleep", "60"]) as daemon,
        subprocess.Popen(["sleep", "60"]) as second,
        subprocess.Popen(["sleep", "60"]) as store,
        subprocess.Popen(["sleep", "60"], start_new_session=True) as load,
    ):
        try:
            machine.arrange([daemon.pid, second.pid], [store.pid], load.pid)
            first, other, stores, loads = (os.sched_getaffinity(each.pid) for each in (daemon, second, store, load))
            assert os.getpriority(os.PRIO_PROCESS, load.pid) > os.getpriority(os.PRIO_PROCESS, store.pid)
        finally:
            for each in (daemon, second, store, load):
                each.kill()
    if own_cores and len(cores) > 1:
        assert len(first) == len(other) == 1
        assert stores == loads
        assert not (first | other) & stores
        assert first | other | stores <= cores
    else:
        assert first == other == stores == cores
