"""Brazil's dial plan: the parse order, every series, local and long distance, and the dates."""

import datetime as dt

import pytest

from rater.rating.normalise import OwnRule
from rater.rating.normalise_brazil import AREAS, LOCAL_AREA_FROM_MS, SCM_FROM_MS, BrazilOptions
from rater.rating.normalise_presets import DialPlanSettings, dial_plan
from rater.rating.reading import Normalised, NumberRefused
from rater.verdict import Reason

BRASILIA = dt.timezone(dt.timedelta(hours=-3))


def ms(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=BRASILIA).timestamp() * 1000)


AFTER = ms("2026-12-01T12:00")
IN_2027 = ms("2027-03-01T00:00")


def read(dialled: str, *, area: str = "11", at_ms: int = AFTER, **options: object) -> Normalised | NumberRefused:
    plan = dial_plan(DialPlanSettings("test", "brazil", brazil=BrazilOptions(**options)))  # type: ignore[arg-type]
    return plan.read(dialled, area=area, at_ms=at_ms)


# as dialled from area 11 → number, class
READ = [
    # 1 public services
    ("190", "190", "emergency"),
    ("192", "192", "emergency"),
    ("193", "193", "emergency"),
    ("199", "199", "emergency"),
    ("112", "112", "emergency"),
    ("911", "911", "emergency"),
    ("156", "156", "public_service"),
    ("100", "100", "public_service"),
    ("188", "188", "public_service"),
    # 3 non-geographic
    ("08001234567", "558001234567", "toll_free"),
    ("0800123456", "55800123456", "toll_free"),
    ("03001234567", "553001234567", "shared_cost"),
    ("03031234567", "553031234567", "shared_cost"),
    ("05001234567", "555001234567", "premium"),
    ("09001234567", "559001234567", "premium"),
    ("+558001234567", "558001234567", "toll_free"),
    ("558001234567", "558001234567", "toll_free"),
    # 4 international, with a carrier code
    ("0021442079460000", "442079460000", "intl_fixed"),
    ("0015447911123456", "447911123456", "intl_mobile"),
    ("002112125551234", "12125551234", "intl_fixed"),
    ("+351912345678", "351912345678", "intl_mobile"),
    ("+541143211234", "541143211234", "intl_fixed"),
    ("00215511998765432", "5511998765432", "mobile_local"),
    # 5 long distance with and without a carrier code: 13, 14, 11, 12 digits
    ("0213133334444", "553133334444", "fixed_ld"),
    ("02131987654321", "5531987654321", "mobile_ld"),
    ("03133334444", "553133334444", "fixed_ld"),
    ("031987654321", "5531987654321", "mobile_ld"),
    ("0211133334444", "551133334444", "fixed_local"),
    ("011987654321", "5511987654321", "mobile_local"),
    # 6 +55, 55, bare
    ("+5511998765432", "5511998765432", "mobile_local"),
    ("5511998765432", "5511998765432", "mobile_local"),
    ("551133334444", "551133334444", "fixed_local"),
    ("11998765432", "5511998765432", "mobile_local"),
    ("1133334444", "551133334444", "fixed_local"),
    ("2133334444", "552133334444", "fixed_ld"),
    ("21998765432", "5521998765432", "mobile_ld"),
    ("33334444", "551133334444", "fixed_local"),
    ("998765432", "5511998765432", "mobile_local"),
    # area 55 is also the country code: the length tells
    ("5533334444", "555533334444", "fixed_ld"),
    ("55998765432", "5555998765432", "mobile_ld"),
    ("5530123456", "555530123456", "fixed_ld"),
    ("55901234567", "5555901234567", "mobile_ld"),
    ("555533334444", "555533334444", "fixed_ld"),
    # 7 subscriber part
    ("22334455", "551122334455", "fixed_local"),
    ("52334455", "551152334455", "fixed_local"),
    ("77334455", "551177334455", "mobile_local"),
    ("87334455", "5511987334455", "mobile_local"),
    ("67334455", "5511967334455", "mobile_local"),
    ("97334455", "5511997334455", "mobile_local"),
    ("2187334455", "5521987334455", "mobile_ld"),
    # 8 numbers valid in the whole country
    ("40041234", "5540041234", "fixed_local"),
    ("30031234", "5530031234", "fixed_local"),
    ("+5540041234", "5540041234", "fixed_local"),
    ("2140041234", "5540041234", "fixed_local"),
]

REFUSED = [
    ("9011987654321", Reason.COLLECT_CALL),
    ("90902133334444", Reason.COLLECT_CALL),
    ("9090998765432", Reason.COLLECT_CALL),
    ("901234567", Reason.COLLECT_CALL),
    ("", Reason.MALFORMED_NUMBER),
    ("+", Reason.MALFORMED_NUMBER),
    ("11 99876-5432", Reason.MALFORMED_NUMBER),
    ("11998765432\n", Reason.MALFORMED_NUMBER),
    ("١١٩٩٨٧٦٥٤٣٢", Reason.MALFORMED_NUMBER),  # digits of another script
    ("1" * 33, Reason.MALFORMED_NUMBER),
    ("0800123", Reason.MALFORMED_NUMBER),
    ("080012345678", Reason.MALFORMED_NUMBER),
    ("08041234567", Reason.UNKNOWN_NUMBER),
    ("00", Reason.MALFORMED_NUMBER),
    ("0021", Reason.MALFORMED_NUMBER),
    ("0021999123456", Reason.UNKNOWN_NUMBER),
    ("00214420", Reason.UNKNOWN_NUMBER),
    ("0112", Reason.MALFORMED_NUMBER),
    ("011998765432100", Reason.MALFORMED_NUMBER),
    ("2033334444", Reason.UNKNOWN_NUMBER),
    ("02320987654321", Reason.UNKNOWN_NUMBER),
    ("1113334444", Reason.UNKNOWN_NUMBER),
    ("11898765432", Reason.UNKNOWN_NUMBER),
    ("11698765432", Reason.UNKNOWN_NUMBER),
    ("1234567", Reason.UNKNOWN_NUMBER),
    ("12", Reason.UNKNOWN_NUMBER),
    ("*144#", Reason.UNKNOWN_NUMBER),
    ("+551133", Reason.MALFORMED_NUMBER),
]


@pytest.mark.parametrize(("dialled", "number", "destination_class"), READ)
def test_number_is_read_as(dialled: str, number: str, destination_class: str) -> None:
    outcome = read(dialled)
    assert isinstance(outcome, Normalised), outcome
    assert (outcome.number, outcome.destination_class) == (number, destination_class)
    assert outcome.steps, "every reading names its rules"
    assert outcome.emergency == (destination_class == "emergency")


@pytest.mark.parametrize(("dialled", "reason"), REFUSED)
def test_number_is_refused_with_a_reason(dialled: str, reason: Reason) -> None:
    outcome = read(dialled)
    assert isinstance(outcome, NumberRefused), outcome
    assert outcome.reason is reason
    assert outcome.detail


@pytest.mark.parametrize("code", range(190, 200))
def test_every_19x_is_an_emergency(code: int) -> None:
    outcome = read(str(code))
    assert isinstance(outcome, Normalised)
    assert outcome.emergency


@pytest.mark.parametrize("code", [c for c in range(100, 190) if c not in (112, 128, 185)])
def test_every_other_1xx_is_a_public_service(code: int) -> None:
    outcome = read(str(code))
    assert isinstance(outcome, Normalised)
    assert (outcome.destination_class, outcome.short, outcome.emergency) == ("public_service", True, False)


def test_there_are_67_area_codes_and_no_other_is_read() -> None:
    assert len(AREAS) == 67
    read_areas = {f"{area:02}" for area in range(100) if isinstance(read(f"+55{area:02}22334455"), Normalised)}
    assert read_areas == AREAS


def test_area_comes_from_the_line_then_from_the_plan() -> None:
    plan = dial_plan(DialPlanSettings("test", "brazil", area="21"))
    own, default = plan.read("33334444", area="31", at_ms=AFTER), plan.read("33334444", area="", at_ms=AFTER)
    assert isinstance(own, Normalised)
    assert isinstance(default, Normalised)
    assert (own.number, default.number) == ("553133334444", "552133334444")


@pytest.mark.parametrize("dialled", ["33334444", "1133334444", "+5511998765432"])
def test_without_any_area_nothing_national_is_read(dialled: str) -> None:
    outcome = read(dialled, area="")
    assert isinstance(outcome, NumberRefused)
    assert outcome.reason is Reason.MALFORMED_NUMBER
    assert "area code" in outcome.detail


def test_international_without_carrier_code_is_a_switch() -> None:
    with_code, without = read("0021442079460000"), read("00442079460000", csp=False)
    assert isinstance(with_code, Normalised)
    assert isinstance(without, Normalised)
    assert with_code.number == without.number == "442079460000"
    assert any("carrier code 21" in step for step in with_code.steps)
    assert any("without a carrier code" in step for step in without.steps)


@pytest.mark.parametrize(("to", "step"), [("21998765432", "VC3"), ("12998765432", "VC2"), ("11998765432", "VC1")])
def test_mobile_distance_is_named(to: str, step: str) -> None:
    outcome = read(to)
    assert isinstance(outcome, Normalised)
    assert any(step in text for text in outcome.steps)


def test_legacy_mobile_is_flagged() -> None:
    outcome = read("87334455")
    assert isinstance(outcome, Normalised)
    assert any("LEGACY" in step for step in outcome.steps)


def test_collect_is_a_setting() -> None:
    outcome = read("90902133334444", collect=True)
    assert isinstance(outcome, Normalised)
    assert outcome.destination_class == "collect"
    assert isinstance(read("9012", collect=True), NumberRefused)


@pytest.mark.parametrize(
    ("at_ms", "scm", "expected"),
    [
        (SCM_FROM_MS - 1, "fixed", None),
        (SCM_FROM_MS, "fixed", "fixed_local"),
        (SCM_FROM_MS, "mobile", "mobile_local"),
        (SCM_FROM_MS, "deny", None),
    ],
)
def test_series_6_begins_in_march_2027(at_ms: int, scm: str, expected: str | None) -> None:
    outcome = read("11612345678", at_ms=at_ms, scm=scm)
    if expected is None:
        assert isinstance(outcome, NumberRefused)
        assert outcome.reason is Reason.UNKNOWN_NUMBER
    else:
        assert isinstance(outcome, Normalised)
        assert outcome.destination_class == expected


def test_series_6_date_is_midnight_in_brasilia() -> None:
    assert SCM_FROM_MS == IN_2027


DATES = {
    "7": "2026-01-11", "9": "2026-02-01", "8": "2026-02-22", "5": "2026-03-15", "4": "2026-03-29",
    "3": "2026-04-19", "2": "2026-05-10", "6": "2026-05-31", "1": "2026-06-21",
}  # fmt: skip


@pytest.mark.parametrize("first", DATES)
def test_local_area_is_the_area_code_from_its_date(first: str) -> None:
    assert LOCAL_AREA_FROM_MS[first] == ms(DATES[first] + "T00:00")
    area = first + "1"
    for at_ms, dated in ((LOCAL_AREA_FROM_MS[first] - 1, True), (LOCAL_AREA_FROM_MS[first], False)):
        outcome = read("33334444", area=area, at_ms=at_ms)
        assert isinstance(outcome, Normalised)
        assert outcome.destination_class == "fixed_local"
        assert any("no municipality table" in step and DATES[first] in step for step in outcome.steps) is dated


class OneTown:
    """Every number beginning with 3 is in the line's town, with 4 outside, others unknown."""

    def is_local(self, area: str, called: str) -> bool | None:
        return {"3": True, "4": False}.get(called[2])


@pytest.mark.parametrize(
    ("dialled", "expected"),
    [("33334444", "fixed_local"), ("44334444", "fixed_ld"), ("55334444", "fixed_local")],
)
def test_municipality_table_decides_before_the_dates(dialled: str, expected: str) -> None:
    plan = dial_plan(DialPlanSettings("test", "brazil"), OneTown())
    before = plan.read(dialled, area="11", at_ms=LOCAL_AREA_FROM_MS["1"] - 1)
    after = plan.read(dialled, area="11", at_ms=LOCAL_AREA_FROM_MS["1"])
    assert isinstance(before, Normalised)
    assert isinstance(after, Normalised)
    assert (before.destination_class, after.destination_class) == (expected, "fixed_local")


def test_national_numbers_are_a_setting() -> None:
    other = read("40201234", national_numbers=("4020",), national_class="shared_cost")
    plain = read("40041234", national_numbers=("4020",))
    assert isinstance(other, Normalised)
    assert isinstance(plain, Normalised)
    assert (other.number, other.destination_class) == ("5540201234", "shared_cost")
    assert (plain.number, plain.destination_class) == ("551140041234", "fixed_local")


def test_unknown_foreign_range_is_refused_unless_allowed() -> None:
    refused, allowed = read("+351500000000"), read("+351500000000", unknown_ranges=True)
    assert isinstance(refused, NumberRefused)
    assert refused.reason is Reason.UNKNOWN_NUMBER
    assert isinstance(allowed, Normalised)
    assert allowed.destination_class == "intl_mobile"
    assert any("in no known range" in step for step in allowed.steps)


def test_class_of_national_numbers_is_final_and_of_foreign_ones_is_not() -> None:
    national, foreign = read("33334444"), read("+442079460000")
    assert isinstance(national, Normalised)
    assert isinstance(foreign, Normalised)
    assert (national.class_is_final, foreign.class_is_final) == (True, False)


def test_own_rule_before_the_preset_and_emergency_behind_an_outside_line() -> None:
    plan = dial_plan(DialPlanSettings("test", "brazil", rules=(OwnRule("outside", "0.", strip=1),)))
    for dialled, number, klass in (("0190", "190", "emergency"), ("033334444", "551133334444", "fixed_local")):
        outcome = plan.read(dialled, area="11", at_ms=AFTER)
        assert isinstance(outcome, Normalised)
        assert (outcome.number, outcome.destination_class) == (number, klass)
        assert any(step.startswith("own.outside:") for step in outcome.steps)
