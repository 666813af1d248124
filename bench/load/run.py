"""The whole path, measured: real Redis, real daemon, a load generator that is many switches; the books audited.

Without --only: the gate's rate `--runs` times, a ramp of rates, live calls held, a catalogue swapped, several
daemons and shards. The results are kept under bench/results and told in bench/RESULTS.md, beside those of the run
before on this kind of machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.load import report, scenarios
from bench.load.machine import Machine
from bench.load.site import Setting

GATE_RATE = 2_000.0
SCENARIOS = ("gate", "ramp", "live", "swap", "spread", "soak")
SPREAD = ("1x1", "2x1", "4x1", "1x2", "1x3", "2x3")
"""Daemons, and masters of Redis."""
KEEP_BYTES = 107 - len("/redis/redis.sock")
"""A socket's path has at most 107 (unix(7))."""


def main() -> None:
    args = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the site is cleared away
    todo = _scenarios(args)
    if args.only is not None:
        for figures in todo[args.only]():
            print(json.dumps(figures) if args.json else json.dumps(figures, indent=2))
        return
    results = {name: todo[name]() for name in SCENARIOS if name != "soak"}
    run, previous = report.keep(results, report.command_line())
    report.write(run, previous)
    print(f"written: {report.RESULTS.relative_to(report.ROOT)}")


def _scenarios(args: argparse.Namespace) -> dict[str, Callable[[], list[dict[str, Any]]]]:
    setting = Setting(args.switches, Machine(args.priority, own_cores=not args.shared_cores), args.keep)
    gate = partial(scenarios.gate, args.rate, args.seconds, warm_s=args.warm, setting=setting)
    return {
        "gate": lambda: [gate() for _ in range(args.runs if args.only is None else 1)],
        "ramp": lambda: scenarios.ramp(args.rates, min(args.seconds, args.step_seconds), setting=setting),
        "live": lambda: [scenarios.live(args.calls, args.fill_rate, min(args.seconds, 10), setting=setting)],
        "swap": lambda: [scenarios.swap(args.prefixes, args.rate / 10, min(args.seconds, 20), setting=setting)],
        "spread": lambda: [
            scenarios.spread(*parts, args.spread_rate, min(args.seconds, args.step_seconds), setting=setting)
            for parts in args.spread
        ],
        "soak": lambda: [scenarios.soak(args.rate / 2, args.minutes, every_s=args.part_seconds, setting=setting)],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", choices=SCENARIOS, help="one scenario; prints its figures and writes nothing")
    add("--rate", type=float, default=GATE_RATE, help="gate: calls a second; swap takes a tenth, soak half of it")
    add("--seconds", type=float, default=60.0, help="how long is measured; shorter where less will do")
    add("--warm", type=float, default=5.0, help="seconds before that")
    add("--runs", type=int, default=3, help="of the gate")
    add("--rates", type=float, nargs="+", default=[200, 500, 1000, 1500, 2000, 3000], help="of the ramp")
    add("--step-seconds", type=float, default=15.0, help="at each of them")
    add("--calls", type=int, default=20_000, help="live: how many")
    add("--fill-rate", type=float, default=500.0, help="live: how fast they begin and end")
    add("--prefixes", type=int, default=1_000_000, help="swap: rows of the catalogue's deck")
    add("--spread-rate", type=float, default=300.0, help="spread: calls a second over all daemons")
    add("--spread", type=_daemons_and_masters, nargs="+", default=[*map(_daemons_and_masters, SPREAD)],
        metavar="DxM", help="spread: daemons and masters of Redis, such as 2x3")  # fmt: skip
    add("--minutes", type=float, default=60.0, help="soak: how long")
    add("--part-seconds", type=float, default=60.0, help="soak: between two faults")
    add("--switches", type=int, default=8)
    add(
        "--priority", type=int, default=0, help="niceness of Redis, daemon and load, -20 to 19, on a shared machine"
    )
    add("--shared-cores", action="store_true", help="let the scheduler run others on the daemons' cores")
    add("--keep", type=Path, help="leave a run's files there")
    add("--json", action="store_true", help="with --only: one line of JSON for each result, the last line last")
    args = parser.parse_args()
    if args.keep is not None and len(os.fsencode(args.keep.resolve())) > KEEP_BYTES:
        parser.error(f"argument --keep: Redis' socket is made there; give a path of at most {KEEP_BYTES} bytes")
    return args


def _daemons_and_masters(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9])x([1-9])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not such as 2x3")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    main()
