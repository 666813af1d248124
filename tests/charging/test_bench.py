"""The benchmark runs at its small size, so that it never rots. Nothing here looks at times: machines differ."""

from __future__ import annotations

import importlib.util
import json
from itertools import product
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "bench" / "charging.py"


def test_the_benchmark_measures_what_it_says() -> None:
    spec = importlib.util.spec_from_file_location("bench_charging", BENCH)
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    result = json.loads(json.dumps(bench.measure(300)))
    forms = {"functions", "scripts"} & set(result)
    assert forms == ({"functions", "scripts"} if result["redis"] >= "7" else {"scripts"})
    for form, phase in product(forms, bench.PHASES):
        figures = result[form][phase]
        assert 2 <= figures["commands"] <= 16, "what a script asks of Redis is counted, and bounded"
        for name in ("us", "apart_us", "floor_us", "over_apart", "over_bare"):
            assert 0 < figures[name]["low"] <= figures[name]["median"] <= figures[name]["high"]
    memory = result["memory"]
    assert 0 < memory["idle_account"] <= memory["aim_bytes"]
    assert 0 < memory["live_leg"] <= memory["aim_bytes"]
    assert memory["account_with_its_postings"] > memory["idle_account"]
