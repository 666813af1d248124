"""Believable traffic from one seeded random source.

`plan_calls` is pure: the same seed over the same lines gives the same calls for ever. `Traffic` places them on a
switch, on the switch's own timers.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from random import Random
from typing import Protocol, TypeVar

from rater.switch.simulator.call import Call, Outcome
from rater.switch.simulator.switch import SimulatedSwitch
from rater.switch.simulator.world import SECOND_US, Timer

T = TypeVar("T")


class Sort(StrEnum):
    OUTBOUND = "outbound"
    INBOUND = "inbound"
    INTERNAL = "internal"
    EMERGENCY = "emergency"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Profile:
    """What traffic there is.

    `rate_per_s`: calls begun in a second, on average, over all lines. Call lengths are log-normal, half of them
    under `median_talk_s`; ringing likewise. `compression` divides both, so that a demo of seconds sees calls of
    minutes end. `bursts_per_s`: how often a line dials `burst_calls` at once, as a dialler or a hacked telephone
    does. `favourite_share`: the share of calls made by the favourites among the lines.
    """

    rate_per_s: float = 4.0
    compression: float = 15.0
    median_talk_s: float = 90.0
    talk_sigma: float = 1.1
    median_ring_s: float = 9.0
    ring_sigma: float = 0.5
    bursts_per_s: float = 0.15
    burst_calls: tuple[int, int] = (3, 7)
    favourite_share: float = 0.4
    sorts: tuple[tuple[Sort, float], ...] = (
        (Sort.OUTBOUND, 0.73),
        (Sort.INBOUND, 0.13),
        (Sort.INTERNAL, 0.06),
        (Sort.EMERGENCY, 0.01),
        (Sort.MALFORMED, 0.02),
        (Sort.UNKNOWN, 0.05),
    )
    outcomes: tuple[tuple[Outcome, float], ...] = (
        (Outcome.ANSWERED, 0.7),
        (Outcome.NO_ANSWER, 0.1),
        (Outcome.CANCELLED, 0.09),
        (Outcome.BUSY, 0.08),
        (Outcome.FAILED, 0.03),
    )


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """`at_s` from the start. `line` dials `number`; inbound: `number` is the far end that calls the line."""

    at_s: float
    sort: Sort
    line: str
    number: str
    outcome: Outcome
    ring_s: float
    talk_s: float
    caller_hangs_up: bool
    gateway: str


class Numbers(Protocol):
    """Where numbers come from, by line (its endpoint). None: there is none of that kind."""

    def draw(self, line: str, random: Random) -> str | None: ...

    def emergency(self, line: str, random: Random) -> str | None: ...

    def malformed(self, random: Random) -> str: ...

    def unknown(self, random: Random) -> str: ...


def plan_calls(
    *,
    seed: int,
    profile: Profile,
    lines: Sequence[str],
    favourites: Sequence[str],
    gateways: Sequence[str],
    numbers: Numbers,
) -> Iterator[PlannedCall]:
    """Calls without end, in order of time. `favourites`: lines that call more than their share.

    Raises ValueError without lines or gateways.
    """
    if not lines or not gateways:
        raise ValueError("traffic needs at least one line and one trunk")
    planner = _Planner(Random(seed), profile, lines, favourites, gateways, numbers)
    return planner.calls()


@dataclass(frozen=True, slots=True)
class _Planner:
    random: Random
    profile: Profile
    lines: Sequence[str]
    favourites: Sequence[str]
    gateways: Sequence[str]
    numbers: Numbers

    def calls(self) -> Iterator[PlannedCall]:
        serial = count()
        waiting: list[tuple[float, int, PlannedCall]] = []
        profile, random = self.profile, self.random
        total_per_s = profile.rate_per_s + profile.bursts_per_s
        if total_per_s <= 0:
            return
        at_s = 0.0
        while True:
            at_s += random.expovariate(total_per_s)
            while waiting and waiting[0][0] <= at_s:
                yield heapq.heappop(waiting)[2]
            is_burst = random.random() < profile.bursts_per_s / total_per_s
            for call in self._burst(at_s) if is_burst else self._one(at_s):
                heapq.heappush(waiting, (call.at_s, next(serial), call))

    def _one(self, at_s: float) -> Iterator[PlannedCall]:
        line = self._pick_line()
        sort = _weighted(self.random, self.profile.sorts)
        number = self._number(sort, line)
        if number is not None:
            yield self._call(at_s, sort, line, number)

    def _burst(self, at_s: float) -> Iterator[PlannedCall]:
        line = self._pick_line()
        for _ in range(self.random.randint(*self.profile.burst_calls)):
            at_s += self.random.uniform(0.01, 0.15)
            number = self.numbers.draw(line, self.random)
            if number is not None:
                yield self._call(at_s, Sort.OUTBOUND, line, number, outcome=Outcome.ANSWERED)

    def _pick_line(self) -> str:
        from_favourites = self.favourites and self.random.random() < self.profile.favourite_share
        return self.random.choice(self.favourites if from_favourites else self.lines)

    def _number(self, sort: Sort, line: str) -> str | None:
        random = self.random
        match sort:
            case Sort.INTERNAL:
                others = [other for other in self.lines if other != line]
                return random.choice(others) if others else None
            case Sort.EMERGENCY:
                return self.numbers.emergency(line, random)
            case Sort.MALFORMED:
                return self.numbers.malformed(random)
            case Sort.UNKNOWN:
                return self.numbers.unknown(random)
            case _:
                return self.numbers.draw(line, random)

    def _call(
        self, at_s: float, sort: Sort, line: str, number: str, *, outcome: Outcome | None = None
    ) -> PlannedCall:
        random, profile = self.random, self.profile
        ring_s = _lognormal(random, profile.median_ring_s, profile.ring_sigma)
        talk_s = _lognormal(random, profile.median_talk_s, profile.talk_sigma)
        chosen = _weighted(random, profile.outcomes)
        return PlannedCall(
            at_s=at_s,
            sort=sort,
            line=line,
            number=number,
            outcome=outcome if outcome is not None else chosen,
            ring_s=round(ring_s / profile.compression, 3),
            talk_s=round(talk_s / profile.compression, 3),
            caller_hangs_up=random.random() < 0.55,
            gateway=random.choice(self.gateways),
        )


def _lognormal(random: Random, median: float, sigma: float) -> float:
    """At most fifty medians long, so that no single call outlives everything."""
    return min(median * random.lognormvariate(0.0, sigma), 50 * median)


def _weighted(random: Random, choices: Sequence[tuple[T, float]]) -> T:
    values = [value for value, _ in choices]
    return random.choices(values, [weight for _, weight in choices])[0]


class Traffic:
    """Places planned calls on a switch until stopped. `placed` counts them; `on_call` is told of each."""

    def __init__(
        self,
        switch: SimulatedSwitch,
        calls: Iterator[PlannedCall],
        *,
        on_call: Callable[[PlannedCall, Call], None] = lambda planned, call: None,
    ) -> None:
        self.placed = 0
        self._switch = switch
        self._calls = calls
        self._on_call = on_call
        self._timer: Timer | None = None
        self._started_us = 0

    def start(self) -> None:
        self._started_us = self._switch.world.now_us()
        self._await_next()

    def stop(self) -> None:
        """No further call is placed; those that live go on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _await_next(self) -> None:
        planned = next(self._calls, None)
        if planned is None:
            self._timer = None
            return
        world = self._switch.world
        due_us = self._started_us + round(planned.at_s * SECOND_US)
        self._timer = world.later(due_us - world.now_us(), lambda: self._place(planned))

    def _place(self, planned: PlannedCall) -> None:
        self._await_next()
        self.placed += 1
        self._on_call(planned, place(self._switch, planned))


def place(switch: SimulatedSwitch, planned: PlannedCall) -> Call:
    """Put one planned call on the switch, now."""
    if planned.sort is Sort.INBOUND:
        return switch.receive_call(
            planned.line,
            caller=planned.number,
            ring_s=planned.ring_s,
            talk_s=planned.talk_s,
            outcome=planned.outcome,
            caller_hangs_up=planned.caller_hangs_up,
            gateway=planned.gateway,
        )
    return switch.place_call(
        planned.line,
        planned.number,
        ring_s=planned.ring_s,
        talk_s=planned.talk_s,
        outcome=planned.outcome,
        caller_hangs_up=planned.caller_hangs_up,
        gateway=planned.gateway,
    )
