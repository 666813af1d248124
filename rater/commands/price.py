"""`rater price`: what a call would cost under a plan, and why. Knows no balances and needs no daemon."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from rater.clock import SystemClock
from rater.commands.common import JsonOption, console, print_json
from rater.errors import InputError
from rater.money import billed_s, cumulative_micro, format_amount

if TYPE_CHECKING:
    from rater.catalog.model import Refused
    from rater.catalog.pricing import Priced, PricedPlan
    from rater.catalog.snapshot import Snapshot
    from rater.rating.tariff import PassedOver


def register(app: typer.Typer) -> None:
    """Adds this module's commands to the command line."""
    app.command("price")(price)


def price(
    to: Annotated[str, typer.Option("--to", help="The number as dialled.", show_default=False)],
    seconds: Annotated[int, typer.Option("--seconds", min=0, help="How long the call lasts.", show_default=False)],
    catalog: Annotated[Path, typer.Option("--catalog", help="Folder of the catalogue.")] = Path("config/catalog"),
    plan: Annotated[str, typer.Option("--plan", help="The plan; by default that of the line's account.")] = "",
    line: Annotated[str, typer.Option("--line", help="The line that dials: gives the area.")] = "",
    area: Annotated[str, typer.Option("--area", help="The area that the line is in.")] = "",
    at: Annotated[
        str, typer.Option("--at", help="When, ISO 8601; without a zone, in the plan's. By default now.")
    ] = "",
    allowance: Annotated[
        list[str],
        typer.Option(
            "--allowance", help="What is left of an allowance, ID=SECONDS, or 'full': shows who pays which seconds."
        ),
    ] = [],  # noqa: B006  # typer copies it
    explain: Annotated[bool, typer.Option("--explain", help="Every step that led to the price.")] = False,
    as_json: JsonOption = False,
) -> None:
    """What a call of so many seconds costs, and why. Ends with 1 when the call would be denied."""
    from rater.catalog.files import read_catalog
    from rater.catalog.model import Refused
    from rater.commands.price_split import bands_at, left_in, open_hours, paid_by

    snapshot = read_catalog(catalog)
    chosen, area = choose(snapshot, plan, line, area)
    at_ms = moment(at, chosen)
    chosen = chosen.at(at_ms)
    if seconds > chosen.plan.max_call_s:
        raise InputError(
            f"--seconds {seconds} is longer than the plan {chosen.plan.id} lets a call last",
            hint=f"At most {chosen.plan.max_call_s} seconds (max_call_s).",
        )
    left = left_in(chosen.plan, allowance)
    priced = chosen.price(to, area=area, at_ms=at_ms)
    if isinstance(priced, Refused):
        deny(priced, chosen, snapshot, to, at_ms, as_json=as_json, explained=explain)
        raise typer.Exit(1)
    if seconds > priced.quote.horizon_s:
        raise InputError(
            f"the rate cuts calls at their maximum cost, after {priced.quote.horizon_s} s",
            hint=f"Give --seconds {priced.quote.horizon_s} or fewer; see max_charge and on_max of the deck.",
        )
    answer = describe(priced, chosen, snapshot.version, to, at_ms, seconds)
    if allowance:
        klass, bands = priced.quote.destination_class, bands_at(chosen.plan, at_ms)
        answer["hours"] = open_hours(chosen.plan, bands, klass, at_ms, seconds)
        answer["paid_by"] = paid_by(chosen.plan, left, priced.quote, klass, seconds, bands, at_ms)
    if explain and priced.found is not None:
        answer["explanation"] = explanation(priced, chosen, snapshot.version, to, at_ms, seconds)
        answer["explanation"] |= {"hours": answer.get("hours"), "paid_by": answer.get("paid_by")}
    if as_json:
        print_json(answer)
    else:
        show(answer, explained=explain)


def choose(snapshot: Snapshot, plan: str, line: str, area: str) -> tuple[PricedPlan, str]:
    """The plan, and the area the call is made from. Raises InputError."""
    from rater.ids import LineId, PlanId
    from rater.rating.normalise_presets import area_pattern

    if line:
        known = snapshot.lines.get(LineId(line))
        if known is None:
            raise InputError(f"there is no line {line!r} in the catalogue", hint="See lines.csv.")
        plan = plan or snapshot.accounts[known.account].plan
        area = area or known.area
    if not plan:
        raise InputError("which plan?", hint=f"Give --plan or --line. Plans: {', '.join(snapshot.plans)}.")
    chosen = snapshot.plans.get(PlanId(plan))
    if chosen is None:
        raise InputError(f"there is no plan {plan!r}", hint=f"Plans: {', '.join(snapshot.plans)}.")
    preset = chosen.plan.dial_plan.preset
    if re.fullmatch(area_pattern(preset), area) is None:
        raise InputError(f"{area!r} is no area code of the dial plan {preset}", hint="For instance --area 11.")
    return chosen, area


def moment(text: str, plan: PricedPlan) -> int:
    """Milliseconds of an ISO 8601 time; without a zone it is meant in the plan's. Raises InputError."""
    if not text:
        return SystemClock().wall_ms()
    try:
        time = dt.datetime.fromisoformat(text)
        if time.tzinfo is None:
            time = time.replace(tzinfo=plan.zone)
        at_ms = int(time.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"--at {text!r} is no time: {error}",
            hint="Write for instance 2026-11-24T18:30 or 2026-11-24T18:30-03:00.",
        ) from error
    if not 0 <= at_ms < _LAST_AT_MS:
        raise InputError(f"--at {text} lies outside 1970 to 2099", hint="Give a time in between.")
    return at_ms


_LAST_AT_MS = 4_102_444_800_000


def describe(
    priced: Priced, plan: PricedPlan, version: int, dialled: str, at_ms: int, seconds: int
) -> dict[str, Any]:
    """The price as JSON. The parts add up to the amount: ``connect``, each segment, ``minimum``, ``maximum``."""
    from rater.events.breakdown import break_down, price_fraction, price_per_minute

    quote, found = priced.quote, priced.found
    segments: list[dict[str, Any]] = []
    rest: dict[str, str] = {}
    for part in break_down(quote, 0, seconds):
        if part.segment is None:
            rest[part.kind] = format_amount(part.amount_micro)
            continue
        segments.append(
            {
                "from": part.from_s,
                "seconds": part.billed_s,
                "step": part.segment.step_s,
                "price": price_per_minute(part.segment),
                "price_micro_per_second": price_fraction(part.segment),
                "band": part.segment.band,
                "amount": format_amount(part.amount_micro),
            }
        )
    return {
        "amount": format_amount(cumulative_micro(quote, seconds)),
        "currency": quote.currency,
        "seconds": seconds,
        "billed_seconds": billed_s(quote, seconds),
        "dialled": dialled,
        "number": priced.read.number,
        "prefix": found.prefix if found is not None else "",
        "destination": found.destination if found is not None else "Emergency",
        "class": quote.destination_class,
        "emergency": priced.read.emergency,
        "plan": plan.plan.id,
        "plan_valid_from": since(plan),
        "catalog_version": version,
        "at": dt.datetime.fromtimestamp(at_ms / 1000, plan.zone).isoformat(timespec="seconds"),
        **rest,
        **carrier(priced, plan, at_ms, seconds),
        "segments": segments,
        "steps": list(priced.steps),
    }


def since(plan: PricedPlan) -> str | None:
    """From when on this version of the plan is in force; None for its first."""
    if plan.plan.valid_from_ms is None:
        return None
    return dt.datetime.fromtimestamp(plan.plan.valid_from_ms / 1000, plan.zone).isoformat(timespec="seconds")


def carrier(priced: Priced, plan: PricedPlan, at_ms: int, seconds: int) -> dict[str, str | None]:
    from rater.rating.explain import margin

    if priced.found is None:
        return {"carrier_cost": None, "margin": None}
    return margin(plan.tariff, priced.found, at_ms, seconds, cumulative_micro(priced.quote, seconds))


def explanation(
    priced: Priced, plan: PricedPlan, version: int, dialled: str, at_ms: int, seconds: int
) -> dict[str, Any]:
    from rater.rating.explain import explain

    assert priced.found is not None
    facts = explain(
        plan.tariff,
        priced.found,
        number=priced.read.number,
        dialled=dialled,
        steps=priced.steps,
        at_ms=at_ms,
        seconds=seconds,
        version=version,
    )
    return {**facts, "plan_valid_from": since(plan)}


def show(answer: dict[str, Any], *, explained: bool) -> None:
    from rater.rating.explain import render, render_paid_by

    if "explanation" in answer:
        console.print(escape(render(answer["explanation"])), highlight=False, soft_wrap=True)
        return
    amount = f"{answer['amount']} {answer['currency']}"
    what = (
        f"{answer['destination']} ({answer['class']}), {answer['billed_seconds']} s billed of {answer['seconds']}"
    )
    if answer["margin"] is not None:
        what += f", carrier cost {answer['carrier_cost']}, margin {answer['margin']}"
    console.print(escape(f"{amount}  {answer['number']}  {what}"), highlight=False, soft_wrap=True)
    for line in render_paid_by(answer.get("paid_by"), answer.get("hours"), answer["currency"]):
        console.print(escape(line), highlight=False, soft_wrap=True)
    if explained:
        for step in answer["steps"]:
            console.print(escape(f"  {step}"), highlight=False, soft_wrap=True)


def deny(
    refused: Refused,
    plan: PricedPlan,
    snapshot: Snapshot,
    dialled: str,
    at_ms: int,
    *,
    as_json: bool,
    explained: bool,
) -> None:
    from rater.rating.explain import passed_over, render_passed_over
    from rater.rating.tariff import NoRate
    from rater.verdict import Reason

    over: tuple[PassedOver, ...] = ()
    if refused.reason is Reason.NO_RATE:
        over = plan.tariff.passed_over(refused.number, at_ms, NoRate(refused.detail))
    if as_json:
        print_json(
            {
                "denied": refused.reason.code,
                "detail": refused.detail,
                "dialled": dialled,
                "number": refused.number,
                "plan": plan.plan.id,
                "plan_valid_from": since(plan),
                "catalog_version": snapshot.version,
                "steps": list(refused.steps),
                "passed_over": passed_over(over),
            }
        )
        return
    console.print(escape(f"denied: {refused.reason.code}: {refused.detail}"), highlight=False, soft_wrap=True)
    rows = [f"  {step}" for step in refused.steps] + render_passed_over(passed_over(over))
    for row in rows if explained else ():
        console.print(escape(row), highlight=False, soft_wrap=True)
