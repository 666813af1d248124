"""The counter of instructions; counting itself needs valgrind, which no test does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("calls", "path", "told"),
    [("5", "", "apt install valgrind"), ("0", os.environ["PATH"], "at least one call"), ("x", "", "invalid int")],
)
def test_what_cannot_be_counted_is_told_in_a_sentence(calls: str, path: str, told: str) -> None:
    command = [sys.executable, "-m", "bench.micro.instructions", calls]
    ran = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 2
    assert told in ran.stderr
