"""A call on its way through the switch side: some thirty events and seven answers in, seven actions out. `at_once`:
calls of which each read brings something; a quiet switch has one."""

from __future__ import annotations

import gc

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.switch_side import run, stream


@pytest.mark.parametrize("at_once", [1, 8])
def test_calls_through_the_switch_side(benchmark: BenchmarkFixture, size: int, at_once: int) -> None:
    calls = min(max(size, at_once) // at_once * at_once, 2000)
    reads, events = stream(calls, at_once)
    gc.collect()
    gc.disable()  # the daemon's own looks at young objects seldom
    try:
        signals, written = benchmark(run, reads)
    finally:
        gc.enable()
    benchmark.extra_info |= {"calls": calls, "events": events}
    assert signals == 4 * calls, "attempted, dialled, answered, ended"
    assert written > 7 * 60 * calls
