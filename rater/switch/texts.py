"""Texts that a switch sends again and again. The twin is in `rater_native.amievent`."""

from __future__ import annotations


def differ(text: str, other: str) -> bool:
    """As ``!=``; compiled it is sooner, since most are one and the same, or short."""
    return text != other
