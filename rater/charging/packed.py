"""Msgpack values one after the other, as the scripts read and write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack

_PACKER = msgpack.Packer(use_bin_type=False)


def sequence(values: Sequence[Any]) -> bytes:
    """The values packed one after the other."""
    packed: bytes = _PACKER.pack(values)
    return packed[1:] if len(values) < 16 else packed[3:]


def parse_sequence(data: bytes) -> list[Any]:
    """Strings come as bytes, since some of them are packed themselves."""
    unpacker = msgpack.Unpacker(raw=True)
    unpacker.feed(data)
    return list(unpacker)
