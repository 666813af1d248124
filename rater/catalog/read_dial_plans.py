"""Dial plans of `plans.toml`: a preset, its options, and the operator's own rules."""

from __future__ import annotations

import re

from rater.catalog.table import ID, ID_EXPECTED, Table
from rater.errors import InputError
from rater.rating.normalise import OwnAction, OwnRule, asterisk_pattern
from rater.rating.normalise_brazil import SCM_KINDS, BrazilOptions
from rater.rating.normalise_presets import PRESETS, DialPlanSettings, area_pattern

_NUMBER = re.compile(r"[0-9*#]{1,32}")
_FOUR = re.compile(r"[2-5][0-9]{3}")


def read_dial_plan(name: str, table: Table, classes: set[str]) -> DialPlanSettings:
    preset = table.reference("preset", PRESETS, "preset", "e164")
    preset = preset if preset in PRESETS else "e164"
    area = table.text("area", "", pattern=re.compile(area_pattern(preset)), expected=f"an area code of {preset}")
    brazil = _brazil(table, classes) if preset == "brazil" else BrazilOptions()
    settings = DialPlanSettings(
        name,
        preset,
        area,
        table.texts("emergency", pattern=_NUMBER, expected="numbers as dialled"),
        tuple(_rule(rule, classes) for rule in table.tables("rule")),
        brazil,
    )
    table.finish()
    return settings


def _brazil(table: Table, classes: set[str]) -> BrazilOptions:
    default = BrazilOptions()
    return BrazilOptions(
        csp=table.flag("international_csp", default.csp),
        scm=table.reference("scm", SCM_KINDS, "treatment of the 6 series", default.scm),
        national_numbers=table.texts(
            "national_numbers", default.national_numbers, pattern=_FOUR, expected="four digits each"
        ),
        national_class=table.reference("national_numbers_class", classes, "class", default.national_class),
        collect=table.flag("collect", default.collect),
        unknown_ranges=table.flag("unknown_ranges", default.unknown_ranges),
    )


def _rule(table: Table, classes: set[str]) -> OwnRule:
    action = table.choice("action", OwnAction, OwnAction.REWRITE)
    match = table.text("match", expected="a dialplan pattern such as 9. or 0NXXXXXX")
    rule = OwnRule(
        table.text("name", pattern=ID, expected=ID_EXPECTED),
        match,
        action,
        table.integer("strip", 0, low=0, high=32),
        table.text("prepend", "", pattern=re.compile(r"\+?[0-9*#]{0,31}"), expected="digits, with or without a +"),
        table.reference("class", classes, "class", None if action is OwnAction.SERVICE else ""),
    )
    if match:
        try:
            asterisk_pattern(match)
        except InputError as error:
            table.fault("match", error.message, error.hint.rstrip("."))
    if rule.destination_class and action is not OwnAction.SERVICE:
        table.fault("class", "only a service number has a class of its own", 'action = "service", or no class')
    if action is OwnAction.REWRITE and not rule.strip and not rule.prepend:
        table.fault(None, "the rule changes nothing", "strip, prepend, or another action")
    table.finish()
    return rule
