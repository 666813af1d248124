"""`rater serve`: one process that leads switches and charges their calls. Wires the parts; decides nothing itself.

Each switch is led by a `rater.leading.SwitchLeader`; without leadership there is no connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from redis.exceptions import RedisError

from rater import control
from rater.catalog.publish import load_current, watch
from rater.catalog.stored import let_go, parts_of
from rater.charging.embedded import EmbeddedRedis
from rater.charging.moves import finish_moves
from rater.charging.redis_client import open_client
from rater.charging.redis_store import RedisStore
from rater.charging.store_clock import StoreClock
from rater.charging.terms import SlicePolicy, Terms
from rater.charging.transfers import finish_pending
from rater.charging.witness import Witness
from rater.clock import SystemClock
from rater.config import ChargingSettings, Settings
from rater.engine import Engine, EnginePolicy
from rater.errors import RaterError, StoreError
from rater.events.backlog import report_outbox
from rater.events.house import House
from rater.ids import AccountId, LegId, Shard, SwitchId
from rater.interpreter import Collector, share_the_interpreter, spare_the_collector
from rater.leading import SwitchLeader
from rater.metrics import Metrics

TICK_S = 0.02
GAUGES_S = 1.0
HOUSE_S = 60.0
MEASURE_WITHIN_S = 5.0
MEASURED_AT_ONCE, MEASURE_PAUSE_S = 50, 0.05
"""Accounts that are read in one go, and how long calls have the store for themselves then: 1,000 a second, so that
20,000 live legs do not cost more than their calls do."""
TRANSFERS_S = 60.0
log = structlog.get_logger(__name__)


def engine_policy(charging: ChargingSettings) -> EnginePolicy:
    return EnginePolicy(
        slice=SlicePolicy(charging.first_slice_s, charging.long_slice_s, charging.short_slice_s),
        extend_ahead_ms=charging.extend_ahead_ms,
        decision_timeout_ms=charging.decision_timeout_ms,
        shed_after_ms=charging.shed_after_ms,
    )


async def serve(settings: Settings, *, stop: asyncio.Event, ready: asyncio.Event | None = None) -> None:
    """Run until `stop` is set. `ready` is set when every switch is led, connected and resynchronised.

    Raises ConfigError for an unusable secret, StoreUnavailable when Redis cannot be reached at the start.
    """
    async with AsyncExitStack() as stack:
        url = settings.redis.url
        if url is None:
            embedded = await stack.enter_async_context(embedded_redis(settings))
            url = embedded.url
        daemon = Daemon(settings, url)
        await daemon.open(stack)
        await daemon.run(stop, ready)


@asynccontextmanager
async def embedded_redis(settings: Settings) -> AsyncIterator[EmbeddedRedis]:
    """The embedded server of these settings, for as long as the block lasts."""
    server = EmbeddedRedis(settings.redis.data_dir)
    await asyncio.to_thread(server.start)
    keeping = asyncio.create_task(_keep_alive(server), name="embedded redis")
    try:
        yield server
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await asyncio.to_thread(server.stop)


async def _keep_alive(server: EmbeddedRedis) -> None:
    """Nobody else would start it again."""
    while True:
        await asyncio.sleep(GAUGES_S)
        try:
            if await asyncio.shield(asyncio.to_thread(server.revive)):
                log.error(
                    "the embedded Redis had ended and was started again",
                    log=str(server.data_dir / "redis.log"), disk_free_bytes=server.free_bytes,
                )  # fmt: skip
        except RaterError as error:
            log.error("the embedded Redis has ended and does not start", error=str(error))


def wire_flushes(engine: Engine, store: RedisStore, call_soon: Callable[[Callable[[], None]], object]) -> None:
    """What the store's answers lead to goes out behind the last one of a read, what a batch of frames leads to
    behind that (see `rater.switch.port`), all else in the loop's next turn."""

    def flush_soon() -> None:
        if not store.reading:
            call_soon(engine.flush)

    engine.on_dirty = flush_soon
    store.on_answered = engine.flush


class Daemon:
    """The parts of one process and the tasks that keep them going."""

    def __init__(self, settings: Settings, redis_url: str) -> None:
        self.settings = settings
        self.holder = f"{socket.gethostname()}:{os.getpid()}"
        self.metrics = Metrics()
        redis, password = settings.redis, settings.redis.password.read() or None
        self.store = RedisStore(
            redis_url, password=password, prefix=redis.prefix, shards=redis.shards, timeout_ms=redis.timeout_ms,
            cluster=redis.cluster,
        )  # fmt: skip
        self.redis = open_client(redis_url, password, cluster=redis.cluster)
        self.redis_url = redis_url
        self.witness = Witness(self.store)
        self.clock = StoreClock(SystemClock())
        self.engine = Engine(self.store, self.clock, self.metrics, engine_policy(settings.charging))
        self._reserved_currencies: set[str] = set()
        self.leaders = {
            SwitchId(switch.id): SwitchLeader(
                switch, switch.secret.read(), self.store, self.engine, self.metrics,
                holder=self.holder, is_ready=self._can_decide,
            )
            for switch in settings.switch
        }  # fmt: skip
        for switch in settings.switch:
            self.metrics.no_switch(switch.id)
            self.metrics.expect_mode(switch.mode)

    async def open(self, stack: AsyncExitStack) -> None:
        """Connect to the store, load the catalogue, open the metrics port."""
        share_the_interpreter()
        self.store.latencies = self.metrics.store_latencies
        self.store.on_available = self.metrics.store_up
        self.store.on_lost = self._take_up_anew
        await self.store.start()
        await self.clock.measure(self.store)
        stack.push_async_callback(self.store.close)
        stack.push_async_callback(self.redis.aclose)
        self.metrics.store_up(True)
        snapshot = await load_current(self.redis, self.settings.redis.prefix)
        if snapshot is None:
            log.warning("no catalogue is published yet", hint="run: rater catalog load DIR")
        else:
            self._use_catalog(snapshot)
        metrics = self.settings.metrics
        if metrics.port is not None:
            port = self.metrics.serve(
                metrics.host, metrics.port, token=metrics.read_token(), certificate=metrics.certificate,
                key=metrics.key,
            )  # fmt: skip
            stack.callback(self.metrics.stop)
            log.info("metrics", port=port)
        wire_flushes(self.engine, self.store, asyncio.get_running_loop().call_soon)
        self.engine.on_stale = lambda switch: self.leaders[switch].lost.set()

    async def run(self, stop: asyncio.Event, ready: asyncio.Event | None) -> None:
        """Everything at once until `stop`; the failure of any part ends the whole."""
        tasks = [
            asyncio.create_task(self._tick(), name="tick"),
            asyncio.create_task(self.clock.keep(self.store), name="clock"),
            asyncio.create_task(self._gauges(ready), name="gauges"),
            asyncio.create_task(self._sum_reserved(), name="reserved"),
            asyncio.create_task(self._catalogs(), name="catalogue"),
            asyncio.create_task(self._listen(), name="control"),
            asyncio.create_task(self._finish_transfers(), name="transfers"),
            asyncio.create_task(self._keep_house(), name="house"),
            *(asyncio.create_task(leader.run(), name=leader.switch) for leader in self.leaders.values()),
        ]
        if self.settings.publishes:
            tasks.append(asyncio.create_task(self._publisher(), name="publisher"))
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                await task
        finally:
            for task in (stopping, *tasks):
                task.cancel()
            await asyncio.gather(stopping, *tasks, return_exceptions=True)
            log.info("stopped; live calls go on under the switch's timers")

    def _can_decide(self) -> bool:
        return self.engine.catalog is not None and self.store.available

    # -- the rest ------------------------------------------------------------------------------------------------

    def _use_catalog(self, snapshot: Any) -> None:
        self.engine.set_catalog(snapshot)
        spare_the_collector()
        self.metrics.catalog_version(snapshot.version)
        for leader in self.leaders.values():
            if leader.adapter is not None:
                leader.adapter.set_catalog(snapshot)
        log.info("catalogue", version=snapshot.version)

    async def _catalogs(self) -> None:
        async for snapshot in watch(self.redis, self.settings.redis.prefix):
            before = self.engine.catalog
            if before is None:
                self._use_catalog(snapshot)
            elif snapshot.version != before.version:
                parts = await asyncio.to_thread(parts_of, before)
                self._use_catalog(snapshot)
                del before
                await asyncio.to_thread(let_go, parts)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.engine.tick()

    async def _listen(self) -> None:
        def woken(account: bytes) -> None:
            self.engine.money_arrived(AccountId(account.decode(errors="replace")))

        prefix = self.settings.redis.prefix
        wakes: dict[str, Callable[[bytes], None]] = {
            f"{prefix}:{{{shard}}}:wake": woken for shard in range(self.settings.redis.shards)
        }
        await control.listen(self.redis, prefix, wakes, self._answer)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        if request.get("do") == "hangup":
            leg = LegId(str(request.get("leg")))
            if self.engine.hang_up(leg):
                return {"leg": leg, "switch": leg.split(".", 1)[0], "sent": True}
        return None

    def _posting_terms(self, account: AccountId) -> Terms:
        """What a posting to the account has to know of it: its thresholds."""
        catalog = self.engine.catalog
        if catalog is None or account not in catalog.accounts:
            return Terms()
        return catalog.terms(account, "", SystemClock().wall_ms())

    async def _finish_transfers(self) -> None:
        """Transfers and moves between shards that whoever began them left in the middle; finishing one twice does
        no harm."""
        while True:
            with contextlib.suppress(RedisError, OSError, StoreError, TimeoutError):
                for shard in map(Shard, range(self.settings.redis.shards)):
                    done = await finish_pending(self.store, shard, SystemClock().wall_ms(), self._posting_terms)
                    if done:
                        log.info("transfers finished", shard=shard, transfers=done)
                    moved = await finish_moves(self.store, shard)
                    if moved:
                        log.info("moves of accounts finished", shard=shard, moves=moved)
            await asyncio.sleep(TRANSFERS_S)

    async def _gauges(self, ready: asyncio.Event | None) -> None:
        while True:
            # Another daemon may lead some of the switches; one that leads none of several stands by.
            led = [leader for leader in self.leaders.values() if leader.adapter is not None]
            decides = self._can_decide() and all(leader.synced for leader in led)
            self.metrics.ready(decides and (bool(led) or not self.leaders))
            if ready is not None and decides and len(led) == len(self.leaders):
                ready.set()
            for shard in range(self.settings.redis.shards):
                self.metrics.shard_up(shard, self.store.reaches(Shard(shard)))
            for leader in self.leaders.values():
                if leader.adapter is not None:
                    leader.adapter.report()
            with contextlib.suppress(RedisError, OSError, StoreError, TimeoutError):
                async with asyncio.timeout(MEASURE_WITHIN_S):
                    await self._measure_store()
            await asyncio.sleep(GAUGES_S if ready is None or ready.is_set() else 0.05)

    async def _compare_store(self) -> None:
        """What was lost of others' writes, postings above all; of its own the store tells with the connection."""
        seen = await self.witness.look()
        if seen.lost:
            log.error("the store has lost its last writes", shards=list(seen.lost), hint="See docs/faults.md.")
            self._take_up_anew(seen.lost)

    def _take_up_anew(self, lost: tuple[Shard, ...]) -> None:
        """The store has gone back in time: the legs that it has are compared with the switches' channels."""
        for shard in lost:
            self.metrics.store_lost(shard)
        for leader in self.leaders.values():
            leader.lost.set()

    async def _measure_store(self) -> None:
        await self._compare_store()
        for shard in range(self.settings.redis.shards):
            await report_outbox(self.redis, self.metrics, prefix=self.settings.redis.prefix, shard=shard)

    async def _keep_house(self) -> None:
        """Here too, not only in the publisher: an outbox that only others read has none."""
        house = House(self.redis, self.metrics, self.settings.publish, self.settings.redis)
        collector = Collector(time.monotonic())
        while True:
            with contextlib.suppress(RedisError, OSError):
                await house.step()
            collector.step(time.monotonic(), self.engine.live_legs)
            await asyncio.sleep(HOUSE_S)

    async def _sum_reserved(self) -> None:
        while True:
            with contextlib.suppress(RedisError, OSError, StoreError, TimeoutError):
                await self._measure_reserved()
            await asyncio.sleep(GAUGES_S)

    async def _measure_reserved(self) -> None:
        """What live legs hold, read from their accounts a few at a time: the store's own numbers, not a sum kept
        beside it."""
        by_shard: dict[Shard, dict[AccountId, str]] = {}
        for some in self.engine.live_accounts():
            for (shard, account), currency in some.items():
                by_shard.setdefault(shard, {})[account] = currency
            await asyncio.sleep(0)
        money: dict[str, int] = dict.fromkeys(self._reserved_currencies, 0)
        seconds = 0
        for shard, currencies in by_shard.items():
            accounts = list(currencies)
            for chunk in (accounts[i : i + MEASURED_AT_ONCE] for i in range(0, len(accounts), MEASURED_AT_ONCE)):
                async with asyncio.timeout(MEASURE_WITHIN_S):
                    states = await self.store.accounts_of(shard, chunk)
                for state in states:
                    currency = currencies[state.account]
                    money[currency] = money.get(currency, 0) + state.reserved_micro
                    seconds += sum(grant.reserved_s for grant in state.grants)
                if len(chunk) == MEASURED_AT_ONCE:
                    await asyncio.sleep(MEASURE_PAUSE_S)
        for currency, amount_micro in money.items():
            if currency:
                self._reserved_currencies.add(currency)
                self.metrics.reserved(currency, amount_micro)
        self.metrics.reserved_seconds(seconds)

    async def _publisher(self) -> None:
        """`rater publish` in a process of its own, so that no broker slows a call; restarted if it ends."""
        while True:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "rater.notify", stdin=asyncio.subprocess.PIPE
            )
            assert process.stdin is not None
            part = self.settings.model_copy(
                update={"redis": self.settings.redis.model_copy(update={"url": self.redis_url})}
            )
            process.stdin.write(part.model_dump_json().encode())
            process.stdin.close()
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                process.terminate()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), 5)
                raise
            log.warning("the publisher ended; starting it again", code=code)
            await asyncio.sleep(2)
