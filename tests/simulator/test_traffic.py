"""Traffic: the same for the same seed, and as believable as its profile says."""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from dataclasses import replace
from itertools import islice, takewhile
from random import Random

import pytest

from rater.switch.simulator.call import Call, Fate, Outcome
from rater.switch.simulator.switch import SimulatedSwitch
from rater.switch.simulator.traffic import PlannedCall, Profile, Sort, Traffic, plan_calls

from .support import EXTENSIONS, GATEWAYS, USERS, runs

LINES = [str(number) for number in range(1001, 1021)]


class FixedNumbers:
    """Numbers that need no catalogue."""

    def draw(self, line: str, random: Random) -> str | None:
        return f"0{random.randrange(10**8):08d}"

    def emergency(self, line: str, random: Random) -> str | None:
        return "112"

    def malformed(self, random: Random) -> str:
        return "12a4"

    def unknown(self, random: Random) -> str:
        return "0000"


def planned(
    count: int, *, seed: int = 7, profile: Profile | None = None, lines: list[str] = LINES
) -> list[PlannedCall]:
    calls = plan_calls(
        seed=seed,
        profile=profile or Profile(),
        lines=lines,
        favourites=lines[:2],
        gateways=["trunk", "spare"],
        numbers=FixedNumbers(),
    )
    return list(islice(calls, count))


def test_the_same_seed_gives_the_same_calls() -> None:
    assert planned(500) == planned(500)


def test_another_seed_gives_others() -> None:
    assert planned(50, seed=1) != planned(50, seed=2)


def test_calls_come_in_order_at_the_rate_asked_for() -> None:
    profile = Profile(rate_per_s=10, bursts_per_s=0)
    calls = planned(4000, profile=profile)
    times = [call.at_s for call in calls]
    assert times == sorted(times)
    assert 4000 / times[-1] == pytest.approx(10, rel=0.1)


def test_call_lengths_are_log_normal_and_squeezed_by_the_compression() -> None:
    talk = {}
    for compression in (1.0, 20.0):
        profile = Profile(median_talk_s=90, talk_sigma=1.1, compression=compression)
        talk[compression] = [call.talk_s for call in planned(4000, profile=profile)]
    assert statistics.median(talk[1.0]) == pytest.approx(90, rel=0.1)
    assert statistics.mean(talk[1.0]) > 1.4 * statistics.median(talk[1.0]), "a long tail"
    assert statistics.median(talk[20.0]) == pytest.approx(90 / 20, rel=0.1)


def test_the_mix_is_the_profiles() -> None:
    profile = Profile(bursts_per_s=0)
    calls = planned(6000, profile=profile)
    sorts = Counter(call.sort for call in calls)
    total = sum(share for _, share in profile.sorts)
    for sort, share in profile.sorts:
        assert sorts[sort] / 6000 == pytest.approx(share / total, abs=0.02), sort
    outcomes = Counter(call.outcome for call in calls)
    for outcome, share in profile.outcomes:
        assert outcomes[outcome] / 6000 == pytest.approx(share, abs=0.02), outcome


def test_favourites_call_more_than_their_share() -> None:
    lines = Counter(call.line for call in planned(3000, profile=Profile(favourite_share=0.4, bursts_per_s=0)))
    assert (lines["1001"] + lines["1002"]) / 3000 == pytest.approx(0.4 + 0.6 * 2 / 20, abs=0.05)


def test_bursts_are_many_calls_of_one_line_within_a_second() -> None:
    profile = Profile(rate_per_s=0.001, bursts_per_s=0.01, burst_calls=(5, 5))
    calls = planned(200, profile=profile)
    first = list(takewhile(lambda call: call.line == calls[0].line and call.at_s < calls[0].at_s + 1, calls))
    assert len(first) == 5
    assert {call.outcome for call in first} == {Outcome.ANSWERED}


def test_internal_calls_are_between_two_lines() -> None:
    internal = [call for call in planned(2000) if call.sort is Sort.INTERNAL]
    assert internal
    assert all(call.number in LINES and call.number != call.line for call in internal)


def test_no_lines_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one line"):
        planned(1, lines=[])


@runs
async def test_the_switch_carries_the_planned_traffic() -> None:
    profile = replace(Profile(), rate_per_s=40.0, compression=1000.0, bursts_per_s=1.0)
    switch = SimulatedSwitch(users=USERS, extensions=EXTENSIONS, gateways=GATEWAYS)
    calls = plan_calls(
        seed=3,
        profile=profile,
        lines=["1001", "1002", "1003"],
        favourites=[],
        gateways=["trunk"],
        numbers=FixedNumbers(),
    )
    carried: list[tuple[PlannedCall, Call]] = []
    await switch.start()
    traffic = Traffic(switch, calls, on_call=lambda planned, call: carried.append((planned, call)))
    # The gate is on, and nobody is there: without a heartbeat every outbound call is refused, the others pass.
    traffic.start()
    await asyncio.sleep(1.0)
    traffic.stop()
    placed = traffic.placed
    await asyncio.sleep(0.2)
    assert traffic.placed == placed == len(carried) > 20
    await switch.stop()
    fates = Counter((planned.sort, call.fate) for planned, call in carried)
    assert fates[Sort.OUTBOUND, Fate.DENIED] > 10
    assert not fates[Sort.OUTBOUND, Fate.ANSWERED]
    assert fates[Sort.INBOUND, Fate.ANSWERED]
    assert not fates[Sort.INBOUND, Fate.DENIED]
    assert all(call.fate is not None for _, call in carried)
