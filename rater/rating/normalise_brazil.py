"""Brazil's dial plan: numbers in the order in which they must be read, and the class of each.

Order: public services 1xx · collect 90 · non-geographic 0300, 0500, 0800, 0900 · international 00[CSP] · long
distance 0[CSP]area · +55 · bare numbers, before which the line's area is put. Then the subscriber part says fixed
or mobile, and the two area codes say local or long distance. The origin is the line's area, never the caller id.

Sources: Resolução 749/2022 (numbering), 768/2024 (local areas), 777/2025 (the 6 series); see docs/numbers.md.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Protocol

from rater.rating.reading import (
    ANY_TEXT,
    NumberRefused,
    Outcome,
    Reading,
    Rule,
    checked_place,
    service,
    when,
)
from rater.verdict import Reason

BRAZIL_EMERGENCY = frozenset({"112", "128", "185", "911", *(str(code) for code in range(190, 200))})
_SECOND_DIGITS = {
    "1": "123456789", "2": "12478", "3": "1234578", "4": "123456789", "5": "1345",
    "6": "123456789", "7": "134579", "8": "123456789", "9": "123456789",
}  # fmt: skip
AREAS = frozenset(first + second for first, seconds in _SECOND_DIGITS.items() for second in seconds)
"""The 67 area codes."""
_BRASILIA = dt.timezone(dt.timedelta(hours=-3))


def _day_ms(year: int, month: int, day: int) -> int:
    return int(dt.datetime(year, month, day, tzinfo=_BRASILIA).timestamp()) * 1000


LOCAL_AREA_FROM_MS = {
    "7": _day_ms(2026, 1, 11),
    "9": _day_ms(2026, 2, 1),
    "8": _day_ms(2026, 2, 22),
    "5": _day_ms(2026, 3, 15),
    "4": _day_ms(2026, 3, 29),
    "3": _day_ms(2026, 4, 19),
    "2": _day_ms(2026, 5, 10),
    "6": _day_ms(2026, 5, 31),
    "1": _day_ms(2026, 6, 21),
}
"""From when the area code is the local area, by the code's first digit. Before, it was the municipality."""
SCM_FROM_MS = _day_ms(2027, 3, 1)
SCM_KINDS = ("fixed", "mobile", "deny")
NON_GEOGRAPHIC = {
    "800": ("toll_free", "a free number"),
    "300": ("shared_cost", "a number of shared cost"),
    "303": ("shared_cost", "a number of shared cost"),
    "500": ("premium", "a donation number"),
    "900": ("premium", "a premium number"),
}


_NON_GEOGRAPHIC = r"(?:0|\+55)([3589]0[0-9])([0-9]*)|55([3589]0[0-9])([0-9]{7})"
_EVERYWHERE, _NATIONAL = r"\+55([0-9]{8})", r"\+?55([0-9]{2})([0-9]{8,9})"
_BARE = r"[0-9]{8,11}"


def brazil_changes_ms() -> tuple[int, ...]:
    """The moments, in order, from which on some numbers are read differently."""
    return tuple(sorted({*LOCAL_AREA_FROM_MS.values(), SCM_FROM_MS}))


class LocalAreas(Protocol):
    """The municipality table that calls before the dates of Resolução 768/2024 need."""

    def is_local(self, area: str, called: str) -> bool | None:
        """Whether the national number `called` is in the local area of a line in `area`; None: not known."""
        ...


@dataclass(frozen=True, slots=True)
class BrazilOptions:
    """What is ambiguous or doubtful, as settings.

    `csp`: whether international calls carry a carrier code after the 00 (depends on the trunk). `scm`: how the 6
    series is charged. `national_numbers`: the first four digits of eight-digit numbers valid in the whole country,
    charged as `national_class`. `collect`: let 90… pass, as class ``collect``. `unknown_ranges`: let international
    numbers pass that are in no range of the country tables, as ``intl_mobile``.
    """

    csp: bool = True
    scm: str = "fixed"
    national_numbers: tuple[str, ...] = ("3003", "4004")
    national_class: str = "fixed_local"
    collect: bool = False
    unknown_ranges: bool = False


def brazil_rules(options: BrazilOptions, local_areas: LocalAreas | None = None) -> tuple[Rule, ...]:
    """The preset's rules in order, under these options."""
    national = _National(options, local_areas)
    return (
        service("brazil.public_service", r"1[0-9]{2}", "public_service", "a public service"),
        when("90" + ANY_TEXT, _Collect(options.collect)),
        when(_NON_GEOGRAPHIC, _non_geographic),
        when("00" + ANY_TEXT, _International(options.csp)),
        when("0" + ANY_TEXT, national.read_long_distance),
        when(rf"{_EVERYWHERE}|{_NATIONAL}", national.read_national),
        when(_BARE, national.read_bare),
        when(r"\+" + ANY_TEXT, _Abroad(options.unknown_ranges)),
    )


@dataclass(frozen=True, slots=True)
class _Collect:
    allowed: bool

    def __call__(self, reading: Reading) -> Outcome | None:
        if not reading.number.startswith("90"):
            return None
        if not self.allowed:
            detail = "collect calls (90…) are not allowed"
            reading.note("brazil.collect", detail)
            return reading.refuse(Reason.COLLECT_CALL, detail)
        if re.fullmatch(r"90(?:90[0-9]{8,9}|[1-9][0-9][1-9]{2}[0-9]{8,9})", reading.number) is None:
            return reading.refuse(
                Reason.MALFORMED_NUMBER, f"{reading.number} is no collect call of the right length"
            )
        reading.note("brazil.collect", "a collect call; the dial plan allows them")
        return reading.end(reading.number, "collect", short=True)


def _non_geographic(reading: Reading) -> Outcome | None:
    """No area code holds a 0, so [3589]0x is unambiguous after a 0, and after 55 in a number of full length."""
    match = re.fullmatch(_NON_GEOGRAPHIC, reading.number)
    if match is None:
        return None
    series, rest = match[1] or match[3], match[2] if match[1] else match[4]
    if series not in NON_GEOGRAPHIC:
        return reading.refuse(Reason.UNKNOWN_NUMBER, f"0{series} is not a series of non-geographic numbers in use")
    if len(rest) not in (6, 7):
        return reading.refuse(Reason.MALFORMED_NUMBER, f"after 0{series} come 6 or 7 digits, not {len(rest)}")
    destination_class, what = NON_GEOGRAPHIC[series]
    reading.note("brazil.non_geographic", f"0{series} is {what}")
    return reading.end(f"55{series}{rest}", destination_class)


@dataclass(frozen=True, slots=True)
class _International:
    csp: bool

    def __call__(self, reading: Reading) -> Outcome | None:
        if not reading.number.startswith("00"):
            return None
        match = re.fullmatch(r"00([1-9][0-9])([1-9][0-9]+)" if self.csp else r"00()([1-9][0-9]+)", reading.number)
        if match is None:
            form = "00, a carrier code of two digits, country code" if self.csp else "00, country code"
            return reading.refuse(Reason.MALFORMED_NUMBER, f"{reading.number} is not {form} and number")
        csp, number = match.groups()
        why = f"international, carrier code {csp}" if csp else "international, without a carrier code"
        reading.rewrite("brazil.international", f"+{number}", why)
        return None


@dataclass(frozen=True, slots=True)
class _Abroad:
    unknown_ranges: bool

    def __call__(self, reading: Reading) -> Outcome | None:
        """Numbers of other countries, fixed or mobile by the country's ranges."""
        if not reading.number.startswith("+"):
            return None
        if reading.number.startswith("+55"):
            return reading.refuse(Reason.MALFORMED_NUMBER, "after +55 come an area code and 8 or 9 digits")
        place = checked_place(reading)
        if isinstance(place, NumberRefused):
            return place
        if place.kind:
            mobile = place.kind in ("mobile", "pager", "personal")
            reading.note("brazil.abroad", f"{place.label}, {place.kind} by the country's ranges")
        elif self.unknown_ranges:
            mobile = True
            reading.note(
                "brazil.abroad", f"{place.label}, in no known range: taken as mobile, as the dial plan says"
            )
        else:
            return reading.refuse(
                Reason.UNKNOWN_NUMBER, f"+{place.number} is in no range of {place.label} that is known"
            )
        if place.kind == "premium":
            return reading.end(place.number, "premium")
        return reading.end_open(place.number, "intl_mobile" if mobile else "intl_fixed")


@dataclass(frozen=True, slots=True)
class _National:
    options: BrazilOptions
    local_areas: LocalAreas | None

    def read_long_distance(self, reading: Reading) -> Outcome | None:
        """0, carrier code, area, number (13 or 14 digits in all), or without the carrier code (11 or 12)."""
        if not reading.number.startswith("0"):
            return None
        match = re.fullmatch(r"0([1-9][0-9])?([1-9][0-9])([0-9]{8,9})", reading.number)
        if match is None:
            return reading.refuse(
                Reason.MALFORMED_NUMBER,
                f"{reading.number} is not 0, an optional carrier code, an area code and 8 or 9 digits",
            )
        csp, area, subscriber = match.groups()
        why = f"long distance, carrier code {csp}" if csp else "long distance, without a carrier code"
        reading.rewrite("brazil.long_distance", area + subscriber, why)
        return self.subscriber(reading, area, subscriber)

    def read_national(self, reading: Reading) -> Outcome | None:
        """+55, or 55 before 10 or 11 digits (a bare number in area 55 is shorter)."""
        everywhere = re.fullmatch(_EVERYWHERE, reading.number)
        if everywhere is not None and everywhere[1][:4] in self.options.national_numbers:
            return self._valid_everywhere(reading, everywhere[1])
        match = re.fullmatch(_NATIONAL, reading.number)
        if match is None:
            return None
        area, subscriber = match.groups()
        reading.rewrite("brazil.country", area + subscriber, "Brazil's country code")
        return self.subscriber(reading, area, subscriber)

    def read_bare(self, reading: Reading) -> Outcome | None:
        """Area and number; or a number alone, before which the line's area goes."""
        if re.fullmatch(_BARE, reading.number) is None:
            return None
        if len(reading.number) >= 10:
            return self.subscriber(reading, reading.number[:2], reading.number[2:])
        if reading.number[:4] in self.options.national_numbers and len(reading.number) == 8:
            return self._valid_everywhere(reading, reading.number)
        if not reading.area:
            return reading.refuse(
                Reason.MALFORMED_NUMBER,
                f"{reading.number} has no area code, and neither has the line that dials it",
            )
        subscriber = reading.number
        reading.rewrite(
            "brazil.own_area", reading.area + subscriber, f"the line's area {reading.area} put in front"
        )
        return self.subscriber(reading, reading.area, subscriber)

    def subscriber(self, reading: Reading, area: str, subscriber: str) -> Outcome:
        """Fixed or mobile by the subscriber part; then local or long distance."""
        if area not in AREAS:
            return reading.refuse(Reason.UNKNOWN_NUMBER, f"{area} is not one of Brazil's area codes")
        if len(subscriber) == 8 and subscriber[:4] in self.options.national_numbers:
            return self._valid_everywhere(reading, subscriber)
        kind, number = self._kind(reading, area, subscriber)
        if kind is None:
            return reading.refuse(Reason.UNKNOWN_NUMBER, f"({area}) {subscriber} is in no series in use: {number}")
        if not reading.area:
            return reading.refuse(
                Reason.MALFORMED_NUMBER, "without the line's area code a call is neither local nor long distance"
            )
        reach = self._reach(reading, area, kind, number)
        return reading.end(f"55{area}{number}", f"{kind}_{reach}")

    def _kind(self, reading: Reading, area: str, subscriber: str) -> tuple[str | None, str]:
        """(kind, subscriber part), or (None, why there is no such number)."""
        first, length = subscriber[0], len(subscriber)
        if length == 8 and first in "2345":
            reading.note("brazil.fixed", f"{subscriber}: eight digits beginning with {first} are a fixed line")
            return "fixed", subscriber
        if length == 9 and first == "9":
            reading.note("brazil.mobile", f"{subscriber}: nine digits beginning with 9 are a mobile")
            return "mobile", subscriber
        if length == 8 and first == "7":
            reading.note(
                "brazil.trunking", f"{subscriber}: legacy trunking (eight digits beginning with 7), a mobile"
            )
            return "mobile", subscriber
        if length == 8 and first in "689":
            reading.rewrite(
                "brazil.legacy_mobile", f"{area}9{subscriber}", "LEGACY: an old mobile number, 9 put in front"
            )
            return "mobile", f"9{subscriber}"
        if length == 9 and first == "6":
            if reading.at_ms < SCM_FROM_MS:
                return None, "the 6 series (broadband voice) begins on 2027-03-01"
            if self.options.scm == "deny":
                return None, "the dial plan does not take the 6 series (broadband voice)"
            reading.note(
                "brazil.scm", f"{subscriber}: the 6 series, broadband voice, charged as {self.options.scm}"
            )
            return self.options.scm, subscriber
        return None, f"no number of {length} digits begins with {first}"

    def _reach(self, reading: Reading, area: str, kind: str, number: str) -> str:
        if kind == "mobile":
            if area == reading.area:
                reading.note("brazil.local", f"mobile in the line's own area {area} (VC1)")
                return "local"
            step = "VC2" if area[0] == reading.area[0] else "VC3"
            reading.note("brazil.distance", f"mobile in area {area}, the line is in {reading.area} ({step})")
            return "ld"
        if area != reading.area:
            reading.note("brazil.distance", f"fixed line in area {area}, the line is in {reading.area}")
            return "ld"
        if reading.at_ms >= LOCAL_AREA_FROM_MS[area[0]]:
            reading.note("brazil.local", f"fixed line in the line's own area {area}, one local area")
            return "local"
        return self._reach_by_municipality(reading, area, number)

    def _reach_by_municipality(self, reading: Reading, area: str, number: str) -> str:
        since = dt.datetime.fromtimestamp(LOCAL_AREA_FROM_MS[area[0]] / 1000, _BRASILIA).date()
        local = None if self.local_areas is None else self.local_areas.is_local(reading.area, area + number)
        if local is None:
            reading.note(
                "brazil.local_dated",
                f"area {area} is one local area from {since} (Res. 768/2024); before, the municipality decided, "
                "and no municipality table is loaded: taken as local because the area codes are equal",
            )
            return "local"
        word = "the same local area" if local else "another local area"
        reading.note("brazil.local_dated", f"before {since}, by the municipality table: {word}")
        return "local" if local else "ld"

    def _valid_everywhere(self, reading: Reading, number: str) -> Outcome:
        klass = self.options.national_class
        reading.note(
            "brazil.national_number", f"{number[:4]} numbers are valid in the whole country, charged as {klass}"
        )
        return reading.end(f"55{number}", klass)
