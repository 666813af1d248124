"""What rating costs: looking up, pricing, loading a deck, and swapping one in while calls go on.

    python bench/rating.py --size 1000000

Makes a deck of `size` prefixes, one in ten with two bands, and measures in one run, each figure beside what it is
compared with. Looking up and pricing run on one core and are measured in its time, so that a busy machine disturbs
them little; loading and swapping in time on the wall, with as many cores as there are:

- `lookup`: the longest prefix of a number. `compiled`: a call from Python; `batch`: over a numpy array; `twin`: the
  readable kernel; `dicts`: a dictionary for each length of prefix, the usual way in Python. Nanoseconds a number.
- `price`: a call of 1 h in increments of 1 s over the edge of a band, look-up included, and one of 10 s;
  `twin`: the same hour by the readable kernel; `quote`: the hour with its quote, as a call in progress needs it.
  Microseconds.
- `affordable`: how long a call may last for its money, for quotes of 10 s and of a day. Microseconds.
- `load`: the CSV file to a deck ready for rating; `read`: pyarrow merely reading the same file. Milliseconds.
- `swap`: the longest pause of an event loop that prices a call every millisecond while a snapshot with that deck is
  made ready beside it, as the daemon does it; `idle`: the same loop with nothing beside it. Milliseconds.

Each figure is the median of the rounds, with the lowest and the highest; ratios are of medians, that of loading to
reading the median of the pairs.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import gc
import json
import os
import random
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.csv

from rater.catalog.files import read_catalog
from rater.catalog.pieces import from_pieces, to_pieces
from rater.ids import PlanId
from rater.money import Quote, Rounding, Segment
from rater.rating import kernel, reference
from rater.rating.bands import Band, Window
from rater.rating.compiled import CompiledDeck, pack, unpack
from rater.rating.deck import import_deck
from rater.rating.tariff import PlanTariff

ZONE = ZoneInfo("Europe/Paris")
BANDS = (Band("peak", (Window(frozenset(range(5)), 8 * 3600, 20 * 3600),)), Band("off", (Window(),)))
EDGE_MS = int(dt.datetime(2026, 11, 23, 20, tzinfo=ZONE).timestamp() * 1000)
HEADER = "prefix,destination,class,price,connect_fee,per,first,next,band,carrier_cost\n"
PLANS = """
[plan.p]
currency = "EUR"
zone = "Europe/Paris"
deck = "decks/deck.csv"
[[plan.p.band]]
name = "peak"
windows = [{ days = "mon-fri", from = "08:00", to = "20:00" }]
[[plan.p.band]]
name = "off"
windows = [{}]
"""
Figure = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1_000_000, help="prefixes of the deck (at least 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measurement (at least 3)")
    given = parser.parse_args()
    print(json.dumps(measure(max(1000, given.size), max(3, given.rounds)), indent=2))


def measure(size: int, rounds: int = 3) -> dict[str, Any]:
    """Everything said above, for a deck of so many prefixes."""
    rng = random.Random(size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prefixes = write_catalog(folder, size, rng)
        numbers = [rng.choice(prefixes) + "".join(rng.choices("0123456789", k=4)) for _ in range(min(size, 50_000))]
        loading, deck = measure_loading(folder / "decks" / "deck.csv", rounds)
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})
        try:
            tariff = tariff_of(deck)
            found = measure_lookup(deck, numbers, rounds)
            priced = measure_pricing(tariff, numbers, rounds)
        finally:
            os.sched_setaffinity(0, cores)
        swap = asyncio.run(measure_swap(b"".join(to_pieces(read_catalog(folder))), tariff, numbers, rounds))
    return {
        "prefixes": len(deck.keys), "rows": len(deck), "rounds": rounds, "kernel": kernel.NAME,
        "lookup": found, **priced, "load": loading, "swap": swap,
    }  # fmt: skip


def write_catalog(folder: Path, size: int, rng: random.Random) -> list[str]:
    """A catalogue with one plan and its deck; returns the prefixes. Prices are by the first three digits, as a
    carrier's are by destination."""
    prefixes: set[str] = set()
    while len(prefixes) < size:
        length = rng.choice((4, 5, 6, 7, 8, 9, 10)) if size > 10_000 else rng.choice((4, 5, 6))
        prefixes.add(str(rng.randrange(10 ** (length - 1), 10**length)))
    (folder / "decks").mkdir()
    (folder / "plans.toml").write_text(PLANS)
    with (folder / "decks" / "deck.csv").open("w") as file:
        file.write(HEADER)
        for prefix in sorted(prefixes):
            price, kind = int(prefix[:3]) * 3 + 17, "mobile" if prefix[2] in "789" else "fixed"
            tail = f"{prefix[:3]},{kind},0.{price:04d},0.05,60,1,1"
            for band in ("peak", "off") if prefix[-1] == "7" else ("",):
                file.write(f"{prefix},Destination {tail},{band},0.{price // 2:04d}\n")
    return sorted(prefixes)


def tariff_of(deck: CompiledDeck) -> PlanTariff:
    return PlanTariff(PlanId("p"), "EUR", 4, Rounding.HALF_UP, ZONE, BANDS, deck)


def figure(times_s: Sequence[float], scale: float) -> Figure:
    scaled = sorted(value * scale for value in times_s)
    return {name: round(value, 3) for name, value in
            (("median", statistics.median(scaled)), ("low", scaled[0]), ("high", scaled[-1]))}  # fmt: skip


def by_turns(ways: dict[str, tuple[Callable[[], object], int]], rounds: int, scale: float) -> dict[str, Figure]:
    """The processor's time for one of the things that each way does so many of. In each round every way has its
    turn, so that all meet the same weather, and works once before it is timed, so that none finds the caches full
    of another's data."""
    gc.collect()
    gc.freeze()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (work, count) in ways.items():
            work()
            start = time.thread_time()
            work()
            times[name].append((time.thread_time() - start) / count)
    gc.unfreeze()
    return {name: figure(each, scale) for name, each in times.items()}


def measure_loading(path: Path, rounds: int) -> tuple[dict[str, Any], CompiledDeck]:
    def load() -> CompiledDeck:
        deck = import_deck(path, zone=ZONE, classes=("fixed", "mobile"), bands=BANDS)
        assert isinstance(deck, CompiledDeck), deck
        tariff_of(deck)
        return deck

    loaded, read = [], []
    deck = load()
    for _ in range(rounds):  # by turns, so that both meet the same weather
        start = time.perf_counter()
        pyarrow.csv.read_csv(path)
        middle = time.perf_counter()
        load()
        read.append(middle - start)
        loaded.append(time.perf_counter() - middle)
    pairs = figure([one / other for one, other in zip(loaded, read, strict=True)], 1)
    return {
        "load_ms": figure(loaded, 1e3), "read_ms": figure(read, 1e3), "times_reading": pairs,
        "file_mb": round(path.stat().st_size / 1e6, 1),
    }, deck  # fmt: skip


class DictPerLength:
    """The usual look-up in Python: a dictionary for each length, the longest first."""

    def __init__(self, deck: CompiledDeck) -> None:
        by_length: dict[int, dict[str, int]] = {}
        for group, key in enumerate(deck.keys.tolist()):
            prefix = unpack(key)
            by_length.setdefault(len(prefix), {})[prefix] = group
        self._by_length = sorted(by_length.items(), reverse=True)

    def lookup(self, number: str) -> int:
        for length, groups in self._by_length:
            group = groups.get(number[:length])
            if group is not None:
                return group
        return -1


def measure_lookup(deck: CompiledDeck, numbers: list[str], rounds: int) -> dict[str, Any]:
    compiled, twin, dicts = kernel.Trie(deck.keys), reference.Trie(deck.keys), DictPerLength(deck)
    keys = np.array([pack(number[:16]) for number in numbers], np.uint64)
    expected = compiled.lookup_many(keys).tolist()
    for way in (compiled, twin, dicts):
        assert [way.lookup(number) for number in numbers] == expected

    def each(look: Callable[[str], int]) -> tuple[Callable[[], object], int]:
        return lambda: deque(map(look, numbers), maxlen=0), len(numbers)

    figures = by_turns(
        {
            "single": each(compiled.lookup), "twin": each(twin.lookup), "dicts": each(dicts.lookup),
            "batch": (lambda: compiled.lookup_many(keys), len(keys)),
        },
        rounds, 1e9,
    )  # fmt: skip
    single, slow, usual, batch = (figures[name] for name in ("single", "twin", "dicts", "batch"))
    return {
        "compiled_ns": single, "batch_ns": batch, "twin_ns": slow, "dicts_ns": usual,
        "twin_over_compiled": ratio(slow, single), "twin_over_batch": ratio(slow, batch),
        "dicts_over_compiled": ratio(usual, single), "dicts_over_batch": ratio(usual, batch),
        "bytes_a_prefix": round(compiled.nbytes / len(deck.keys), 1),
        "deck_bytes_a_prefix": round(deck.nbytes / len(deck.keys), 1),
    }  # fmt: skip


def measure_pricing(tariff: PlanTariff, numbers: list[str], rounds: int) -> dict[str, Any]:
    """Numbers that have bands, dialled half an hour before the edge."""
    banded = [n for n in numbers if len({s.band for s in tariff.quote(n, EDGE_MS).quote.segments}) > 1][:4000]  # type: ignore[union-attr]
    at_ms = EDGE_MS - 1_800_000
    slow = reference.Pricer(tariff.deck, tariff.timeline, tariff.unit_micro, int(tariff.rounding), 86_400)
    some = banded[:: max(1, len(banded) // 500)]
    assert all(slow.cost(n, at_ms, 3600) == tuple(tariff.pricer.cost(n, at_ms, 3600) or ()) for n in some)

    def calls(
        cost: Callable[[str, int, int], object], these: list[str], seconds: int
    ) -> tuple[Callable[[], object], int]:
        return lambda: [cost(number, at_ms, seconds) for number in these], len(these)

    figures = by_turns(
        {
            "hour": calls(tariff.pricer.cost, banded, 3600), "short": calls(tariff.pricer.cost, banded, 10),
            "twin": calls(slow.cost, some, 3600), "quote": calls(tariff.quote, banded, 3600),
        },
        rounds, 1e6,
    )  # fmt: skip
    short, hour, twin, quote = (figures[name] for name in ("short", "hour", "twin", "quote"))
    spans = by_turns({"10s": _affordable(10), "day": _affordable(86_400)}, rounds, 1e6)
    return {
        "price": {
            "ten_seconds_us": short, "hour_us": hour, "twin_hour_us": twin, "quote_hour_us": quote,
            "hour_over_ten_seconds": ratio(hour, short), "twin_over_compiled": ratio(twin, hour),
        },
        "affordable": {"ten_seconds_us": spans["10s"], "day_us": spans["day"],
                       "day_over_ten_seconds": ratio(spans["day"], spans["10s"])},
    }  # fmt: skip


def _affordable(horizon_s: int) -> tuple[Callable[[], object], int]:
    half = horizon_s // 2
    quote = Quote((Segment(0, 1, 5000, 3), Segment(half, 1, 1000, 3)), "EUR", "fixed", horizon_s=horizon_s)
    budget_micro = kernel.cumulative_micro(quote, horizon_s - 1)
    return lambda: [kernel.affordable_s(quote, 0, budget_micro) for _ in range(2000)], 2000


async def measure_swap(data: bytes, tariff: PlanTariff, numbers: list[str], rounds: int) -> dict[str, Any]:
    idle, busy, took = [], [], []
    for _ in range(rounds):
        idle.append(await _longest_pause(asyncio.sleep(0.5), tariff, numbers))
        start = time.perf_counter()
        busy.append(await _longest_pause(asyncio.to_thread(from_pieces, (data,)), tariff, numbers))
        took.append(time.perf_counter() - start)
    return {"longest_pause_ms": figure(busy, 1e3), "idle_ms": figure(idle, 1e3), "took_ms": figure(took, 1e3),
            "snapshot_mb": round(len(data) / 1e6, 1)}  # fmt: skip


async def _longest_pause(work: Any, tariff: PlanTariff, numbers: list[str]) -> float:
    """The longest time between two turns of a loop that prices a call every millisecond, while `work` goes on."""
    task = asyncio.ensure_future(work)
    longest, last, turn = 0.0, time.perf_counter(), 0
    while not task.done():
        tariff.quote(numbers[turn % len(numbers)], EDGE_MS)
        turn += 1
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    await task
    return longest


def ratio(one: Figure, other: Figure) -> float:
    return round(one["median"] / other["median"], 2)


if __name__ == "__main__":
    main()
