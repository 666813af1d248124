"""A switch's list while its calls are talked: see `listing`."""

from __future__ import annotations

import asyncio

from bench.micro.listing import Listed


def test_a_list_of_calls_that_talk(size: int) -> None:
    """What counts is the longest turn of the loop, which `python -m bench.micro.listing` prints."""

    async def body() -> None:
        listed = Listed(size)
        tracker = listed.adapter.tracker
        assert tracker is not None
        turns = await listed.list_once()
        assert turns
        assert len(tracker.legs) == size, "all of them live on"
        assert len(tracker.channels.live) == 2 * size

    asyncio.run(body())
