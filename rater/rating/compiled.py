"""A deck ready for rating: flat arrays, the same for the compiled and the reference kernel.

Prefixes are *keys*: sixteen symbols of four bits, from the left (0–9 → 1–10, ``*`` → 11, ``#`` → 12, 0 after the
end), so that sorting keys sorts texts and a prefix stands before what it begins. A prefix's rows are the group
``group_start[g] … group_start[g + 1]``; a row names its `terms` (shared by all rows that cost the same) and its
destination.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from rater.errors import CatalogError, Problem

FORMAT = "rater.deck/1"
MAX_PREFIX = 15
SYMBOLS = "0123456789*#"
NO_MAXIMUM = -1
NO_CARRIER = -1
ALWAYS_FROM_MS = -(2**62)
ALWAYS_UNTIL_MS = 2**62

TERMS = np.dtype(
    [
        ("connect_micro", "<i8"),
        ("price_num", "<i8"),
        ("min_micro", "<i8"),
        ("max_micro", "<i8"),
        ("valid_from_ms", "<i8"),
        ("valid_until_ms", "<i8"),
        ("carrier_num", "<i8"),
        ("price_den", "<i4"),
        ("carrier_den", "<i4"),
        ("first_s", "<i4"),
        ("next_s", "<i4"),
        ("free_s", "<i4"),
        ("tier_from_s", "<i4"),
        ("band", "<i2"),
        ("class_", "<i2"),
        ("cut", "<i2"),
        ("spare", "<i2"),
    ],
)
"""What a row costs. `band`, `class_` are places in the deck's names; a missing one is −1. 88 bytes, no padding;
`native/rater_native/pricing.pyx` has the same structure."""

_ARRAYS: dict[str, Any] = {
    "keys": np.dtype("<u8"),
    "group_start": np.dtype("<i4"),
    "row_terms": np.dtype("<i4"),
    "row_destination": np.dtype("<i4"),
    "terms": TERMS,
    "destination_start": np.dtype("<i4"),
    "destination_text": np.dtype("u1"),
}


@dataclass(frozen=True, eq=False)
class CompiledDeck:
    """Immutable. `classes`, `bands`: the names that its rows use. `band_sets`: each set of bands for which some
    prefix has rates at some time ("" is any), so that a plan can see whether its hours are covered."""

    keys: npt.NDArray[np.uint64]
    group_start: npt.NDArray[np.int32]
    row_terms: npt.NDArray[np.int32]
    row_destination: npt.NDArray[np.int32]
    terms: npt.NDArray[np.void]
    destination_start: npt.NDArray[np.int32]
    destination_text: npt.NDArray[np.uint8]
    classes: tuple[str, ...]
    bands: tuple[str, ...]
    band_sets: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for name, dtype in _ARRAYS.items():
            array = getattr(self, name)
            if array.dtype != dtype or not array.flags.c_contiguous:
                raise ValueError(f"{name} must be a contiguous array of {dtype}, not of {array.dtype}")
            array.flags.writeable = False
        if not self._consistent():
            raise ValueError("the arrays of the deck do not fit together")

    def _consistent(self) -> bool:
        """The compiled kernel does not check bounds again."""
        rows, groups = len(self.row_terms), len(self.keys)
        return (
            len(self.row_destination) == rows
            and len(self.group_start) == groups + 1
            and int(self.group_start[0]) == 0
            and int(self.group_start[-1]) == rows
            and bool((np.diff(self.group_start) > 0).all())
            and bool((self.keys[1:] > self.keys[:-1]).all())
            and (groups == 0 or int(self.keys[0]) > 0)
            and _within(self.row_terms, len(self.terms))
            and _within(self.row_destination, len(self.destination_start) - 1)
            and _within(self.terms["class_"], len(self.classes))
            and _within(self.terms["band"], len(self.bands), low=-1)
            and int(self.destination_start[0]) == 0
            and bool((np.diff(self.destination_start) >= 0).all())
            and int(self.destination_start[-1]) == len(self.destination_text)
            and _sound(self.terms)
        )

    def __len__(self) -> int:
        """Rows."""
        return len(self.row_terms)

    @cached_property
    def nbytes(self) -> int:
        return sum(int(getattr(self, name).nbytes) for name in _ARRAYS)

    def destination(self, row: int) -> str:
        place = int(self.row_destination[row])
        start, end = int(self.destination_start[place]), int(self.destination_start[place + 1])
        return self.destination_text[start:end].tobytes().decode()

    def prefix(self, row: int) -> str:
        """The prefix of a row."""
        return unpack(int(self.keys[int(np.searchsorted(self.group_start, row, side="right")) - 1]))

    def parts(self) -> tuple[dict[str, Any], list[memoryview]]:
        """The deck for a snapshot: its names, and the bytes of its arrays in order; `DeckArrays` makes it anew."""
        names = {"format": FORMAT, "classes": self.classes, "bands": self.bands, "band_sets": self.band_sets}
        return names, [memoryview(getattr(self, name).view("u1")) for name in _ARRAYS]

    def to_bytes(self) -> bytes:
        """The deck as one text; `from_bytes` gives it back."""
        names, arrays = self.parts()
        return bytes(msgpack.packb(names | dict(zip(_ARRAYS, map(bytes, arrays), strict=True))))

    @classmethod
    def from_bytes(cls, data: bytes) -> CompiledDeck:
        """Raises CatalogError when `data` is not a deck of this format."""
        try:
            content: dict[str, Any] = msgpack.unpackb(data, use_list=False, max_bin_len=len(data))
            if content.pop("format") != FORMAT:
                raise ValueError("it has another format")
            arrays = {name: np.frombuffer(content.pop(name), dtype) for name, dtype in _ARRAYS.items()}
            return cls(**arrays, **content)  # type: ignore[arg-type]  # checked by __post_init__
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, msgpack.UnpackException) as error:
            problem = Problem("deck", 0, 0, f"the compiled deck cannot be read: {error}", f"a deck of {FORMAT}")
            raise CatalogError([problem]) from error


class DeckArrays:
    """A deck that comes piece by piece. `lengths`: bytes of each array in order; `names`: as `CompiledDeck.parts`
    gives them. Raises ValueError, TypeError or KeyError for what is no deck of this format."""

    def __init__(self, lengths: Sequence[int], names: dict[str, Any]) -> None:
        if names.pop("format") != FORMAT:
            raise ValueError("a deck has another format")
        self._names = names
        self._arrays = {
            name: np.empty(_items(length, dtype), dtype)
            for (name, dtype), length in zip(_ARRAYS.items(), lengths, strict=True)
        }
        self._open = [array.view("u1") for array in self._arrays.values() if array.size]

    def fill(self, data: bytes) -> bool:
        """The next bytes; they belong to one array. Whether the deck is whole."""
        if data:
            if not self._open or len(data) > len(self._open[0]):
                raise ValueError("the arrays of a deck are longer than was said")
            self._open[0][: len(data)] = np.frombuffer(data, "u1")
            self._open[0] = self._open[0][len(data) :]
            if not len(self._open[0]):
                del self._open[0]
        return not self._open

    def deck(self) -> CompiledDeck:
        arrays: dict[str, Any] = dict(self._arrays)
        return CompiledDeck(**arrays, **self._names)


def _items(length_bytes: int, dtype: np.dtype[Any]) -> int:
    items, rest = divmod(length_bytes, dtype.itemsize)
    if rest or items < 0:
        raise ValueError(f"{length_bytes} bytes are no array of {dtype}")
    return items


def _within(array: npt.NDArray[Any], limit: int, *, low: int = 0) -> bool:
    return array.size == 0 or (int(array.min()) >= low and int(array.max()) < limit)


def _sound(terms: npt.NDArray[np.void]) -> bool:
    """No zero to divide by, no step that stands still, nothing negative."""
    positive = ("price_den", "carrier_den", "first_s", "next_s")
    not_negative = ("connect_micro", "price_num", "min_micro", "free_s", "tier_from_s")
    return all(_within(terms[name], 2**31, low=1) for name in positive) and all(
        _within(terms[name], 2**62) for name in not_negative
    )


def pack(text: str) -> int:
    """The key of a text of at most 16 symbols. Raises ValueError for others."""
    if len(text) > 16:
        raise ValueError(f"{text!r} is longer than 16 symbols")
    key = 0
    for symbol in text:
        key = key << 4 | SYMBOLS.index(symbol) + 1
    return key << 4 * (16 - len(text))


def unpack(key: int) -> str:
    nibbles = (key >> shift & 15 for shift in range(60, -4, -4))
    return "".join(SYMBOLS[nibble - 1] for nibble in nibbles if nibble)


def text_table(texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Texts as one array of UTF-8 and where each begins."""
    encoded = [text.encode() for text in texts]
    start = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(text) for text in encoded], out=start[1:])
    return start, np.frombuffer(b"".join(encoded), np.uint8).copy()
