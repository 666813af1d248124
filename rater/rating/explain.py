"""A price explained: as data, and as text for a person."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from rater.events.breakdown import break_down, price_fraction, price_per_minute
from rater.money import (
    Quote,
    Rounding,
    Segment,
    billed_segments,
    cumulative_micro,
    format_amount,
    round_fraction,
)
from rater.rating.tariff import Found, PassedOver, PlanTariff


@dataclass(frozen=True, slots=True)
class Part:
    """Seconds of a call at one price. `amount`: exact, in micro-units."""

    from_s: int
    to_s: int
    billed_s: int
    step_s: int
    price_num: int
    price_den: int
    band: str
    amount: Fraction


@dataclass(frozen=True, slots=True)
class Breakdown:
    """C(seconds), taken apart. `exact`: the amount before rounding, in micro-units."""

    seconds: int
    billed_s: int
    free: bool
    connect_micro: int
    parts: tuple[Part, ...]
    exact: Fraction
    amount_micro: int


def price(quote: Quote, seconds: int) -> Breakdown:
    """The price of a leg of `seconds`, with every part of it. Raises ValueError outside the quote's horizon."""
    amount_micro = cumulative_micro(quote, seconds)
    if seconds <= quote.free_s:
        return Breakdown(seconds, 0, True, 0, (), Fraction(0), amount_micro)
    parts = tuple(
        Part(
            from_s=segment.from_s,
            to_s=min(seconds, segment.from_s + billed),
            billed_s=billed,
            step_s=segment.step_s,
            price_num=segment.price_num,
            price_den=segment.price_den,
            band=segment.band,
            amount=Fraction(segment.price_num * billed, segment.price_den),
        )
        for segment, billed in billed_segments(quote, seconds)
    )
    exact = quote.connect_micro + sum((part.amount for part in parts), Fraction(0))
    billed = sum(part.billed_s for part in parts)
    return Breakdown(seconds, billed, False, quote.connect_micro, parts, exact, amount_micro)


def explain(
    tariff: PlanTariff,
    found: Found,
    *,
    number: str,
    dialled: str,
    steps: tuple[str, ...],
    at_ms: int,
    seconds: int,
    version: int,
) -> dict[str, Any]:
    """Everything that led to a price, ready for JSON; amounts as decimal strings. `steps`: the rules applied.

    The shares ``connect``, those of the segments, ``minimum`` and ``maximum`` add up to the amount.
    """
    quote = found.quote
    parts = price(quote, seconds)
    shares = break_down(quote, 0, seconds)
    share = {line.kind: format_amount(line.amount_micro) for line in shares if line.segment is None}
    return {
        "dialled": dialled,
        "number": number,
        "steps": list(steps),
        "plan": tariff.plan,
        "catalog_version": version,
        "at": dt.datetime.fromtimestamp(at_ms / 1000, tariff.zone).isoformat(timespec="seconds"),
        "prefix": found.prefix,
        "destination": found.destination,
        "class": found.destination_class,
        "passed_over": passed_over(tariff.passed_over(number, at_ms, found, seconds)),
        "seconds": seconds,
        "free_seconds": quote.free_s,
        "billed_seconds": parts.billed_s,
        "connect_fee": format_amount(quote.connect_micro),
        "segments": [
            _part(part, line.amount_micro)
            for part, line in zip(parts.parts, (line for line in shares if line.segment is not None), strict=True)
        ],
        "exact_micro": str(parts.exact),
        "min_charge": format_amount(quote.min_micro),
        "max_charge": None if quote.max_micro is None else format_amount(quote.max_micro),
        "rounding": _rounding(quote),
        **{name: share.get(name, format_amount(0)) for name in ("connect", "minimum", "maximum")},
        "amount": format_amount(parts.amount_micro),
        "currency": quote.currency,
        **margin(tariff, found, at_ms, seconds, parts.amount_micro),
    }


def margin(tariff: PlanTariff, found: Found, at_ms: int, seconds: int, amount_micro: int) -> dict[str, Any]:
    """What the carrier is owed and what is left; None where the deck does not give its cost."""
    exact = tariff.carrier_cost(found, at_ms, seconds)
    if exact is None:
        return {"carrier_cost": None, "margin": None}
    cost_micro = round_fraction(exact.numerator, exact.denominator, 1, Rounding.HALF_UP)
    return {"carrier_cost": format_amount(cost_micro), "margin": format_amount(amount_micro - cost_micro)}


def _rounding(quote: Quote) -> str:
    return f"{quote.rounding.name.lower().replace('_', '-')} to {format_amount(quote.unit_micro, decimals=0)}"


def passed_over(rows: tuple[PassedOver, ...]) -> list[dict[str, Any]]:
    """Rows that could have priced a number and do not, ready for JSON."""
    return [
        {
            "prefix": over.rate.prefix,
            "destination": over.rate.destination,
            "class": over.rate.destination_class,
            "band": over.rate.band,
            "why": over.why,
        }
        for over in rows
    ]


def _part(part: Part, share_micro: int) -> dict[str, Any]:
    segment = Segment(part.from_s, part.step_s, part.price_num, part.price_den, part.band)
    return {
        "from": part.from_s,
        "to": part.to_s,
        "seconds": part.billed_s,
        "step": part.step_s,
        "price_per_minute": price_per_minute(segment),
        "price_micro_per_s": price_fraction(segment),
        "band": part.band,
        "exact_micro": str(part.amount),
        "amount": format_amount(share_micro),
    }


def render(explanation: dict[str, Any]) -> str:
    """The explanation as plain text: the same facts."""
    e = explanation
    since = e.get("plan_valid_from")
    lines = [
        f"{e['dialled']} → {e['number']}  ({e['destination']}, {e['class']})",
        *(f"  {step}" for step in e["steps"]),
        f"plan {e['plan']}{f' (from {since} on)' if since else ''}, catalogue version {e['catalog_version']},"
        f" at {e['at']}",
        f"prefix {e['prefix']}",
        *render_passed_over(e["passed_over"]),
        f"{e['seconds']} s, billed {e['billed_seconds']} s (free up to {e['free_seconds']} s)",
        f"  connect fee {e['connect_fee']}: {e['connect']}",
        *(_segment_line(segment) for segment in e["segments"]),
        f"  sum {e['exact_micro']} micro-units, rounded {e['rounding']}",
        f"  minimum charge {e['min_charge']}: {e['minimum']}",
        f"  maximum charge {e['max_charge'] or 'none'}: {e['maximum']}",
        f"= {e['amount']} {e['currency']}",
    ]
    if e["carrier_cost"] is not None:
        lines.append(f"carrier cost {e['carrier_cost']}, margin {e['margin']} {e['currency']}")
    lines += render_paid_by(e.get("paid_by"), e.get("hours"), e["currency"])
    return "\n".join(lines)


def render_passed_over(rows: list[dict[str, Any]]) -> list[str]:
    return [
        f"  passed over: {row['prefix']} {row['destination']}, {row['class']}"
        f"{', ' + row['band'] if row['band'] else ''}: {row['why']}"
        for row in rows
    ]


def render_paid_by(
    pieces: list[dict[str, Any]] | None, hours: list[dict[str, Any]] | None, currency: str
) -> list[str]:
    """`hours`: of the allowances that are bound to some, when they are open during the call."""
    if pieces is None:
        return []
    return ["paid by", *(_paid_line(paid, currency) for paid in pieces), *map(_hours_line, hours or ())]


def _segment_line(segment: dict[str, Any]) -> str:
    band = f" [{segment['band']}]" if segment["band"] else ""
    return (
        f"  {segment['from']}–{segment['to']} s: {segment['seconds']} s in steps of {segment['step']} s at"
        f" {segment['price_per_minute']} a minute ({segment['price_micro_per_s']} micro-units a second){band}"
        f" = {segment['exact_micro']} micro-units: {segment['amount']}"
    )


def _hours_line(bound: dict[str, Any]) -> str:
    stretches = ", ".join(f"{from_s}–{to_s} s" for from_s, to_s in bound["open"])
    when = f"open {stretches}" if stretches else "closed"
    return f"  the allowance {bound['allowance']} has the hours {', '.join(bound['hours'])}: {when}"


def _paid_line(paid: dict[str, Any], currency: str) -> str:
    span = f"  {paid['from']}–{paid['to']} s: "
    if paid["allowance"] is not None:
        return span + f"{paid['seconds']} s of the allowance {paid['allowance']}"
    return span + f"{paid['amount']} {currency}"
