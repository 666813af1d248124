"""What goes on in a world when nothing is wrong: calls, and money that is put in and taken out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rater.charging.model import Post, PostKind
from rater.ids import AccountId, OpId
from rater.switch.simulator.call import Outcome

from . import site
from .stores import SHARD
from .switches import Switch

if TYPE_CHECKING:
    from .world import World


class Life:
    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.random
        self._posted = 0

    async def traffic(self) -> None:
        random, lines = self._random, list(site.LINES)
        rate_per_s = random.uniform(0.3, 2.0)
        while True:
            await asyncio.sleep(random.expovariate(rate_per_s))
            switch = random.choice(list(self._world.switches.values()))
            burst = random.choice([1, 1, 1, 1, 4])
            line = random.choice(lines)
            for _ in range(burst):
                self._one_call(switch, line)

    def _one_call(self, switch: Switch, line: str) -> None:
        random = self._random
        ring_s, talk_s = random.uniform(0.05, 6), min(random.lognormvariate(2.7, 1.2), 300.0)
        if random.random() < 0.12:
            switch.receive(line, ring_s, talk_s)
            return
        outcome = random.choices(list(Outcome), [0.75, 0.07, 0.06, 0.05, 0.07])[0]
        sort = random.random()
        number = site.EMERGENCY if sort < 0.02 else "1001" if sort < 0.05 else random.choice(site.NUMBERS)
        if number != line:
            switch.place(line, number, outcome, ring_s, talk_s, random.random() < 0.5)

    async def top_ups(self) -> None:
        while True:
            await asyncio.sleep(self._random.expovariate(1 / 12))
            payer = self._random.choice(site.PAYERS)
            if self._random.random() < 0.8:
                self.post(AccountId(payer.name), PostKind.CREDIT, self._random.randrange(10_000, 2_000_000, 10_000))
            else:
                self.post(AccountId(payer.name), PostKind.DEBIT, self._random.randrange(10_000, 300_000, 10_000))

    def post(self, account: AccountId, kind: PostKind, amount_micro: int, op: str = "") -> None:
        """By a process of its own; now and then the same one twice."""
        self._posted += 1
        now_ms = self._world.server_clock.wall_ms()
        terms = site.catalog(self._world.version).terms(account, "", now_ms)
        post = Post(OpId(op or f"post:{self._posted}"), SHARD, account, kind, amount_micro, now_ms, terms)
        self._world.execute(post)
        if self._random.random() < 0.2:
            self._world.execute(post)
