"""How a switch writes a moment."""

from __future__ import annotations

import re

_TIMESTAMP = re.compile(r"(\d{9,11})(?:\.(\d{1,9}))?", re.ASCII)


def parse_timestamp(text: str) -> int | None:
    """Milliseconds of ``1795479963.128699``; None when it is none."""
    stamp = _TIMESTAMP.fullmatch(text)
    if stamp is None:
        return None
    return int(stamp[1]) * 1000 + int((stamp[2] or "0")[:3].ljust(3, "0"))
