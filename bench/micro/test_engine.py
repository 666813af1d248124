"""The daemon between the switch's frames and the sockets: signals in, the bytes of the store's calls and the
switch's commands out, replies as bytes back in. The store's connection and the switch are stubs; all else is the
product.

    python -m pytest bench/micro/test_engine.py --size 20000
    python -m bench.micro.test_engine 20000 5            the same, as microseconds of processor time a call, 5 times
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgpack
from pytest_benchmark.fixture import BenchmarkFixture

from bench.load.people import People
from bench.load.site import write_catalog
from rater.calls.signals import Answered, Attempted, Dialled, Direction, Disposition, Ended, Mode, Payer
from rater.catalog.files import read_catalog
from rater.charging.connection import Call
from rater.charging.redis_store import RedisStore
from rater.clock import ManualClock
from rater.engine import Engine, EnginePolicy
from rater.ids import CallId, LegId, SwitchId, TrunkId
from rater.metrics import Metrics

BATCH = 8
"""Calls that are at the same point of their lives; what one read of a busy socket brings."""
LINES = 1000
T0_MS = 1_767_225_600_000


def _reply(granted_s: int, amount_micro: int = 0) -> bytes:
    """As the scripts pack it: allowed, not final, not repeated."""
    packed: bytes = msgpack.packb((0, 0, granted_s, 0, amount_micro, 900_000_000, 300_000, 0))
    return packed[1:]


REPLIES = {b"reserve": _reply(30), b"answer": _reply(30), b"extend": _reply(90), b"settle": _reply(0, 410_000)}


class StubLink:
    """Takes calls and answers each with what the script of that name would say."""

    up = whole = True

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._queued: list[Any] = []
        self._sent: list[Any] = []
        self.written = self.calls = 0

    def reaches(self, shard: int) -> bool:
        return True

    def queue(self, call: Call) -> None:
        self._queued.append(call)

    def flush(self) -> None:
        queued, self._queued = self._queued, []
        self._sent += queued
        self.written += len(b"".join([call.data for call in queued]))

    def answer(self) -> None:
        """Until nothing is under way."""
        while self._sent:
            sent, self._sent = self._sent, []
            self.calls += len(sent)
            for call in sent:
                self._store._answered(call, REPLIES[call.script.encode()])
            self._store._after_read()


class StubPort:
    def __init__(self) -> None:
        self.commands = 0

    def execute(self, command: object) -> None:
        self.commands += 1

    def flush(self) -> None:
        pass


class Bench:
    def __init__(self) -> None:
        self.people = People(LINES, 10)
        with tempfile.TemporaryDirectory() as folder:
            catalog = read_catalog(write_catalog(Path(folder), self.people, 1))
        self.numbers = self.people.all_numbers()
        self.clock = ManualClock(T0_MS)
        self.metrics = Metrics()
        self.store = RedisStore("redis://127.0.0.1:1", shards=1)
        self.store.latencies = self.metrics.store_latencies
        self.link = StubLink(self.store)
        self.store._link = self.link  # type: ignore[assignment]
        self.port = StubPort()
        self.engine = Engine(self.store, self.clock, self.metrics, EnginePolicy())
        self.engine.set_catalog(catalog)
        self.engine.attach(SwitchId("pbx1"), self.port, epoch=1, fails_open=True)
        self.made = 0

    def _attempts(self) -> list[Attempted]:
        out = []
        for _ in range(BATCH):
            self.made += 1
            n = self.made
            line = self.people.line(n * 7 % LINES)
            call = f"pbx1.t7bcyo.{1790000000 + n}.{n}"
            attempt = Attempted(
                LegId(call), CallId(call), SwitchId("pbx1"), Mode.GATE, Direction.OUT, Payer(line, line, ""),
                self.numbers[n % len(self.numbers)], None, line, self.clock.wall_ms(), time.monotonic_ns(),
                f"{1790000000 + n}.{n}",
            )  # fmt: skip
            out.append(attempt)
        return out

    def _step(self, after_ms: int) -> None:
        """The batch goes out, the store answers, time passes."""
        self.engine.flush()
        self.link.answer()
        self.engine.flush()
        self.clock.advance(after_ms)

    def batch(self) -> None:
        """The whole life of some gated, answered calls with one extension."""
        engine, attempts = self.engine, self._attempts()
        for attempt in attempts:
            engine.on_signal(attempt)
        self._step(20)
        legs = [attempt.leg for attempt in attempts]
        at_ms = self.clock.wall_ms()
        for leg in legs:
            engine.on_signal(Dialled(leg, TrunkId("trunk_pbx1"), f"{leg[12:]}1", at_ms))
        self._step(3000)
        at_ms = self.clock.wall_ms()
        for leg in legs:
            engine.on_signal(Answered(leg, at_ms))
        self._step(26_000)
        engine.tick()
        self._step(15_000)
        at_ms = self.clock.wall_ms()
        for leg in legs:
            engine.on_signal(Ended(leg, at_ms, 16, Disposition.ANSWERED))
        self._step(10)
        engine.tick()

    def run(self, calls: int) -> None:
        for _ in range(calls // BATCH):
            self.batch()


def test_whole_lives(benchmark: BenchmarkFixture, size: int) -> None:
    bench = Bench()
    calls = max(BATCH, size)
    benchmark.pedantic(bench.run, (calls,), rounds=3, warmup_rounds=1)
    benchmark.extra_info["calls"] = calls // BATCH * BATCH
    assert bench.link.calls == 4 * bench.made, "four operations of the store a call"
    assert not bench.engine.live_legs


def main(calls: int, times: int) -> None:
    bench = Bench()
    bench.run(max(2000, calls // 4))
    for _ in range(times):
        begun_s = time.process_time()
        bench.run(calls)
        print(f"{(time.process_time() - begun_s) / calls * 1e6:.1f} µs a call")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
