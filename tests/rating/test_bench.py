"""The benchmark runs at its small size, so that it never rots. Nothing here looks at times: machines differ."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "bench" / "rating.py"


def test_the_benchmark_measures_what_it_says() -> None:
    spec = importlib.util.spec_from_file_location("bench_rating", BENCH)
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    result = json.loads(json.dumps(bench.measure(1000, 3)))
    assert result["prefixes"] == 1000
    assert result["rows"] > 1000
    assert result["kernel"] == "compiled"
    assert result["lookup"]["bytes_a_prefix"] <= 64
    for part, names in {
        "lookup": ["compiled_ns", "batch_ns", "twin_ns", "dicts_ns"],
        "price": ["ten_seconds_us", "hour_us", "twin_hour_us", "quote_hour_us"],
        "affordable": ["ten_seconds_us", "day_us"],
        "load": ["load_ms", "read_ms"],
        "swap": ["longest_pause_ms", "idle_ms", "took_ms"],
    }.items():
        for name in names:
            figure = result[part][name]
            assert 0 < figure["low"] <= figure["median"] <= figure["high"], (part, name)
