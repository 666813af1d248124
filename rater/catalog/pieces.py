"""A catalogue's wire form: records one after the other, so that one of any size is written, sent and taken up a
little at a time. A daemon reads it in a thread beside live calls, and what C does in one go keeps the interpreter
from them.

A record is a msgpack array ``[kind, payload, check]``; ``check`` is the beginning of the SHA-256 of all kinds and
payloads so far, so that nothing of a damaged catalogue is used. In this order:

- ``rater.catalog/2``: ``{"version": N}``;
- for each field of `Content` its name, with a msgpack map of at most `ROWS` entries, as often as needed;
- for each deck ``deck``, with its names and the lengths of its arrays in bytes, and ``array`` with at most
  `PIECE_BYTES` of the arrays' bytes, as often as needed;
- ``end``: the whole SHA-256 of what stands before.

The form before, ``rater.catalog/1``, was one msgpack map in one text of Redis; it is read, and written no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from itertools import islice
from typing import Any, get_type_hints

import msgpack
from pydantic import TypeAdapter, ValidationError

from rater.catalog.content import Content
from rater.catalog.snapshot import Snapshot
from rater.errors import CatalogError, InputError, Problem
from rater.rating.compiled import CompiledDeck, DeckArrays

FORMAT = "rater.catalog/2"
FORMAT_BEFORE = "rater.catalog/1"
PIECE_BYTES = 256 * 1024
ROWS = 32
"""Of accounts, lines and the like; together some milliseconds of checking."""
_CHECK_BYTES = 8
_FIELDS: dict[str, TypeAdapter[Any]] = {
    name: TypeAdapter(kind) for name, kind in get_type_hints(Content).items()
}  # each a dict
_FAULTS = (msgpack.UnpackException, ValueError, TypeError, KeyError, IndexError, InputError, MemoryError)


def to_pieces(snapshot: Snapshot) -> Iterator[bytes]:
    """Parts of about `PIECE_BYTES`, to be put together again or read one after the other."""
    seen = hashlib.sha256()
    piece = bytearray()
    for kind, payload in _records(snapshot):
        seen.update(kind.encode())
        seen.update(payload)
        piece += msgpack.packb((kind, payload, seen.digest()[:_CHECK_BYTES]))
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece + msgpack.packb(("end", seen.digest(), b"")))


def _records(snapshot: Snapshot) -> Iterator[tuple[str, bytes | memoryview]]:
    yield FORMAT, msgpack.packb({"version": snapshot.version})
    for field in fields(Content):
        rows = iter(getattr(snapshot.content, field.name).items())
        while some := dict(islice(rows, ROWS)):
            yield field.name, msgpack.packb(_FIELDS[field.name].dump_python(some, mode="json"))
    for deck in snapshot.decks:
        names, arrays = deck.parts()
        yield "deck", msgpack.packb(names | {"arrays": [array.nbytes for array in arrays]})
        for array in arrays:
            for at in range(0, array.nbytes, PIECE_BYTES):
                yield "array", array[at : at + PIECE_BYTES]


def from_pieces(pieces: Iterable[bytes]) -> Snapshot:
    """`pieces`: what `to_pieces` gave, however it was cut since. Raises CatalogError when it is damaged, incomplete
    or of another format."""
    reader = _Reader()
    try:
        for kind, payload, check in _read(pieces):
            reader.take(kind, payload, check)
        return reader.done()
    except ValidationError as error:
        raise _invalid(error) from error
    except _FAULTS as error:
        raise _damaged(str(error)) from error


def _read(pieces: Iterable[bytes]) -> Iterator[Any]:
    unpacker = msgpack.Unpacker(max_buffer_size=16 * PIECE_BYTES, max_bin_len=2 * PIECE_BYTES)
    for piece in pieces:
        for at in range(0, len(piece), PIECE_BYTES):
            unpacker.feed(piece[at : at + PIECE_BYTES])
            yield from unpacker


class _Reader:
    def __init__(self) -> None:
        self._seen = hashlib.sha256()
        self._version: int | None = None
        self._content: dict[str, dict[Any, Any]] = {name: {} for name in _FIELDS}
        self._decks: list[CompiledDeck] = []
        self._deck: DeckArrays | None = None
        self._ended = False

    def take(self, kind: str, payload: bytes, check: bytes) -> None:
        if not (isinstance(kind, str) and isinstance(payload, bytes)):
            raise ValueError("a record of it is none")
        if self._ended:
            raise ValueError("something stands behind its end")
        if kind == "end":
            self._ended = True
            if payload != self._seen.digest():
                raise ValueError("its checksum is wrong")
            return
        if self._version is None and kind != FORMAT:
            raise ValueError(f"its format is {kind!r}")
        self._seen.update(kind.encode())
        self._seen.update(payload)
        if check != self._seen.digest()[:_CHECK_BYTES]:
            raise ValueError("its checksum is wrong")
        if self._deck is not None:
            if kind != "array":
                raise ValueError("a deck is incomplete")
            self._fill(payload)
        elif kind == "deck":
            names = msgpack.unpackb(payload, use_list=False)
            self._deck = DeckArrays(names.pop("arrays"), names)
            self._fill(b"")
        elif kind == FORMAT:
            self._version = int(msgpack.unpackb(payload)["version"])
        else:
            rows = _FIELDS[kind].validate_python(msgpack.unpackb(payload, strict_map_key=False))
            self._content[kind].update(rows)

    def _fill(self, data: bytes) -> None:
        assert self._deck is not None
        if self._deck.fill(data):
            self._decks.append(self._deck.deck())
            self._deck = None

    def done(self) -> Snapshot:
        if not self._ended or self._version is None:
            raise ValueError("its end is missing")
        return Snapshot(Content(**self._content), tuple(self._decks), self._version)


def from_text(data: bytes) -> Snapshot:
    """A catalogue published in the form before. Raises CatalogError as `from_pieces` does."""
    try:
        envelope: Mapping[str, Any] = msgpack.unpackb(data, max_bin_len=len(data))
        if envelope["format"] != FORMAT_BEFORE:
            raise ValueError(f"its format is {envelope['format']!r}")
        body = envelope["body"]
        if hashlib.sha256(body).digest() != envelope["sha256"]:
            raise ValueError("its checksum is wrong")
        value = msgpack.unpackb(body, max_bin_len=len(body), strict_map_key=False)
        content = {name: _FIELDS[name].validate_python(rows) for name, rows in value["content"].items()}
        decks = tuple(CompiledDeck.from_bytes(deck) for deck in value["decks"])
        return Snapshot(Content(**content), decks, int(value["version"]))
    except ValidationError as error:
        raise _invalid(error) from error
    except _FAULTS as error:
        raise _damaged(str(error)) from error


def _invalid(error: ValidationError) -> CatalogError:
    return _damaged(f"{error.error_count()} values are wrong, the first: {error.errors()[0]['msg']}")


def _damaged(why: str) -> CatalogError:
    return CatalogError([Problem("snapshot", 0, 0, f"the snapshot cannot be read: {why}", f"the format {FORMAT}")])
