"""The simulated switches, and what is true of their calls."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from rater.switch.simulator.call import Call, Kind
from rater.switch.simulator.channel import Channel
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
        self._legs: dict[str, Call] = {}
        """The calls that dialled the channels that live, by uniqueid."""
        loop = world.loop
        self.sim = SimulatedSwitch(
            users=[ManagerUser("rater", SECRET)],
            extensions=[Extension(line, site.code_of(line) if world.account_codes else "") for line in site.LINES],
            gateways=[Gateway("carrier")],
            gating=Gating.OUTBOUND if plan.mode == "gate" else Gating.NONE,
            channel_variables=("RATER_ACCOUNT", "BLINDTRANSFER", "FORWARDERNAME"),
            seed=world.seed,
            clock_us=lambda: round((site.EPOCH_S + loop.time()) * 1e6) + plan.skew_ms * 1000,
        )
        self.sim.ended = lambda call: world.auditor.call_ended()
        self.sim.dialled = self._dialled
        self.sim.gone = self._gone
        self.sim.make_connection = self._connection
        self._tell, self.sim.world._emit = self.sim.world._emit, self._told
        self._waits_since_us: dict[str, int] = {}
        """Who waits at the gate, by uniqueid."""

    def _connection(self, *args: Any, **more: Any) -> Connection:
        connection = _Manager(*args, **more)
        connection.damage, connection.random, connection.loop = self.damage, self._world.random, self._world.loop
        return connection

    def _told(self, category: str, name: str, headers: str) -> None:
        """What the switch does, whoever hears of it."""
        if name in ("AsyncAGIStart", "AsyncAGIEnd"):
            uniqueid = re.search(r"^Uniqueid: (\S+)", headers, re.MULTILINE)[1]
            now_us = self.sim.world.now_us()
            if name == "AsyncAGIStart":
                self._waits_since_us[uniqueid] = now_us
            else:
                waited_us = now_us - self._waits_since_us.pop(uniqueid)
                self._world.auditor.left_gate(self.plan.name, uniqueid, waited_us / 1e6)
        self._tell(category, name, headers)

    def _dialled(self, call: Call) -> None:
        if call.callee is not None and call.route.kind is not Kind.INTERNAL:
            self._legs[call.callee.uniqueid] = call

    def _gone(self, channel: Channel, lost: bool) -> None:
        call = self._legs.pop(channel.uniqueid, None)
        if call is not None:
            self._world.auditor.leg_ended(self._truth_of(call, channel, lost=lost))

    def _truth_of(self, call: Call, channel: Channel, *, lost: bool) -> Truth:
        """Of the leg that a call dialled, which may have outlived it."""
        inbound = call.route.kind is Kind.IN
        ours_us = self.plan.skew_ms * 1000
        return Truth(
            switch=self.plan.name,
            gated=self.plan.mode == "gate" and not inbound,
            fail=self.plan.fail,
            kind=call.route.kind.value,
            line=_line_of(call.route.callee) if inbound else _line_of(call.sender) or _line_of(call.route.caller),
            number=call.route.number,
            channel=channel.uniqueid,
            caller=call.caller.uniqueid if call.caller is not None else "",
            began_us=call.started_us - ours_us,
            answered_us=None if call.answered_us is None else call.answered_us - ours_us,
            ended_us=self.sim.world.now_us() - ours_us,
            lost=lost,
        )


def _line_of(stem: str) -> str:
    """Of a channel's name; empty when it is no line's."""
    line = stem.partition("/")[2]
    return line if line in site.LINES else ""
