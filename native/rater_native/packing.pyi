"""See `rater.packing_reference`; both are one."""

from collections.abc import Iterable, Sequence
from typing import Any

def sequence(values: Iterable[Any]) -> bytes:
    """The values packed one after the other, bytes as texts: Redis' msgpack library knows no bytes."""

def named(head: bytes, names: tuple[bytes, ...], values: tuple[Any, ...]) -> bytes:
    """A map. `head`: its own, packed; `names`: its keys, each packed; `values`: as they come."""

def call(head: tuple[str | bytes, ...], names: Sequence[str | bytes], arguments: Sequence[str | bytes]) -> bytes:
    """A call of a script as it is written: the words that name it, how many keys, the keys, the arguments."""
