"""One simulated world: switches with calls, a store, daemons, and what befalls them. All from one seed.

`World.run` plays a stretch of life with faults, then lets everything settle, and returns what the auditor found.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from unittest import mock

import rater.switch.ami
import rater.switch.simulator.protocol
from rater.charging.model import PostKind, Reply, Request
from rater.ids import AccountId

from . import site
from .auditor import Auditor, Finding
from .clocks import replaced
from .daemons import Daemon
from .deliveries import judge
from .life import Life
from .publishing import Publishing
from .servers import Refused, Server
from .stores import Way
from .switches import SKEWS_MS, Switch, SwitchPlan
from .troubles import Troubles
from .virtual import Network, VirtualLoop, VirtualTime

SETTLE_S = 200.0
"""Long enough for every lease to run out and for several resynchronisations."""


@dataclass
class World:
    seed: int
    loop: VirtualLoop
    make_server: Callable[[VirtualTime], Server]
    trace: list[str] | None = None
    random: Random = field(init=False)
    daemons: list[Daemon] = field(init=False, default_factory=list)
    switches: dict[str, Switch] = field(init=False, default_factory=dict)
    way: Way = field(init=False, default_factory=Way)
    version: int = field(init=False, default=1)
    faults: dict[str, int] = field(init=False, default_factory=dict)
    events: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.network = self.loop.network = Network(self.loop, self.random)
        site.begin(self.seed)
        self.clock = VirtualTime(self.loop, site.EPOCH_S)
        self.server_clock = VirtualTime(self.loop, site.EPOCH_S)
        self.server = self.make_server(self.server_clock)
        self.server.on_wake = self._wake
        self.auditor = Auditor(self.server, self._served)
        self.publishing = Publishing(self)
        self.length_s = self.random.uniform(60, 240)
        self.account_codes = self.random.random() < 0.5
        """Whether the switches give their lines account codes."""
        self.slices = self.random.choice([(30, 60, 2), (10, 20, 2), (4, 8, 1), (6, 30, 3)])
        self.digest = hashlib.sha256()
        self._spawned = 0

    # -- the parts -------------------------------------------------------------------------------------------------

    def execute(self, request: Request) -> Reply | None:
        """An operation reaches the server. None: it takes no writes, and nothing was done."""
        now_s = self.loop.time()
        try:
            reply = self.server.execute(request)
        except Refused:
            self.note(f"{now_s:.6f} {type(request).__name__} {request.op} refused")
            self.auditor.refused(request, now_s)
            return None
        self.publishing.feed()
        answer = f"{reply.status} {reply.reason.code} {reply.granted_s}"
        self.note(f"{now_s:.6f} {type(request).__name__} {request.op} {answer}")
        self.auditor.executed(request, reply, now_s)
        return reply

    def note(self, line: str) -> None:
        self.digest.update(line.encode())
        if self.trace is not None:
            self.trace.append(line)

    def fault(self, name: str) -> None:
        self.faults[name] = self.faults.get(name, 0) + 1
        self.note(f"{self.loop.time():.6f} -- {name}")

    def happened(self, name: str) -> None:
        """Something out of the ordinary that is no fault."""
        self.events[name] = self.events.get(name, 0) + 1
        self.note(f"{self.loop.time():.6f} -- {name}")

    def _wake(self, account: AccountId) -> None:
        if not self.way.away:
            for daemon in self.daemons:
                self.loop.call_later(self.random.uniform(*self.way.latency_s), self._woken, daemon, account)

    def _woken(self, daemon: Daemon, account: AccountId) -> None:
        if daemon in self.daemons:
            daemon.engine.money_arrived(account)

    def _served(self, switch: str) -> bool:
        """Whether a daemon follows the switch, and what it tells arrives."""
        silent = self.network.conditions[self.switches[switch].plan.port].black_hole
        return not silent and any(daemon.serves(switch) for daemon in self.daemons)

    def _plans(self) -> list[SwitchPlan]:
        count = self.random.choice([1, 1, 2])
        return [
            SwitchPlan(
                name=f"pbx{number}",
                port=5000 + number,
                mode=self.random.choice(["gate", "gate", "watch"]),
                fail=self.random.choice(["closed", "closed", "open"]),
                skew_ms=self.random.choice(SKEWS_MS),
            )
            for number in range(1, count + 1)
        ]

    def spawn(self) -> None:
        self._spawned += 1
        self.daemons.append(Daemon(f"daemon{self._spawned}", self))

    # -- a run -----------------------------------------------------------------------------------------------------

    async def run(self) -> list[Finding]:
        for plan in self._plans():
            switch = self.switches[plan.name] = Switch(plan, self)
            await switch.sim.start(port=plan.port)
        self.network.random = self.random
        life = self.life = Life(self)
        for account, opening_micro in site.OPENINGS.items():
            if opening_micro:
                life.post(account, PostKind.OPENING, opening_micro, f"opening:{account}")
        for _ in range(self.random.choice([1, 1, 2])):
            self.spawn()
        watching = asyncio.ensure_future(self._watch())
        housing = self.publishing.begin()
        living = [asyncio.ensure_future(life.traffic()), asyncio.ensure_future(life.top_ups())]
        living += [asyncio.ensure_future(work) for work in Troubles(self).begin()]
        await asyncio.sleep(self.length_s)
        for task in living:
            task.cancel()
        await asyncio.gather(*living, return_exceptions=True)
        for task in living:
            if not task.cancelled() and task.exception() is not None:
                raise RuntimeError("the simulation itself failed") from task.exception()
        await self._heal()
        await asyncio.sleep(SETTLE_S)
        for switch in self.switches.values():
            switch.sim.hang_up_all()
        await asyncio.sleep(SETTLE_S)
        watching.cancel()
        failed = [error for daemon in self.daemons if (error := daemon.failed()) is not None]
        findings = self.auditor.close(self.server_clock.wall_ms())
        findings += [Finding("daemon", f"a part of the daemon ended: {error!r}") for error in failed]
        for daemon in self.daemons:
            await daemon.kill()
        failures = await self.publishing.finish()
        findings += judge(self.publishing)
        findings += [Finding("delivery", f"a part of the publisher ended: {error!r}") for error in failures]
        for task in housing:
            task.cancel()
        for switch in self.switches.values():
            await switch.sim.stop()
        return findings

    async def _heal(self) -> None:
        """Every trouble is over."""
        self.way.lost = self.way.unanswered = 0.0
        self.way.away = self.server.refuses = False
        self.way.latency_s = Way().latency_s
        for condition in self.network.conditions.values():
            condition.black_hole = condition.refuses = False
        for switch in self.switches.values():
            switch.damage.dropped = switch.damage.doubled = switch.damage.late = 0.0
        for daemon in self.daemons:
            daemon.store.cut_off_from_leading = False
        self.clock.wall_step_s = 0
        if not self.daemons:
            self.spawn()

    async def _watch(self) -> None:
        """Looks from the side, many times a second."""
        while True:
            await asyncio.sleep(0.25)
            now_s = self.loop.time()
            for switch in self.switches.values():
                self.auditor.look(switch.plan.name, now_s)


@contextmanager
def _product_clocks(clock: VirtualTime, random: Random) -> Iterator[None]:
    """Wherever the product reads a clock or draws a number, it is this world's."""
    with (
        replaced(clock),
        mock.patch.object(rater.switch.ami, "random", random),
        mock.patch.object(rater.switch.simulator.protocol, "secrets", random),
        mock.patch.object(random, "randbelow", random.randrange, create=True),
    ):
        yield


@dataclass(frozen=True)
class Result:
    seed: int
    findings: list[Finding]
    calls: int
    legs: int
    faults: dict[str, int]
    events: dict[str, int]
    digest: str


def simulate(seed: int, make_server: Callable[[VirtualTime], Server], trace: list[str] | None = None) -> Result:
    """One world, from its beginning until it has settled. The same seed gives the same digest."""
    loop = VirtualLoop()
    try:
        world = World(seed, loop, make_server, trace)
        with _product_clocks(world.clock, world.random), world.publishing.patched():
            findings = loop.run_until_complete(world.run())
        auditor, digest = world.auditor, world.digest.hexdigest()[:16]
        return Result(seed, findings, auditor.calls, auditor.legs, world.faults, world.events, digest)
    finally:
        loop.close()
