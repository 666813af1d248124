"""What was measured, kept by kind of machine under ``bench/results``, and told in ``bench/RESULTS.md``."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.load.plot import svg
from bench.load.servers import SLOW_DISK_MS, Redis
from bench.load.site import ROOT

RESULTS = ROOT / "bench" / "RESULTS.md"
FOLDER = ROOT / "bench" / "results"
KEPT = 30
HEADING = "## The whole path"
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. `scale`: by what a stored figure is multiplied. `least`: more is better."""

    title: str
    scenario: str
    key: str
    unit: str
    must: float
    aim: float
    scale: float = 1
    least: bool = False


ROWS = (
    Row("full life cycles, sustained", "gate", "calls_per_s", "calls/s", 2000, 5000, least=True),
    Row("event in, action out, p50", "gate", "p50_ms", "ms", 0, 0),
    Row("event in, action out, p99", "gate", "p99_ms", "ms", 10, 5),
    Row("event in, action out, p99.9", "gate", "p999_ms", "ms", 0, 20),
    Row("daemon's processor time a call", "gate", "daemon_us_per_call", "µs", 150, 60),
    Row("Redis' processor time a call", "gate", "redis_us_per_call", "µs", 200, 100),
    Row("live calls held", "live", "live", "", 20_000, 100_000, least=True),
    Row("daemon's memory a live call", "live", "bytes_per_live_call", "kB", 4, 1.5, scale=0.001),
    Row("p99 while the catalogue is swapped", "swap", "p99_ms", "ms", 20, 10),
)


def machine() -> Figures:
    """Kind of machine and versions."""
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    redis_line = subprocess.run([str(Redis(Path()).binary), "--version"], capture_output=True, text=True).stdout
    found = re.search(r"v=(\S+)", redis_line)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    return {
        "kind": f"{os.cpu_count()} cores, {model[1].strip() if model else platform.machine()}",
        "python": platform.python_version(),
        "redis": found[1] if found else "",
        "uvloop": version("uvloop"),
        "hiredis": version("hiredis"),
        "commit": commit.strip(),
    }


def keep(results: dict[str, list[Figures]], command: str) -> tuple[Figures, Figures | None]:
    """Store a run; the run as stored, and the one before it on the same kind of machine."""
    about = machine()
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / (re.sub(r"[^a-z0-9]+", "-", about["kind"].lower()).strip("-") + ".json")
    runs: list[Figures] = json.loads(path.read_text()) if path.exists() else []
    run = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **about, "command": command, "results": results}
    path.write_text(json.dumps([*runs, run][-KEPT:], indent=1) + "\n")
    return run, runs[-1] if runs else None


def write(run: Figures, previous: Figures | None) -> None:
    """The section of RESULTS.md, and the plot beside it."""
    text = RESULTS.read_text()
    section = _section(run, previous)
    start = text.find(HEADING + "\n")
    if start < 0:
        text = text.rstrip() + "\n\n" + section
    else:
        end = text.find("\n## ", start + 1)
        text = text[:start] + section + (text[end:] if end >= 0 else "")
    RESULTS.write_text(text)
    if run["results"].get("ramp"):
        FOLDER.joinpath("whole-path.svg").write_text(svg(run["results"]["ramp"], f"The whole path, {run['kind']}"))


def _section(run: Figures, previous: Figures | None) -> str:
    results = run["results"]
    every = [figures for group in results.values() for figures in group]
    loads = [figures["figures"]["load_average"] for figures in every]
    paces = [figures["figures"]["pace_ns"] for figures in every]
    disk = [figures["figures"]["disk_percent"] for figures in every]
    balanced = sum(figures["books_balance"] for figures in every)
    versions = f"Python {run['python']}, Redis {run['redis']}, uvloop {run['uvloop']}, hiredis {run['hiredis']}"
    lines = [
        HEADING,
        f"`{run['command']}`, {run['at'][:10]}, commit {run['commit']}: {run['kind']}; {versions}.",
        "Redis, daemon and load generator on it together, `appendfsync always`, limits, allowances, thresholds and",
        "metrics on. Medians, in brackets the lowest and the highest run. Other work on the machine meanwhile:",
        f"load averages from {min(loads)} to {max(loads)}; a piece of work that is always the same took",
        f"{min(paces)} to {max(paces)} ns of processor time. For at least {min(disk):g} to {max(disk):g} % of the",
        f"time Redis, and so everything, waited for the disk, more than {SLOW_DISK_MS} ms each time. Books",
        f"audited after each run: {balanced} of {len(every)} balanced.",
        "",
        "| figure | must hold | aim | measured | runs | before |",
        "|---|---:|---:|---:|---:|---:|",
        *[line for row in ROWS if (line := _row(row, results, previous)) is not None],
    ]
    if results.get("gate"):
        lines += ["", _offered(results["gate"])]
    if results.get("ramp"):
        lines += ["", *_ramp(results["ramp"])]
    if results.get("spread"):
        lines += ["", *_spread(results["spread"])]
    return "\n".join(lines) + "\n"


def _row(row: Row, results: dict[str, list[Figures]], previous: Figures | None) -> str | None:
    values = [figures[row.key] * row.scale for figures in results.get(row.scenario, [])]
    if not values:
        return None
    earlier = [f[row.key] * row.scale for f in (previous or {"results": {}})["results"].get(row.scenario, [])]
    sign = "≥" if row.least else "≤"
    wanted = [f"{sign} {_number(limit)} {row.unit}".strip() if limit else "" for limit in (row.must, row.aim)]
    spread = f" ({_number(min(values))}–{_number(max(values))})" if len(values) > 1 else ""
    before = _number(statistics.median(earlier)) if earlier else ""
    median = f"{_number(statistics.median(values))}{spread}"
    return f"| {row.title} | {wanted[0]} | {wanted[1]} | **{median}** | {len(values)} | {before} |"


def _offered(runs: Sequence[Figures]) -> str:
    rate, figures = runs[0]["rate"], runs[0]["figures"]
    late = max(run["figures"]["lateness"]["p99_ms"] for run in runs)
    cpu = statistics.median(run["figures"]["cpu_us_per_call"]["generator"] for run in runs)
    return (
        f"The first six rows at {rate:g} calls a second offered for {figures['seconds']:g} s, "
        f"{figures['events_per_call']:g} events and {figures['actions_per_call']:g} actions a call. "
        f"The load generator itself took {cpu:g} µs a call; it sent up to {late:g} ms late (p99 of the worst run), "
        "which is in the latencies."
    )


def _ramp(steps: Sequence[Figures]) -> list[str]:
    lines = [
        "Rate after rate on one site (`--only ramp`); [the same as a plot](results/whole-path.svg):",
        "",
        "| offered | done | p50, ms | p99, ms | p99.9, ms | daemon, µs | Redis, µs | cores: daemon, Redis, load |"
        " held up by the disk |",
        "|---:|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    for step in steps:
        share = step["figures"]["cpu_share"]
        times = [step[key] for key in ("p50_ms", "p99_ms", "p999_ms", "daemon_us_per_call", "redis_us_per_call")]
        cores = f"{share['daemon']:.2f}, {share['redis']:.2f}, {share['generator']:.2f}"
        cells = [f"{step['rate']:g}", f"{step['calls_per_s']:g}", *map(_number, times), cores]
        cells.append(f"{step['figures']['disk_percent']:g} %")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _spread(sites: Sequence[Figures]) -> list[str]:
    lines = [
        "Several daemons, each leading its part of the switches, and masters of a Redis Cluster, a shard each,",
        f"at {sites[0]['rate']:g} calls a second in all (`--only spread`); processor time of all of them together:",
        "",
        "| daemons | masters | done | p50, ms | p99, ms | daemons, µs a call | Redis, µs a call |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for site in sites:
        names = ("daemons", "masters", "calls_per_s", "p50_ms", "p99_ms", "daemon_us_per_call", "redis_us_per_call")
        cells = [f"{site[name]:g}" if name in names[:3] else _number(site[name]) for name in names]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def command_line() -> str:
    return " ".join(["bench/run", *sys.argv[1:]])
