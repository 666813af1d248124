"""The command line of the simulation; started by ``tests/simulation/run``."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rater.logs import set_up_logs
from tests.servers import RedisServer as RealRedis
from tests.servers import binaries

from .play import play, server_for
from .servers import Server
from .virtual import VirtualTime
from .world import Result, simulate


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/simulation/run", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many worlds")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--store", choices=["memory", "redis"], default="memory")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--trace", type=Path, help="with --seed: a file for every operation and fault")
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        parser.error("start it by tests/simulation/run, so that seeds replay")
    if arguments.seeds < 1 or arguments.jobs < 1:
        parser.error("--seeds and --jobs must be at least 1")
    if arguments.trace and arguments.seed is None:
        parser.error("--trace goes with --seed")
    return arguments


def main() -> int:
    arguments = _arguments()
    if arguments.store == "memory":
        return _run(arguments, None)
    with tempfile.TemporaryDirectory(prefix="rater-simulation-") as folder:
        binary = next(reversed(binaries().values()))
        server = RealRedis(binary, Path(folder), options={"appendfsync": "no"})
        server.start()
        try:
            return _run(arguments, server.port)
        finally:
            server.stop()


def _run(arguments: argparse.Namespace, port: int | None) -> int:
    began_s = time.monotonic()
    if arguments.seed is not None:
        results = [_one(arguments.seed, port, arguments.trace)]
        _report(results[0], arguments.store)
    else:
        seeds = range(arguments.first, arguments.first + arguments.seeds)
        results = []
        with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
            for result in pool.imap(partial(play, port), seeds):
                _report(result, arguments.store)
                results.append(result)
    faults: Counter[str] = Counter()
    events: Counter[str] = Counter()
    for result in results:
        faults.update(result.faults)
        events.update(result.events)
    failed = [result.seed for result in results if result.findings]
    print(json.dumps({
        "seeds": len(results), "failed": failed, "calls": sum(r.calls for r in results),
        "legs": sum(r.legs for r in results), "faults": dict(sorted(faults.items())),
        "events": dict(sorted(events.items())), "store": arguments.store,
        "seconds": round(time.monotonic() - began_s, 1),
    }))  # fmt: skip
    return 1 if failed else 0


def _one(seed: int, port: int | None, trace: Path | None) -> Result:
    set_up_logs("debug" if trace else "critical", json_lines=False)
    lines: list[str] = []
    make: Callable[[VirtualTime], Server] = partial(server_for, port)
    result = simulate(seed, make, lines if trace else None)
    if trace is not None:
        trace.write_text("\n".join(lines) + "\n")
    print(f"seed {seed}: digest {result.digest}, {result.calls} calls, {result.legs} legs, faults {result.faults}")
    return result


def _report(result: Result, store: str) -> None:
    if not result.findings:
        return
    print(f"seed {result.seed}: {len(result.findings)} findings; again: tests/simulation/run --seed {result.seed}"
          f" --store {store} --trace FILE")  # fmt: skip
    firsts = list({finding.rule: finding for finding in reversed(result.findings)}.values())
    for finding in [*firsts, *(other for other in result.findings if other not in firsts)][:10]:
        print(f"  {finding}")


if __name__ == "__main__":
    sys.exit(main())
