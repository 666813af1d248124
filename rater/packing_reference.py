"""The readable twin of `rater_native.packing`, by msgpack and hiredis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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


def first_text(data: bytes) -> str:
    """The first of values packed one after the other. Raises ValueError when it is no text."""
    for text in _texts(data):
        return text
    raise ValueError("the values end too soon")


def _texts(data: bytes) -> Iterator[str]:
    """Values packed one after the other, which are all to be texts. Raises ValueError for anything else."""
    unpacker = msgpack.Unpacker(raw=True)
    unpacker.feed(data)
    while unpacker.tell() < len(data):
        try:
            value = unpacker.unpack()
        except msgpack.OutOfData as error:
            raise ValueError("the values end too soon") from error
        if not isinstance(value, bytes):
            raise ValueError("that is no text")
        yield value.decode()


def trailing_number(text: str) -> int:
    """What stands behind the last colon. Raises ValueError when it is no number."""
    return int(text[text.rfind(":") + 1 :])


class Command:
    """A call of a script, written piece by piece: after `begin` its keys, then its arguments. An argument is given
    as it is, or made of values, packed one after the other. One object writes a command after another.

    ValueError: a key after an argument, values that are not ended."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> int:
        """Forget what there was."""
        self._keys: list[str] = []
        self._arguments: list[bytes] = []
        self._values: list[bytes] = []
        self._outer: list[bytes] | None = None
        return 0

    def key(self, prefix: str, name: str) -> int:
        if self._arguments:
            raise ValueError("keys stand before arguments")
        self._keys.append(prefix + name)
        return 0

    def keys_in(self, prefix: str, texts: bytes) -> int:
        """A key for each of some texts, packed one after the other, but the first; how many they are. Raises
        ValueError for anything else."""
        names = list(_texts(texts))[1:]
        for name in names:
            self.key(prefix, name)
        return len(names)

    def text(self, value: str) -> int:
        return self._value(value)

    def number(self, value: int) -> int:
        """Also a member of an enumeration, or whether something is so."""
        return self._value(int(value))

    def digits(self, value: int) -> int:
        """The number as a text."""
        return self._value(str(value))

    def data(self, value: bytes) -> int:
        """As a text; see `sequence`."""
        return self._value(value)

    def _value(self, value: Any) -> int:
        self._values.append(_FOR_REDIS.pack(value))
        return 0

    def begin_inner(self) -> int:
        """The values from here on, packed one after the other, are one value."""
        if self._outer is not None:
            raise ValueError("values within values within values")
        self._outer, self._values = self._values, []
        return 0

    def end_inner(self) -> int:
        if self._outer is None:
            raise ValueError("no values were begun within others")
        inner, self._values, self._outer = b"".join(self._values), self._outer, None
        return self._value(inner)

    def end_argument(self) -> int:
        """The values since the last argument are the next."""
        return self.argument(self.values())

    def argument(self, value: str | bytes) -> int:
        self._arguments.append(value if isinstance(value, bytes) else value.encode())
        return 0

    def values(self) -> bytes:
        """Those that were written, instead of an argument."""
        if self._outer is not None:
            raise ValueError("values within others were not ended")
        values, self._values = b"".join(self._values), []
        return values

    def call(self, words: tuple[str | bytes, ...]) -> bytes:
        """As it is written: the words that name the script, how many keys, the keys, the arguments."""
        if self._values or self._outer is not None:
            raise ValueError("an argument was not ended")
        return bytes(hiredis.pack_command((*words, len(self._keys), *self._keys, *self._arguments)))

    def parts(self) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
        """The keys and the arguments."""
        return tuple(self._keys), tuple(self._arguments)
