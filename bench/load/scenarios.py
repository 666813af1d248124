"""What is measured: the gate's rate, rate after rate, live calls held, a catalogue swapped, several daemons and
shards, a long run with faults.

Each scenario is one site from its start to the audit of its books.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from random import Random
from typing import Any

from bench.load.books import Books, audit
from bench.load.pace import Pace
from bench.load.people import People
from bench.load.site import RATER, ROOT, Setting, Site, write_deck

POOR_SHARE = 0.02
TALKING_SHARE = 0.74
"""Of all calls, those that are answered."""
Figures = dict[str, Any]


def people_for(rate: float, seconds: float) -> People:
    """Enough lines that few find all of theirs engaged, and enough poor ones that each is called twice."""
    return People(usual=max(500, int(rate * 5) // 5 * 5), poor=int(rate * seconds * POOR_SHARE / 2 * 1.1) + 20)


def gate(rate: float, seconds: float, *, warm_s: float, setting: Setting) -> Figures:
    """One rate, once."""
    with Site(people_for(rate, seconds + warm_s), setting) as site:
        figures = measured(site, rate, seconds, warm_s)
        books = finish(site)
    return summary(figures, books)


def ramp(rates: Sequence[float], seconds: float, *, setting: Setting) -> list[Figures]:
    """Rate after rate on one site; the books once, at the end."""
    people = people_for(max(rates), (seconds + 3) * len(rates))
    with Site(people, setting) as site:
        steps = [measured(site, rate, seconds) for rate in rates]
        books = finish(site)
    return [summary(step, books) for step in steps]


def live(calls: int, rate: float, hold_s: float, *, setting: Setting) -> Figures:
    """So many calls talk at once; what each takes of the daemon's memory, and what a new call waits meanwhile."""
    people = People(usual=max(500, calls // 5 * 5), poor=20 + int(calls * POOR_SHARE))
    talk = ["--talk", "7200", "7200", "--ring", "0.02", "0.05"]
    charging = "first_slice_s = 30\nlong_slice_s = 60\n"
    with Site(people, setting, charging=charging, generator_arguments=talk) as site:
        before = measured(site, max(5.0, rate / 20), 2, 1)
        filling = measured(site, rate, calls / TALKING_SHARE / rate, 0)
        holding = measured(site, max(5.0, rate / 20), hold_s, 2)
        talking = site.load.ask(do="hang_up", per_s=rate)["talking"]
        site.drain(calls / rate + 60)
        books = finish(site)
    grown = holding["resident"]["daemon"] - before["resident"]["daemon"]
    return {
        "live": talking,
        "filled_at_per_s": filling["calls_per_s"],
        "bytes_per_live_call": round(grown / max(1, talking - before["live"])),
        "daemon_cores_holding": holding["cpu_share"]["daemon"],
        "redis_cores_holding": holding["cpu_share"]["redis"],
        **summary(holding, books),
    }


def swap(prefixes: int, rate: float, seconds: float, *, setting: Setting) -> Figures:
    """The same rate without and with a large catalogue being published and taken up meanwhile."""
    with Site(people_for(rate, 3 * seconds + 60), setting, prefixes=prefixes) as site:
        quiet = measured(site, rate, seconds)
        write_deck(site.folder / "catalog" / "decks" / "retail.csv", prefixes, seed=8)
        began_s = time.monotonic()
        loading = subprocess.Popen(
            [*RATER, "catalog", "load", str(site.folder / "catalog"), "--config", str(site.settings)],
            cwd=ROOT, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        parts = []
        while loading.poll() is None or not parts:
            parts.append(measured(site, rate, max(2.0, seconds / 4), 0.2))
        loaded_s = time.monotonic() - began_s
        parts.append(measured(site, rate, max(2.0, seconds / 4), 0.2))
        books = finish(site)
    if loading.returncode:
        books.fault(f"rater catalog load ended with {loading.returncode}")
    worst = max(parts, key=lambda part: float(part["reaction"]["p99_ms"]))
    return {
        "prefixes": prefixes,
        "loaded_within_s": round(loaded_s, 1),
        "quiet_p99_ms": quiet["reaction"]["p99_ms"],
        "longest_ms": max(part["reaction"]["max_ms"] for part in parts),
        **summary(worst, books),
    }


def spread(daemons: int, masters: int, rate: float, seconds: float, *, setting: Setting) -> Figures:
    """The switches shared out among several daemons, the accounts among the masters of a cluster: what a call takes
    then of all of them together."""
    with Site(people_for(rate, seconds + 3), setting, daemons=daemons, masters=masters) as site:
        figures = measured(site, rate, seconds)
        books = finish(site)
    return {"daemons": daemons, "masters": masters, **summary(figures, books)}


def soak(rate: float, minutes: float, *, setting: Setting, every_s: float = 60) -> Figures:
    """A long run with transfers, in which connections are cut and Redis is restarted; memory is looked at after
    every part."""
    random, parts, faults = Random(5), [], []
    with Site(people_for(rate, minutes * 60 + 60), setting, rewrites=True) as site:
        until_s = time.monotonic() + minutes * 60
        while time.monotonic() < until_s or len(parts) < 3:
            if parts:
                faults.append(
                    random.choice(("cut", "redis")) if len(parts) > 2 else ("cut", "redis")[len(parts) - 1]
                )
                trouble(site, faults[-1])
            parts.append(measured(site, rate, every_s, min(5.0, every_s)))
        books = finish(site)
    resident = [part["resident"]["daemon"] for part in parts]
    third = max(1, len(resident) // 3)
    return {
        "minutes": round(sum(part["seconds"] for part in parts) / 60, 1),
        "parts": len(parts),
        "faults": faults,
        "resident_mib": [round(value / 2**20, 1) for value in resident],
        "growth_percent": round(100 * (max(resident[-third:]) / max(resident[:third]) - 1), 1),
        **summary(parts[-1], books),
    }


def trouble(site: Site, what: str) -> None:
    """Something breaks and is mended, while nobody begins a call; those that live go on."""
    if what == "cut":
        site.load.ask(do="cut")
    else:
        site.redis.kill()
        time.sleep(0.5)
        site.redis.start()
        site.arrange()
    time.sleep(3)


def measured(site: Site, rate: float, seconds: float, warm_s: float = 3.0) -> Figures:
    """A phase of the site, with the machine's own pace beside it and how long the disk held Redis up."""
    with Pace() as pace:
        figures = site.phase(rate, seconds, warm_s)
    held_up_s = site.store.held_up_s(time.time() - seconds)
    figures |= pace.figures() | {"disk_percent": round(100 * held_up_s / seconds, 2)}
    note(figures)
    return figures


def finish(site: Site) -> Books:
    """No more calls, and then the books."""
    left = site.drain()
    told = site.load.ask(do="quit")
    site.load.process.wait()
    books = audit(site, told["reasons"], told["lost"])
    if left:
        books.fault(f"{left} calls never ended")
    for fault in books.faults:
        print(f"books: {fault}", file=sys.stderr)
    return books


def summary(figures: Figures, books: Books) -> Figures:
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
        "books": asdict(books),
        "figures": {name: value for name, value in figures.items() if name != "buckets"},
    }


def note(figures: Figures) -> None:
    """What a phase came to, for whoever watches."""
    reaction, cpu, share = figures["reaction"], figures["cpu_us_per_call"], figures["cpu_share"]
    print(
        f"{figures['rate']:>7.0f}/s offered, {figures['calls_per_s']:>7.1f} done; "
        f"reaction p50 {reaction['p50_ms']} p99 {reaction['p99_ms']} p99.9 {reaction['p999_ms']} ms; "
        f"µs a call: daemon {cpu['daemon']}, redis {cpu['redis']}, generator {cpu['generator']}; cores: {share}; "
        f"unanswered {figures['unanswered']}, generator late p99 {figures['lateness']['p99_ms']} ms, "
        f"live {figures['live']}, pace {figures['pace_ns']} ns, "
        f"held up by the disk for {figures['disk_percent']} %, load {figures['load_average']}, {figures['fates']}",
        file=sys.stderr,
        flush=True,
    )
