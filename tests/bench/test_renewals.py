"""The benchmark of renewals at a small size. What it says of correctness, it asserts itself at any."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # bench is no part of the package

from bench import renewals


def test_allowances_renew_on_time_without_a_sweep() -> None:
    found = renewals.measure(1200)
    assert (found["accounts"], found["looked_at"]) == (1200, 120)
    assert found["called"] == (renewals.ROUNDS + 1) * 60
    assert found["others_unchanged"] == 1200 - found["called"]
    assert 0 < found["bytes_an_account"] < 1536
    for name in ("first", "usual", "first_over_usual", "first_processor", "usual_processor"):
        assert 0 < found[name]["low"] <= found[name]["median"] <= found[name]["high"]
