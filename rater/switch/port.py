"""The way to one switch and from it while all is well: frames to the tracker, its signals to the engine, the
engine's commands as actions to the connection. What comes up, breaks and is made good again is the part of
`rater.switch.adapter`. Also compiled.
"""

from __future__ import annotations

import math
import time
from collections.abc import Container
from typing import Protocol

from rater.calls.commands import AnswerGate, Forget, HangUp, SwitchCommand
from rater.calls.signals import KnownLeg, Signal
from rater.catalog.model import Catalog
from rater.ids import LegId, SwitchId
from rater.metrics import Metrics
from rater.switch.actions import Actions
from rater.switch.ami_parse import Frame
from rater.switch.exchange import Exchange
from rater.switch.frames import Action
from rater.switch.tracker import Tracker

MEASURE_EVERY_NS = 100_000_000
"""How far behind the events are is looked at, and how many came, with one batch in so long."""


class SwitchEngine(Protocol):
    """What of the engine is used; see `rater.engine.Engine`."""

    @property
    def catalog(self) -> Catalog | None: ...
    def on_signal(self, signal: Signal) -> None: ...
    def collect(self) -> None: ...
    def flush(self) -> None: ...
    def known_leg(self, leg: LegId) -> KnownLeg | None: ...
    def known_legs(self, switch: SwitchId, but: Container[LegId] = ()) -> list[KnownLeg]: ...


class Port:
    """`synced`: connected, and every leg compared with the switch. `actions`: how they are named."""

    def __init__(self, switch: SwitchId, engine: SwitchEngine, metrics: Metrics, actions: Actions) -> None:
        self.id = switch
        self.synced = False
        self.acts_until_s = math.inf
        """Until then, monotonic, this process surely leads the switch; after that it only listens."""
        self.tracker: Tracker | None = None
        self._exchange: Exchange | None = None
        """The connection."""
        self._engine = engine
        self._metrics = metrics
        self._actions = actions
        self._outgoing: list[Action] = []
        self._gates: dict[LegId, AnswerGate] = {}
        """Verdicts of channels that have not passed the gate, as far as is known."""
        self._hang_ups: dict[LegId, HangUp] = {}
        self._measure_next_ns = 0

    @property
    def may_act(self) -> bool:
        """Whether this process surely leads the switch now."""
        return time.monotonic() <= self.acts_until_s

    def execute(self, command: SwitchCommand) -> None:
        """Collect what it means in actions; `flush` writes them. Nothing while another may lead: it would take our
        word, or cut what it extended. A verdict or hang-up that was held back so is made good when nobody else did,
        if its channel still waits or lives (`SwitchAdapter.leads_again`)."""
        if isinstance(command, Forget):
            forget = command
            self._gates.pop(forget.leg, None)
            self._hang_ups.pop(forget.leg, None)
            if self.tracker is not None:
                self.tracker.forget(forget.leg)
            return
        if isinstance(command, AnswerGate):
            gate = command
            self._gates[gate.leg] = gate
        elif isinstance(command, HangUp):
            hang_up = command
            self._hang_ups[hang_up.leg] = hang_up
        if self.tracker is not None and time.monotonic() <= self.acts_until_s:
            self._outgoing += self._actions.of(command, self.tracker)

    def flush(self) -> None:
        """One write. What cannot be sent is dropped: the next resync looks at what it meant to do."""
        if self._outgoing:
            actions, self._outgoing = self._outgoing, []
            assert self._exchange is not None
            self._exchange.send(actions)

    def on_frames(self, frames: list[Frame], arrived_ns: int) -> None:
        if not self.synced:
            self.hold(frames, arrived_ns)
            return
        self._engine.collect()
        try:
            self._handle(frames, arrived_ns)
        finally:
            self._engine.flush()
        if self._outgoing:
            self.flush()

    def hold(self, frames: list[Frame], arrived_ns: int) -> None:
        """Events that come before the switch is synchronised."""
        raise NotImplementedError

    def _handle(self, frames: list[Frame], arrived_ns: int) -> None:
        assert self.tracker is not None
        self.tracker.feed_all(frames, arrived_ns, self._engine.on_signal)
        passed = self.tracker.passed
        if passed:
            for leg in passed:
                self._gates.pop(leg, None)
            passed.clear()
        if arrived_ns >= self._measure_next_ns:
            self._measure_next_ns = arrived_ns + MEASURE_EVERY_NS
            self._measure_lag(arrived_ns)
            self.count()

    def _measure_lag(self, arrived_ns: int) -> None:
        assert self.tracker is not None
        if self.tracker.time.source == "switch":
            lag_ms = max(0, self.switch_now_ms() - self.tracker.time.last_ms)
        else:
            lag_ms = (time.monotonic_ns() - arrived_ns) // 1_000_000
        self._metrics.switch_lag(self.id, lag_ms / 1000)

    def count(self) -> None:
        """Tell the metrics of the frames since the last time."""
        raise NotImplementedError

    def switch_now_ms(self) -> int:
        """The switch's clock now."""
        raise NotImplementedError
