"""Numbered catalogues in Redis: each a list of pieces, so that writing and reading one of any size holds up neither
the server, which other clients ask for calls at the same time, nor the process that reads it.

    <prefix>:catalog:v:<n>     list: a catalogue, as `rater.catalog.pieces` writes it
    <prefix>:catalog:current   the number in force
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from rater.catalog.model import Catalog
from rater.catalog.pieces import from_pieces, from_text, to_pieces
from rater.catalog.snapshot import Snapshot
from rater.interpreter import uncollected

_AT_ONCE = 500


def current_key(prefix: str) -> str:
    return f"{prefix}:catalog:current"


def version_key(prefix: str, version: int) -> str:
    return f"{prefix}:catalog:v:{version}"


async def write_version(client: Redis, prefix: str, snapshot: Snapshot) -> None:
    """Piece by piece under the snapshot's number, after seeing that it can be read back. Raises CatalogError when
    it cannot, RedisError."""
    redis: Any = client
    pieces = await asyncio.to_thread(lambda: list(to_pieces(snapshot)))
    await asyncio.to_thread(_uncollected, from_pieces, pieces)
    key = version_key(prefix, snapshot.version)
    await redis.unlink(key)
    for piece in pieces:
        await redis.rpush(key, piece)


async def read_version(client: Redis, prefix: str, version: int) -> Snapshot | None:
    """None when it is not there (any more). Raises CatalogError when it is damaged, RedisError."""
    redis: Any = client
    key = version_key(prefix, version)
    try:
        length = await redis.llen(key)
    except ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise
        return await asyncio.to_thread(_uncollected, from_text, await redis.get(key))
    pieces: deque[bytes] = deque()
    for place in range(length):
        piece = await redis.lindex(key, place)
        if piece is None:
            return None
        pieces.append(piece)
    return await asyncio.to_thread(_uncollected, from_pieces, _taken(pieces)) if pieces else None


def _taken(pieces: deque[bytes]) -> Iterator[bytes]:
    """Each is freed once it was read."""
    while pieces:
        yield pieces.popleft()


def _uncollected(read: Callable[[Any], Snapshot], data: Any) -> Snapshot:
    with uncollected():
        return read(data)


def parts_of(catalog: Catalog) -> deque[list[Any]]:
    """Its many objects in small lists: held by these it goes without delay when nobody else needs it, and they can
    be let go one list at a time (`let_go`). Both are meant for a thread of their own."""
    parts: deque[list[Any]] = deque()
    for objects in (catalog.accounts, catalog.lines):
        values = iter(objects.values())
        while some := list(islice(values, _AT_ONCE)):
            parts.append(some)
    return parts


def let_go(parts: deque[list[Any]]) -> None:
    while parts:
        parts.popleft()
