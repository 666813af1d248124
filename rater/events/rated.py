"""The facts that the daemon knows of a leg, and the public record made of them. Schema ``rater.rated/1``.

The facts travel into the outbox with the leg's end. There the charging script joins its result, and consumers make
a `RatedEvent` of both.
Within version 1 fields may be added; none changes its meaning or goes away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import msgpack
from pydantic import Field

from rater.events.breakdown import Line, break_down, merge_pieces, price_fraction, price_per_minute
from rater.events.facts import LegFacts as LegFacts
from rater.events.record import BROKEN, Record, amount_fields, iso_ms, iso_or_none, unreadable
from rater.events.stream import UnreadableEntry
from rater.money import Quote, format_amount


class AllowancePiece(Record):
    """Seconds `from_s` to `to_s` of the leg, covered by a grant, which was charged `seconds` for them."""

    grant: str
    from_s: int
    to_s: int
    seconds: int


class MoneyPiece(Record):
    """Seconds `from_s` to `to_s` of the leg, paid with money: the quote's C(to) − C(from)."""

    from_s: int
    to_s: int
    amount: str
    amount_micro: int


class Fund(Record):
    """A source of money: a grant, or the balance (`grant` null); the group owner's when `shared`."""

    grant: str | None
    shared: bool
    amount: str
    amount_micro: int


class PriceLine(Record):
    """One line of the amount; see `rater.events.breakdown`. The last four are null except for ``time``."""

    kind: Literal["connect", "time", "minimum", "maximum"]
    from_s: int
    billed_s: int
    amount: str
    amount_micro: int
    band: str | None
    step_s: int | None
    price_per_minute: str | None
    price_micro_per_s: str | None


class RoundingRule(Record):
    """How the leg's amount was rounded, once and as a whole."""

    mode: Literal["up", "down", "half_up", "half_even"]
    unit: str
    unit_micro: int


class RatedEvent(Record):
    """The record of one finished leg. `id` is its idempotency key. docs/events.md explains every field."""

    schema_: Literal["rater.rated/1"] = Field(default="rater.rated/1", alias="schema")
    id: str
    leg: str
    call: str
    switch: str
    mode: str
    direction: str
    account: str
    line: str
    trunk: str
    caller: str
    dialled: str
    number: str
    prefix: str
    destination: str
    class_: str = Field(alias="class")
    plan: str
    catalog_version: int
    emergency: bool
    attempted_at: str
    rated_at: str | None
    dialled_at: str | None
    answered_at: str | None
    ended_at: str | None
    duration_ms: int
    duration_s: int
    granted_s: int
    billed_s: int
    amount: str
    amount_micro: int
    currency: str
    allowance: tuple[AllowancePiece, ...]
    money: tuple[MoneyPiece, ...]
    funds: tuple[Fund, ...] = ()
    owner: str | None = None
    segments: tuple[PriceLine, ...]
    rounding: RoundingRule
    free_s: int
    balance_before: str
    balance_before_micro: int
    balance_after: str
    balance_after_micro: int
    disposition: str
    cause: int
    grade: str
    answer_grade: str
    cut: str
    reason: str
    detail: str
    steps: tuple[str, ...]
    reseller: str = ""
    shadow: str = ""
    shadow_at_s: int | None = None


def rated_event(facts_map: Mapping[str, Any], result: Mapping[str, Any]) -> RatedEvent:
    """The public record of a ``rated`` outbox entry. Raises UnreadableEntry when the entry is incomplete or
    contradicts itself: pieces that do not follow from the quote, or do not add up to the amount."""
    try:
        facts = LegFacts.from_map(facts_map)
        quote = _quote(result["quote"])
        pieces = merge_pieces((str(g), int(a), int(b), int(n)) for g, a, b, n in result["pieces"])
        amount_micro, charged_s = int(result["amount_micro"]), int(result["duration_s"])
        segments = _price_lines(quote, pieces, amount_micro, free=facts.emergency)
        answered = facts.answered_at_ms is not None and facts.ended_at_ms is not None
        return RatedEvent(
            **shared_fields(facts),
            leg=facts.id,
            rated_at=iso_or_none(facts.rated_at_ms),
            dialled_at=iso_or_none(facts.dialled_at_ms),
            answered_at=iso_or_none(facts.answered_at_ms),
            ended_at=iso_or_none(facts.ended_at_ms),
            duration_ms=(facts.ended_at_ms or 0) - (facts.answered_at_ms or 0) if answered else 0,
            duration_s=charged_s,
            granted_s=int(result["granted_s"]),
            billed_s=sum(p[3] for p in pieces if p[0]) + sum(line.billed_s for line in segments),
            amount=format_amount(amount_micro),
            amount_micro=amount_micro,
            currency=quote.currency,
            allowance=tuple(AllowancePiece(grant=g, from_s=a, to_s=b, seconds=n) for g, a, b, n in pieces if g),
            money=tuple(
                MoneyPiece(from_s=a, to_s=b, amount=format_amount(n), amount_micro=n)
                for g, a, b, n in pieces
                if not g
            ),
            funds=_funds(result.get("funds", ())),
            owner=result.get("owner"),
            segments=segments,
            rounding=_rounding(quote),
            free_s=quote.free_s,
            **amount_fields(result, "balance_before", "balance_after"),
            disposition=facts.disposition,
            cause=facts.cause,
            grade=facts.grade,
            answer_grade=facts.answer_grade,
            cut=facts.cut,
            shadow=facts.shadow,
        )
    except UnreadableEntry:
        raise
    except BROKEN as error:
        raise unreadable("rated", error) from error


def _funds(listed: Sequence[tuple[str, int, int]]) -> tuple[Fund, ...]:
    return tuple(
        Fund(grant=grant or None, shared=bool(shared), amount=format_amount(amount), amount_micro=amount)
        for grant, shared, amount in listed
    )


def shared_fields(facts: LegFacts) -> dict[str, Any]:
    """What rated and denied records both say of a leg."""
    return {
        **{name: getattr(facts, name) for name in _SHARED},
        "class_": facts.destination_class,
        "attempted_at": iso_ms(facts.attempted_at_ms),
        "steps": tuple(facts.steps),
    }


_SHARED = (
    "id", "call", "switch", "mode", "direction", "account", "line", "trunk", "caller", "dialled", "number",
    "prefix", "destination", "plan", "catalog_version", "emergency", "reason", "detail",
    "reseller", "shadow_at_s",
)  # fmt: skip


def _price_lines(
    quote: Quote, pieces: Sequence[tuple[str, int, int, int]], amount_micro: int, *, free: bool
) -> tuple[PriceLine, ...]:
    """`free`: an emergency leg, charged nothing whatever its quote."""
    lines: list[Line] = []
    for grant, from_s, to_s, amount in pieces:
        if grant or (free and amount == 0):
            continue
        stretch = break_down(quote, from_s, to_s)
        expected = sum(line.amount_micro for line in stretch)
        if expected != amount:
            raise UnreadableEntry(
                f"seconds {from_s} to {to_s} were charged {amount} micro-units; the quote says {expected}"
            )
        lines += stretch
    if sum(line.amount_micro for line in lines) != amount_micro:
        raise UnreadableEntry(f"the money pieces do not add up to the amount of {amount_micro} micro-units")
    return tuple(_price_line(line) for line in lines)


def _price_line(line: Line) -> PriceLine:
    segment = line.segment
    return PriceLine(
        kind=line.kind,
        from_s=line.from_s,
        billed_s=line.billed_s,
        amount=format_amount(line.amount_micro),
        amount_micro=line.amount_micro,
        band=segment.band if segment else None,
        step_s=segment.step_s if segment else None,
        price_per_minute=price_per_minute(segment) if segment else None,
        price_micro_per_s=price_fraction(segment) if segment else None,
    )


def _quote(wire: object) -> Quote:
    return Quote.from_wire(msgpack.unpackb(wire) if isinstance(wire, bytes) else cast("list[Any]", wire))


def _rounding(quote: Quote) -> RoundingRule:
    mode = cast('Literal["up", "down", "half_up", "half_even"]', quote.rounding.name.lower())
    return RoundingRule(mode=mode, unit=format_amount(quote.unit_micro), unit_micro=quote.unit_micro)
