"""How a call would be paid: what the plan's allowances cover, and what is left for money. By the arithmetic that
charging itself is tested against."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from rater.catalog.hours import PlanHours
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


Bands = tuple[tuple[int, str], ...]


def bands_at(plan: Plan, at_ms: int) -> Bands:
    """Which band of the plan is in force when, around a call that begins at that moment."""
    return PlanHours(plan.bands, ZoneInfo(plan.zone)).around(at_ms)[2]


def open_hours(plan: Plan, bands: Bands, destination_class: str, at_ms: int, seconds: int) -> list[dict[str, Any]]:
    """Of each allowance for the class that has hours: in which seconds of the call they are open."""
    return [
        {
            "allowance": allowance.id,
            "hours": list(allowance.hours),
            "open": _open(allowance.hours, bands, at_ms, seconds),
        }
        for allowance, _ in plan.allowances_for(destination_class)
        if allowance.hours
    ]


def _open(hours: tuple[str, ...], bands: Bands, at_ms: int, seconds: int) -> list[list[int]]:
    """Stretches [from, to) of the call. A second counts as what it begins in."""
    found: list[list[int]] = []
    for (from_ms, band), (until_ms, _) in pairwise(bands):
        from_s = max(0, -(-(from_ms - at_ms) // 1000))
        to_s = min(seconds, -(-(until_ms - at_ms) // 1000))
        if band not in hours or from_s >= to_s:
            continue
        if found and found[-1][1] == from_s:
            found[-1][1] = to_s
        else:
            found.append([from_s, to_s])
    return found


def paid_by(
    plan: Plan, left: dict[str, int], quote: Quote, destination_class: str, seconds: int, bands: Bands, at_ms: int
) -> list[dict[str, Any]]:
    """The seconds of a call that begins at `at_ms` by who pays them, in order: allowances as long as they last and
    their hours are open, then money.

    The money is C(b) − C(a) for the seconds from a to b that it pays. It is taken as unlimited.
    """
    terms = Terms(
        use_money=True,
        allowances=tuple(
            AllowanceTerm(
                allowance.grant,
                left[allowance.id],
                allowance.cadence,
                0,
                FOREVER_MS,
                tier,
                allowance.priority,
                hours=allowance.hours,
            )
            for allowance, tier in plan.allowances_for(destination_class)
        ),
        bands=bands,
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
        Walk(account, leg, terms, SlicePolicy(), at_ms, 1).go(seconds)
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
