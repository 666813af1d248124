"""The readable twin of `rater_native.packing`, by msgpack and hiredis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import hiredis
import msgpack

_FOR_REDIS = msgpack.Packer(use_bin_type=False)
_PACKER = msgpack.Packer()


def sequence(values: Iterable[Any]) -> bytes:
    """The values packed one after the other, bytes as texts: Redis' msgpack library knows no bytes."""
    return b"".join([_FOR_REDIS.pack(value) for value in values])


def named(head: bytes, names: tuple[bytes, ...], values: tuple[Any, ...]) -> bytes:
    """A map. `head`: its own, packed; `names`: its keys, each packed; `values`: as they come."""
    pairs = zip(names, values, strict=True)
    return head + b"".join([part for name, value in pairs for part in (name, _PACKER.pack(value))])


def call(head: tuple[str | bytes, ...], names: Sequence[str | bytes], arguments: Sequence[str | bytes]) -> bytes:
    """A call of a script as it is written: the words that name it, how many keys, the keys, the arguments."""
    words = (*head, len(names), *names, *arguments)
    return bytes(hiredis.pack_command(words))
