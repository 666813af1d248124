"""See `rater.packing_reference`; both are one."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

class Packed:
    """A list of texts, packed already as a map's value (`named`): it takes a third of the room."""

    def __init__(self, texts: Iterable[str]) -> None: ...
    def __iter__(self) -> Iterator[str]: ...
    def __eq__(self, other: object, /) -> bool: ...

def numbers(data: bytes, count: int) -> tuple[int, ...]:
    """So many whole numbers, packed one after the other. Raises ValueError for anything else."""

def sequence(values: Iterable[Any]) -> bytes:
    """The values packed one after the other, bytes as texts: Redis' msgpack library knows no bytes."""

def named(head: bytes, names: tuple[bytes, ...], values: tuple[Any, ...]) -> bytes:
    """A map. `head`: its own, packed; `names`: its keys, each packed; `values`: as they come."""

def call(head: tuple[str | bytes, ...], names: Sequence[str | bytes], arguments: Sequence[str | bytes]) -> bytes:
    """A call of a script as it is written: the words that name it, how many keys, the keys, the arguments."""
