"""`rater demo` as a user runs it: one command, one process, and the books at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import redis
from tampering import add_to_balance

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from rater.cli import main; main()", "demo"]
REASONS = {"line_limit", "account_limit", "trunk_limit", "insufficient_credit", "allowance_exhausted",
           "unknown_number", "no_rate", "blocked_destination", "malformed_number"}  # fmt: skip


def environment() -> dict[str, str]:
    paths = [str(ROOT), str(ROOT / "native"), os.environ.get("PYTHONPATH", "")]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RATER_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def demo(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120
    )


def summary(output: str) -> dict[str, Any]:
    lines = output.strip().splitlines()
    assert len(lines) == 1, "standard output holds the summary and nothing else"
    record: dict[str, Any] = json.loads(lines[-1])
    return record


def test_the_demo_ends_with_balanced_books(tmp_path: Path) -> None:
    done = demo("--seconds", "8", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = summary(done.stdout)
    assert record["books_balance"] is True
    assert record["faults"] == []
    assert record["unsettled"] == 0
    assert record["calls"] > 10
    assert record["answered"] > 0
    assert record["denied"], "some calls hit limits, or run out of credit"
    assert set(record["denied"]) <= REASONS
    assert Decimal(record["charged"]) > 0
    assert record["accounts"] > 5
    assert not list(tmp_path.iterdir()), "nothing is left in the folder it was started in"


def test_the_picture_is_the_live_view_of_the_last_moment(tmp_path: Path) -> None:
    picture = tmp_path / "view.svg"
    done = demo("--seconds", "6", "--json", "--picture", picture, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    root = ElementTree.fromstring(picture.read_text(encoding="utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    shown = "".join(root.itertext()).replace("\xa0", " ")
    for wanted in ("rater demo", "talking", "Calls", "Balances", "Denials", "Events", "answered"):
        assert wanted in shown, wanted
    refused = demo("--seconds", "6", "--picture", tmp_path / "nowhere" / "view.svg", cwd=tmp_path)
    assert refused.returncode == 2
    assert "nowhere" in refused.stderr


def test_books_that_do_not_balance_are_told_and_fail(tmp_path: Path) -> None:
    """Somebody gives an account a micro-unit behind the scripts' back."""
    data = tmp_path / "kept"
    process = subprocess.Popen(
        [*COMMAND, "--json", "--seconds", "6", "--data-dir", str(data)],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "talking" in line:
            break
    with redis.Redis(unix_socket_path=str(data / "redis" / "redis.sock")) as client:
        add_to_balance(client, "rater:{0}:account:librairie", 1)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    record = summary(output)
    assert record["books_balance"] is False
    assert len(record["faults"]) == 2, "against the ledger, and against the account's totals"
    assert all("librairie" in fault and "0.000001" in fault for fault in record["faults"]), record["faults"]


def test_data_are_kept_and_a_second_run_goes_on_with_them(tmp_path: Path) -> None:
    data = tmp_path / "kept"
    first = demo("--seconds", "5", "--json", "--data-dir", data, "--lines", "6", "--seed", "2", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert {"rater.toml", "demo.log", "redis"} <= {path.name for path in data.iterdir()}
    assert (data / "ami.secret").stat().st_mode & 0o077 == 0
    again = demo("--seconds", "3", "--json", "--data-dir", data, "--lines", "6", "--seed", "3", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    one, both = summary(first.stdout), summary(again.stdout)
    assert both["books_balance"] is True, both["faults"]
    assert both["answered"] >= one["answered"], "the books hold both runs"
    assert Decimal(both["charged"]) >= Decimal(one["charged"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_audits(number: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--json", "--rate", "8"],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "talking" in line:
            break
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert summary(output)["books_balance"] is True
    assert summary(output)["calls"] > 0


def test_a_second_demo_on_the_same_data_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "kept"
    process = subprocess.Popen(
        [*COMMAND, "--json", "--data-dir", str(data)],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline_s = time.monotonic() + 30
        while not (data / "rater.toml").exists():
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        refused = demo("--seconds", "1", "--json", "--data-dir", data, cwd=tmp_path)
        assert refused.returncode == 2
        assert "already" in refused.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0, "the first one does not notice"


def test_bad_input_is_explained(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    (catalog / "plans.toml").write_text("[plan.x]\ncurrency = 'EUR'\n")
    broken = demo("--seconds", "1", "--json", "--catalog", catalog, cwd=tmp_path)
    assert broken.returncode == 2
    assert "plans.toml" in broken.stderr
    taken = tmp_path / "taken"
    taken.write_text("a file")
    unusable = demo("--seconds", "1", "--data-dir", taken, cwd=tmp_path)
    assert unusable.returncode == 2
    assert "--data-dir" in unusable.stderr
    assert demo("--seconds", "0", cwd=tmp_path).returncode == 2
