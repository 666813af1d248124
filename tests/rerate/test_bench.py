"""The benchmark of re-rating, small: nothing changes, the twin agrees, and every figure is said."""

from __future__ import annotations

import importlib.util
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "bench" / "rerate.py"


def test_the_benchmark_runs_and_compares() -> None:
    spec = importlib.util.spec_from_file_location("bench_rerate", BENCH)
    assert spec is not None and spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    figures = bench.measure(1000)
    assert figures["command"]["events"] == figures["events"] == 1000
    assert figures["command_tenth"]["events"] == 100
    for name in ("bulk_per_s", "twin_per_s", "bulk_to_twin", "bulk_known_per_s", "bulk_to_twin_known"):
        assert figures[name] > 0
    assert figures["command"]["peak_mib"] > 0
