"""Countries' number ranges, from libphonenumber's tables. Answers are kept.

A number that nobody has called before is the usual case, so that the tables are asked directly: each country's
patterns are compiled once, in the order in which the library looks at them, and kept. (The library looks its
patterns up by text each time, among more of them than `re` remembers.) It still reads whatever holds something to
take away, and says which lengths there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import phonenumbers
from phonenumbers import PhoneNumberType, ValidationResult

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


def _is_plain(code: str, national: str) -> bool:
    """Whether the library's reader would find nothing to take away: no zeros in front, no national prefix."""
    if not 5 <= len(national) <= 12 or national[0] == "0":
        return False
    prefix = _national_prefix(code)
    return prefix is None or prefix.match(national) is None


@cache
def _national_prefix(code: str) -> re.Pattern[str] | None:
    """What the reader takes from the front of a country's national numbers."""
    region = phonenumbers.region_code_for_country_code(int(code))
    metadata = (
        phonenumbers.PhoneMetadata.metadata_for_nongeo_region(int(code), None)
        if region == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY
        else phonenumbers.PhoneMetadata.metadata_for_region(region, None)
    )
    prefix = metadata.national_prefix_for_parsing if metadata is not None else None
    return re.compile(prefix) if prefix else None


Match = Callable[[str], re.Match[str] | None]
_ORDER = ("premium_rate", "toll_free", "shared_cost", "voip", "personal_number", "pager", "uan", "voicemail")
_OF_FIELD = dict(zip(_ORDER, ("premium", "toll_free", "shared_cost", "voip", "personal", "pager", "corporate",
                              "voicemail"), strict=True))  # fmt: skip


class _Range:
    """Numbers of some lengths that match a pattern."""

    __slots__ = ("kind", "lengths", "match")

    def __init__(self, kind: str, description: Any) -> None:
        pattern = description.national_number_pattern if description is not None else None
        self.kind = kind
        self.lengths = frozenset(description.possible_length) if pattern else frozenset((-1,))
        self.match: Match = re.compile(pattern or "").fullmatch

    def holds(self, national: str) -> bool:
        lengths = self.lengths
        return (not lengths or len(national) in lengths) and self.match(national) is not None


class _Region:
    """Of a country, or the one of several with its code. `leads`: how its numbers begin, where that tells it."""

    __slots__ = ("general", "leads", "mobile", "name", "one_pattern", "ranges")

    def __init__(self, name: str, metadata: Any) -> None:
        self.name = name
        self.leads: Match | None = re.compile(metadata.leading_digits).match if metadata.leading_digits else None
        self.general = _Range("", metadata.general_desc)
        ranges = [_Range(kind, getattr(metadata, field)) for field, kind in _OF_FIELD.items()]
        fixed, self.mobile = _Range("fixed", metadata.fixed_line), _Range("mobile", metadata.mobile)
        self.one_pattern = bool(metadata.same_mobile_and_fixed_line_pattern)
        self.ranges = [each for each in (*ranges, fixed) if -1 not in each.lengths]

    def kind(self, national: str) -> str:
        """Empty when it is no number of the region."""
        if not self.general.holds(national):
            return ""
        for each in self.ranges:
            if each.holds(national):
                if each.kind != "fixed":
                    return each.kind
                return "fixed_or_mobile" if self.one_pattern or self.mobile.holds(national) else "fixed"
        return "mobile" if not self.one_pattern and self.mobile.holds(national) else ""


@cache
def _regions(code: str) -> tuple[_Region, ...]:
    """In the order in which the library asks them."""
    found = []
    for name in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[int(code)]:
        metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(int(code), name)
        if metadata is not None:
            found.append(_Region(name, metadata))
    return tuple(found)


def _region_and_kind(code: str, national: str) -> tuple[str, str]:
    regions = _regions(code)
    if len(regions) == 1:
        return regions[0].name, regions[0].kind(national)
    for region in regions:
        if region.leads is not None:
            if region.leads(national) is not None:
                return region.name, region.kind(national)
        elif kind := region.kind(national):
            return region.name, kind
    return "", ""


@cache
def _possible(code: str, length: int) -> int:
    """What the library says of a national number of that length; nothing else of the number counts."""
    number = phonenumbers.PhoneNumber(country_code=int(code), national_number=10 ** (length - 1))
    return int(phonenumbers.is_possible_number_with_reason(number))


@lru_cache(maxsize=8192)
def place_of(digits: str) -> Place:
    """The place of an international number given as digits without plus. Never raises."""
    code = country_code(digits)
    if not code:
        return Place(digits, fault=f"no country has the code that +{digits} begins with")
    national = digits[len(code) :]
    if _is_plain(code, national):
        fault = _fault(digits, code, _possible(code, len(national)))
        if fault or len(digits) > 15:
            return Place(digits, code, fault=fault or f"+{digits} is longer than the 15 digits of E.164")
        region, kind = _region_and_kind(code, national)
        return Place(digits, code, region, kind)
    return _read_by_library(digits, code)


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
