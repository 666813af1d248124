"""What goes on in a world when nothing is wrong: calls, and money that is put in and taken out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rater.charging.model import Post, PostKind
from rater.ids import AccountId, OpId
from rater.switch.simulator.call import Call, Kind, Outcome, Script

from . import site
from .servers import SHARD
from .switches import Switch

if TYPE_CHECKING:
    from .world import World
OUTSIDER = "+4930123456"
MOVED = 0.25
"""The share of calls that somebody means to hand on."""


class Life:
    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.random
        self._posted = 0
        self._recent: deque[tuple[float, Post]] = deque(maxlen=200)

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
            call = switch.sim.receive_call(line, caller=OUTSIDER, ring_s=ring_s, talk_s=talk_s)
            if random.random() < MOVED:
                self._later(ring_s + random.uniform(0, talk_s), self._send, switch, call, False)
            return
        outcome = random.choices(list(Outcome), [0.75, 0.07, 0.06, 0.05, 0.07])[0]
        sort = random.random()
        number = site.EMERGENCY if sort < 0.02 else "1001" if sort < 0.05 else random.choice(site.NUMBERS)
        if number == line:
            return
        call = switch.sim.place_call(
            line, number, ring_s=ring_s, talk_s=talk_s, outcome=outcome, caller_hangs_up=random.random() < 0.5
        )
        if random.random() < MOVED:
            self._move(switch, call, ring_s, talk_s)

    # -- calls that are handed on ----------------------------------------------------------------------------------

    def _move(self, switch: Switch, call: Call, ring_s: float, talk_s: float) -> None:
        """Some time while they talk, if they do."""
        random = self._random
        outward = call.route.kind is Kind.OUT
        sort = random.random() if outward else 0.0
        at_s = ring_s + random.uniform(0, talk_s)
        if sort < 0.5:
            self._later(at_s, self._send, switch, call, True)
        elif sort < 0.65:
            self._later(at_s, self._send, switch, call, False)
        elif sort < 0.8:
            self._later(at_s, self._redirect, switch, call)
        else:
            line = call.route.caller_number
            consult_ring_s, consult_s = random.uniform(0.05, 3), random.uniform(0.5, 20)
            self._later(at_s, self._consult, switch, call, line, consult_ring_s, consult_s)

    def _later(self, delay_s: float, move: Callable[..., None], *arguments: Any) -> None:
        self._world.loop.call_later(delay_s, move, *arguments)

    def _script(self) -> Script:
        random = self._random
        outcome = random.choices(list(Outcome), [0.8, 0.05, 0.05, 0.05, 0.05])[0]
        talk_s = min(random.lognormvariate(2.5, 1.2), 300.0)
        return Script(outcome, random.uniform(0.05, 4), talk_s, random.random() < 0.5)

    def _send(self, switch: Switch, call: Call, by_caller: bool) -> None:
        number = self._random.choice([*site.NUMBERS, "1002", "1061"])
        if call.talking and switch.sim.transfer(call, number, self._script(), by_caller=by_caller) is not None:
            self._world.happened("blind transfer")

    def _redirect(self, switch: Switch, call: Call) -> None:
        number = self._random.choice(site.NUMBERS)
        if call.talking and switch.sim.redirect(call, number, self._script()) is not None:
            self._world.happened("redirect")

    def _consult(self, switch: Switch, call: Call, line: str, ring_s: float, talk_s: float) -> None:
        if not call.talking:
            return
        second = switch.sim.place_call(line, self._random.choice(site.NUMBERS), ring_s=ring_s, talk_s=talk_s + 60)
        self._later(ring_s + talk_s, self._join, switch, call, second)

    def _join(self, switch: Switch, first: Call, second: Call) -> None:
        if switch.sim.join(first, second, self._script()) is not None:
            self._world.happened("attended transfer")

    # -- money -----------------------------------------------------------------------------------------------------

    async def top_ups(self) -> None:
        while True:
            await asyncio.sleep(self._random.expovariate(1 / 12))
            payer = self._random.choice(site.PAYERS)
            if self._random.random() < 0.8:
                self.post(AccountId(payer.name), PostKind.CREDIT, self._random.randrange(10_000, 2_000_000, 10_000))
            else:
                self.post(AccountId(payer.name), PostKind.DEBIT, self._random.randrange(10_000, 300_000, 10_000))

    def post(self, account: AccountId, kind: PostKind, amount_micro: int, op: str = "") -> None:
        """By a process of its own."""
        self._posted += 1
        now_ms = self._world.server_clock.wall_ms()
        terms = site.catalog(self._world.version).terms(account, "", now_ms)
        self._do(Post(OpId(op or f"post:{self._posted}"), SHARD, account, kind, amount_micro, now_ms, terms))

    def _do(self, post: Post) -> None:
        """Until it is answered; now and then once more, and again when it may have been lost."""
        if self._world.way.away or self._world.execute(post) is None:
            self._later(self._random.uniform(0.1, 1.0), self._do, post)
            return
        self._recent.append((self._world.loop.time(), post))
        if self._random.random() < 0.2:
            self._world.execute(post)

    def lost_since(self, at_s: float) -> None:
        """The store lacks what was posted since: most of it is posted again, under its operation id."""
        lost = [post for when_s, post in self._recent if when_s >= at_s]
        for post in lost:
            if post.kind is PostKind.OPENING or self._random.random() < 0.7:
                self._later(self._random.uniform(0.0, 5.0), self._do, post)
