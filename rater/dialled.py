"""What can be dialled: digits, ``*`` and ``#``, with at most one ``+``, in front. Also compiled: it is asked of
each number that a call brings."""

from __future__ import annotations

MAX_DIALLED = 32
"""Symbols, without the ``+``."""


def are_symbols(text: str, begin: int) -> bool:
    """Whether there are digits, ``*`` and ``#`` from `begin` on, at least one, and nothing else."""
    for i in range(begin, len(text)):  # no generator: each leg asks
        if text[i] not in "0123456789*#":
            return False
    return begin < len(text)


def is_dialled(text: str) -> bool:
    """Whether it is a number as somebody may dial it."""
    begin = 1 if text.startswith("+") else 0
    return len(text) - begin <= MAX_DIALLED and are_symbols(text, begin)
