"""Whole lives of calls between the daemon's sockets, eight switches on one engine; see `daemon_side`."""

from __future__ import annotations

import gc

from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.daemon_side import run, script


def test_calls_through_the_daemon(benchmark: BenchmarkFixture, size: int) -> None:
    calls = min(size, 5000)
    catalog, reads = script(calls, 1200.0)
    gc.collect()
    gc.disable()  # the daemon's own looks at young objects seldom
    try:
        site = benchmark(run, catalog, reads)
    finally:
        gc.enable()
    benchmark.extra_info |= {"calls": calls, "reads": len(reads)}
    assert not site.engine.live_legs
    written = b"".join(site.redis.written)
    for name in (b"reserve", b"answer", b"extend", b"settle"):
        assert written.count(b"_%b\r\n" % name) == calls, name
    assert all(wire.written for wire in site.wires)
