"""When the connection of the hot path is given up: a server that says nothing, not one that has much to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from rater.charging.connection import Address, Ask, Call, Link
from rater.charging.pipeline import BATCH, LANES

TIMEOUT_S = 0.2
LONG = b"x" * (BATCH // 2) + b"\n"


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
            if self.is_over(connection, line):
                break
            if self.every_s is not None:
                await asyncio.sleep(self.every_s)
                writer.write(b":1\r\n")
        writer.close()

    def is_over(self, connection: int, line: bytes) -> bool:
        return False


def run(
    server: Server,
    calls: int,
    work: Callable[[], None] = lambda: None,
    *,
    for_s: float,
    data: bytes = b"DO\n",
    rounds: int = 1,
) -> list[Any]:
    """What was answered within that time. `work` holds everything up once the calls are sent; they are sent
    `rounds` times."""

    async def main() -> list[Any]:
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
        for _ in range(rounds):
            for row in range(calls):
                link.queue(Call(data, row=row))
            link.flush()
            await asyncio.sleep(0.01)
            work()
        await asyncio.sleep(for_s)
        await link.close()
        listener.close()
        return answers

    return asyncio.run(main())


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
    assert run(server, 20, for_s=8 * TIMEOUT_S, data=LONG, rounds=3) == [1] * 60
    assert 2 < server.connections <= LANES


def test_when_one_connection_breaks_all_are_made_anew_and_all_is_answered() -> None:
    class Breaking(Server):
        """Ends its third connection at the first call on it, unanswered."""

        def is_over(self, connection: int, line: bytes) -> bool:
            return connection == 3 and line == LONG

    server = Breaking(every_s=0.001)
    assert run(server, 20, for_s=8 * TIMEOUT_S, data=LONG, rounds=4) == [1] * 80
    assert server.heard.count(LONG) > 80, "what was unanswered was sent again"


def test_without_a_further_connection_one_has_to_do() -> None:
    class Narrow(Server):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self.connections:
                writer.close()
                return
            await super().serve(reader, writer)

    server = Narrow(every_s=0.001)
    assert run(server, 20, for_s=8 * TIMEOUT_S, data=LONG, rounds=3) == [1] * 60
