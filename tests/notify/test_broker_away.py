"""Row 39 of docs/faults.md under steady traffic. RATER_BROKER_AWAY_S: how long the broker is away; the page tells
of ten minutes, a few seconds is what continuous integration takes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from events.support import CENT, Desk, Mosquitto, leg_facts, until

from rater.charging.embedded import EmbeddedRedis
from rater.config import Settings
from tests.faults.support import measured

from .support import Publisher, settings_for
from .test_mqtt import TAKEN, _resident_kib, all_delivered, backlog

AWAY_S = float(os.environ.get("RATER_BROKER_AWAY_S", "8"))
CALLS_PER_S = 20
IN_FLIGHT = 1000
"""More than can have been sent and not acknowledged when the broker ended."""


async def _traffic(desk: Desk, ids: list[str], stop: asyncio.Event) -> float:
    """Whole legs at a steady rate until told to stop; the longest that one took, in seconds."""
    longest_s, begin_s = 0.0, time.monotonic()
    while not stop.is_set():
        leg = f"leg-{len(ids):06}"
        start_s = time.monotonic()
        reply = await desk.call(10, leg_facts(leg, line=leg))
        longest_s = max(longest_s, time.monotonic() - start_s)
        assert reply.amount_micro == 10 * CENT
        ids.append(leg)
        await asyncio.sleep(max(0.0, begin_s + len(ids) / CALLS_PER_S - time.monotonic()))
    return longest_s


@pytest.mark.timeout(2 * AWAY_S + 120)
def test_39_the_broker_is_away_under_traffic_and_each_event_comes_once(
    server: EmbeddedRedis,
    broker: Mosquitto,
    publisher: Callable[[Settings], Publisher],
    open_desk: Callable[[], AbstractAsyncContextManager[Desk]],
    prefix: str,
) -> None:
    async def run() -> None:
        ids: list[str] = []
        stop = asyncio.Event()
        async with open_desk() as desk:
            await desk.credit(10**12)
            process = publisher(settings_for(server.url, prefix, broker=broker))
            traffic = asyncio.create_task(_traffic(desk, ids, stop))
            await until(lambda: len(broker.taken(TAKEN)) > 20)
            broker.stop()
            before, before_kib = len(ids), _resident_kib(process.pid)
            await asyncio.sleep(AWAY_S)
            waiting, during_kib = await backlog(desk), _resident_kib(process.pid)
            assert waiting >= len(ids) - before - 5, "what happened meanwhile waits in the outbox"
            broker.start()
            start_s = time.monotonic()
            await until(lambda: _few_wait(desk), within_s=AWAY_S + 60)
            caught_up_s, after_kib = time.monotonic() - start_s, _resident_kib(process.pid)
            stop.set()
            longest_s = await traffic
            await until(lambda: all_delivered(desk), within_s=60)
        taken = broker.taken(TAKEN)
        # The dedupe id is the event's, which the topic's last part repeats here.
        assert list(dict.fromkeys(taken)) == ids, "each event, in order, and none besides"
        assert len(taken) - len(ids) < IN_FLIGHT
        assert max(during_kib, after_kib) - before_kib < 40_000
        what = f"39 the broker is away for {AWAY_S:.0f} s under {CALLS_PER_S} calls a second"
        measured(
            f"{what}, {len(ids)} in all, {waiting} waiting, {len(taken) - len(ids)} repeated: caught up",
            caught_up_s,
        )
        measured(f"{what}: the longest call's three operations", longest_s)
        measured(f"{what}: publisher {before_kib} KiB, {during_kib} KiB, {after_kib} KiB; of", AWAY_S)

    asyncio.run(run())


async def _few_wait(desk: Desk) -> bool:
    return await backlog(desk) < 10
