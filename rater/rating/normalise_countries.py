"""Countries' number ranges, from libphonenumber's tables. Answers are kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache

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


@dataclass(frozen=True, slots=True)
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


def _plain(code: str, national: str) -> phonenumbers.PhoneNumber | None:
    """What the library's reader makes of a number that holds nothing for it to take away: no zeros in front, no
    national prefix. None: let it read."""
    if not 5 <= len(national) <= 12 or national[0] == "0":
        return None
    prefix = _national_prefix(code)
    if prefix is not None and prefix.match(national):
        return None
    return phonenumbers.PhoneNumber(country_code=int(code), national_number=int(national))


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


@lru_cache(maxsize=65_536)
def place_of(digits: str) -> Place:
    """The place of an international number given as digits without plus. Never raises."""
    code = country_code(digits)
    if not code:
        return Place(digits, fault=f"no country has the code that +{digits} begins with")
    plain = _plain(code, digits[len(code) :])
    try:
        parsed = plain or phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return Place(digits, code, fault=f"+{digits} is too short or too long for a number of +{code}")
    possible = phonenumbers.is_possible_number_with_reason(parsed)
    if possible != ValidationResult.IS_POSSIBLE:
        fault = "too long" if possible == ValidationResult.TOO_LONG else "too short"
        if possible == ValidationResult.INVALID_LENGTH:
            fault = "of a length that does not exist"
        return Place(digits, code, fault=f"+{digits} is {fault} for a number of +{code}")
    number = digits if plain else phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)[1:]
    if len(number) > 15:
        return Place(digits, code, fault=f"+{digits} is longer than the 15 digits of E.164")
    region = phonenumbers.region_code_for_number(parsed) or ""
    return Place(number, code, region, _KINDS.get(phonenumbers.number_type(parsed), ""))
