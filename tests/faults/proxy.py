"""A TCP proxy in front of a real server that does what networks do: swallow, hold back, cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    """Between a client and the server on `port`. `swallows`: answers are read and thrown away, requests still reach
    the server. `black_hole`: nothing passes in either direction, and nobody is told."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.swallows = False
        self.black_hole = False
        self.swallowed = 0
        """Bytes of answers thrown away."""
        self.cuts_after: int | None = None
        """So many bytes of answers more, then every connection is reset, once."""

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """Reset every connection, in whatever it was doing."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def lead_to(self, target: int) -> None:
        """From now on to another server, as an address does that moves with a fail-over."""
        self._target = target
        self.cut()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._met, "127.0.0.1", 0)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _met(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(client_in, client_out))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        try:
            server_in, server_out = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            client_out.transport.abort()
            return
        ends = {client_out, server_out}
        self._writers |= ends
        pumps = [
            asyncio.create_task(self._pump(client_in, server_out, answers=False)),
            asyncio.create_task(self._pump(server_in, client_out, answers=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._writers -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await source.read(65536):
            if self.black_hole:
                continue
            if answers and self.swallows:
                self.swallowed += len(data)
                continue
            if answers and self.cuts_after is not None:
                if len(data) >= self.cuts_after:
                    sink.write(data[: self.cuts_after])
                    await sink.drain()
                    self.cuts_after = None
                    await asyncio.sleep(0)
                    return
                self.cuts_after -= len(data)
            sink.write(data)
            await sink.drain()


@asynccontextmanager
async def proxy(target: int) -> AsyncIterator[Proxy]:
    here = Proxy(target)
    await here.start()
    try:
        yield here
    finally:
        await here.stop()
