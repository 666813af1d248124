"""The simulated switches, and what is true of their calls."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from rater.switch.simulator.call import Call, Kind, Outcome
from rater.switch.simulator.dialplan import Gating
from rater.switch.simulator.protocol import Connection, ManagerUser
from rater.switch.simulator.switch import Extension, Gateway, SimulatedSwitch

from . import site
from .auditor import Truth
from .virtual import VirtualLoop

if TYPE_CHECKING:
    from .world import World

SECRET = "open sesame"
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
