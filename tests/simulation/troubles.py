"""What befalls a world. Each kind of trouble comes again and again, of most worlds only some kinds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from rater.ids import LegId

from . import site
from .stores import Way
from .switches import Switch

if TYPE_CHECKING:
    from .world import World


Trouble = Callable[[], Coroutine[Any, Any, None]]


class Troubles:
    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.random

    def begin(self) -> Iterator[Coroutine[Any, Any, None]]:
        """Some kinds of trouble, each coming again and again; now and then none at all."""
        kinds: list[tuple[Trouble, float]] = [
            (self._cut, 20), (self._black_hole, 60), (self._store_away, 40), (self._store_shaky, 30),
            (self._store_slow, 50), (self._die, 45), (self._switch_dies, 90), (self._damage, 40),
            (self._clock_steps, 60), (self._swap_catalog, 50), (self._hang_up, 25), (self._two_leaders, 50),
            (self._break_catalog, 60), (self._fail_over, 60), (self._disk_full, 50),
            *self._world.publishing.troubles(),
        ]  # fmt: skip
        if self._random.random() < 0.1:
            return
        for kind, mean_s in self._random.sample(kinds, self._random.randint(1, len(kinds))):
            yield self._again(kind, mean_s)

    async def _again(self, kind: Trouble, mean_s: float) -> None:
        while True:
            await asyncio.sleep(self._random.expovariate(1 / mean_s))
            await kind()

    def _some_switch(self) -> Switch:
        return self._random.choice(list(self._world.switches.values()))

    async def _cut(self) -> None:
        self._world.fault("ami cut")
        self._world.network.cut(self._some_switch().plan.port)

    async def _black_hole(self) -> None:
        condition = self._world.network.conditions[self._some_switch().plan.port]
        self._world.fault("ami black hole")
        condition.black_hole = True
        await asyncio.sleep(self._random.uniform(0.5, 25))
        condition.black_hole = False

    async def _store_away(self) -> None:
        self._world.fault("store away")
        self._world.way.away = True
        await asyncio.sleep(self._random.uniform(0.1, 15))
        self._world.way.away = False

    async def _store_shaky(self) -> None:
        self._world.fault("store loses operations and answers")
        self._world.way.lost, self._world.way.unanswered = (
            self._random.uniform(0, 0.3),
            self._random.uniform(0, 0.5),
        )
        await asyncio.sleep(self._random.uniform(1, 20))
        self._world.way.lost = self._world.way.unanswered = 0.0

    async def _store_slow(self) -> None:
        self._world.fault("store slow")
        self._world.way.latency_s = (0.0005, self._random.choice([0.05, 0.3, 2.5]))
        await asyncio.sleep(self._random.uniform(1, 15))
        self._world.way.latency_s = Way().latency_s

    async def _fail_over(self) -> None:
        """A replica that has not been heard of for a while takes the place of its master."""
        world, random = self._world, self._random
        world.fault("store fails over, its last writes lost")
        behind_since_s = world.loop.time()
        copied, books = world.server.copy(), world.auditor.books()
        streams = world.publishing.streams.copy()
        await asyncio.sleep(random.choice([0.001, 0.05, 0.5, 3.0, 8.0]) * random.random())
        world.way.away = True
        await asyncio.sleep(random.uniform(0.1, 4))
        world.note(f"{world.loop.time():.6f} -- the replica serves, as of {behind_since_s:.6f}")
        world.server.become(copied)
        world.publishing.become(streams)
        world.auditor.rolled_back(books, world.loop.time())
        world.life.lost_since(behind_since_s)
        world.way.away = False

    async def _disk_full(self) -> None:
        """Redis serves what is read and refuses what is written."""
        self._world.fault("store takes no writes")
        self._world.server.refuses = True
        await asyncio.sleep(self._random.uniform(0.5, 15))
        self._world.server.refuses = False

    async def _die(self) -> None:
        if not self._world.daemons:
            return
        daemon = self._random.choice(self._world.daemons)
        self._world.fault("daemon killed")
        self._world.daemons.remove(daemon)
        await daemon.kill()
        if len(self._world.daemons) < 2:
            await asyncio.sleep(self._random.choice([0.05, 1.0, 5.0, 30.0]))
            self._world.spawn()

    async def _switch_dies(self) -> None:
        self._world.fault("switch restarted")
        self._some_switch().sim.crash()

    async def _damage(self) -> None:
        damage = self._some_switch().damage
        self._world.fault("events lost, doubled, late")
        for kind in self._random.sample(["dropped", "doubled", "late"], self._random.randint(1, 3)):
            setattr(damage, kind, self._random.uniform(0.01, 0.2))
        self._world.auditor.damaged = self._world.auditor.damaged or damage.dropped > 0 or damage.late > 0
        await asyncio.sleep(self._random.uniform(1, 20))
        damage.dropped = damage.doubled = damage.late = 0.0

    async def _clock_steps(self) -> None:
        self._world.fault("the daemons' wall clock steps")
        self._world.clock.wall_step_s = self._random.choice([-3600, 3600, -5, 5])
        await asyncio.sleep(self._random.uniform(5, 40))
        self._world.clock.wall_step_s = 0

    async def _swap_catalog(self) -> None:
        self._world.fault("catalogue swapped")
        self._world.version = 3 - self._world.version
        for daemon in self._world.daemons:
            daemon.use(self._world.version)

    async def _break_catalog(self) -> None:
        """A version that was damaged on its way: a byte wrong, or its end missing."""
        world, random = self._world, self._random
        world.fault("catalogue damaged")
        data = bytearray(site.wire(3 - world.version))
        at = random.randrange(len(data))
        data[at] ^= 1 << random.randrange(8)
        whole = bytes(data) if random.random() < 0.7 else bytes(data[:at])
        for daemon in world.daemons:
            daemon.load(whole)

    async def _hang_up(self) -> None:
        for daemon in self._world.daemons:
            legs = sorted(leg.leg for leg in self._world.server.legs())
            if legs and daemon.engine.hang_up(LegId(self._random.choice(legs))):
                self._world.fault("operator hangs up")
                return

    async def _two_leaders(self) -> None:
        """The leader cannot reach its lease; another takes over while it still believes that it leads."""
        if not self._world.daemons:
            return
        self._world.fault("two leaders")
        old = self._random.choice(self._world.daemons)
        old.store.cut_off_from_leading = True
        if len(self._world.daemons) < 2:
            self._world.spawn()
        await asyncio.sleep(self._random.uniform(4, 20))
        old.store.cut_off_from_leading = False
