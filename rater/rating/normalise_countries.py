"""Countries' number ranges, from libphonenumber's tables.

A number that nobody has called before is the usual case, so that the tables are asked directly: each country's
patterns are one automaton, made when the country is first called. The library still reads whatever holds something
to take away (such answers are kept), and says which lengths there are.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import phonenumbers
from phonenumbers import PhoneNumberType, ValidationResult

from rater.rating.automaton import Automaton, NotPlain, Pattern

_CODES = frozenset(str(code) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
_KINDS = {
    PhoneNumberType.FIXED_LINE: "fixed",
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed_or_mobile",
    PhoneNumberType.TOLL_FREE: "toll_free",
    PhoneNumberType.PREMIUM_RATE: "premium",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.VOIP: "voip",
    PhoneNumberType.PERSONAL_NUMBER: "personal",
    PhoneNumberType.PAGER: "pager",
    PhoneNumberType.UAN: "corporate",
    PhoneNumberType.VOICEMAIL: "voicemail",
}


@dataclass(frozen=True)
class Place:
    """Where an international number lies. `number`: E.164 digits, as the country writes them (a trunk zero after
    the country code is dropped). `kind`: fixed, mobile, …; empty when the range is not in the tables. `fault`: why
    there can be no such number, else empty."""

    number: str
    code: str = ""
    region: str = ""
    kind: str = ""
    fault: str = ""

    @property
    def label(self) -> str:
        return f"+{self.code}" + (f" ({self.region})" if self.region and self.region != "001" else "")


def country_code(digits: str) -> str:
    """The country code that the digits begin with; empty when none does. Codes are prefix-free."""
    for length in (1, 2, 3):
        if digits[:length] in _CODES:
            return digits[:length]
    return ""


_ORDER = ("premium_rate", "toll_free", "shared_cost", "voip", "personal_number", "pager", "uan", "voicemail")
_KIND_OF_FIELD = ("premium", "toll_free", "shared_cost", "voip", "personal", "pager", "corporate", "voicemail")
_FIELDS = ("general_desc", *_ORDER, "fixed_line", "mobile")
_GENERAL, _FIXED, _MOBILE = 1 << 0, 1 << 9, 1 << 10
_SHORTEST, _LONGEST = 5, 12
"""Of national numbers that are read here."""


class _Region:
    """Of a country, or the one of several with its code. `leads`: how its numbers begin, where that tells it."""

    __slots__ = ("_fitting", "_kinds", "_one_pattern", "_ranges", "leads", "name")

    def __init__(self, name: str, metadata: Any) -> None:
        self.name = name
        self.leads = Pattern(metadata.leading_digits) if metadata.leading_digits else None
        self._one_pattern = bool(metadata.same_mobile_and_fixed_line_pattern)
        ranges = [getattr(metadata, field) for field in _FIELDS]
        known = [one if one is not None and one.national_number_pattern else None for one in ranges]
        self._ranges = Automaton([one.national_number_pattern if one is not None else "" for one in known])
        self._fitting = [
            sum(
                1 << place
                for place, one in enumerate(known)
                if one is not None and (not one.possible_length or length in one.possible_length)
            )
            for length in range(_LONGEST + 1)
        ]
        """By length of the number, which ranges have numbers of that length."""
        self._kinds: dict[int, str] = {}

    def kind(self, digits: str, start: int) -> str:
        """Empty when the national number, which begins at `start`, is none of the region."""
        fitting: int = self._fitting[len(digits) - start]
        ranges = max(0, self._ranges.whole(digits, start)) & fitting
        kind = self._kinds.get(ranges)
        if kind is None:
            kind = self._kinds[ranges] = self._kind(ranges)
        return kind

    def _kind(self, ranges: int) -> str:
        """Of a number that lies in these of `_FIELDS`, in the library's order."""
        if not ranges & _GENERAL:
            return ""
        for place, kind in enumerate(_KIND_OF_FIELD, 1):
            if ranges & 1 << place:
                return kind
        if ranges & _FIXED:
            return "fixed_or_mobile" if self._one_pattern or ranges & _MOBILE else "fixed"
        return "mobile" if ranges & _MOBILE and not self._one_pattern else ""


class _Country:
    """All regions with one code."""

    __slots__ = ("_possible", "_prefix", "_regions", "code", "start")

    def __init__(self, code: str) -> None:
        self.code, self.start = code, len(code)
        self._regions: list[_Region] = []
        """In the order in which the library asks them; none when a table has a pattern that is not plain."""
        with suppress(NotPlain):
            self._regions = [
                _Region(name, metadata)
                for name in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[int(code)]
                if (metadata := phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(int(code), name))
            ]
        self._prefix = _national_prefix(code)
        self._possible = [_possible(code, length) for length in range(_LONGEST + 1)]

    def is_plain(self, digits: str) -> bool:
        """Whether the library's reader would find nothing to take away: no zeros in front, no national prefix."""
        start = self.start
        if not self._regions or not _SHORTEST <= len(digits) - start <= _LONGEST:
            return False
        if digits[start] == "0" or not digits.isascii():
            return False
        return self._prefix is None or not self._prefix.begins(digits, start)

    def place(self, digits: str) -> Place:
        """Of a number that is plain."""
        fault = _fault(digits, self.code, self._possible[len(digits) - self.start])
        if fault or len(digits) > 15:
            return Place(digits, self.code, fault=fault or f"+{digits} is longer than the 15 digits of E.164")
        for region in self._regions:
            if len(self._regions) > 1 and region.leads is not None:
                if region.leads.begins(digits, self.start):
                    return Place(digits, self.code, region.name, region.kind(digits, self.start))
                continue
            kind = region.kind(digits, self.start)
            if kind or len(self._regions) == 1:
                return Place(digits, self.code, region.name, kind)
        return Place(digits, self.code)


def _national_prefix(code: str) -> Pattern | None:
    """What the reader takes from the front of a country's national numbers."""
    region = phonenumbers.region_code_for_country_code(int(code))
    metadata = (
        phonenumbers.PhoneMetadata.metadata_for_nongeo_region(int(code), None)
        if region == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY
        else phonenumbers.PhoneMetadata.metadata_for_region(region, None)
    )
    prefix = metadata.national_prefix_for_parsing if metadata is not None else None
    return Pattern(prefix) if prefix else None


def _possible(code: str, length: int) -> int:
    """What the library says of a national number of that length; nothing else of the number counts."""
    number = phonenumbers.PhoneNumber(country_code=int(code), national_number=10 ** max(0, length - 1))
    return int(phonenumbers.is_possible_number_with_reason(number))


@cache
def _country(code: str) -> _Country:
    return _Country(code)


_BY_DIGITS: list[_Country | None] = [None] * 1000
"""By the first three digits of a number; filled as countries are called."""


def _country_of(digits: str) -> _Country | None:
    """None when no country has the code that the digits begin with."""
    place = -1
    if len(digits) >= 3:
        place = (ord(digits[0]) - 48) * 100 + (ord(digits[1]) - 48) * 10 + ord(digits[2]) - 48
        known = _BY_DIGITS[place] if 0 <= place < 1000 else None
        if known is not None and digits.startswith(known.code):
            return known
    code = country_code(digits)
    if not code:
        return None
    country = _country(code)
    if 0 <= place < 1000:
        _BY_DIGITS[place] = country
    return country


def place_of(digits: str) -> Place:
    """The place of an international number given as digits without plus. Never raises."""
    country = _country_of(digits)
    if country is None:
        return Place(digits, fault=f"no country has the code that +{digits} begins with")
    return country.place(digits) if country.is_plain(digits) else _read_by_library(digits, country.code)


@lru_cache(maxsize=8192)
def _read_by_library(digits: str, code: str) -> Place:
    try:
        parsed = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return Place(digits, code, fault=f"+{digits} is too short or too long for a number of +{code}")
    fault = _fault(digits, code, phonenumbers.is_possible_number_with_reason(parsed))
    if fault:
        return Place(digits, code, fault=fault)
    number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)[1:]
    if len(number) > 15:
        return Place(digits, code, fault=f"+{digits} is longer than the 15 digits of E.164")
    region = phonenumbers.region_code_for_number(parsed) or ""
    return Place(number, code, region, _KINDS.get(phonenumbers.number_type(parsed), ""))


def _fault(digits: str, code: str, possible: int) -> str:
    """In words what the library says of a length; empty when there are such numbers."""
    if possible == ValidationResult.IS_POSSIBLE:
        return ""
    fault = "too long" if possible == ValidationResult.TOO_LONG else "too short"
    if possible == ValidationResult.INVALID_LENGTH:
        fault = "of a length that does not exist"
    return f"+{digits} is {fault} for a number of +{code}"
