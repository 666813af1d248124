"""The switch's side of the hot path as it runs in the daemon, with nothing behind it: bytes of captured calls come
in, signals go to somebody who answers each with the commands that a call has, and the actions' bytes go nowhere."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, field

from bench.load.captures import COMMAND, LINE, NUMBER, OTHER, SERIAL, SLOTS, STAMP, UNIQUE, Values
from bench.load.mix import mix
from bench.micro.wires import Wire, connect
from rater.calls.commands import AnswerGate, ArmTimer, Forget, Party, SwitchCommand
from rater.calls.signals import Answered, Attempted, Ended, KnownLeg, Signal
from rater.catalog.model import Catalog, SwitchRules, Trunk
from rater.config import SwitchSettings
from rater.ids import LegId, SwitchId, TrunkId
from rater.metrics import Metrics
from rater.switch.actions import Actions
from rater.switch.adapter import SwitchAdapter
from rater.switch.tracker import Tracker
from rater.verdict import Reason

SWITCH = SwitchId("pbx1")
_ACTION_ID = re.compile(rb"\r\nActionID: ([^\r]+)")


@dataclass
class Core:
    """In the engine's place: the commands of an answered call with one extension, and nothing else."""

    catalog: Catalog | None = None
    adapter: SwitchAdapter | None = None
    commands: list[SwitchCommand] = field(default_factory=list)
    signals: int = 0

    def on_signal(self, signal: Signal) -> None:
        self.signals += 1
        kind = type(signal)
        if kind is Attempted:
            self.commands.append(AnswerGate(signal.leg, Reason.ALLOWED, 30))
        elif kind is Answered:
            self.commands.append(ArmTimer(signal.leg, Party.BILLED, 2_345))
            self.commands.append(ArmTimer(signal.leg, Party.BILLED, 62_345))
        elif kind is Ended:
            self.commands.append(Forget(signal.leg))

    def flush(self) -> None:
        assert self.adapter is not None
        execute = self.adapter.execute
        for command in self.commands:
            execute(command)
        self.commands.clear()

    def collect(self) -> None:
        pass

    def known_legs(self, switch: SwitchId, but: Container[LegId] = ()) -> list[KnownLeg]:
        return []

    def known_leg(self, leg: LegId) -> KnownLeg | None:
        return None


def attached() -> tuple[SwitchAdapter, Core, Wire]:
    """An adapter as it is when its connection is up and everything is known."""
    core, wire = Core(), Wire()
    settings = SwitchSettings(id=SWITCH, host="127.0.0.1", user="u")
    adapter = SwitchAdapter(settings, "x", core, Metrics())
    core.adapter = adapter
    adapter.tracker = Tracker(SWITCH, "b", SwitchRules(SWITCH), [Trunk(TrunkId("trunk"), None, "PJSIP/trunk-*")])
    adapter.tracker.connected(0)
    adapter._actions = Actions("bench")
    adapter.synced = True
    connect(adapter.connection, wire)
    return adapter, core, wire


def values_of(call: int) -> Values:
    values = [b""] * SLOTS
    values[LINE], values[OTHER], values[NUMBER] = b"%d" % (200_000 + call % 5000), b"100001", b"3314234%04d" % call
    values[COMMAND] = b"%d" % call
    for place in range(3):
        values[SERIAL + place] = b"%08x" % (3 * call + place)
        values[UNIQUE + place] = b"%d.%d" % (1_790_000_000 + call // 600, 3 * call + place)
    values[-2], values[-1] = (b"bf98e474-a27f-469b-927%d-%012x" % (place, call) for place in (5, 6))
    return values


def stream(calls: int, at_once: int) -> tuple[list[bytes], int]:
    """What a switch sends of answered calls, so many at a time, read by read, with its answers to the actions; and
    how many events that is. Made by listening to an adapter, which names its actions the same every time."""
    kinds = mix()
    answered = kinds.kinds[0]
    steps = [kinds.begin, answered.allowed, *(step.burst for step in answered.steps)]
    adapter, _, wire = attached()
    reads = []
    for first in range(0, calls, at_once):
        group = [values_of(call) for call in range(first, first + at_once)]
        for number, step in enumerate(steps):
            for values in group:
                values[STAMP] = b"%d.%06d" % (1_790_000_000 + first // 600, number * 100_000 + 1_234)
            reads.append(b"".join(step.render(values) for values in group))
            adapter.connection.received(reads[-1])
            if wire.written:
                told = b"".join(wire.written)
                wire.written.clear()
                reads.append(
                    b"".join(
                        b"Response: Success\r\nActionID: %b\r\nMessage: Variable Set\r\n\r\n" % action
                        for action in _ACTION_ID.findall(told)
                    )
                )
                adapter.connection.received(reads[-1])
    return reads, sum(step.events for step in steps) * calls


def run(reads: list[bytes]) -> tuple[int, int]:
    """Signals told and bytes written."""
    adapter, core, wire = attached()
    received = adapter.connection.received
    for read in reads:
        received(read)
    return core.signals, sum(map(len, wire.written))
