"""Versions of a plan: tomorrow's prices, bands and allowances loaded today."""

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from rater.catalog.model import Rated
from rater.catalog.pieces import from_pieces, to_pieces
from rater.catalog.snapshot import Snapshot
from rater.ids import AccountId, PlanId
from rater.money import cumulative_micro

from .support import FILES, PLANS, catalog, problems, run_json, write

NEW_YEAR = """
[[plan.basic.version]]
valid_from = "2027-01-01"
deck = "decks/2027.csv"
decimals = 4

[[plan.basic.version.allowance]]
id = "minutes"
classes = ["fixed"]
minutes = 30

[[plan.basic.version]]
valid_from = "2027-07-01T12:00"
blocked_classes = ["mobile"]

[plan.sp]
"""
VERSIONED = PLANS.replace("\n[plan.sp]\n", NEW_YEAR)
DECK_2027 = "prefix,destination,class,price\n33,France,fixed,0.03\n336,France mobile,mobile,0.2\n"


def ms(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Paris")).timestamp() * 1000)


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    write(tmp_path, {"decks/2027.csv": DECK_2027})
    return from_pieces(to_pieces(catalog(tmp_path, plans=VERSIONED)))


def amount(snapshot: Snapshot, number: str, at: str, seconds: int = 60) -> int | None:
    answer = snapshot.rate(PlanId("basic"), number, area="", at_ms=ms(at))
    return cumulative_micro(answer.quote, seconds) if isinstance(answer, Rated) else None


def test_a_version_prices_from_its_moment_on(snapshot: Snapshot) -> None:
    assert amount(snapshot, "+33142345678", "2026-12-31T23:59:59") == 20_000
    assert amount(snapshot, "+33142345678", "2027-01-01T00:00:00") == 30_000
    assert amount(snapshot, "+33142345678", "2027-01-01T00:00:00", 7) == 3_500  # four decimals from then on
    assert amount(snapshot, "+33142345678", "2026-12-31T23:59:59", 7) == 0  # two before: 0.0023…


def test_what_a_version_does_not_say_is_as_in_the_one_before(snapshot: Snapshot) -> None:
    assert amount(snapshot, "+33612345678", "2027-07-01T11:59:59") == 200_000
    assert amount(snapshot, "+33612345678", "2027-07-01T12:00:00") is None
    assert amount(snapshot, "+33142345678", "2028-01-01T00:00:00", 7) == 3_500


def test_a_call_keeps_the_version_that_it_began_with(snapshot: Snapshot) -> None:
    assert amount(snapshot, "+33142345678", "2026-12-31T23:59:00", 3600) == 1_200_000


def test_allowances_have_versions_too(snapshot: Snapshot) -> None:
    def seconds(klass: str, at: str) -> list[int]:
        return [a.seconds for a in snapshot.terms(AccountId("ann"), klass, ms(at)).allowances]

    assert seconds("fixed", "2026-12-31T12:00") == [3600]
    assert seconds("fixed", "2027-01-01T12:00") == [1800]
    assert seconds("mobile", "2027-01-01T12:00") == []


def test_rater_price_names_the_version(tmp_path: Path) -> None:
    folder = str(write(tmp_path, FILES | {"plans.toml": VERSIONED, "decks/2027.csv": DECK_2027}))
    words = ("price", "--catalog", folder, "--plan", "basic", "--to", "+33142345678", "--seconds", "60")
    _, before = run_json(*words, "--at", "2026-12-31T23:59")
    _, after = run_json(*words, "--at", "2027-01-01T00:00")
    assert (before["amount"], before["plan_valid_from"]) == ("0.02", None)
    assert (after["amount"], after["plan_valid_from"]) == ("0.03", "2027-01-01T00:00:00+01:00")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('valid_from = "2027-07-01T12:00"', 'valid_from = "2026-07-01"', "not after that of the version before"),
        ('valid_from = "2027-01-01"', 'valid_from = "soon"', '"soon" cannot stand here'),
        ('valid_from = "2027-01-01"\n', "", "'valid_from' is missing"),
        ("decimals = 4", 'zone = "UTC"', "unknown key 'zone'"),
        ('deck = "decks/2027.csv"', 'deck = "decks/2028.csv"', "is missing"),
    ],
)
def test_faults_of_versions_are_found(tmp_path: Path, old: str, new: str, named: str) -> None:
    plans = VERSIONED.replace(old, new)
    assert plans != VERSIONED
    found = problems(tmp_path, FILES | {"plans.toml": plans, "decks/2027.csv": DECK_2027})
    assert any(named in problem.message for problem in found), found
