"""How a call would be paid: what the plan's allowances cover, and what is left for money. By the arithmetic that
charging itself is tested against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rater.catalog.plan import Plan
from rater.charging.books import Account, Leg, charge
from rater.charging.grants import Grant
from rater.charging.model import Reply, Status
from rater.charging.terms import FOREVER_MS, AllowanceTerm, SlicePolicy, Terms
from rater.charging.walk import Walk
from rater.errors import InputError
from rater.ids import AccountId, LegId, Shard, SwitchId
from rater.money import MAX_AMOUNT_MICRO, Quote, format_amount

FULL = "full"


def left_in(plan: Plan, words: Sequence[str]) -> dict[str, int]:
    """Seconds left in each allowance of the plan: ``full`` for all of them whole, ``ID=SECONDS`` for one; those
    that no word names are used up. Raises InputError."""
    sizes = {allowance.id: allowance.seconds for allowance in plan.allowances}
    left = dict(sizes) if FULL in words else dict.fromkeys(sizes, 0)
    for word in words:
        if word == FULL:
            continue
        name, sign, text = word.partition("=")
        if name not in sizes:
            raise InputError(
                f"--allowance {word!r}: the plan {plan.id} has no such allowance",
                hint=f"Give {FULL}, or ID=SECONDS with one of: {', '.join(sizes) or 'none'}.",
            )
        if not sign or not (text.isascii() and text.isdigit()) or int(text[:12]) > sizes[name]:
            raise InputError(
                f"--allowance {word!r}: what is left is a number of seconds",
                hint=f"Give {name}= and 0 to {sizes[name]}.",
            )
        left[name] = int(text)
    return left


def paid_by(
    plan: Plan, left: dict[str, int], quote: Quote, destination_class: str, seconds: int
) -> list[dict[str, Any]]:
    """The call's seconds by who pays them, in order: allowances as long as they last, then money.

    The money is C(b) − C(a) for the seconds from a to b that it pays. It is taken as unlimited.
    """
    terms = Terms(
        use_money=True,
        allowances=tuple(
            AllowanceTerm(
                allowance.grant, left[allowance.id], allowance.cadence, 0, FOREVER_MS, tier, allowance.priority
            )
            for allowance, tier in plan.allowances_for(destination_class)
        ),
    )
    account = Account(AccountId("price"), balance_micro=MAX_AMOUNT_MICRO)
    account.grants = [Grant(term.grant, 0, FOREVER_MS, term.seconds) for term in terms.allowances]
    leg = Leg(
        id=LegId("price"),
        account=account.id,
        shard=Shard(0),
        switch=SwitchId("price"),
        quote=quote,
        exempt=False,
        competes=True,
        reserved_at_ms=0,
        seen_at_ms=0,
        facts=b"",
        leases=(),
        last_op=1,
        reply=Reply(Status.OK),
    )
    if seconds:
        Walk(account, leg, terms, SlicePolicy(), 0, 1).go(seconds)
    pieces = charge(account, None, leg, seconds, 0).pieces
    names = {allowance.grant: allowance.id for allowance in plan.allowances}
    return [
        {
            "allowance": names[piece.grant] if piece.grant is not None else None,
            "from": piece.from_s,
            "to": piece.to_s,
            "seconds": piece.amount if piece.grant is not None else None,
            "amount": format_amount(piece.amount) if piece.grant is None else None,
        }
        for piece in pieces
    ]
