"""The daemon between its sockets, as `rater serve` wires it: eight switches on one engine, the store and its
connection. What the sockets brought is written down once, as answered calls with one extension each that begin at
random moments, with Redis' answers and the switches'; then it is read again and again.

    python -m bench.micro.daemon_side 20000 5       20,000 calls, 5 times: microseconds of processor time a call
"""

from __future__ import annotations

import gc
import heapq
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import msgpack

from bench.load.captures import BRIDGE, COMMAND, LINE, NUMBER, OTHER, SERIAL, SLOTS, STAMP, UNIQUE, Values
from bench.load.mix import mix
from bench.load.people import People
from bench.load.site import write_catalog
from bench.micro.wires import Wire, attach_link, connect
from rater.catalog.files import read_catalog
from rater.catalog.model import Catalog
from rater.charging.redis_store import RedisStore
from rater.charging.terms import SlicePolicy
from rater.clock import ManualClock
from rater.config import SwitchSettings
from rater.daemon import wire_flushes
from rater.engine import Engine, EnginePolicy
from rater.ids import SwitchId
from rater.metrics import Metrics
from rater.switch.actions import Actions
from rater.switch.adapter import SwitchAdapter
from rater.switch.tracker import Tracker

SWITCHES = 8
LINES = 4000
T0_MS = 1_790_000_000_000
TICK_US = 20_000
REDIS, TICK = -1, -2
_ACTION_ID = re.compile(rb"\r\nActionID: ([^\r]+)")
_SCRIPT = re.compile(rb"_(reserve|answer|extend|settle)\r\n")


def _reply(granted_s: int, amount_micro: int = 0) -> bytes:
    """As the scripts pack it: allowed, not final, not repeated."""
    packed: bytes = msgpack.packb((0, 0, granted_s, 0, amount_micro, 900_000_000, 300_000, 0))
    return b"$%d\r\n%b\r\n" % (len(packed) - 1, packed[1:])


REPLIES = {b"reserve": _reply(2), b"answer": _reply(2), b"extend": _reply(62), b"settle": _reply(0, 410_000)}


@dataclass(frozen=True)
class Read:
    """What came at a moment of the run: of a switch by its place, of Redis, or nothing but the tick."""

    at_us: int
    whose: int
    data: bytes


def catalog_of(people: People) -> Catalog:
    with tempfile.TemporaryDirectory() as folder:
        return read_catalog(write_catalog(Path(folder), people, SWITCHES))


@dataclass
class Site:
    """All of it up and synchronised. `feed` brings a read, and then lets the loop's own callbacks run."""

    catalog: Catalog
    clock: ManualClock = field(default_factory=lambda: ManualClock(T0_MS))
    soon: list[Callable[[], object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.at_ms = 0
        self.metrics = Metrics()
        self.store = RedisStore("redis://127.0.0.1:1", shards=1)
        self.store.latencies = self.metrics.store_latencies
        self.redis = Wire()
        self.answers = attach_link(self.store._link, self.redis)
        policy = EnginePolicy(SlicePolicy(2, 60, 2), extend_ahead_ms=700)
        self.engine = Engine(self.store, self.clock, self.metrics, policy)
        self.engine.set_catalog(self.catalog)
        wire_flushes(self.engine, self.store, self.soon.append)
        self.wires = [Wire() for _ in range(SWITCHES)]
        self.received: list[Callable[[bytes], object]] = []
        self.adapters: list[SwitchAdapter] = []
        for number, wire in enumerate(self.wires, 1):
            switch = SwitchId(f"pbx{number}")
            adapter = SwitchAdapter(
                SwitchSettings(id=switch, host="127.0.0.1", user="u"), "x", self.engine, self.metrics
            )
            self.engine.attach(switch, adapter, epoch=1, fails_open=False)
            adapter.tracker = Tracker(switch, "b", self.catalog.switches[switch], self.catalog.trunks.values())
            adapter.tracker.connected(0)
            adapter._actions = Actions(f"bench{number}")
            adapter.synced = True
            self.adapters.append(adapter)
            self.received.append(connect(adapter.connection, wire))

    def feed(self, read: Read) -> None:
        at_ms = read.at_us // 1000
        if at_ms != self.at_ms:
            self.clock.advance(at_ms - self.at_ms)
            self.at_ms = at_ms
        if read.whose >= 0:
            self.received[read.whose](read.data)
        elif read.whose == REDIS:
            self.answers(read.data)
        else:
            self.engine.tick()
        while self.soon:
            self.soon.pop(0)()

    def written(self) -> int:
        return sum(len(data) for wire in (self.redis, *self.wires) for data in wire.written)


class _Script:
    """Plays the switches and Redis for a site that listens, and writes down what they said."""

    def __init__(self, catalog: Catalog, people: People, calls: int, rate: float) -> None:
        self.reads: list[Read] = []
        self._site = Site(catalog)
        self._random = Random(1)
        self._due: list[tuple[int, int, int, bytes | None, list[tuple[int, bytes]]]] = []
        self._made = 0
        kinds = mix()
        answered = kinds.kinds[0]
        self._steps = [kinds.begin, answered.allowed, *(step.burst for step in answered.steps)]
        numbers = people.all_numbers()
        at_us = 0.0
        for call in range(calls):
            at_us += self._random.expovariate(rate) * 1e6
            self._call(call, int(at_us), numbers[self._random.randrange(len(numbers))].encode())
        for tick_us in range(TICK_US, int(at_us) + 10_000_000, TICK_US):
            self._say(tick_us, TICK, b"")
        self._run()

    def _call(self, call: int, at_us: int, number: bytes) -> None:
        values: Values = [b""] * SLOTS
        line = self._random.randrange(LINES)
        values[LINE], values[OTHER], values[NUMBER] = b"%d" % (200_000 + line), b"200001", number
        values[COMMAND] = b"%d" % call
        for place in range(3):
            values[SERIAL + place] = b"%08x" % (3 * call + place)
            values[UNIQUE + place] = b"%d.%d" % (T0_MS // 1000 + at_us // 1_000_000, 3 * call + place)
        values[BRIDGE], values[BRIDGE + 1] = (b"bf98e474-a27f-469b-927%d-%012x" % (i, call) for i in (5, 6))
        ring_us, talk_us = self._random.randrange(50_000, 500_000), self._random.randrange(1_700_000, 3_700_000)
        for wait_us, step in zip((0, 3_000, 20_000, ring_us, talk_us), self._steps, strict=True):
            at_us += wait_us
            values[STAMP] = b"%d.%06d" % divmod(T0_MS * 1000 + at_us, 1_000_000)
            self._say(at_us, line % SWITCHES, step.render(values))

    def _say(self, at_us: int, whose: int, data: bytes) -> None:
        self._made += 1
        heapq.heappush(self._due, (at_us, self._made, whose, data, []))

    def _run(self) -> None:
        site = self._site
        while self._due:
            at_us, _, whose, data, _ = heapq.heappop(self._due)
            assert data is not None
            self.reads.append(Read(at_us, whose, data))
            site.feed(self.reads[-1])
            if site.redis.written:
                told = b"".join(site.redis.written)
                self._say(at_us + 500, REDIS, b"".join(REPLIES[name] for name in _SCRIPT.findall(told)))
                site.redis.written.clear()
            for place, wire in enumerate(site.wires):
                if wire.written:
                    told = b"".join(wire.written)
                    wire.written.clear()
                    answer = b"Response: Success\r\nActionID: %b\r\nMessage: Variable Set\r\n\r\n"
                    self._say(at_us + 200, place, b"".join(answer % name for name in _ACTION_ID.findall(told)))


def script(calls: int, rate: float) -> tuple[Catalog, list[Read]]:
    """`rate`: calls a second; how many of them live at a time is what the caches feel."""
    people = People(LINES, 10)
    catalog = catalog_of(people)
    return catalog, _Script(catalog, people, calls, rate).reads


def run(catalog: Catalog, reads: list[Read]) -> Site:
    site = Site(catalog)
    feed = site.feed
    for read in reads:
        feed(read)
    return site


def main(calls: int, times: int) -> None:
    catalog, reads = script(calls, 1200.0)
    print(f"{len(reads) / calls:.2f} reads a call")
    gc.disable()
    for _ in range(times):
        begun_s = time.process_time()
        run(catalog, reads)
        print(f"{(time.process_time() - begun_s) / calls * 1e6:.1f} µs a call")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
