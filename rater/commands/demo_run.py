"""One run of the demo: Redis, the simulated switch, the daemon and the traffic; then drain and audit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from rater.catalog.files import read_catalog
from rater.catalog.model import Line
from rater.catalog.publish import load_current, publish
from rater.catalog.snapshot import Snapshot
from rater.charging.embedded import EmbeddedRedis
from rater.charging.redis_store import RedisStore
from rater.commands.demo_books import Books, audit
from rater.commands.demo_money import Purse
from rater.commands.demo_site import (
    Site,
    default_catalog,
    demo_lines,
    favourites,
    make_site,
    make_switch,
    number_book,
)
from rater.commands.live_data import LiveReader, LiveState
from rater.commands.top import show, write_svg
from rater.daemon import serve
from rater.errors import RaterError
from rater.ids import Shard
from rater.logs import set_up_logs
from rater.switch.simulator.call import Call, Kind
from rater.switch.simulator.switch import SimulatedSwitch
from rater.switch.simulator.traffic import PlannedCall, Profile, Traffic, plan_calls

TITLE = "rater demo"
READY_WITHIN_S = 30.0
DRAIN_WITHIN_S = 15.0
STATUS_EVERY_S = 5.0
BURSTS_PER_CALL = 0.05
FAVOURITE_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Options:
    """`seconds`: how long traffic runs; None: until told to stop. `lines`: None for all of the catalogue's.
    `picture`: where the live view of the last moment goes."""

    seconds: float | None
    live_view: bool
    lines: int | None
    rate_per_s: float
    seed: int
    folder: Path
    catalog: Path | None
    picture: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """`unsettled`: legs that were still live when the drain gave up."""

    calls: int
    top_ups: int
    seconds: float
    unsettled: int
    books: Books

    @property
    def good(self) -> bool:
        return self.books.balance and not self.unsettled


async def run(options: Options) -> Outcome:
    """The whole demo, until the time is over or SIGINT, SIGTERM or SIGHUP comes.

    Raises InputError for a catalogue or folder that cannot be used, RaterError when a part does not start.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    snapshot = read_catalog(options.catalog if options.catalog is not None else default_catalog())
    lines = demo_lines(snapshot, options.lines)
    site = make_site(options.folder, snapshot)
    _log_into(site.log_file)
    _say("starting Redis, the simulated switch and the daemon …")
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(_store(site))
        site.write_secret()
        snapshot = await _publish(store, snapshot)
        switch = make_switch(site, snapshot, lines, options.seed)
        await switch.start()
        stack.push_async_callback(switch.stop)
        site.write_settings(switch.port)
        daemon = await stack.enter_async_context(_daemon(site, switch))
        show = _Show(options, store, snapshot, switch, lines)
        await show.run(stop, daemon)
        unsettled = await _drain(store, switch)
        await daemon.end()
        books = await audit(store)
        books.faults += await show.differences()
        return Outcome(show.placed, show.purse.top_ups, show.seconds, unsettled, books)


# -- the parts ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _store(site: Site) -> AsyncIterator[RedisStore]:
    """The embedded server, and a store of the demo's own on it."""
    server = EmbeddedRedis(site.redis_dir)
    await asyncio.to_thread(server.start)
    try:
        store = RedisStore(server.url)
        await store.start()
        try:
            yield store
        finally:
            await store.close()
    finally:
        await asyncio.to_thread(server.stop)


async def _publish(store: RedisStore, snapshot: Snapshot) -> Snapshot:
    now_ms = time.time_ns() // 1_000_000
    await publish(store.redis, store, snapshot, prefix=store.prefix, shards=store.shards, now_ms=now_ms)
    current = await load_current(store.redis, store.prefix)
    assert current is not None, "a catalogue was published just now"
    return current


@dataclass(frozen=True, slots=True)
class _Daemon:
    task: asyncio.Task[None]
    stop: asyncio.Event

    async def end(self) -> None:
        """As SIGTERM would. Raises what the daemon failed with, if it did."""
        self.stop.set()
        await self.task


@asynccontextmanager
async def _daemon(site: Site, switch: SimulatedSwitch) -> AsyncIterator[_Daemon]:
    """The daemon of `rater serve`, in this process, once it is ready."""
    stop, ready = asyncio.Event(), asyncio.Event()
    daemon = _Daemon(asyncio.create_task(serve(site.settings(switch.port), stop=stop, ready=ready)), stop)
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait([daemon.task, waiting], timeout=READY_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        if daemon.task.done():
            await daemon.task
        if not ready.is_set():
            raise RaterError(
                f"the daemon was not ready within {READY_WITHIN_S:.0f} s", hint=f"Its log: {site.log_file}"
            )
        yield daemon
    finally:
        waiting.cancel()
        daemon.task.cancel()
        await asyncio.gather(waiting, daemon.task, return_exceptions=True)


class _Show:
    """The traffic, and what is seen of it."""

    def __init__(
        self,
        options: Options,
        store: RedisStore,
        snapshot: Snapshot,
        switch: SimulatedSwitch,
        lines: Sequence[Line],
    ) -> None:
        self._numbers = number_book(snapshot, time.time_ns() // 1_000_000)
        self.purse = Purse(store, snapshot, self._numbers, Random(f"money {options.seed}"))
        self.placed = 0
        self.seconds = 0.0
        self.answered = 0
        """Legs to or from a trunk that were answered, as the switch saw it."""
        self._options = options
        self._switch = switch
        self._snapshot = snapshot
        self._lines = lines
        self._reader = LiveReader(store, snapshot)
        switch.ended = self._ended

    async def run(self, stop: asyncio.Event, daemon: _Daemon) -> None:
        """Calls until `stop`, the time given, or a failure, which is raised."""
        await self.purse.thin_out()
        await self._reader.look()  # what was there before does not count
        traffic = Traffic(self._switch, self._planned())
        begun_s = time.monotonic()
        traffic.start()
        topping_up = asyncio.create_task(self.purse.top_up_for_ever())
        watching = asyncio.create_task(self._watch(stop))
        stopping = asyncio.create_task(stop.wait())
        tasks = [daemon.task, watching, stopping, topping_up]
        done, _ = await asyncio.wait(tasks, timeout=self._options.seconds, return_when=asyncio.FIRST_COMPLETED)
        if self._options.picture is not None:
            write_svg(await self._reader.look(), self._options.picture, title=TITLE)
        traffic.stop()
        self.placed, self.seconds = traffic.placed, time.monotonic() - begun_s
        stop.set()
        topping_up.cancel()
        await asyncio.gather(watching, stopping, topping_up, return_exceptions=True)
        for task in done - {stopping}:
            await task

    async def differences(self) -> list[str]:
        """Between what the switch saw and what the events say, when all is over."""
        told = (await self._reader.look()).totals.answered
        if told == self.answered:
            return []
        return [f"the switch saw {self.answered} legs answered, the rated events tell of {told}"]

    def _ended(self, call: Call) -> None:
        self.answered += call.answered_us is not None and call.route.kind is not Kind.INTERNAL

    def _planned(self) -> Iterator[PlannedCall]:
        options = self._options
        return plan_calls(
            seed=options.seed,
            profile=Profile(
                rate_per_s=options.rate_per_s,
                bursts_per_s=options.rate_per_s * BURSTS_PER_CALL,
                favourite_share=FAVOURITE_SHARE,
            ),
            lines=[line.endpoint for line in self._lines],
            favourites=favourites(self._snapshot, self._lines),
            gateways=list(self._switch.gateways),
            numbers=self._numbers,
        )

    async def _watch(self, stop: asyncio.Event) -> None:
        if self._options.live_view:
            await show(self._reader.look, stop, title=TITLE)
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), STATUS_EVERY_S)
            _say(_status(await self._reader.look()))


async def _drain(store: RedisStore, switch: SimulatedSwitch) -> int:
    """Hang up, and wait until every leg is settled; how many are not when the time is over."""
    _say("hanging up and settling …")
    switch.hang_up_all()
    deadline_s = time.monotonic() + DRAIN_WITHIN_S
    while True:
        left = sum([len(await store.legs(Shard(shard))) for shard in range(store.shards)])
        if not left or time.monotonic() > deadline_s:
            return left
        await asyncio.sleep(0.05)


# -- what is said on the way -------------------------------------------------------------------------------------


def _status(state: LiveState) -> str:
    talking = sum(call["state"] == "talking" for call in state.calls)
    totals = state.totals
    return (
        f"{state.watched_s:.0f} s: {talking} talking, {totals.answered} answered, {totals.unanswered} not, "
        f"{totals.denied.total()} denied, {totals.cut} cut"
    )


def _say(text: str) -> None:
    """Progress, beside the result."""
    print(f"rater demo: {text}", file=sys.stderr, flush=True)


def _log_into(path: Path) -> None:
    """The terminal is the live view's; what the daemon logs goes into a file."""
    file = path.open("a", encoding="utf-8", buffering=1)
    with contextlib.redirect_stderr(file):
        set_up_logs("info", json_lines=False)
    logging.basicConfig(stream=file, level=logging.WARNING)
