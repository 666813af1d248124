"""Msgpack values one after the other, as the scripts read and write them."""

from __future__ import annotations

from typing import Any

import msgpack

from rater.packing import sequence as sequence


def parse_sequence(data: bytes) -> list[Any]:
    """Strings come as bytes, since some of them are packed themselves."""
    unpacker = msgpack.Unpacker(raw=True)
    unpacker.feed(data)
    return list(unpacker)
