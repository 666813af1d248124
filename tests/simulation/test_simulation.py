"""Worlds by the seed, and proof that the auditor sees what is planted.

Each run is a process of its own, started as a user would, so that the seeds it names replay from the command line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUN = Path(__file__).parent / "run"
SEEDS = {"memory": 200, "redis": 25}
"""Those that show nothing; what others show is open, see docs/simulation.md."""
TARGETS = ("broker", "webhook", "consumer")
CHARGING = {
    "ami cut", "ami black hole", "store away", "store loses operations and answers", "store slow", "daemon killed",
    "switch restarted", "events lost, doubled, late", "the daemons' wall clock steps", "catalogue swapped",
    "catalogue damaged",
    "operator hangs up", "two leaders", "store fails over, its last writes lost", "store takes no writes",
}  # fmt: skip
PUBLISHING = {
    f"{target} {trouble}" for target in TARGETS for trouble in ("away", "loses answers", "refuses for a while")
}
FAULTS = {"memory": CHARGING | PUBLISHING | {"publisher killed"}, "redis": set[str]()}
TIMEOUT_S = 1500
pytestmark = pytest.mark.timeout(TIMEOUT_S)


def play(*arguments: str, plant: str = "") -> tuple[int, str, dict[str, Any]]:
    environment = dict(os.environ, PYTHONHASHSEED="0", RATER_PLANT=plant)
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=RUN.parents[2], env=environment, capture_output=True, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    return done.returncode, done.stdout + done.stderr, summary


@pytest.mark.parametrize("store", list(SEEDS))
def test_worlds_show_no_fault(store: str) -> None:
    code, output, summary = play("--seeds", str(SEEDS[store]), "--store", store)
    assert code == 0, output
    assert summary["seeds"] == SEEDS[store]
    assert summary["failed"] == []
    assert summary["legs"] > 50 * SEEDS[store], "a world in which nothing happens proves nothing"
    assert summary["faults"].keys() >= FAULTS[store], "every kind of trouble came about"
    assert summary["events"].keys() == {"blind transfer", "redirect", "attended transfer"}


def test_worlds_at_the_edges_of_days_and_clocks_show_no_fault() -> None:
    code, output, summary = play("--from", "1000", "--seeds", "20")
    assert code == 0, output
    assert (summary["seeds"], summary["failed"]) == (20, [])


def test_worlds_whose_allowances_have_hours_show_no_fault() -> None:
    code, output, summary = play("--from", "5000", "--seeds", "30")
    assert code == 0, output
    assert (summary["seeds"], summary["failed"]) == (30, [])


def test_the_auditor_sees_an_allowance_used_outside_its_hours() -> None:
    code, output, _ = play("--from", "5000", "--seeds", "20", plant="hours")
    assert code == 1, f"nobody noticed: {output}"
    assert "  hours: " in output


def test_a_seed_replays_exactly() -> None:
    first, second = (play("--seed", "11")[1].splitlines()[0] for _ in range(2))
    assert first == second
    assert "digest" in first


@pytest.mark.parametrize(
    ("plant", "rule"),
    [
        ("duration", "charge"),
        ("price", "charge"),
        ("timer", "overspend"),
        ("lease", "lease"),
        ("fence", "stale"),
        ("event", "event"),
        ("repeat", "repeat"),
        ("floor", "floor"),
        ("threshold", "threshold"),
        ("ledger", "books"),
        ("refund", "reserved"),
        ("loss", "event"),
        ("half", "books"),
        ("damaged", "charge"),
        ("cycle", "cycle"),
        ("acknowledged", "delivery"),
        ("trimmed", "delivery"),
        ("told_twice", "delivery"),
        ("guard", "gate"),
    ],
)
def test_the_auditor_sees_a_planted_fault(plant: str, rule: str) -> None:
    code, output, summary = play("--seeds", "12", plant=plant)
    assert code == 1, f"nobody noticed: {output}"
    assert summary["failed"]
    assert f"  {rule}: " in output


@pytest.mark.parametrize("arguments", [("--seeds", "0"), ("--trace", "x"), ("--store", "paper")])
def test_unusable_arguments_end_with_2(arguments: tuple[str, ...]) -> None:
    assert play(*arguments)[0] == 2
