"""Tasks end when they are told to, though a library may lose a cancellation."""

from __future__ import annotations

import asyncio

import pytest

from rater import tasks


async def deaf(times: int) -> None:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            times -= 1
            if times < 0:
                raise


async def faulty() -> None:
    raise ValueError("of its own")


def test_a_lost_cancellation_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.01)

    async def body() -> list[asyncio.Task[None]]:
        started = [asyncio.create_task(deaf(times)) for times in (0, 1, 3)] + [asyncio.create_task(faulty())]
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await tasks.end(started)
        return started

    assert all(task.done() for task in asyncio.run(body()))


def test_nothing_to_end_is_well() -> None:
    asyncio.run(tasks.end([]))
