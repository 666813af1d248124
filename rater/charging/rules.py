"""Small rules that both stores share, and their numbers."""

from __future__ import annotations

import re

from rater.charging.model import Post, PostGrant, PostKind, Request
from rater.charging.terms import FOREVER_MS, MAX_PRIORITY, GrantSpec, Resource
from rater.errors import AmountError, InputError
from rater.events.facts import reason_of
from rater.money import MAX_AMOUNT_MICRO, format_amount
from rater.verdict import Reason

_VALUES = {name: int(reason) for name, reason in Reason.__members__.items()}

LEASE_MARGIN_MS = 120_000
"""A lease taken or renewed outlives the paid slice by this much: time for a restarted daemon to renew it."""
LEASE_LEAST_MS = 60_000
"""It is renewed when it would end sooner than so long after what its leg has paid for."""
LEG_KEPT_MS = 86_400_000
"""How long a settled leg's last answer is kept for repeats."""
DENIAL_KEPT_MS = 600_000
"""The same for a denied one; shorter, since a flood of denials must not fill the memory."""
MAX_ID_LENGTH = 200
MAX_GRANT_S = 1_000_000_000
GRANT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Of grants made by hand. Those of plans have a slash in theirs, so that no two are confused."""


def lease_expiry_ms(now_ms: int, granted_s: int) -> int:
    return now_ms + granted_s * 1000 + LEASE_MARGIN_MS


def lease_needed_ms(now_ms: int, granted_s: int, elapsed_s: int) -> int:
    """Until when a leg's leases must last: what is paid ahead, and a good while."""
    return now_ms + max(0, granted_s - elapsed_s) * 1000 + LEASE_LEAST_MS


def denial_value(facts: bytes) -> int:
    """The Reason value behind the code in a denial's facts; 0 when they name none."""
    return _VALUES.get(reason_of(facts).upper(), 0)


def validate(request: Request) -> None:
    """Raises InputError for an id that is empty or too long, AmountError for an amount that cannot be moved."""
    if not 0 < len(request.op) <= MAX_ID_LENGTH:
        raise InputError(f"an operation id of {len(request.op)} characters", hint=f"Give 1 to {MAX_ID_LENGTH}.")
    if isinstance(request, Post):
        _validate_post(request)
    if isinstance(request, PostGrant):
        _validate_grant(request.grant)


def _validate_post(post: Post) -> None:
    least_micro = 0 if post.kind is PostKind.OPENING else 1
    amount_micro = abs(post.amount_micro) if post.kind is PostKind.ADJUST else post.amount_micro
    if not least_micro <= amount_micro <= MAX_AMOUNT_MICRO:
        raise AmountError(
            f"{format_amount(post.amount_micro)} cannot be moved",
            hint=f"Give an amount above zero, at most {format_amount(MAX_AMOUNT_MICRO)}.",
        )
    if post.kind.cause == "transfer" and (not post.other or post.other == post.account):
        raise InputError("a transfer needs another account", hint="Name two different accounts.")
    if post.kind is PostKind.REFUND and not post.event:
        raise InputError("a refund needs an event", hint="Name the event that was charged.")


def _validate_grant(grant: GrantSpec) -> None:
    if GRANT_ID.fullmatch(grant.id) is None:
        raise InputError(
            f"{grant.id!r} cannot name a grant",
            hint="Give 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit.",
        )
    money = grant.resource is Resource.MONEY
    most = MAX_AMOUNT_MICRO if money else MAX_GRANT_S
    if not int(not grant.blocks) <= grant.amount <= (0 if grant.blocks else most):
        written = format_amount(grant.amount) if money else f"{grant.amount} s"
        hint = (
            "A blocker holds nothing: give no amount." if grant.blocks else "Give more than nothing, within range."
        )
        raise AmountError(f"a grant of {written} cannot be made", hint=hint)
    if not 0 <= grant.valid_from_ms < grant.valid_until_ms <= FOREVER_MS:
        raise InputError(
            "the grant would end before it begins, or after the year 9999", hint="Give an end after the beginning."
        )
    if not -MAX_PRIORITY <= grant.priority <= MAX_PRIORITY:
        raise InputError(f"a priority of {grant.priority}", hint=f"Give -{MAX_PRIORITY} to {MAX_PRIORITY}.")
    if grant.also and not grant.classes:
        raise InputError(
            "a grant for all classes names linked ones", hint="Name its own classes, or no linked ones."
        )
    texts = (grant.source, *grant.classes, *grant.also, *grant.hours)
    if any("," in text or not 0 < len(text) <= 64 for text in texts) or len(texts) > 32:
        raise InputError(
            "a source, class or band of the grant is unusable", hint="1 to 64 characters each, no comma."
        )
