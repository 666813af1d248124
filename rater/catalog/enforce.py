"""How far a rule goes."""

from __future__ import annotations

from enum import StrEnum


class Enforce(StrEnum):
    """Whether a rule acts, or only tells what it would have done (docs/shadow.md)."""

    ON = "on"
    SHADOW = "shadow"
