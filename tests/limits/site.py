"""An engine over the reference store, with switches that do what they are told and a clock turned by hand."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from rater.calls.commands import AnswerGate, ArmTimer, HangUp, Party, SwitchCommand
from rater.calls.signals import Answered, Attempted, Dialled, Disposition, Ended
from rater.catalog.model import Account
from rater.catalog.snapshot import Snapshot
from rater.charging.memory import MemoryStore
from rater.charging.model import Post, PostKind
from rater.charging.terms import SlicePolicy, Terms
from rater.clock import ManualClock
from rater.engine import Engine, EnginePolicy
from rater.ids import AccountId, LegId, OpId, Shard, SwitchId, TrunkId
from rater.metrics import Metrics
from rater.money import parse_amount
from rater.verdict import Reason
from tests.limits.support import NOON_MS, catalog

POLICY = EnginePolicy(slice=SlicePolicy(first_s=10, long_s=20, short_s=2), extend_ahead_ms=3000)
STEP_MS = 100


class Switch:
    """Ends a leg when its timer says so or when it is told to."""

    def __init__(self, site: Site, name: str) -> None:
        self.site, self.name = site, SwitchId(name)
        self.timers: dict[LegId, int] = {}
        self.commands: dict[LegId, list[SwitchCommand]] = defaultdict(list)

    def execute(self, command: SwitchCommand) -> None:
        self.commands[command.leg].append(command)
        if isinstance(command, ArmTimer) and command.party is Party.BILLED:
            self.timers[command.leg] = self.site.now_ms + command.after_ms
        if isinstance(command, HangUp):
            self.timers[command.leg] = self.site.now_ms

    def flush(self) -> None:
        pass

    def touched(self, leg: str) -> list[SwitchCommand]:
        """What it was told of a leg that changes anything."""
        kept = (AnswerGate, ArmTimer, HangUp)
        return [command for command in self.commands[LegId(leg)] if isinstance(command, kept)]


class Site:
    """`ends`: the leg's natural end. `over`: when each leg was over, ms since the start."""

    def __init__(self, snapshot: Snapshot, *, shards: dict[str, int] | None = None) -> None:
        self.clock = ManualClock(NOON_MS)
        self.store = MemoryStore(self.clock)
        self.metrics = Metrics()
        self.snapshot = snapshot.placed(
            {a: Shard((shards or {}).get(a, 0)) for a in snapshot.accounts}, 1,
            {r: Shard(7) for r in snapshot.resellers},
        )  # fmt: skip
        self.ends: dict[LegId, int] = {}
        self.over: dict[str, int] = {}
        self.begin()
        for account in self.snapshot.accounts.values():
            self.post(account, PostKind.OPENING, account.opening_micro)

    def begin(self) -> None:
        """A new process: nothing is known but what the store has."""
        self.engine = Engine(self.store, self.clock, self.metrics, POLICY)
        self.engine.set_catalog(self.snapshot)
        self.store.on_wake = self.engine.money_arrived
        self.switches = {name: Switch(self, name) for name in ("pbx1", "pbx2")}
        for switch in self.switches.values():
            self.engine.attach(switch.name, switch, epoch=1, fails_open=False)

    @property
    def now_ms(self) -> int:
        return self.clock.wall_ms()

    @property
    def switch(self) -> Switch:
        return self.switches["pbx1"]

    def post(self, account: Account, kind: PostKind, amount_micro: int) -> None:
        op = OpId(f"{kind}:{account.id}:{self.now_ms}")
        self.store.execute(Post(op, account.shard, account.id, kind, amount_micro, self.now_ms, Terms()))

    def credit(self, amount: str, account: str = "ACME") -> None:
        known = self.snapshot.accounts[AccountId(account)]
        self.post(known, PostKind.CREDIT, parse_amount(amount))
        self.engine.flush()

    def call(self, wanted: Attempted, talk_s: float | None, *, trunk: str = "t1") -> None:
        """Attempted, dialled and answered at once; over after `talk_s` unless something ends it. None: it rings."""
        wanted = replace(wanted, at_ms=self.now_ms)
        self.engine.on_signal(wanted)
        self.engine.flush()
        self.engine.on_signal(Dialled(wanted.leg, TrunkId(trunk), f"ch-{wanted.leg}", self.now_ms))
        if talk_s is not None and wanted.leg not in self.switches[wanted.switch].timers:
            self.engine.on_signal(Answered(wanted.leg, self.now_ms))
        self.ends[wanted.leg] = self.now_ms + int((3600 if talk_s is None else talk_s) * 1000)
        self.engine.flush()

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds * 1000 / STEP_MS)):
            self.clock.advance(STEP_MS)
            for leg, end_ms in list(self.ends.items()):
                doomed = [s.timers[leg] for s in self.switches.values() if leg in s.timers]
                if self.now_ms >= min([end_ms, *doomed]):
                    self.hang_up(leg)
            self.engine.tick()
            self.engine.flush()

    def hang_up(self, leg: LegId) -> None:
        del self.ends[leg]
        self.over[leg] = self.now_ms - NOON_MS
        self.engine.on_signal(Ended(leg, self.now_ms, 16, Disposition.FAILED))
        self.engine.flush()

    def records(self, kind: str) -> list[dict[str, Any]]:
        return [{**facts, **result} for name, facts, result in self.store.outbox if name == kind]

    def denials(self) -> list[dict[str, Any]]:
        return self.records("denied")

    def reasons(self) -> list[str]:
        """Of each denial, its code."""
        return [Reason(record["reason"]).code for record in self.denials()]


def make(folder: Path, **texts: str) -> Site:
    return Site(catalog(folder, **texts))
