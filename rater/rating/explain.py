"""A price explained: as data, and as text for a person."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from rater.money import Quote, billed_segments, cumulative_micro, format_amount
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
    """Everything that led to a price, ready for JSON; amounts as decimal strings. `steps`: the rules applied."""
    quote = found.quote
    parts = price(quote, seconds)
    at = dt.datetime.fromtimestamp(at_ms / 1000, tariff.zone).isoformat(timespec="seconds")
    return {
        "dialled": dialled,
        "number": number,
        "steps": list(steps),
        "plan": tariff.plan,
        "catalog_version": version,
        "at": at,
        "prefix": found.prefix,
        "destination": found.destination,
        "class": found.destination_class,
        "passed_over": [_passed_over(over) for over in tariff.passed_over(number, at_ms)],
        "seconds": seconds,
        "free_seconds": quote.free_s,
        "billed_seconds": parts.billed_s,
        "connect_fee": format_amount(parts.connect_micro),
        "segments": [_part(part) for part in parts.parts],
        "exact_micro": str(parts.exact),
        "min_charge": format_amount(quote.min_micro),
        "max_charge": None if quote.max_micro is None else format_amount(quote.max_micro),
        "rounding": _rounding(quote),
        "amount": format_amount(parts.amount_micro),
        "currency": quote.currency,
    }


def _rounding(quote: Quote) -> str:
    return f"{quote.rounding.name.lower().replace('_', '-')} to {format_amount(quote.unit_micro, decimals=0)}"


def _passed_over(over: PassedOver) -> dict[str, Any]:
    rate = over.rate
    return {"prefix": rate.prefix, "destination": rate.destination, "band": rate.band, "why": over.why}


def _part(part: Part) -> dict[str, Any]:
    return {
        "from": part.from_s,
        "to": part.to_s,
        "seconds": part.billed_s,
        "step": part.step_s,
        "price_per_minute": _per_minute(part),
        "price_micro_per_s": f"{part.price_num}/{part.price_den}",
        "band": part.band,
        "amount_micro": str(part.amount),
    }


def _per_minute(part: Part) -> str:
    micro = Fraction(part.price_num * 60, part.price_den)
    return format_amount(int(micro)) if micro.denominator == 1 else f"{micro}e-6"


def render(explanation: dict[str, Any]) -> str:
    """The explanation as plain text."""
    e = explanation
    lines = [
        f"{e['dialled']} → {e['number']}  ({e['destination']}, {e['class']})",
        *(f"  {step}" for step in e["steps"]),
        f"plan {e['plan']}, catalogue version {e['catalog_version']}, at {e['at']}",
        f"prefix {e['prefix']}",
        *(f"  passed over: {o['prefix']} {o['band']} {o['destination']}: {o['why']}" for o in e["passed_over"]),
        f"{e['seconds']} s, billed {e['billed_seconds']} s (free up to {e['free_seconds']} s)",
        f"  connect fee {e['connect_fee']}",
        *(
            f"  from {s['from']} s: {s['seconds']} s in steps of {s['step']} s at {s['price_per_minute']} a minute"
            f"{' [' + s['band'] + ']' if s['band'] else ''} = {s['amount_micro']} micro-units"
            for s in e["segments"]
        ),
        f"  sum {e['exact_micro']} micro-units, minimum {e['min_charge']}, maximum {e['max_charge'] or 'none'},"
        f" rounded {e['rounding']}",
        f"= {e['amount']} {e['currency']}",
    ]
    return "\n".join(lines)
