"""When the connection of the hot path is given up: a server that says nothing, not one that has much to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from rater.charging.connection import Address, Ask, Call, Link
from rater.charging.pipeline import BATCH, LANES

TIMEOUT_S = 0.2
PATIENCE_S = 60.0
LONG = b"x" * (BATCH // 2) + b"\n"
AT_ONCE = 20


class NoForms:
    async def load(self, ask: Ask) -> None:
        pass


class Server:
    """Answers each command after `every_s`; None: never."""

    def __init__(self, every_s: float | None) -> None:
        self.every_s = every_s
        self.connections = 0
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = self.connections
        while line := await reader.readline():
            if line[:1] in b"*$":
                continue  # of a greeting, which has its answer by its last line
            self.heard.append(line)
            if self.hangs_up(connection, line):
                break
            if self.every_s is not None:
                await asyncio.sleep(self.every_s)
                writer.write(b":1\r\n")
        writer.close()

    def hangs_up(self, connection: int, line: bytes) -> bool:
        return False


@asynccontextmanager
async def linked(server: Server) -> AsyncIterator[tuple[Link, list[Any]]]:
    """A link that is up, and what it is answered."""
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    answers: list[Any] = []
    up = asyncio.Event()

    async def inspect(ask: Ask) -> None:
        pass

    link = Link(
        Address(port=listener.sockets[0].getsockname()[1]),
        NoForms(),  # type: ignore[arg-type]
        timeout_s=TIMEOUT_S,
        on_answer=lambda call, reply: answers.append(reply),
        after_read=lambda: None,
        on_up=lambda is_up: up.set() if is_up else None,
        inspect=inspect,
    )
    link.start()
    await up.wait()
    yield link, answers
    await link.close()
    listener.close()


def run(server: Server, calls: int, work: Callable[[], None] = lambda: None, *, for_s: float) -> list[Any]:
    """What was answered within that time. `work` holds everything up once the calls are sent."""

    async def main() -> list[Any]:
        async with linked(server) as (link, answers):
            for _ in range(calls):
                link.queue(Call(b"DO\n"))
            link.flush()
            await asyncio.sleep(0.01)
            work()
            await asyncio.sleep(for_s)
        return answers

    return asyncio.run(main())


def flood(server: Server, enough: Callable[[], bool]) -> None:
    """Ask for far more than goes into a turn, of many accounts, again and again until it is enough; all of it is
    answered."""

    async def main() -> None:
        async with linked(server) as (link, answers):
            asked, until_s = 0, time.monotonic() + PATIENCE_S
            while not enough() or len(answers) < asked:
                assert time.monotonic() < until_s, (asked, len(answers), server.connections)
                if not enough() and asked - len(answers) < 3 * AT_ONCE:
                    for row in range(AT_ONCE):
                        link.queue(Call(LONG, row=row))
                    link.flush()
                    asked += AT_ONCE
                await asyncio.sleep(0.02)
            assert len(answers) == asked

    asyncio.run(main())


def test_a_server_that_answers_late_but_steadily_is_kept() -> None:
    server = Server(every_s=TIMEOUT_S / 4)
    assert run(server, 20, for_s=8 * TIMEOUT_S)
    assert server.connections == 1


def test_a_server_that_says_nothing_is_given_up() -> None:
    server = Server(every_s=None)
    assert not run(server, 1, for_s=8 * TIMEOUT_S)
    assert server.connections > 1


def test_being_held_up_oneself_is_no_reason() -> None:
    server = Server(every_s=0)
    assert run(server, 5, lambda: time.sleep(3 * TIMEOUT_S), for_s=TIMEOUT_S) == [1] * 5
    assert server.connections == 1


def test_further_connections_are_made_when_more_waits_than_goes_into_a_turn() -> None:
    server = Server(every_s=0.001)
    flood(server, lambda: server.connections > 2)
    assert server.connections <= LANES


def test_when_one_connection_breaks_all_are_made_anew_and_all_is_answered() -> None:
    class Breaking(Server):
        """Ends its third connection at the first call on it, unanswered."""

        def hangs_up(self, connection: int, line: bytes) -> bool:
            return connection == 3 and line == LONG

    server = Breaking(every_s=0.001)
    flood(server, lambda: server.connections > 3)


def test_without_a_further_connection_one_has_to_do() -> None:
    class Narrow(Server):
        """As one that has as many clients as it may have."""

        refused = 0

        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self.connections:
                self.refused += 1
                writer.write(b"-ERR max number of clients reached\r\n")
                writer.close()
            else:
                await super().serve(reader, writer)

    server = Narrow(every_s=0.001)
    flood(server, lambda: server.refused > 0)
    assert server.connections == 1
