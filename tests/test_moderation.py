"""When the loop's turns are kept apart, with a clock of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import uvloop

from rater.moderation import APART_S, BUSY, IDLE, LOOK_S, Moderation


class Loop:
    """What the loop is asked for; a turn takes so long and is so much of work."""

    def __init__(self) -> None:
        self.now_s = self.worked_s = 0.0
        self.slept_s: list[float] = []
        self.soon: list[Callable[[], Any]] = []
        self.later: list[tuple[float, Callable[[], Any]]] = []
        self.moderation = Moderation(
            self, now_s=lambda: self.now_s, worked_s=lambda: self.worked_s, sleep=self._sleep  # type: ignore[arg-type]
        )  # fmt: skip
        self.moderation.look()

    def call_soon(self, callback: Callable[[], Any]) -> None:
        self.soon.append(callback)

    def call_later(self, after_s: float, callback: Callable[[], Any]) -> None:
        self.later.append((self.now_s + after_s, callback))

    def _sleep(self, span_s: float) -> None:
        self.slept_s.append(span_s)
        self.now_s += span_s

    def turns(self, for_s: float, *, turn_s: float, share: float) -> int:
        """How many there are in so long when there is always something to read: each works for `turn_s`, and waits
        for as long as makes that this share of the time."""
        until_s, count = self.now_s + for_s, 0
        while self.now_s < until_s:
            soon, self.soon = self.soon, []
            for callback in soon:
                callback()
            while self.later and self.later[0][0] <= self.now_s:
                self.later.pop(0)[1]()
            count += 1
            self.worked_s += turn_s
            self.now_s += turn_s if self.moderation.on else turn_s / share
        return count


def test_turns_are_kept_apart_while_there_is_much_to_do() -> None:
    loop = Loop()
    loop.turns(1.0, turn_s=0.0007, share=0.9)
    assert loop.moderation.on
    loop.slept_s.clear()
    assert abs(loop.turns(0.1, turn_s=0.0007, share=0.9) - 0.1 / APART_S) <= 1
    assert all(0 < slept_s <= APART_S for slept_s in loop.slept_s)


def test_nothing_is_held_back_while_there_is_little_to_do() -> None:
    loop = Loop()
    loop.turns(1.0, turn_s=0.0001, share=BUSY - 0.05)
    assert not loop.moderation.on
    assert loop.slept_s == []
    assert loop.soon == []


def test_a_turn_that_takes_longer_is_followed_at_once() -> None:
    loop = Loop()
    loop.turns(1.0, turn_s=3 * APART_S, share=0.99)
    assert loop.moderation.on
    assert loop.slept_s == []


def test_it_ends_only_when_there_is_clearly_less_to_do() -> None:
    loop = Loop()
    loop.turns(1.0, turn_s=0.8 * APART_S, share=0.95)
    assert loop.moderation.on
    loop.turns(1.0, turn_s=(BUSY + IDLE) / 2 * APART_S, share=1.0)
    assert loop.moderation.on
    loop.turns(1.0, turn_s=0.2 * APART_S, share=0.2)
    assert not loop.moderation.on
    loop.turns(LOOK_S / 10, turn_s=0.0001, share=0.1)
    assert loop.soon == [], "and leaves the loop to itself"


def test_on_a_real_loop_everything_still_gets_its_turn() -> None:
    async def case() -> bool:
        loop = asyncio.get_running_loop()
        worked_s = 0.0

        def busy() -> float:
            nonlocal worked_s
            worked_s += 1.0
            return worked_s

        moderation = Moderation(loop, worked_s=busy)
        moderation.look()
        for _ in range(20):
            await asyncio.sleep(0.005)
        reader, writer = await asyncio.open_connection(*(await _echo()))
        writer.write(b"asked\n")
        assert await reader.readline() == b"asked\n"
        writer.close()
        return moderation.on

    async def _echo() -> tuple[str, int]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        return host, port

    assert uvloop.run(case())
