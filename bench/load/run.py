"""bench/run: the whole path, measured. See `bench/run --help`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.load.books import Books, audit
from bench.load.people import People
from bench.load.site import Site

GATE_RATE = 2_000.0
POOR_SHARE = 0.02


def people_for(rate: float, seconds: float) -> People:
    """Enough lines that few find all of theirs engaged, and enough poor ones that each is called twice."""
    return People(usual=max(500, int(rate * 5) // 5 * 5), poor=int(rate * seconds * POOR_SHARE / 2 * 1.1) + 20)


def finish(site: Site) -> Books:
    """No more calls, and then the books."""
    left = site.drain()
    reasons = site.load.ask(do="quit")["reasons"]
    site.load.process.wait()
    books = audit(site, reasons)
    if left:
        books.fault(f"{left} calls never ended")
    return books


def gate(rate: float, seconds: float, warm_s: float, switches: int, keep: Path | None) -> dict[str, Any]:
    """The gate's rate, once."""
    with Site(people_for(rate, seconds + warm_s), switches, keep=keep) as site:
        figures = site.phase(rate, seconds, warm_s)
        note(figures)
        books = finish(site)
    for fault in books.faults:
        print(f"books: {fault}", file=sys.stderr)
    return summary(figures, books)


def ramp(rates: list[float], seconds: float, switches: int, keep: Path | None) -> list[dict[str, Any]]:
    """Rate after rate on one site; the books once, at the end."""
    people = people_for(max(rates), (seconds + 3) * len(rates))
    with Site(people, switches, keep=keep) as site:
        steps = []
        for rate in rates:
            steps.append(site.phase(rate, seconds))
            note(steps[-1])
        books = finish(site)
    for fault in books.faults:
        print(f"books: {fault}", file=sys.stderr)
    return [summary(step, books) for step in steps]


def summary(figures: dict[str, Any], books: Books) -> dict[str, Any]:
    reaction, cpu = figures["reaction"], figures["cpu_us_per_call"]
    return {
        "rate": figures["rate"],
        "calls_per_s": figures["calls_per_s"],
        "p50_ms": reaction["p50_ms"],
        "p99_ms": reaction["p99_ms"],
        "p999_ms": reaction["p999_ms"],
        "daemon_us_per_call": cpu["daemon"],
        "redis_us_per_call": cpu["redis"],
        "books_balance": books.balance,
        "books": dict(vars(books)),
        "figures": {name: value for name, value in figures.items() if name != "buckets"},
    }


def note(figures: dict[str, Any]) -> None:
    """What a phase came to, for whoever watches."""
    reaction, cpu, share = figures["reaction"], figures["cpu_us_per_call"], figures["cpu_share"]
    print(
        f"{figures['rate']:>7.0f}/s offered, {figures['calls_per_s']:>7.1f} done; "
        f"reaction p50 {reaction['p50_ms']} p99 {reaction['p99_ms']} p99.9 {reaction['p999_ms']} ms; "
        f"µs a call: daemon {cpu['daemon']}, redis {cpu['redis']}, generator {cpu['generator']}; cores: {share}; "
        f"unanswered {figures['unanswered']}, generator late p99 {figures['lateness']['p99_ms']} ms, "
        f"live {figures['live']}, {figures['fates']}",
        file=sys.stderr,
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--only", choices=("gate", "ramp"), default="gate")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long is measured")
    parser.add_argument("--warm", type=float, default=5.0, help="seconds before that")
    parser.add_argument("--rate", type=float, default=GATE_RATE, help="calls a second")
    parser.add_argument("--rates", type=float, nargs="+", default=[200, 500, 1000, 1500, 2000, 3000])
    parser.add_argument("--switches", type=int, default=8)
    parser.add_argument("--keep", type=Path, help="leave the run's files there")
    parser.add_argument("--json", action="store_true", help="the figures as JSON, in the last line")
    args = parser.parse_args()
    if args.only == "gate":
        print(json.dumps(gate(args.rate, args.seconds, args.warm, args.switches, args.keep)))
    else:
        for step in ramp(args.rates, args.seconds, args.switches, args.keep):
            print(json.dumps(step))


if __name__ == "__main__":
    main()
