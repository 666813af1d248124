"""How fast events are re-rated, on one core: `rater rerate`'s own parts against a loop over the readable twin.

    python bench/rerate.py --size 1000000

Makes a month of events for the demonstration's catalogue (three plans, bands, allowances; one in ten numbers is
new), and re-rates them under the same catalogue, so that every difference must be zero. Measured in one run:

- `bulk_per_s`: events re-rated a second of the processor, from columns to new prices, their numbers read
- `twin_per_s`: the same one by one: `Snapshot.rate` over the readable twin, C(b) − C(a) of its quote
- `bulk_known_per_s`, `twin_known_per_s`: both again with every number known, so what pricing itself takes
- `command`: `rater rerate` as a whole, from a file of JSON lines to a report in CSV, and its peak memory
- `command_tenth`: the same with a tenth of the events, to see what memory does
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rater.catalog.files import read_catalog
from rater.catalog.model import Rated, Refused
from rater.catalog.snapshot import Snapshot
from rater.ids import PlanId
from rater.money import cumulative_micro
from rater.rating import reference
from rater.rerate.model import Events
from rater.rerate.pricing import Rerater
from rater.rerate.source import Source

CATALOG = Path(__file__).resolve().parents[1] / "config" / "catalog"
SINCE_MS, MONTH_MS = 1_788_220_800_000, 30 * 86_400_000  # September 2026
TWIN_MOST = 20_000
T = TypeVar("T")
PERIOD = ("--from", "2026-08-01", "--to", "2026-11-01")
_BEGINNINGS = ("01", "04", "06", "07", "0044207", "00491", "0039", "001212", "0081", "0033")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100_000, help="events (at least 1000)")
    size = max(1000, parser.parse_args().size)
    print(json.dumps(measure(size), indent=2))


def measure(size: int) -> dict[str, Any]:
    """Everything said above, for so many events."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        with tempfile.TemporaryDirectory() as folder:
            path, small = Path(folder, "events.jsonl"), Path(folder, "tenth.jsonl")
            write(path, size)
            write(small, size // 10)
            return {
                "events": size,
                **_bulk(read_catalog(CATALOG), path),
                "command": _command(path),
                "command_tenth": _command(small),
            }
    finally:
        os.sched_setaffinity(0, cores)


def write(path: Path, size: int) -> None:
    """Events as the publisher writes them, priced by the catalogue; each leg drawn anew from one seed."""
    rng = random.Random(7)
    catalog = read_catalog(CATALOG)
    legs = [leg for _ in range(max(100, size // 10)) if (leg := _leg(catalog, rng)) is not None]
    with path.open("w", encoding="utf-8") as file:
        for number in range(size):
            file.write(_record(number, rng, *rng.choice(legs)))


def _leg(catalog: Snapshot, rng: random.Random) -> tuple[dict[str, Any], Any] | None:
    """Who calls whom, and the quote at some moment of the month; None when the plan refuses the number."""
    plan = rng.choice(sorted(catalog.plans))
    dialled = rng.choice(_BEGINNINGS) + f"{rng.randrange(10**8):08d}"
    at_ms = SINCE_MS + rng.randrange(MONTH_MS)
    rated = catalog.rate(PlanId(plan), dialled, area="", at_ms=at_ms)
    if isinstance(rated, Refused):
        return None
    facts = {
        "plan": plan, "dialled": dialled, "number": rated.number, "prefix": rated.prefix, "at_ms": at_ms,
        "class": rated.destination_class, "destination": rated.destination, "steps": list(rated.steps),
    }  # fmt: skip
    return facts, rated.quote


def _record(number: int, rng: random.Random, facts: dict[str, Any], quote: Any) -> str:
    """A line: the leg with a length of its own, one in five begun by an allowance."""
    seconds = min(1 + int(rng.expovariate(1 / 150)), quote.horizon_s)
    free_s = rng.randrange(seconds) if rng.random() < 0.2 else 0
    amount = cumulative_micro(quote, seconds) - cumulative_micro(quote, free_s)
    at = _iso(facts["at_ms"])
    allowance = [{"grant": "minutes", "from_s": 0, "to_s": free_s, "seconds": free_s}] if free_s else []
    return json.dumps({
        "schema": "rater.rated/1", "id": f"pbx1.bench.{number}", "leg": f"pbx1.bench.{number}",
        "call": f"pbx1.bench.{number}", "switch": "pbx1", "mode": "gate", "direction": "out",
        "account": f"account-{number % 5000}", "line": "", "trunk": "carrier", "caller": "1001",
        "dialled": facts["dialled"], "number": facts["number"], "prefix": facts["prefix"],
        "destination": facts["destination"], "class": facts["class"], "plan": facts["plan"], "catalog_version": 1,
        "emergency": False, "attempted_at": at, "rated_at": at, "dialled_at": at, "answered_at": at,
        "ended_at": _iso(facts["at_ms"] + seconds * 1000), "duration_ms": seconds * 1000, "duration_s": seconds,
        "granted_s": seconds, "billed_s": free_s + seconds, "amount": "0", "amount_micro": amount,
        "currency": quote.currency, "allowance": allowance,
        "money": [{"from_s": free_s, "to_s": seconds, "amount": "0", "amount_micro": amount}],
        "segments": [], "free_s": quote.free_s, "balance_before": "0.00", "balance_after": "0.00",
        "disposition": "answered", "cause": 16, "grade": "observed", "answer_grade": "observed", "cut": "",
        "reason": "allowed", "detail": "", "steps": facts["steps"],
    }) + "\n"  # fmt: skip


def _iso(at_ms: int) -> str:
    return f"{np.datetime64(at_ms, 'ms')}Z"


def _bulk(catalog: Snapshot, path: Path) -> dict[str, Any]:
    """Both ways over the same columns; all new prices must be the old ones."""
    rerater, twin = Rerater(catalog), _over_twin()
    batches = list(Source(0, 4_102_444_799_000).files([path], lambda done: None))
    events = sum(map(len, batches))
    cold, cold_s = _timed(lambda: [rerater.rerate(batch).new_micro for batch in batches])
    warm, warm_s = _timed(lambda: [rerater.rerate(batch).new_micro for batch in batches])
    for batch, first, again in zip(batches, cold, warm, strict=True):
        assert (first == batch.amount_micro).all() and (again == first).all(), "the same catalogue changed a price"
    legs, old = _sample(batches)
    one_by_one, twin_s = _timed(lambda: _twin(twin, legs))
    priced, priced_s = _timed(lambda: _twin_prices(twin, legs))
    assert one_by_one == old and priced == old, "the twin disagrees"
    bulk_per_s, known_per_s = events / cold_s, events / warm_s
    twin_per_s, twin_known_per_s = len(legs) / twin_s, len(legs) / priced_s
    return {
        "bulk_per_s": round(bulk_per_s),
        "twin_per_s": round(twin_per_s),
        "bulk_to_twin": round(bulk_per_s / twin_per_s, 1),
        "bulk_known_per_s": round(known_per_s),
        "twin_known_per_s": round(twin_known_per_s),
        "bulk_to_twin_known": round(known_per_s / twin_known_per_s, 1),
    }


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    """What it gives, and the seconds of the processor that it took."""
    begun_s = time.process_time()
    result = work()
    return result, time.process_time() - begun_s


def _sample(batches: list[Events]) -> tuple[list[Leg], list[int]]:
    """At most TWIN_MOST legs with their amounts; of them as large a part is to new numbers as of the whole."""
    events = sum(map(len, batches))
    numbers: set[str] = set()
    for batch in batches:
        numbers.update(batch.codes("dialled")[1])
    some = set(sorted(numbers)[:: max(1, events // TWIN_MOST)])
    chosen = [
        (leg, amount)
        for batch in batches
        for leg, amount in zip(_legs(batch), batch.amount_micro.tolist(), strict=True)
        if leg[1] in some
    ][:TWIN_MOST]
    return [leg for leg, _ in chosen], [amount for _, amount in chosen]


Leg = tuple[str, str, str, int, list[tuple[int, int]]]


def _legs(events: Events) -> Iterator[Leg]:
    """(plan, dialled, number, moment, money stretches), ready for a loop."""
    texts = [events.texts[name].dictionary_decode().to_pylist() for name in ("plan", "dialled", "number")]
    stretches: list[list[tuple[int, int]]] = [[] for _ in range(len(events))]
    pieces = zip(events.piece_event.tolist(), events.piece_from_s.tolist(), events.piece_to_s.tolist(), strict=True)
    for event, from_s, to_s in pieces:
        stretches[event].append((from_s, to_s))
    return zip(*texts, events.rated_at_ms.tolist(), stretches, strict=True)


def _twin(catalog: Snapshot, legs: list[Leg]) -> list[int]:
    """One by one, everything in readable Python."""
    amounts = []
    for plan, dialled, _, at_ms, stretches in legs:
        rated = catalog.rate(PlanId(plan), dialled, area="", at_ms=at_ms)
        assert isinstance(rated, Rated)
        quote = rated.quote
        amounts.append(sum(cumulative_micro(quote, b) - cumulative_micro(quote, a) for a, b in stretches))
    return amounts


def _twin_prices(catalog: Snapshot, legs: list[Leg]) -> list[int]:
    """Numbers known, prices alone: the fewest steps in which the readable kernel can tell an amount."""
    amounts = []
    for plan, _, number, at_ms, stretches in legs:
        cost = catalog.plans[PlanId(plan)].tariff.pricer.cost
        upto = [[cost(number, at_ms, s) for s in (b, a) if s] for a, b in stretches]
        amounts.append(sum(both[0][0] - (both[1][0] if both[1:] else 0) for both in upto))
    return amounts


def _over_twin() -> Snapshot:
    """The catalogue, looked up and priced by the readable kernel."""
    catalog = read_catalog(CATALOG)
    for plan in catalog.plans.values():
        tariff = plan.tariff
        twin = reference.Pricer(
            tariff.deck, tariff.timeline, tariff.unit_micro, int(tariff.rounding), tariff.max_call_s
        )
        object.__setattr__(tariff, "pricer", twin)
    return catalog


def _command(path: Path) -> dict[str, Any]:
    """The command in a process of its own: seconds of the processor, events a second, peak memory."""
    program = (  # VmHWM, since a child inherits ru_maxrss
        "import json,resource,sys\n"
        "from rater.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    code = stop.code\n"
        "use = resource.getrusage(resource.RUSAGE_SELF)\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(json.dumps([code, use.ru_utime + use.ru_stime, int(peak.split()[1])]), file=sys.stderr)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        words = ["rerate", *PERIOD, "--catalog", str(CATALOG), "--events", str(path), "--json"]
        done = subprocess.run(
            [sys.executable, "-c", program, *words, "--out", str(Path(folder, "report"))],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
    code, cpu_s, peak_kib = json.loads(done.stderr.strip().splitlines()[-1])
    summary = json.loads(done.stdout)
    assert not code and summary["changed"] == 0 and not summary["faults"], summary["outcomes"]
    return {
        "events": summary["events"],
        "cpu_s": round(cpu_s, 2),
        "events_per_s": round(summary["events"] / cpu_s),
        "peak_mib": round(peak_kib / 1024, 1),
    }


if __name__ == "__main__":
    main()
