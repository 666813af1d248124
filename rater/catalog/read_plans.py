"""`plans.toml`: plans, dial plans, calendars, further classes. See docs/catalog.md for every key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from babel.core import Locale, UnknownLocaleError
from babel.numbers import list_currencies

from rater.catalog.classes import NEVER_IN_A_DECK, STANDARD
from rater.catalog.model import Enforce
from rater.catalog.plan import Allowance, Margin, Plan, RolloverRule, WhenExhausted
from rater.catalog.read_bands import ever_in_force, read_bands, read_calendar
from rater.catalog.read_dial_plans import read_dial_plan
from rater.catalog.read_thresholds import read_cycle, read_thresholds
from rater.catalog.table import ID, ID_EXPECTED, Table, describe
from rater.charging.terms import MAX_PRIORITY, Consumption
from rater.ids import GrantId, PlanId
from rater.money import MAX_CALL_S, Cadence, Rounding
from rater.rating.bands import Band, Calendar
from rater.rating.moments import EXPECTED, parse_moment
from rater.rating.normalise_presets import (
    PRESETS,
    DialPlanSettings,
)
from rater.rating.timeline import LAST_AT_MS

CLASS = re.compile(r"[a-z][a-z0-9_]{0,31}")
PREFIX = re.compile(r"[0-9*#]{1,15}")
PREFIX_EXPECTED = "1 to 15 digits, without plus"
_DECK = re.compile(r"(?!.*\.\.)[A-Za-z0-9_-][A-Za-z0-9._/-]*\.csv")
_MOST_S = 1_000_000_000
MAX_ROLLOVER_CYCLES = 12
ALL = "all"
"""Instead of classes: all of them, but those that are never in a deck."""


def read_plans(top: Table) -> tuple[dict[PlanId, Plan], tuple[str, ...], dict[str, Calendar]]:
    """All plans of the file, all classes that decks may use, and the calendars. Faults go to ``top.problems``."""
    own = top.texts("classes", pattern=CLASS, expected="names in lower-case letters, digits and _")
    classes = tuple(dict.fromkeys((*STANDARD, *own)))
    calendars = {name: read_calendar(name, table) for name, table in top.named("calendar")}
    dial_plans = {preset: DialPlanSettings(preset, preset) for preset in PRESETS}
    for name, table in top.named("dial_plan"):
        if name in PRESETS:
            table.fault(None, f"{name!r} is the name of a preset", "another name")
        dial_plans[name] = read_dial_plan(name, table, set(classes) - NEVER_IN_A_DECK)
    context = _Context(classes, calendars, dial_plans)
    plans = {PlanId(name): _plan(PlanId(name), table, context) for name, table in top.named("plan")}
    if not plans:
        top.fault(None, "there is no plan", "at least one table [plan.NAME]")
    top.finish()
    return plans, classes, calendars


@dataclass(frozen=True, slots=True)
class _Context:
    """What a plan may refer to."""

    classes: tuple[str, ...]
    calendars: Mapping[str, Calendar]
    dial_plans: Mapping[str, DialPlanSettings]


def _plan(name: PlanId, table: Table, context: _Context) -> Plan:
    blank = Plan(name, _currency(table), _zone(table), "", context.dial_plans["e164"], name)
    plan = _details(table, context, blank)
    later: list[Plan] = []
    for entry in table.tables("version"):
        since_ms = _since(entry, plan.zone)
        before = later[-1] if later else plan
        if later and since_ms <= (before.valid_from_ms or 0):
            entry.fault("valid_from", "is not after that of the version before", "versions in order of time")
        version = _details(entry, context, before)
        later.append(replace(version, valid_from_ms=since_ms))
        entry.finish()
    table.finish()
    return replace(plan, later=tuple(later))


def _since(table: Table, zone: str) -> int:
    text = table.text("valid_from", expected=EXPECTED)
    since_ms = parse_moment(text, ZoneInfo(zone)) if text else 0
    if since_ms is None or not 0 <= since_ms < LAST_AT_MS:
        table.fault("valid_from", f"{describe(text)} cannot stand here", f"{EXPECTED}, from 1970 to 2099")
        return 0
    return since_ms


def _details(table: Table, context: _Context, base: Plan) -> Plan:
    """A plan or one of its later versions: what its table does not say is as in `base`."""
    dial_plan = table.reference("dial_plan", context.dial_plans, "dial plan or preset", base.dial_plan.name)
    among = set(context.classes) - NEVER_IN_A_DECK
    seconds_order, money_order = _consumption(table.table("consumption"), base)
    bands = read_bands(table, context.calendars) if "band" in table else base.bands
    allowances = base.allowances
    if "allowance" in table:
        allowances = _allowances(base.id, table, context.classes, bands)
    elif "band" in table:
        _keep_hours(table, bands, allowances)
    return replace(
        base,
        seconds_order=seconds_order,
        money_order=money_order,
        name=table.text("name", base.name),
        deck=table.text(
            "deck", base.deck or None, pattern=_DECK,
            expected='a CSV file under this folder, such as "decks/retail.csv"',
        ),
        dial_plan=context.dial_plans.get(dial_plan, base.dial_plan),
        decimals=table.integer("decimals", base.decimals, low=0, high=6),
        rounding=table.choice("rounding", Rounding, base.rounding),
        locale=_locale(table, base.locale),
        max_call_s=table.integer("max_call_s", base.max_call_s, low=1, high=MAX_CALL_S),
        bands=bands,
        allowances=allowances,
        when_exhausted=table.choice("when_exhausted", WhenExhausted, base.when_exhausted),
        thresholds=read_thresholds(table.table("thresholds")) if "thresholds" in table else base.thresholds,
        blocked_classes=tuple(sorted(table.texts("blocked_classes", base.blocked_classes, among=among))),
        blocked_prefixes=table.texts(
            "blocked_prefixes", base.blocked_prefixes, pattern=PREFIX, expected=PREFIX_EXPECTED
        ),
        class_limits=table.limits_by("class_limits", among) if "class_limits" in table else base.class_limits,
        margin=_margin(table.table("margin")) if "margin" in table else base.margin,
    )  # fmt: skip


@cache
def _currencies() -> frozenset[str]:
    return frozenset(list_currencies())


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _currency(table: Table) -> str:
    expected = "a currency code of ISO 4217, such as EUR"
    code = table.text("currency", expected=expected)
    if code and code not in _currencies():
        table.fault("currency", f"unknown currency {code!r}", expected)
    return code


def _zone(table: Table) -> str:
    expected = "a time zone such as Europe/Paris"
    zone = table.text("zone", expected=expected)
    if zone and zone not in _zones():
        table.fault("zone", f"unknown time zone {zone!r}", expected)
        return "UTC"
    return zone or "UTC"


def _locale(table: Table, default: str) -> str:
    name = table.text("locale", default)
    if name:
        try:
            Locale.parse(name)
        except (UnknownLocaleError, ValueError, TypeError):
            table.fault("locale", f"unknown locale {name!r}", "a locale such as pt_BR or en")
            return default
    return name


def _allowances(
    plan: PlanId, table: Table, classes: tuple[str, ...], bands: tuple[Band, ...]
) -> tuple[Allowance, ...]:
    found: list[Allowance] = []
    for entry in table.tables("allowance"):
        name = entry.text("id", pattern=ID, expected=ID_EXPECTED)
        if any(allowance.id == name for allowance in found):
            entry.fault("id", f"the allowance {name!r} stands here twice", "another id")
        among = set(classes) - NEVER_IN_A_DECK
        own, also = entry.texts("classes", None, among=among | {ALL}), entry.texts("also", among=among)
        if ALL in own:
            if len(own) > 1 or also:
                entry.fault("classes", "an allowance of all classes names others", f'["{ALL}"] alone, without also')
            own, also = (), ()
        for i, klass in enumerate(also):
            if klass in own:
                entry.fault_at(("also", i), f"{klass!r} is one of the allowance's own classes", "other classes")
        seconds = _seconds(entry)
        cadence = _cadence(entry.table("cadence"))
        priority = entry.integer("priority", 0, low=-MAX_PRIORITY, high=MAX_PRIORITY)
        rollover = _rollover(entry.table("rollover")) if "rollover" in entry else None
        cycle, prorate = read_cycle(entry), entry.flag("prorate", False)
        hours = _hours(entry, bands) if "hours" in entry else ()
        grant = GrantId(f"{plan}/{name}")
        found.append(Allowance(name, grant, own, seconds, also, cadence, cycle, priority, rollover, prorate, hours))
        entry.finish()
    return tuple(found)


def _hours(entry: Table, bands: tuple[Band, ...]) -> tuple[str, ...]:
    """Bands of the plan; each must be in force at some time."""
    if not bands:
        entry.fault("hours", "the plan has no bands", "hours that the plan has as [[plan.NAME.band]]")
        return entry.texts("hours")
    names = entry.texts("hours", None, among=[band.name for band in bands])
    ever = ever_in_force(bands)
    for name in names:
        if name not in ever:
            place = entry.data["hours"].index(name)
            message = f"the band {name!r} is never in force: those before it hold all its hours"
            entry.fault_at(("hours", place), message, "a band to which those before it leave some hours")
    return names


def _keep_hours(table: Table, bands: tuple[Band, ...], allowances: tuple[Allowance, ...]) -> None:
    """A version with bands of its own, and the allowances of the version before."""
    ever = ever_in_force(bands)
    for allowance in allowances:
        for name in allowance.hours:
            if name not in ever:
                table.fault(
                    "band", f"the allowance {allowance.id!r} has the hours {name!r}, which no band here has",
                    "a band of that name, or other allowances",
                )  # fmt: skip


def _seconds(table: Table) -> int:
    if ("minutes" in table) == ("seconds" in table):
        table.fault(None, "the allowance's size must be given once", "minutes or seconds")
    minutes = table.integer("minutes", 0, low=0, high=_MOST_S // 60)
    return table.integer("seconds", minutes * 60, low=0, high=_MOST_S)


def _rollover(table: Table) -> RolloverRule:
    most = read_length(table, "max", None)
    least = read_length(table, "min", 0)
    if least > most:
        table.fault(None, "more rolls over at least than at most", "a minimum not above the maximum")
    rule = RolloverRule(most, least, table.integer("cycles", 1, low=1, high=MAX_ROLLOVER_CYCLES))
    table.finish()
    return rule


def read_length(table: Table, name: str, default: int | None) -> int:
    """Seconds given as ``NAME_minutes`` or ``NAME_seconds``."""
    minutes, seconds = f"{name}_minutes", f"{name}_seconds"
    if (minutes in table) + (seconds in table) > 1 or (
        default is None and minutes not in table and seconds not in table
    ):
        table.fault(None, f"{minutes} and {seconds}: it must be given once", f"{minutes} or {seconds}")
    whole = table.integer(minutes, 0, low=0, high=_MOST_S // 60) * 60
    return table.integer(seconds, whole or default or 0, low=0, high=_MOST_S)


def _consumption(table: Table, base: Plan) -> tuple[Consumption, Consumption]:
    """The order of use of each resource."""
    seconds = table.choice("seconds", Consumption, base.seconds_order)
    money = table.choice("money", Consumption, base.money_order)
    table.finish()
    return seconds, money


def _cadence(table: Table) -> Cadence:
    cadence = Cadence(
        table.integer("free", 0, low=0, high=3600),
        table.integer("first", 1, low=1, high=MAX_CALL_S),
        table.integer("next", 1, low=1, high=MAX_CALL_S),
    )
    table.finish()
    return cadence


def _margin(table: Table) -> Margin:
    margin = Margin(
        table.integer("floor_percent", low=-1000, high=100), table.choice("enforce", Enforce, Enforce.ON)
    )
    table.finish()
    return margin
