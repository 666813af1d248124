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
from typing import Any
from unittest import mock

import rater.engine
import rater.switch.adapter
import rater.switch.ami
import rater.switch.simulator.protocol
from rater.charging.model import Post, PostKind, Reply, Request
from rater.charging.store_clock import StoreClock
from rater.charging.terms import SlicePolicy
from rater.config import SwitchSettings
from rater.engine import Engine, EnginePolicy
from rater.errors import StoreUnavailable
from rater.ids import AccountId, LegId, OpId, SwitchId
from rater.leading import SwitchLeader
from rater.metrics import Metrics
from rater.switch.simulator.call import Call, Kind, Outcome
from rater.switch.simulator.dialplan import Gating
from rater.switch.simulator.protocol import Connection, ManagerUser
from rater.switch.simulator.switch import Extension, Gateway, SimulatedSwitch

from . import site
from .auditor import Auditor, Finding, Truth
from .stores import SHARD, Server, SimStore, Way
from .virtual import OWNER, Network, VirtualLoop, VirtualTime

TICK_S = 0.02
SECRET = "open sesame"
SETTLE_S = 200.0
"""Long enough for every lease to run out and for several resynchronisations."""
SKEWS_MS = (0, 37, -2_400, 8_000)


@dataclass(frozen=True)
class SwitchPlan:
    name: str
    port: int
    mode: str
    fail: str
    skew_ms: int


@dataclass
class Damage:
    """What is done to single frames of a switch: the chances that one is dropped, sent twice, or late."""

    dropped: float = 0.0
    doubled: float = 0.0
    late: float = 0.0


class _Manager(Connection):
    """A switch's end of a manager connection, through which single events may go astray."""

    damage: Damage
    random: Random
    loop: VirtualLoop

    def event(self, category: str, name: str, frame: str) -> None:
        damage, chance = self.damage, self.random.random()
        if chance < damage.dropped:
            return
        if chance < damage.dropped + damage.late:
            self.loop.call_later(self.random.uniform(0.001, 0.2), super().event, category, name, frame)
            return
        super().event(category, name, frame)
        if chance > 1 - damage.doubled:
            super().event(category, name, frame)


class Switch:
    """One simulated switch and what is true of its calls."""

    def __init__(self, plan: SwitchPlan, world: World) -> None:
        self.plan = plan
        self.damage = Damage()
        self._world = world
        loop = world.loop
        self.sim = SimulatedSwitch(
            users=[ManagerUser("rater", SECRET)],
            extensions=[Extension(line) for line in site.LINES],
            gateways=[Gateway("carrier")],
            gating=Gating.OUTBOUND if plan.mode == "gate" else Gating.NONE,
            seed=world.seed,
            clock_us=lambda: round((site.EPOCH_S + loop.time()) * 1e6) + plan.skew_ms * 1000,
        )
        self.sim.ended = lambda call: world.auditor.call_ended(self.truth_of(call))
        self.sim.make_connection = self._connection

    def _connection(self, *args: Any, **more: Any) -> Connection:
        connection = _Manager(*args, **more)
        connection.damage, connection.random, connection.loop = self.damage, self._world.random, self._world.loop
        return connection

    def place(
        self, line: str, number: str, outcome: Outcome, ring_s: float, talk_s: float, by_caller: bool
    ) -> None:
        self.sim.place_call(line, number, ring_s=ring_s, talk_s=talk_s, outcome=outcome, caller_hangs_up=by_caller)

    def receive(self, line: str, ring_s: float, talk_s: float) -> None:
        self.sim.receive_call(line, caller="+4930123456", ring_s=ring_s, talk_s=talk_s)

    def truth_of(self, call: Call) -> Truth:
        outside = call.callee
        line = call.route.callee if call.route.kind is Kind.IN else call.route.caller
        return Truth(
            switch=self.plan.name,
            gated=self.plan.mode == "gate" and call.route.kind is Kind.OUT,
            fail=self.plan.fail,
            kind=call.route.kind.value,
            line=line.partition("/")[2],
            number=call.route.number,
            channel=outside.uniqueid if outside is not None else "",
            caller=call.caller.uniqueid if call.caller is not None else "",
            began_us=call.started_us - self.plan.skew_ms * 1000,
            answered_us=None if call.answered_us is None else call.answered_us - self.plan.skew_ms * 1000,
            ended_us=(call.ended_us or 0) - self.plan.skew_ms * 1000,
            fate=call.fate.value if call.fate is not None else "",
        )


class Daemon:
    """The product's core, adapters and leaders, as one process that can be killed."""

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self._world = world
        self.store = SimStore(world.loop, world.random, world.way, world.execute, world.server)
        policy = EnginePolicy(slice=SlicePolicy(*world.slices), extend_ahead_ms=3000, decision_timeout_ms=1500)
        self.clock = StoreClock(world.clock)
        self.engine = Engine(self.store, self.clock, Metrics(), policy)
        self.engine.set_catalog(site.catalog(world.version))
        self.engine.on_dirty = lambda: world.loop.call_soon(self.engine.flush) and None
        self.engine.on_stale = lambda switch: self.leaders[switch].lost.set()
        token = OWNER.set(name)
        self.leaders = {
            SwitchId(switch.plan.name): SwitchLeader(
                SwitchSettings(
                    id=switch.plan.name, port=switch.plan.port, mode=switch.plan.mode, fail=switch.plan.fail
                ),  # type: ignore[arg-type]  # checked by pydantic
                SECRET, self.store, self.engine, Metrics(),
                holder=name, shards=1, is_ready=lambda: self.store.available,
            )
            for switch in world.switches.values()
        }  # fmt: skip
        self._tasks = [asyncio.ensure_future(self._lead(leader)) for leader in self.leaders.values()]
        self._tasks += [asyncio.ensure_future(self._tick()), asyncio.ensure_future(self.clock.keep(self.store))]
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

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.engine.tick()

    def use(self, version: int) -> None:
        snapshot = site.catalog(version)
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

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.network = self.loop.network = Network(self.loop, self.random)
        self.clock = VirtualTime(self.loop, site.EPOCH_S)
        self.server_clock = VirtualTime(self.loop, site.EPOCH_S)
        self.server = self.make_server(self.server_clock)
        self.server.on_wake = self._wake
        self.auditor = Auditor(self.server, self._served)
        self.length_s = self.random.uniform(60, 240)
        self.slices = self.random.choice([(30, 60, 2), (10, 20, 2), (4, 8, 1), (6, 30, 3)])
        self.digest = hashlib.sha256()
        self._spawned = 0
        self._posted = 0

    # -- the parts -------------------------------------------------------------------------------------------------

    def execute(self, request: Request) -> Reply:
        """An operation reaches the server."""
        reply = self.server.execute(request)
        now_s = self.loop.time()
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

    def _wake(self, account: AccountId) -> None:
        if not self.way.away:
            for daemon in self.daemons:
                self.loop.call_later(self.random.uniform(*self.way.latency_s), self._woken, daemon, account)

    def _woken(self, daemon: Daemon, account: AccountId) -> None:
        if daemon in self.daemons:
            daemon.engine.money_arrived(account)

    def _served(self, switch: str) -> bool:
        return any(daemon.serves(switch) for daemon in self.daemons)

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
        for account, opening_micro in site.OPENINGS.items():
            if opening_micro:
                self._post(account, PostKind.OPENING, opening_micro, f"opening:{account}")
        for _ in range(self.random.choice([1, 1, 2])):
            self.spawn()
        watching = asyncio.ensure_future(self._watch())
        living = [asyncio.ensure_future(self._traffic()), asyncio.ensure_future(self._top_ups())]
        living += [asyncio.ensure_future(work) for work in self._troubles()]
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
        for switch in self.switches.values():
            await switch.sim.stop()
        return findings

    async def _heal(self) -> None:
        """Every trouble is over."""
        self.way.lost = self.way.unanswered = 0.0
        self.way.away = False
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

    # -- life ------------------------------------------------------------------------------------------------------

    async def _traffic(self) -> None:
        random, lines = self.random, list(site.LINES)
        rate_per_s = random.uniform(0.3, 2.0)
        while True:
            await asyncio.sleep(random.expovariate(rate_per_s))
            switch = random.choice(list(self.switches.values()))
            burst = random.choice([1, 1, 1, 1, 4])
            line = random.choice(lines)
            for _ in range(burst):
                self._one_call(switch, line)

    def _one_call(self, switch: Switch, line: str) -> None:
        random = self.random
        ring_s, talk_s = random.uniform(0.05, 6), min(random.lognormvariate(2.7, 1.2), 300.0)
        if random.random() < 0.12:
            switch.receive(line, ring_s, talk_s)
            return
        outcome = random.choices(list(Outcome), [0.75, 0.07, 0.06, 0.05, 0.07])[0]
        sort = random.random()
        number = site.EMERGENCY if sort < 0.02 else "1001" if sort < 0.05 else random.choice(site.NUMBERS)
        if number != line:
            switch.place(line, number, outcome, ring_s, talk_s, random.random() < 0.5)

    async def _top_ups(self) -> None:
        while True:
            await asyncio.sleep(self.random.expovariate(1 / 12))
            payer = self.random.choice(site.PAYERS)
            if self.random.random() < 0.8:
                self._post(AccountId(payer.name), PostKind.CREDIT, self.random.randrange(10_000, 2_000_000, 10_000))
            else:
                self._post(AccountId(payer.name), PostKind.DEBIT, self.random.randrange(10_000, 300_000, 10_000))

    def _post(self, account: AccountId, kind: PostKind, amount_micro: int, op: str = "") -> None:
        """By a process of its own; now and then the same one twice."""
        self._posted += 1
        now_ms = self.server_clock.wall_ms()
        terms = site.catalog(self.version).terms(account, "", now_ms)
        post = Post(OpId(op or f"post:{self._posted}"), SHARD, account, kind, amount_micro, now_ms, terms)
        self.execute(post)
        if self.random.random() < 0.2:
            self.execute(post)

    # -- trouble ---------------------------------------------------------------------------------------------------

    def _troubles(self) -> Iterator[Any]:
        """Some kinds of trouble, each coming again and again; now and then none at all."""
        kinds: list[tuple[Callable[[], Any], float]] = [
            (self._cut, 20), (self._black_hole, 60), (self._store_away, 40), (self._store_shaky, 30),
            (self._store_slow, 50), (self._die, 45), (self._switch_dies, 90), (self._damage, 40),
            (self._clock_steps, 60), (self._swap_catalog, 50), (self._hang_up, 25), (self._two_leaders, 50),
        ]  # fmt: skip
        if self.random.random() < 0.1:
            return
        for kind, mean_s in self.random.sample(kinds, self.random.randint(1, len(kinds))):
            yield self._again(kind, mean_s)

    async def _again(self, kind: Callable[[], Any], mean_s: float) -> None:
        while True:
            await asyncio.sleep(self.random.expovariate(1 / mean_s))
            await kind()

    def _some_switch(self) -> Switch:
        return self.random.choice(list(self.switches.values()))

    async def _cut(self) -> None:
        self.fault("ami cut")
        self.network.cut(self._some_switch().plan.port)

    async def _black_hole(self) -> None:
        condition = self.network.conditions[self._some_switch().plan.port]
        self.fault("ami black hole")
        condition.black_hole = True
        await asyncio.sleep(self.random.uniform(0.5, 25))
        condition.black_hole = False

    async def _store_away(self) -> None:
        self.fault("store away")
        self.way.away = True
        await asyncio.sleep(self.random.uniform(0.1, 15))
        self.way.away = False

    async def _store_shaky(self) -> None:
        self.fault("store loses operations and answers")
        self.way.lost, self.way.unanswered = self.random.uniform(0, 0.3), self.random.uniform(0, 0.5)
        await asyncio.sleep(self.random.uniform(1, 20))
        self.way.lost = self.way.unanswered = 0.0

    async def _store_slow(self) -> None:
        self.fault("store slow")
        self.way.latency_s = (0.0005, self.random.choice([0.05, 0.3, 2.5]))
        await asyncio.sleep(self.random.uniform(1, 15))
        self.way.latency_s = Way().latency_s

    async def _die(self) -> None:
        if not self.daemons:
            return
        daemon = self.random.choice(self.daemons)
        self.fault("daemon killed")
        self.daemons.remove(daemon)
        await daemon.kill()
        if len(self.daemons) < 2:
            await asyncio.sleep(self.random.choice([0.05, 1.0, 5.0, 30.0]))
            self.spawn()

    async def _switch_dies(self) -> None:
        self.fault("switch restarted")
        self._some_switch().sim.crash()

    async def _damage(self) -> None:
        damage = self._some_switch().damage
        self.fault("events lost, doubled, late")
        for kind in self.random.sample(["dropped", "doubled", "late"], self.random.randint(1, 3)):
            setattr(damage, kind, self.random.uniform(0.01, 0.2))
        self.auditor.damaged = self.auditor.damaged or damage.dropped > 0 or damage.late > 0
        await asyncio.sleep(self.random.uniform(1, 20))
        damage.dropped = damage.doubled = damage.late = 0.0

    async def _clock_steps(self) -> None:
        self.fault("the daemons' wall clock steps")
        self.clock.wall_step_s = self.random.choice([-3600, 3600, -5, 5])
        await asyncio.sleep(self.random.uniform(5, 40))
        self.clock.wall_step_s = 0

    async def _swap_catalog(self) -> None:
        self.fault("catalogue swapped")
        self.version = 3 - self.version
        for daemon in self.daemons:
            daemon.use(self.version)

    async def _hang_up(self) -> None:
        for daemon in self.daemons:
            legs = sorted(leg.leg for leg in self.server.legs())
            if legs and daemon.engine.hang_up(LegId(self.random.choice(legs))):
                self.fault("operator hangs up")
                return

    async def _two_leaders(self) -> None:
        """The leader cannot reach its lease; another takes over while it still believes that it leads."""
        if not self.daemons:
            return
        self.fault("two leaders")
        old = self.random.choice(self.daemons)
        old.store.cut_off_from_leading = True
        if len(self.daemons) < 2:
            self.spawn()
        await asyncio.sleep(self.random.uniform(4, 20))
        old.store.cut_off_from_leading = False


@contextmanager
def _product_clocks(clock: VirtualTime, random: Random) -> Iterator[None]:
    """Wherever the product reads a clock or draws a number, it is this world's."""
    with (
        mock.patch.object(rater.switch.ami, "time", clock),
        mock.patch.object(rater.switch.adapter, "time", clock),
        mock.patch.object(rater.engine, "time", clock),
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
    digest: str


def simulate(seed: int, make_server: Callable[[VirtualTime], Server], trace: list[str] | None = None) -> Result:
    """One world, from its beginning until it has settled. The same seed gives the same digest."""
    loop = VirtualLoop()
    try:
        world = World(seed, loop, make_server, trace)
        with _product_clocks(world.clock, world.random):
            findings = loop.run_until_complete(world.run())
        return Result(
            seed, findings, world.auditor.calls, world.auditor.legs, world.faults, world.digest.hexdigest()[:16]
        )
    finally:
        loop.close()
