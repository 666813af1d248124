"""A real HTTP server that receives webhooks, and answers as a test wants it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from events.support import free_port

from rater.config import Secret, WebhookSettings

SECRET = "correct horse battery staple"


@dataclass(frozen=True)
class Received:
    headers: dict[str, str]
    body: bytes

    @property
    def records(self) -> list[dict[str, Any]]:
        """Those of a batch, or the one that stands alone."""
        value = json.loads(self.body)
        return value["records"] if value["schema"] == "rater.batch/1" else [value]

    @property
    def ids(self) -> list[str]:
        return [record["id"] for record in self.records]


Answer = Callable[[Received], web.StreamResponse | Awaitable[web.StreamResponse]]


class Receiver:
    """`answer` decides what each request gets; by default 204. `got` is every request, in order."""

    def __init__(self, port: int, scheme: str) -> None:
        self.port = port
        self.url = f"{scheme}://localhost:{port}/hook"
        self.got: list[Received] = []
        self.answer: Answer = lambda request: web.Response(status=204)

    @property
    def ids(self) -> list[str]:
        return [each for request in self.got for each in request.ids]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        received = Received(dict(request.headers), await request.read())
        self.got.append(received)
        answer = self.answer(received)
        return await answer if isinstance(answer, Awaitable) else answer


@asynccontextmanager
async def receiving(*, port: int | None = None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver(port or free_port(), "https" if tls else "http")
    app = web.Application()
    app.router.add_post("/{tail:.*}", receiver.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", receiver.port, ssl_context=tls, reuse_address=True).start()
    try:
        yield receiver
    finally:
        await asyncio.wait_for(runner.cleanup(), 10)


def hook(url: str, folder: Path, name: str = "crm", **options: Any) -> WebhookSettings:
    """Settings of an endpoint whose secret lies in a file, as an operator would have it."""
    path = folder / f"{name}.secret"
    path.write_text(SECRET)
    path.chmod(0o600)
    return WebhookSettings(name=name, url=url, secret=Secret(file=path), **options)
