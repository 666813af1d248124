"""The readable twin of `rater_native.packing`, by msgpack and hiredis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import hiredis
import msgpack

_FOR_REDIS = msgpack.Packer(use_bin_type=False)


class Packed:
    """A list of texts, packed already as a map's value (`named`): it takes a third of the room."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.data: bytes = msgpack.packb(list(texts))

    def __iter__(self) -> Iterator[str]:
        return iter(msgpack.unpackb(self.data))

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Packed | list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as its twin


def _packed(value: Any) -> bytes:
    return value.data if isinstance(value, Packed) else msgpack.packb(value)


def numbers(data: bytes, count: int) -> tuple[int, ...]:
    """So many whole numbers, packed one after the other. Raises ValueError for anything else."""
    unpacker = msgpack.Unpacker(raw=True)
    unpacker.feed(data)
    values = list(unpacker)
    whole = tuple(int(value) for value in values if isinstance(value, int | float) and value == int(value))
    if len(values) != count or len(whole) != count or any(isinstance(value, bool) for value in values):
        raise ValueError(f"these are not {count} whole numbers")
    return whole


def sequence(values: Iterable[Any]) -> bytes:
    """The values packed one after the other, bytes as texts: Redis' msgpack library knows no bytes."""
    return b"".join([_FOR_REDIS.pack(value) for value in values])


def named(head: bytes, names: tuple[bytes, ...], values: tuple[Any, ...]) -> bytes:
    """A map. `head`: its own, packed; `names`: its keys, each packed; `values`: as they come."""
    pairs = zip(names, values, strict=True)
    return head + b"".join([part for name, value in pairs for part in (name, _packed(value))])


def call(head: tuple[str | bytes, ...], names: Sequence[str | bytes], arguments: Sequence[str | bytes]) -> bytes:
    """A call of a script as it is written: the words that name it, how many keys, the keys, the arguments."""
    words = (*head, len(names), *names, *arguments)
    return bytes(hiredis.pack_command(words))
