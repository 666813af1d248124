"""Allowances as an account has them at a moment: for its class, since when, with what rolls over."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from rater.catalog.pieces import from_pieces, to_pieces
from rater.catalog.snapshot import Snapshot
from rater.charging.terms import AllowanceTerm, Consumption, SpendCap, SpendWindow, Threshold, ThresholdKind, Tier
from rater.errors import CatalogError
from rater.ids import AccountId

from .support import ACCOUNTS, PLANS, catalog

PARIS = ZoneInfo("Europe/Paris")


def ms(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=PARIS).timestamp() * 1000)


def with_allowance(tmp_path: Path, more: str, account: str = "", plan: str = "") -> Snapshot:
    """The small catalogue, its allowance with other keys."""
    plans = PLANS.replace("day = 15\n", f"day = 15\n{more}\n").replace("[plan.basic]\n", f"[plan.basic]\n{plan}\n")
    accounts = ACCOUNTS.replace('[account.cid]\nplan = "basic"', f'[account.cid]\nplan = "basic"\n{account}')
    return catalog(tmp_path, plans=plans, accounts=accounts)


def term(snapshot: Snapshot, at: str, klass: str = "mobile", account: str = "cid") -> AllowanceTerm:
    [found] = snapshot.terms(AccountId(account), klass, ms(at)).allowances
    return found


def test_the_next_cycle_is_known_before_it_begins(tmp_path: Path) -> None:
    found = term(catalog(tmp_path), "2026-11-24T12:00")
    assert (found.valid_until_ms, found.next_until_ms) == (ms("2026-12-15"), ms("2027-01-15"))


def test_an_allowance_may_be_of_all_classes(tmp_path: Path) -> None:
    plans = PLANS.replace('classes = ["fixed", "mobile"]\n', 'classes = ["all"]\npriority = -3\n')
    snapshot = catalog(tmp_path, plans=plans)
    found = term(snapshot, "2026-11-24", "intl_fixed")
    assert (found.tier, found.priority) == (Tier.GENERIC, -3)
    for klass in ("emergency", "inbound"):
        assert snapshot.terms(AccountId("cid"), klass, ms("2026-11-24")).allowances == ()


def test_of_no_class_there_are_all(tmp_path: Path) -> None:
    assert term(catalog(tmp_path), "2026-11-24", "").grant == "basic/minutes"


def test_linked_classes_come_after_their_own(tmp_path: Path) -> None:
    snapshot = with_allowance(tmp_path, 'also = ["intl_fixed"]')
    assert term(snapshot, "2026-11-24", "intl_fixed").tier is Tier.LINKED
    assert term(snapshot, "2026-11-24", "fixed").tier is Tier.OWN


def test_rollover_knows_the_cycles_before_and_how_long_their_rest_lasts(tmp_path: Path) -> None:
    snapshot = with_allowance(tmp_path, "rollover = { max_minutes = 30, min_seconds = 10, cycles = 2 }")
    found = term(snapshot, "2026-11-24").rollover
    assert found is not None
    assert (found.max_s, found.min_s) == (1800, 10)
    assert [(p.valid_from_ms, p.seconds, p.ended_at_ms, p.rolled_until_ms) for p in found.past] == [
        (ms("2026-09-15"), 3600, ms("2026-10-15"), ms("2026-12-15")),
        (ms("2026-10-15"), 3600, ms("2026-11-15"), ms("2027-01-15")),
    ]


def test_an_account_has_allowances_from_its_beginning_on(tmp_path: Path) -> None:
    snapshot = with_allowance(tmp_path, "", 'since = "2026-11-20"')
    assert snapshot.terms(AccountId("cid"), "mobile", ms("2026-11-19T23:59:59")).allowances == ()
    found = term(snapshot, "2026-11-20")
    assert (found.valid_from_ms, found.valid_until_ms, found.seconds) == (ms("2026-11-20"), ms("2026-12-15"), 3600)
    assert term(snapshot, "2026-12-15").valid_from_ms == ms("2026-12-15")
    assert snapshot.terms(AccountId("ann"), "mobile", ms("2026-11-01")).allowances, "others are not touched"


def test_a_cycle_begun_late_is_prorated_when_asked(tmp_path: Path) -> None:
    snapshot = with_allowance(
        tmp_path, "prorate = true\nrollover = { max_minutes = 90, cycles = 3 }", 'since = "2026-11-27T12:00"'
    )
    # 17.5 of 30 days.
    assert term(snapshot, "2026-11-28").seconds == 2100
    later = term(snapshot, "2026-12-20")
    assert (later.seconds, later.valid_from_ms) == (3600, ms("2026-12-15"))
    assert later.rollover is not None
    assert [(p.valid_from_ms, p.seconds) for p in later.rollover.past] == [(ms("2026-11-27T12:00"), 2100)]


def test_a_plan_chooses_the_order_of_each_resource(tmp_path: Path) -> None:
    snapshot = with_allowance(tmp_path, "", plan='consumption = { money = "oldest" }')
    found = snapshot.terms(AccountId("cid"), "mobile", ms("2026-11-24"))
    assert (found.seconds_order, found.money_order) == (Consumption.EARLIEST_EXPIRY, Consumption.OLDEST)


def watching(tmp_path: Path, thresholds: str, account: str = "") -> Snapshot:
    plans = PLANS.replace('{ money_below = ["5.00"], allowance_percent = [80] }', thresholds)
    accounts = ACCOUNTS.replace('[account.ann]\nplan = "basic"', f'[account.ann]\nplan = "basic"\n{account}')
    return catalog(tmp_path, plans=plans, accounts=accounts)


def test_thresholds_watch_a_balance_both_ways_and_what_is_spent(tmp_path: Path) -> None:
    snapshot = watching(
        tmp_path, '{ money_below = ["5.00", "1"], money_above = ["100"], spend_hour = ["2"], spend_day = ["10"], '
        'spend_cycle = ["50"], cycle = "weekly", day = "wed" }',
    )  # fmt: skip
    found = snapshot.terms(AccountId("ann"), "intl_fixed", ms("2026-11-24T12:30"))
    assert [(t.id, t.value, t.once_from_ms) for t in found.thresholds] == [
        ("money_below:1000000", 1_000_000, 0), ("money_below:5000000", 5_000_000, 0),
        ("money_above:100000000", 100_000_000, 0), ("spend_hour:2000000", 2_000_000, 0),
        ("spend_day:10000000", 10_000_000, 0), ("spend_cycle:50000000", 50_000_000, 0),
    ]  # fmt: skip
    assert found.spend == (
        SpendCap(SpendWindow.HOUR, None, ms("2026-11-24T12:00")),
        SpendCap(SpendWindow.DAY, None, ms("2026-11-24")),
        SpendCap(SpendWindow.CYCLE, None, ms("2026-11-18")),
    )
    later = snapshot.terms(AccountId("ann"), "intl_fixed", ms("2026-11-25"))
    assert later.spend[2].from_ms == ms("2026-11-25")


def test_a_cap_and_a_threshold_in_one_window_are_one(tmp_path: Path) -> None:
    snapshot = watching(
        tmp_path, '{ spend_day = ["10"] }', 'spend = { hour = "3", day = "20", enforce = "shadow" }'
    )
    found = snapshot.terms(AccountId("ann"), "fixed", ms("2026-11-24T12:30"))
    assert found.spend == (
        SpendCap(SpendWindow.HOUR, 3_000_000, ms("2026-11-24T12:00"), True),
        SpendCap(SpendWindow.DAY, 20_000_000, ms("2026-11-24"), True),
    )
    assert snapshot.terms(AccountId("bob"), "fixed", ms("2026-11-24T12:30")).spend == (
        SpendCap(SpendWindow.DAY, None, ms("2026-11-24")),
    )


def test_a_balance_may_be_told_once_in_a_cycle(tmp_path: Path) -> None:
    snapshot = watching(tmp_path, '{ money_below = ["5"], recurring = false, day = 20, spend_day = ["1"] }')

    def told(at: str) -> tuple[Threshold, ...]:
        return snapshot.terms(AccountId("ann"), "intl_fixed", ms(at)).thresholds

    first = (
        Threshold("money_below:5000000", ThresholdKind.MONEY_BELOW, 5_000_000, once_from_ms=ms("2026-11-20")),
        Threshold("spend_day:1000000", ThresholdKind.SPEND_DAY, 1_000_000),
    )
    assert told("2026-12-19T23:59") == first
    assert told("2026-12-20")[0].once_from_ms == ms("2026-12-20")
    assert told("2026-11-24") == first


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [
        ('{ money_above = ["-1"] }', "is negative"),
        ("{ money_above = [5.5] }", "floating-point"),
        ('{ spend_day = ["0.00"] }', "nothing spent crosses nothing"),
        ('{ spend_month = ["1"] }', "unknown key 'spend_month'"),
        ('{ spend_cycle = ["1"], cycle = "hourly" }', '"hourly" cannot stand here'),
        ('{ spend_day = ["1"], cycle = "weekly" }', "nothing here is counted or told by the cycle"),
        ("{ allowance_percent = [80], recurring = false }", "only those recur"),
    ],
)
def test_wrong_thresholds_are_named_with_their_place(tmp_path: Path, thresholds: str, said: str) -> None:
    with pytest.raises(CatalogError, match=said) as refused:
        watching(tmp_path, thresholds)
    assert all(problem.line and problem.column for problem in refused.value.problems)


def told(snapshot: Snapshot, account: str, at: str = "2026-11-24") -> list[tuple[str, int]]:
    return [(t.id, t.once_from_ms) for t in snapshot.terms(AccountId(account), "fixed", ms(at)).thresholds]


def test_an_account_adds_thresholds_to_its_plans(tmp_path: Path) -> None:
    """Where both tell of the same the account's counts, so that nothing is told twice."""
    snapshot = watching(
        tmp_path, '{ money_below = ["5"], spend_cycle = ["50"], cycle = "weekly", day = "wed" }',
        'thresholds = { money_below = ["2", "5"], money_above = ["9"], spend_cycle = ["7"], spend_hour = ["1"], '
        "allowance_percent = [50], recurring = false }",
    )  # fmt: skip
    wednesday = ms("2026-11-18")
    assert told(snapshot, "ann") == [
        ("money_below:2000000", wednesday), ("money_below:5000000", wednesday), ("money_above:9000000", wednesday),
        ("spend_hour:1000000", 0), ("spend_cycle:7000000", 0), ("basic/minutes:50", 0), ("spend_cycle:50000000", 0),
    ]  # fmt: skip
    assert snapshot.terms(AccountId("ann"), "fixed", ms("2026-11-24T12:30")).spend == (
        SpendCap(SpendWindow.HOUR, None, ms("2026-11-24T12:00")), SpendCap(SpendWindow.CYCLE, None, wednesday),
    )  # fmt: skip
    assert told(snapshot, "ann", "2026-11-25")[0] == ("money_below:2000000", ms("2026-11-25"))
    assert told(snapshot, "bob") == [("money_below:5000000", 0), ("spend_cycle:50000000", 0)]


def test_an_account_may_have_thresholds_instead_of_its_plans(tmp_path: Path) -> None:
    snapshot = watching(
        tmp_path, '{ money_below = ["5"], spend_cycle = ["50"], cycle = "weekly" }',
        'thresholds = { of_plan = false, spend_cycle = ["7"], day = 20 }',
    )  # fmt: skip
    assert told(snapshot, "ann") == [("spend_cycle:7000000", 0)]
    assert snapshot.terms(AccountId("ann"), "fixed", ms("2026-11-24")).spend == (
        SpendCap(SpendWindow.CYCLE, None, ms("2026-11-20")),
    )
    assert snapshot.terms(AccountId("bob"), "fixed", ms("2026-11-24")).spend == (
        SpendCap(SpendWindow.CYCLE, None, ms("2026-11-23")),
    )
    assert told(watching(tmp_path, '{ money_below = ["5"] }', "thresholds = { of_plan = false }"), "ann") == []


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [
        ("{}", "add nothing to the plan's"),
        ('{ money_below = ["-1"] }', "is negative"),
        ('{ money_under = ["1"] }', "unknown key 'money_under'"),
        ('{ spend_cycle = ["1"], cycle = "weekly" }', "the cycle is the plan's as long as its thresholds are told"),
        ('{ of_plan = "no", money_below = ["1"] }', '"no" cannot stand here'),
        ("{ of_plan = false, allowance_percent = [101] }", "101 cannot stand here"),
    ],
)
def test_wrong_thresholds_of_an_account_are_named_with_their_place(
    tmp_path: Path, thresholds: str, said: str
) -> None:
    with pytest.raises(CatalogError, match=said) as refused:
        watching(tmp_path, '{ money_below = ["5"] }', f"thresholds = {thresholds}")
    assert {problem.file for problem in refused.value.problems} == {"accounts.toml"}
    assert all(problem.line and problem.column for problem in refused.value.problems)


def test_percents_of_no_allowance_are_refused(tmp_path: Path) -> None:
    accounts = ACCOUNTS.replace('plan = "sp"', 'plan = "sp"\nthresholds = { allowance_percent = [80] }')
    with pytest.raises(CatalogError, match="the plan 'sp' has no allowances"):
        catalog(tmp_path, accounts=accounts)


def test_what_travels_through_redis_is_the_same(tmp_path: Path) -> None:
    snapshot = with_allowance(
        tmp_path, "prorate = true\npriority = 2\nrollover = { max_minutes = 90 }", 'since = "2026-11-20"',
        'consumption = { seconds = "newest" }',
    )  # fmt: skip
    again = from_pieces(to_pieces(snapshot))
    at_ms = ms("2026-11-24")
    own = watching(tmp_path, '{ money_below = ["5"] }', 'thresholds = { money_above = ["9"], recurring = false }')
    assert told(from_pieces(to_pieces(own)), "ann") == told(own, "ann")
    assert again.terms(AccountId("cid"), "mobile", at_ms) == snapshot.terms(AccountId("cid"), "mobile", at_ms)


@pytest.mark.parametrize(
    ("more", "account", "plan", "said"),
    [
        ('also = ["all"]', "", "", '"all" cannot stand here'),
        ("priority = 1001", "", "", "1001 cannot stand here"),
        ("rollover = { cycles = 1 }", "", "", "it must be given once"),
        ("rollover = { max_minutes = 1, max_seconds = 60 }", "", "", "it must be given once"),
        ("rollover = { max_minutes = 1, min_minutes = 2 }", "", "", "more rolls over at least"),
        ("rollover = { max_minutes = 1, cycles = 13 }", "", "", "13 cannot stand here"),
        ("rollover = { max_minutes = 1, month = 13 }", "", "", "unknown key 'month'"),
        ('prorate = "yes"', "", "", '"yes" cannot stand here'),
        ("", 'since = "soon"', "", '"soon" cannot stand here'),
        ("", "", 'consumption = { money = "any" }', '"any" cannot stand here'),
        ("", "", 'consumption = { minutes = "oldest" }', "unknown key 'minutes'"),
    ],
)
def test_faults_are_named_with_their_place(tmp_path: Path, more: str, account: str, plan: str, said: str) -> None:
    plans = PLANS.replace("day = 15\n", f"day = 15\n{more}\n").replace("[plan.basic]\n", f"[plan.basic]\n{plan}\n")
    accounts = ACCOUNTS.replace('[account.cid]\nplan = "basic"', f'[account.cid]\nplan = "basic"\n{account}')
    with pytest.raises(CatalogError, match=said) as refused:
        catalog(tmp_path, plans=plans, accounts=accounts)
    assert all(problem.line and problem.column for problem in refused.value.problems)
