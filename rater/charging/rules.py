"""Small rules that both stores share, and their numbers."""

from __future__ import annotations

from typing import Any

import msgpack

from rater.charging.model import Post, PostKind, Request
from rater.errors import AmountError, InputError
from rater.money import MAX_AMOUNT_MICRO, format_amount
from rater.verdict import Reason

LEASE_MARGIN_MS = 120_000
"""A lease outlives the paid slice by this much: time for a restarted daemon to renew it."""
LEG_KEPT_MS = 86_400_000
"""How long a settled leg's last answer is kept for repeats."""
DENIAL_KEPT_MS = 600_000
"""The same for a denied one; shorter, since a flood of denials must not fill the memory."""
MAX_ID_LENGTH = 200


def lease_expiry_ms(now_ms: int, granted_s: int) -> int:
    return now_ms + granted_s * 1000 + LEASE_MARGIN_MS


def denial_value(facts: bytes) -> int:
    """The Reason value behind the code in a denial's facts; 0 when they name none."""
    known: Any = msgpack.unpackb(facts).get("reason", "")
    return int(Reason.__members__.get(str(known).upper(), Reason.ALLOWED))


def validate(request: Request) -> None:
    """Raises InputError for an id that is empty or too long, AmountError for an amount that cannot be moved."""
    if not 0 < len(request.op) <= MAX_ID_LENGTH:
        raise InputError(f"an operation id of {len(request.op)} characters", hint=f"Give 1 to {MAX_ID_LENGTH}.")
    if isinstance(request, Post):
        least_micro = 0 if request.kind is PostKind.OPENING else 1
        if not least_micro <= request.amount_micro <= MAX_AMOUNT_MICRO:
            raise AmountError(
                f"{format_amount(request.amount_micro)} cannot be moved",
                hint=f"Give an amount above zero, at most {format_amount(MAX_AMOUNT_MICRO)}.",
            )
