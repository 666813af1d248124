"""The other presets, own rules, and what may never come out of reading a number."""

import re

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rater.dialled import MAX_DIALLED
from rater.errors import InputError
from rater.rating import normalise_countries
from rater.rating.normalise import OwnAction, OwnRule, asterisk_pattern
from rater.rating.normalise_brazil import BrazilOptions
from rater.rating.normalise_countries import place_of
from rater.rating.normalise_presets import PRESETS, DialPlanSettings, area_pattern, dial_plan
from rater.rating.reading import Normalised, NumberRefused
from rater.verdict import Reason

AT_MS = 1_800_000_000_000
AREAS = {"e164": "", "brazil": "11", "france": "", "turkey": "212", "nanp": "212"}
PLANS = {preset: dial_plan(DialPlanSettings(preset, preset)) for preset in PRESETS}


def read(preset: str, dialled: str) -> Normalised | NumberRefused:
    return PLANS[preset].read(dialled, area=AREAS[preset], at_ms=AT_MS)


# preset, as dialled → number, class
READ = [
    ("e164", "112", "112", "emergency"),
    ("e164", "911", "911", "emergency"),
    ("e164", "999", "999", "emergency"),
    ("e164", "+33612345678", "33612345678", ""),
    ("e164", "0033612345678", "33612345678", ""),
    ("e164", "33612345678", "33612345678", ""),
    ("e164", "+390612345678", "390612345678", ""),
    ("e164", "+393331234567", "393331234567", ""),
    ("e164", "+4402079460000", "442079460000", ""),
    ("e164", "+12125551234", "12125551234", ""),
    ("france", "15", "15", "emergency"),
    ("france", "17", "17", "emergency"),
    ("france", "18", "18", "emergency"),
    ("france", "112", "112", "emergency"),
    ("france", "114", "114", "emergency"),
    ("france", "196", "196", "emergency"),
    ("france", "0612345678", "33612345678", "mobile"),
    ("france", "0712345678", "33712345678", ""),
    ("france", "0142345678", "33142345678", "fixed"),
    ("france", "0912345678", "33912345678", "fixed"),
    ("france", "+33612345678", "33612345678", "mobile"),
    ("france", "33612345678", "33612345678", "mobile"),
    ("france", "0033612345678", "33612345678", "mobile"),
    ("france", "0692123456", "262692123456", "intl_mobile"),
    ("france", "0262123456", "262262123456", "intl_fixed"),
    ("france", "0639012345", "262639012345", "intl_mobile"),
    ("france", "0590201234", "590590201234", "intl_fixed"),
    ("france", "0694201234", "594694201234", "intl_mobile"),
    ("france", "0596301234", "596596301234", "intl_fixed"),
    ("france", "0800123456", "33800123456", "toll_free"),
    ("france", "+33800123456", "33800123456", "toll_free"),
    ("france", "0820123456", "33820123456", "shared_cost"),
    ("france", "0892123456", "33892123456", "premium"),
    ("france", "3639", "3639", "short_code"),
    ("france", "3018", "3018", "toll_free"),
    ("france", "1044", "1044", "short_code"),
    ("france", "118712", "118712", "premium"),
    ("france", "116117", "116117", "public_service"),
    ("france", "00442079460000", "442079460000", "intl_fixed"),
    ("turkey", "112", "112", "emergency"),
    ("turkey", "155", "155", "emergency"),
    ("turkey", "05321234567", "905321234567", "mobile"),
    ("turkey", "5321234567", "905321234567", "mobile"),
    ("turkey", "+905321234567", "905321234567", "mobile"),
    ("turkey", "905321234567", "905321234567", "mobile"),
    ("turkey", "00905321234567", "905321234567", "mobile"),
    ("turkey", "02121234567", "902121234567", "fixed"),
    ("turkey", "2345678", "902122345678", "fixed"),
    ("turkey", "4441444", "904441444", "fixed"),
    ("turkey", "08001234567", "908001234567", "toll_free"),
    ("turkey", "09001234567", "909001234567", "premium"),
    ("turkey", "118", "118", "public_service"),
    ("turkey", "11880", "11880", "premium"),
    ("turkey", "0033612345678", "33612345678", "intl_mobile"),
    ("nanp", "911", "911", "emergency"),
    ("nanp", "988", "988", "emergency"),
    ("nanp", "411", "411", "premium"),
    ("nanp", "311", "311", "public_service"),
    ("nanp", "5551234", "12125551234", "fixed"),
    ("nanp", "2125551234", "12125551234", "fixed"),
    ("nanp", "12125551234", "12125551234", "fixed"),
    ("nanp", "+12125551234", "12125551234", "fixed"),
    ("nanp", "18005551234", "18005551234", "toll_free"),
    ("nanp", "+18885551234", "18885551234", "toll_free"),
    ("nanp", "9005551234", "19005551234", "premium"),
    ("nanp", "18765551234", "18765551234", "mobile"),
    ("nanp", "01133612345678", "33612345678", "intl_mobile"),
    ("nanp", "101022212125551234", "12125551234", "fixed"),
]

REFUSED = [
    ("e164", "099", Reason.UNKNOWN_NUMBER),
    ("e164", "+999123456", Reason.UNKNOWN_NUMBER),
    ("e164", "+33", Reason.UNKNOWN_NUMBER),
    ("e164", "+336123456789012", Reason.UNKNOWN_NUMBER),
    ("e164", "+1190", Reason.UNKNOWN_NUMBER),
    ("e164", "12", Reason.UNKNOWN_NUMBER),
    ("e164", "*60", Reason.UNKNOWN_NUMBER),
    ("e164", "33*612345678", Reason.UNKNOWN_NUMBER),
    ("e164", "+*", Reason.MALFORMED_NUMBER),
    ("france", "061234567", Reason.UNKNOWN_NUMBER),
    ("france", "06123456789", Reason.UNKNOWN_NUMBER),
    ("france", "0033", Reason.UNKNOWN_NUMBER),
    ("france", "2", Reason.UNKNOWN_NUMBER),
    ("turkey", "0123456789", Reason.UNKNOWN_NUMBER),
    ("turkey", "0090212", Reason.UNKNOWN_NUMBER),
    ("nanp", "2115551234", Reason.UNKNOWN_NUMBER),
    ("nanp", "+11234567890", Reason.UNKNOWN_NUMBER),
    ("nanp", "2129111234", Reason.UNKNOWN_NUMBER),
    ("nanp", "011", Reason.UNKNOWN_NUMBER),
    ("nanp", "0", Reason.UNKNOWN_NUMBER),
]


@pytest.mark.parametrize(("preset", "dialled", "number", "destination_class"), READ)
def test_number_is_read_as(preset: str, dialled: str, number: str, destination_class: str) -> None:
    outcome = read(preset, dialled)
    assert isinstance(outcome, Normalised), outcome
    assert (outcome.number, outcome.destination_class) == (number, destination_class)
    assert outcome.emergency == (destination_class == "emergency")


@pytest.mark.parametrize(("preset", "dialled", "reason"), REFUSED)
def test_number_is_refused_with_a_reason(preset: str, dialled: str, reason: Reason) -> None:
    outcome = read(preset, dialled)
    assert isinstance(outcome, NumberRefused), outcome
    assert (outcome.reason, bool(outcome.detail)) == (reason, True)


@pytest.mark.parametrize(
    "dialled",
    [
        "",
        " 112",
        "112 ",
        "0612345678&PJSIP/1",
        "0612,3",
        "06/1",
        "a",
        "++1",
        "1+1",
        "0612345678\n",
        "\x00",
        "１１２",
        "1" * 33,
    ],
)
@pytest.mark.parametrize("preset", PRESETS)
def test_other_characters_and_lengths_never_pass(preset: str, dialled: str) -> None:
    outcome = read(preset, dialled)
    assert isinstance(outcome, NumberRefused)
    assert outcome.reason is Reason.MALFORMED_NUMBER


@pytest.mark.parametrize("preset", PRESETS)
def test_configured_emergency_number_passes_before_everything(preset: str) -> None:
    rules = (OwnRule("bar", "X.", OwnAction.DENY),)
    plan = dial_plan(DialPlanSettings("test", preset, emergency=("1234",), rules=rules))
    outcome, barred = plan.read("1234", area="", at_ms=AT_MS), plan.read("1235", area="", at_ms=AT_MS)
    assert isinstance(outcome, Normalised)
    assert (outcome.number, outcome.emergency, outcome.destination_class) == ("1234", True, "emergency")
    assert isinstance(barred, NumberRefused)
    assert barred.reason is Reason.BLOCKED_DESTINATION


def test_own_rules_run_in_order_and_are_named() -> None:
    rules = (
        OwnRule("outside_line", "9.", strip=1),
        OwnRule("paris", "NXXXXXXX", prepend="01"),
        OwnRule("helpdesk", "60[0-5]", OwnAction.SERVICE, destination_class="short_code"),
    )
    plan = dial_plan(DialPlanSettings("test", "france", rules=rules))
    paris, desk = plan.read("942345678", area="", at_ms=AT_MS), plan.read("603", area="", at_ms=AT_MS)
    assert isinstance(paris, Normalised)
    assert paris.number == "33142345678"
    assert [step.split(":")[0] for step in paris.steps] == ["own.outside_line", "own.paris", "france.trunk"]
    assert isinstance(desk, Normalised)
    assert (desk.number, desk.destination_class, desk.short) == ("603", "short_code", True)
    assert isinstance(plan.read("606", area="", at_ms=AT_MS), NumberRefused)


def test_own_rule_that_leaves_nothing_is_refused() -> None:
    plan = dial_plan(DialPlanSettings("test", "e164", rules=(OwnRule("cut", "5.", strip=9),)))
    outcome = plan.read("555", area="", at_ms=AT_MS)
    assert isinstance(outcome, NumberRefused)
    assert outcome.reason is Reason.MALFORMED_NUMBER


def test_own_rule_may_not_lengthen_a_number_beyond_the_limit() -> None:
    plan = dial_plan(DialPlanSettings("test", "e164", rules=(OwnRule("long", "X.", prepend="9" * 31),)))
    outcome = plan.read("33612345678", area="", at_ms=AT_MS)
    assert isinstance(outcome, NumberRefused)


@pytest.mark.parametrize(
    ("pattern", "regex"),
    [
        ("9.", "9[0-9*#]+"),
        ("0NXXXXXX", "0[2-9]" + "[0-9]" * 6),
        ("z!", "[1-9][0-9*#]*"),
        ("[13-5]X", "[13-5][0-9]"),
        ("+44X.", r"\+44[0-9][0-9*#]+"),
        ("*60#", r"\*60\#"),
    ],
)
def test_patterns_are_those_of_a_dialplan(pattern: str, regex: str) -> None:
    assert asterisk_pattern(pattern) == regex


@pytest.mark.parametrize("pattern", ["", "9.9", "[", "[]", "[5-2]", "a", "9 .", "(1+)+", "_9.", "[1", "1]", "[a]"])
def test_wrong_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(InputError):
        asterisk_pattern(pattern)


def test_unknown_preset_is_refused() -> None:
    with pytest.raises(InputError, match="unknown preset"):
        dial_plan(DialPlanSettings("test", "atlantis"))


def test_reading_again_gives_the_same() -> None:
    for preset, dialled, *_ in READ:
        assert read(preset, dialled) == read(preset, dialled)


_DIALLED = st.one_of(
    st.text(st.sampled_from("0123456789"), max_size=36),
    st.text(st.sampled_from("+0123456789*#"), max_size=36),
    st.text(max_size=40),
    st.builds(
        str.__add__,
        st.sampled_from(
            ["", "+", "00", "0", "90", "0021", "+55", "55", "0800", "011", "1010222", "+33", "+1", "4444"]
        ),
        st.text(st.sampled_from("0123456789"), max_size=16),
    ),
)
_AREA = {"brazil": ["", "11", "21", "55", "99"], "turkey": ["", "212"], "nanp": ["", "212"]}


@given(st.sampled_from(PRESETS), _DIALLED, st.data())
def test_whatever_is_dialled_gives_a_clean_number_or_a_reason(
    preset: str, dialled: str, data: st.DataObject
) -> None:
    area = data.draw(st.sampled_from(_AREA.get(preset, [""])))
    at_ms = data.draw(st.integers(0, 4_000_000_000_000))
    outcome = PLANS[preset].read(dialled, area=area, at_ms=at_ms)
    if isinstance(outcome, NumberRefused):
        assert not outcome.reason.allows
        assert outcome.detail
        assert re.fullmatch(r"\+?[0-9*#]{0,40}", outcome.number)
        return
    assert re.fullmatch(r"[0-9*#]{1,32}" if outcome.short else r"[1-9][0-9]{3,14}", outcome.number)
    assert re.fullmatch(r"\+?[0-9*#]+", dialled)
    assert len(dialled) <= MAX_DIALLED + 1
    assert outcome.emergency == (outcome.destination_class == "emergency")
    assert outcome.class_is_final <= bool(outcome.destination_class)


@given(_DIALLED, st.text(st.sampled_from("XZN0123456789*#.[]-!+"), max_size=8), st.integers(0, 32), st.booleans())
def test_any_own_rule_is_refused_or_keeps_numbers_clean(dialled: str, match: str, strip: int, csp: bool) -> None:
    rule = OwnRule("own", match, strip=strip, prepend="0")
    try:
        plan = dial_plan(DialPlanSettings("t", "brazil", "11", rules=(rule,), brazil=BrazilOptions(csp=csp)))
    except InputError:
        return
    outcome = plan.read(dialled, area="", at_ms=AT_MS)
    assert re.fullmatch(r"\+?[0-9*#]{0,40}", outcome.number)


@given(st.sampled_from(PRESETS), st.text(max_size=5))
def test_area_codes_are_digits(preset: str, area: str) -> None:
    if re.fullmatch(area_pattern(preset), area):
        assert area == "" or (area.isascii() and area.isdigit())


CODES = sorted({str(code) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE})


@given(code=st.sampled_from(CODES), national=st.text("0123456789", min_size=3, max_size=13))
def test_what_is_not_handed_to_the_library_reads_as_by_it(code: str, national: str) -> None:
    if normalise_countries._country(code).is_plain(code + national):
        parsed = phonenumbers.parse(f"+{code}{national}")
        assert parsed == phonenumbers.PhoneNumber(country_code=int(code), national_number=int(national))
        assert phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) == f"+{code}{national}"


@given(code=st.sampled_from(CODES), data=st.data())
def test_ranges_are_the_librarys(code: str, data: st.DataObject) -> None:
    """Any digits, and numbers like those that the country's own tables give as examples."""
    names = phonenumbers.COUNTRY_CODE_TO_REGION_CODE[int(code)]
    kinds = phonenumbers.PhoneNumberType.values()
    found = [phonenumbers.example_number_for_type(name, kind) for name in names for kind in kinds]
    examples = [str(example.national_number) for example in found if example is not None]
    changed = st.integers(0, 7).flatmap(
        lambda kept: st.sampled_from(examples or ["12345678"]).map(lambda text: text[:kept])
    )
    digits = st.text("0123456789", max_size=12)
    any_of = st.one_of(digits, st.sampled_from(examples or [""]), st.builds(str.__add__, changed, digits))
    national = data.draw(any_of)
    mine = place_of(code + national)
    assert mine == normalise_countries._read_by_library(code + national, code)
