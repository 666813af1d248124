"""The daemons of a simulated world: the product's core, adapters and leaders, each as one process."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING

from rater.catalog.pieces import from_pieces
from rater.catalog.snapshot import Snapshot
from rater.charging.store_clock import StoreClock
from rater.charging.terms import SlicePolicy
from rater.charging.witness import Witness
from rater.config import SwitchSettings
from rater.daemon import GAUGES_S
from rater.engine import Engine, EnginePolicy
from rater.errors import CatalogError, StoreUnavailable
from rater.ids import SwitchId
from rater.leading import AWAY, SwitchLeader
from rater.metrics import Metrics

from . import site
from .stores import SimStore
from .switches import SECRET
from .virtual import OWNER, WorldClock

if TYPE_CHECKING:
    from .world import World

TICK_S = 0.02


class Daemon:
    """The product's core, adapters and leaders, as one process that can be killed."""

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self._world = world
        self._next_tick: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.store = SimStore(world.loop, world.random, world.way, world.execute, world.server)
        self.store.on_lost = lambda shards: self._take_up_anew()
        policy = EnginePolicy(slice=SlicePolicy(*world.slices), extend_ahead_ms=3000, decision_timeout_ms=1500)
        self.clock = StoreClock(WorldClock(world.clock))
        self._witness = Witness(self.store)  # type: ignore[arg-type]  # what it asks of a store is there
        self.engine = Engine(self.store, self.clock, Metrics(), policy)
        self.engine.set_catalog(site.catalog(world.version))
        self.engine.on_dirty = lambda: world.loop.call_soon(self.engine.flush) and None
        self.store.on_flush = self._set_tick
        self.engine.on_stale = lambda switch: self.leaders[switch].lost.set()
        token = OWNER.set(name)
        self.leaders = {
            SwitchId(switch.plan.name): SwitchLeader(
                SwitchSettings(
                    id=switch.plan.name, port=switch.plan.port, mode=switch.plan.mode, fail=switch.plan.fail
                ),  # type: ignore[arg-type]  # checked by pydantic
                SECRET, self.store, self.engine, Metrics(),
                holder=name, is_ready=lambda: self.store.available,
            )
            for switch in world.switches.values()
        }  # fmt: skip
        self._tasks = [asyncio.ensure_future(self._lead(leader)) for leader in self.leaders.values()]
        self._tasks += [asyncio.ensure_future(self.clock.keep(self.store)), asyncio.ensure_future(self._compare())]
        OWNER.reset(token)

    async def _lead(self, leader: SwitchLeader) -> None:
        """A daemon does not begin without a store."""
        while True:
            try:
                await self.clock.measure(self.store)
                break
            except StoreUnavailable:
                await asyncio.sleep(0.5)
        await leader.run()

    async def _compare(self) -> None:
        """As the daemon does beside its gauges."""
        while True:
            with contextlib.suppress(*AWAY):
                if (await self._witness.look()).lost:
                    self._take_up_anew()
            await asyncio.sleep(GAUGES_S)

    def _take_up_anew(self) -> None:
        for leader in self.leaders.values():
            leader.lost.set()

    def _set_tick(self) -> None:
        """The daemon looks for wake-ups every `TICK_S`. Most looks find nothing, so those are left out here:
        whatever sets a wake-up is followed by a flush."""
        due_ms = self.engine.next_wake_ms()
        if due_ms is None:
            return
        loop = self._world.loop
        tick = max(math.ceil(due_ms / 1000 / TICK_S), math.floor(loop.time() / TICK_S) + 1)
        if self._next_tick is None or tick < self._next_tick:
            if self._timer is not None:
                self._timer.cancel()
            self._next_tick, self._timer = tick, loop.call_at(tick * TICK_S, self._tick)

    def _tick(self) -> None:
        self._next_tick = self._timer = None
        if not self.store.dead:
            self.engine.tick()
            self._set_tick()

    def load(self, data: bytes) -> None:
        """A catalogue as it comes over the wire. One that is damaged is refused, and the old one stays."""
        with contextlib.suppress(CatalogError):
            self._use(from_pieces((data,)))

    def use(self, version: int) -> None:
        self._use(site.catalog(version))

    def _use(self, snapshot: Snapshot) -> None:
        self.engine.set_catalog(snapshot)
        for leader in self.leaders.values():
            if leader.adapter is not None:
                leader.adapter.set_catalog(snapshot)

    def serves(self, switch: str) -> bool:
        leader = self.leaders[SwitchId(switch)]
        return leader.synced and self.store.available

    async def kill(self) -> None:
        """kill -9: nothing more leaves it, nothing more reaches it."""
        self.store.dead = True
        self._world.network.kill(self.name)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def failed(self) -> BaseException | None:
        """Why a part of it ended by itself."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                return task.exception() or RuntimeError("a part of the daemon ended")
        return None
