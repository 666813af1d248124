"""See `rater.packing_reference`; both are one."""

from collections.abc import Iterable, Iterator
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

def first_text(data: bytes) -> str:
    """The first of values packed one after the other. Raises ValueError when it is no text."""

def trailing_number(text: str) -> int:
    """What stands behind the last colon. Raises ValueError when it is no number."""
