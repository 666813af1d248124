"""The presets other than Brazil's, as ordered data, and the door to all of them.

Where a preset names a class, the dial plan determines it; everything else is left to the deck's class column.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from rater.errors import InputError
from rater.rating.normalise import DialPlan, OwnRule, compile_rules
from rater.rating.normalise_brazil import (
    BRAZIL_EMERGENCY,
    BrazilOptions,
    LocalAreas,
    brazil_changes_ms,
    brazil_rules,
)
from rater.rating.reading import Rule, Rules, international, refuse, rewrite, service, with_area
from rater.verdict import Reason

PUBLIC_SERVICE = "public_service"
TOLL_FREE = "toll_free"
SHARED_COST = "shared_cost"
PREMIUM = "premium"
SHORT_CODE = "short_code"

E164: tuple[Rule, ...] = (
    rewrite("e164.00", r"00([1-9][0-9]*)", r"+\1", "the international prefix 00"),
    rewrite("e164.plain", r"([1-9][0-9]*)", r"+\1", "read as country code and number"),
    international(""),
)

FRANCE: tuple[Rule, ...] = (
    rewrite("france.00", r"00([1-9][0-9]*)", r"+\1", "the international prefix 00"),
    rewrite("france.33", r"(33[1-9][0-9]{8})", r"+\1", "France's country code without its plus"),
    rewrite("france.plus", r"\+33([1-9][0-9]{8})", r"0\1", "a number of France"),
    service("france.social", r"116[0-9]{3}", PUBLIC_SERVICE, "a European number of social value"),
    service("france.directory", r"118[0-9]{3}", PREMIUM, "a directory service"),
    service("france.operator", r"10[0-9]{2}", SHORT_CODE, "an operator's short number"),
    service("france.short_free", r"3[01][0-9]{2}", TOLL_FREE, "a free short number"),
    service("france.short", r"3[2-9][0-9]{2}", SHORT_CODE, "a short number"),
    service("france.toll_free", r"0(80[0-5][0-9]{6})", TOLL_FREE, "a free number", r"33\1"),
    service("france.premium", r"0(89[0-9]{7})", PREMIUM, "a number at a premium price", r"33\1"),
    service("france.shared", r"0(8[12][0-9]{7})", SHARED_COST, "a number at a raised price", r"33\1"),
    rewrite("france.mayotte", r"0((?:269|639)[0-9]{6})", r"+262\1", "Mayotte"),
    rewrite("france.reunion", r"0((?:26[23]|69[23])[0-9]{6})", r"+262\1", "Réunion"),
    rewrite("france.guadeloupe", r"0((?:590|69[01])[0-9]{6})", r"+590\1", "Guadeloupe"),
    rewrite("france.guyane", r"0((?:594|694)[0-9]{6})", r"+594\1", "French Guiana"),
    rewrite("france.martinique", r"0((?:596|69[67])[0-9]{6})", r"+596\1", "Martinique"),
    rewrite("france.trunk", r"0([1-9][0-9]{8})", r"+33\1", "France's trunk prefix 0"),
    international("33"),
)

TURKEY: tuple[Rule, ...] = (
    rewrite("turkey.00", r"00([1-9][0-9]*)", r"+\1", "the international prefix 00"),
    rewrite("turkey.plus", r"\+?90([2-589][0-9]{9})", r"0\1", "a number of Türkiye"),
    service("turkey.directory", r"118[0-9]{2}", PREMIUM, "a directory service"),
    service("turkey.service", r"1[0-9]{2}", PUBLIC_SERVICE, "a public service"),
    rewrite("turkey.444", r"(?:\+?90|0)?(444[0-9]{4})", r"+90\1", "a number valid in the whole country"),
    service("turkey.toll_free", r"0?(8(?:00|11)[0-9]{7})", TOLL_FREE, "a free number", r"90\1"),
    service("turkey.premium", r"0?((?:900|888|898)[0-9]{7})", PREMIUM, "a number at a premium price", r"90\1"),
    rewrite("turkey.trunk", r"0([2-58][0-9]{9})", r"+90\1", "Türkiye's trunk prefix 0"),
    rewrite("turkey.national", r"([2-58][0-9]{9})", r"+90\1", "a national number without its trunk prefix"),
    with_area("turkey.local", r"([2-8][0-9]{6})", r"+90{area}\1", "Türkiye"),
    international("90"),
)

_NPA_NXX = r"(?!.11)[2-9][0-9]{2}(?!.11)[2-9][0-9]{6}"
NANP: tuple[Rule, ...] = (
    rewrite("nanp.carrier", r"101[0-9]{4}((?:1|011)[0-9]+)", r"\1", "the carrier access code left out"),
    rewrite("nanp.011", r"011([1-9][0-9]*)", r"+\1", "the international prefix 011"),
    rewrite("nanp.plus", rf"\+1({_NPA_NXX})", r"1\1", "a number of the North American plan"),
    service("nanp.directory", r"411", PREMIUM, "directory assistance"),
    service("nanp.n11", r"[2-8]11", PUBLIC_SERVICE, "a public service"),
    with_area("nanp.local", r"((?!.11)[2-9][0-9]{6})", r"1{area}\1", "the North American plan"),
    rewrite("nanp.national", rf"({_NPA_NXX})", r"1\1", "ten digits of the North American plan"),
    service("nanp.toll_free", rf"1(?=8(?:00|22|33|44|55|66|77|88))({_NPA_NXX})", TOLL_FREE, "free", r"1\1"),
    service("nanp.premium", rf"1(?=900)({_NPA_NXX})", PREMIUM, "a number at a premium price", r"1\1"),
    rewrite("nanp.trunk", rf"1({_NPA_NXX})", r"+1\1", "the trunk prefix 1 is also the country code"),
    refuse(
        "nanp.numbering",
        rf"\+1(?!{_NPA_NXX}$)[0-9]*",
        Reason.UNKNOWN_NUMBER,
        "no area code or exchange of the North American plan begins so",
    ),
    international("1"),
)  # fmt: skip

_RULES = {"e164": Rules(E164), "france": Rules(FRANCE), "turkey": Rules(TURKEY), "nanp": Rules(NANP)}
_EMERGENCY = {
    "e164": frozenset({"112", "911", "999"}),
    "brazil": BRAZIL_EMERGENCY,
    "france": frozenset({"15", "17", "18", "112", "114", "115", "119", "191", "196", "197"}),
    "turkey": frozenset({"110", "112", "155", "156", "158", "177"}),
    "nanp": frozenset({"911", "112", "988"}),
}
_AREA = {
    "e164": r"",
    "brazil": r"(?:1[1-9]|2[12478]|3[1-578]|4[1-9]|5[1345]|6[1-9]|7[134579]|8[1-9]|9[1-9])?",
    "france": r"",
    "turkey": r"(?:[2-58][0-9]{2})?",
    "nanp": r"(?:[2-9][0-9]{2})?",
}
PRESETS = tuple(_EMERGENCY)


@dataclass(frozen=True, slots=True)
class DialPlanSettings:
    """What makes up a dial plan, as plain data. `area`: for lines that have none. `emergency`: beside the preset's
    own. `brazil`: only used by that preset."""

    name: str
    preset: str = "e164"
    area: str = ""
    emergency: tuple[str, ...] = ()
    rules: tuple[OwnRule, ...] = ()
    brazil: BrazilOptions = field(default_factory=BrazilOptions)


@lru_cache(maxsize=16)
def _brazil(options: BrazilOptions) -> Rules:
    """Plans have the same."""
    return Rules(brazil_rules(options))


def area_pattern(preset: str) -> str:
    """The regular expression of an area code under the preset; matches the empty text too."""
    return _AREA[preset]


def reading_changes_ms(preset: str) -> tuple[int, ...]:
    """The moments, in order, at which the preset's rules begin to read some numbers differently."""
    return brazil_changes_ms() if preset == "brazil" else ()


def dial_plan(settings: DialPlanSettings, local_areas: LocalAreas | None = None) -> DialPlan:
    """Compile a dial plan. `local_areas`: Brazil's municipality table, for calls before its reform of 2026.

    Raises InputError for an unknown preset or a wrong pattern.
    """
    if settings.preset not in _EMERGENCY:
        raise InputError(f"unknown preset {settings.preset!r}", hint=f"The presets: {', '.join(PRESETS)}.")
    if settings.preset != "brazil":
        rules = _RULES[settings.preset]
    elif local_areas is None:
        rules = _brazil(settings.brazil)
    else:
        rules = Rules(brazil_rules(settings.brazil, local_areas))
    return DialPlan(
        settings.name,
        compile_rules(settings.rules),
        rules,
        _EMERGENCY[settings.preset] | frozenset(settings.emergency),
        settings.area,
    )
