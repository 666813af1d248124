"""Thresholds on a balance that rises, on what was spent, and those that are told once in a cycle; the spend caps of
a group's owner, which count in the same windows. Falling balances, allowances: test_posting.py, test_sharing.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rater.charging.model import PostKind, Status
from rater.charging.terms import (
    Share,
    SlicePolicy,
    SpendCap,
    SpendWindow,
    Terms,
    Threshold,
    ThresholdKind,
)
from rater.ids import AccountId, GrantId
from rater.verdict import Reason
from tests.catalog.support import ACCOUNTS, PLANS, catalog
from tests.contract.desk import CENT, DAY_MS, NOON_MS, PER_SECOND, Desk, allowance, money

HOUR_MS = 3_600_000
OWNER = AccountId("BOSS")
ABOVE_5 = Threshold("high", ThresholdKind.MONEY_ABOVE, 500 * CENT)
BELOW_1 = Threshold("low", ThresholdKind.MONEY_BELOW, 100 * CENT)
KINDS = {
    SpendWindow.HOUR: ThresholdKind.SPEND_HOUR,
    SpendWindow.DAY: ThresholdKind.SPEND_DAY,
    SpendWindow.CYCLE: ThresholdKind.SPEND_CYCLE,
}


def crossings(desk: Desk) -> list[tuple[str, int, int]]:
    return [(e["threshold"], e["before"] // CENT, e["after"] // CENT) for e in desk.entries("threshold")]


def talk(desk: Desk, leg: str, seconds: int, *, account: str = "ACME") -> None:
    if desk.reserve(leg, slices=SlicePolicy(seconds, 60, 2), account=account).granted_s < seconds:
        desk.extend_to_the_end(leg, account=account)
    desk.settle(leg, seconds, account=account)


def watch_spending(desk: Desk, cents: int, window: SpendWindow = SpendWindow.DAY, limit: int | None = None) -> None:
    """Tell when so much was spent in the window that begins now; `limit`: of a cap in the same window."""
    cap = SpendCap(window, None if limit is None else limit * CENT, desk.now_ms)
    watched = Threshold("spent", KINDS[window], cents * CENT)
    desk.terms = replace(desk.terms, spend=(cap,), thresholds=(watched,))


# A balance that rises


def test_a_balance_that_reaches_a_value_tells_it(desk: Desk) -> None:
    desk.terms = Terms(thresholds=(ABOVE_5,))
    desk.credit("4.99")
    assert crossings(desk) == []
    desk.credit("0.01", "top-up")
    [entry] = desk.entries("threshold")
    assert (entry["kind"], entry["value"], entry["before"], entry["after"], entry["id"]) == (
        "money_above", 500 * CENT, 499 * CENT, 500 * CENT, "top-up:high",
    )  # fmt: skip
    desk.credit("10.00")
    assert len(crossings(desk)) == 1


def test_each_rise_is_told_again_after_a_fall(desk: Desk) -> None:
    desk.terms = Terms(thresholds=(ABOVE_5, BELOW_1))
    for _ in range(2):
        desk.credit("6.00")
        desk.debit("5.50")
        desk.debit("0.50")
    assert crossings(desk) == [("high", 0, 600), ("low", 600, 50)] * 2


def test_money_that_another_account_sends_crosses_the_receivers(desk: Desk) -> None:
    desk.terms = Terms(thresholds=(BELOW_1,))
    desk.credit("6.00")
    post = desk.a_posting("gift", "5.50", PostKind.TRANSFER)
    post = replace(post, other=OWNER, other_terms=Terms(thresholds=(ABOVE_5,)))
    for _ in range(2):
        assert desk.ask(post).status is Status.OK
    found = {(e["account"], e["threshold"], e["id"]) for e in desk.entries("threshold")}
    assert found == {("ACME", "low", "gift:low"), (OWNER, "high", "gift:BOSS:high")}
    assert len(desk.entries("threshold")) == 2


# Told once in a cycle


@pytest.mark.parametrize("by", ["posting", "call"])
def test_one_that_does_not_recur_is_told_once_in_a_cycle(desk: Desk, by: str) -> None:
    cycle_ms = NOON_MS - HOUR_MS
    legs = iter("abcdef")

    def fall() -> None:
        desk.credit("1.00")
        if by == "posting":
            desk.debit("1.00")
        else:
            talk(desk, next(legs), 100)

    for once_ms in (cycle_ms, cycle_ms, cycle_ms + DAY_MS, cycle_ms + DAY_MS):
        desk.terms = Terms(thresholds=(replace(BELOW_1, once_from_ms=once_ms),))
        fall()
    assert crossings(desk) == [("low", 100, 0)] * 2
    desk.terms = Terms(thresholds=(replace(BELOW_1, once_from_ms=cycle_ms),))
    fall()
    assert len(crossings(desk)) == 2, "a daemon that is late with the cycle tells nothing twice"
    desk.terms = Terms(thresholds=(BELOW_1,))
    fall()
    assert len(crossings(desk)) == 3


def test_each_that_does_not_recur_is_told(desk: Desk) -> None:
    both = (replace(ABOVE_5, once_from_ms=NOON_MS), replace(BELOW_1, once_from_ms=NOON_MS))
    desk.terms = Terms(thresholds=both)
    for _ in range(3):
        desk.credit("6.00")
        desk.debit("6.00")
    assert crossings(desk) == [("high", 0, 600), ("low", 600, 0)]


# Spending


@pytest.mark.parametrize("window", list(SpendWindow))
def test_what_is_spent_in_a_window_tells_it_once(desk: Desk, window: SpendWindow) -> None:
    desk.credit("100.00")
    watch_spending(desk, 50, window)
    for leg in "abc":
        talk(desk, leg, 20)
    talk(desk, "d", 20)
    assert crossings(desk) == [("spent", 40, 60)]
    [entry] = desk.entries("threshold")
    assert (entry["kind"], entry["value"], entry["id"]) == (f"spend_{window}", 50 * CENT, "c:2:spent")
    desk.now_ms += HOUR_MS
    watch_spending(desk, 50, window)
    talk(desk, "e", 60)
    assert crossings(desk) == [("spent", 40, 60), ("spent", 0, 60)], "a new window begins with nothing"


def test_counting_is_no_cap(desk: Desk) -> None:
    desk.credit("100.00")
    watch_spending(desk, 10)
    assert desk.reserve("a", slices=SlicePolicy(60, 60, 2)).granted_s == 60
    assert desk.settle("a", 60).amount_micro == 60 * CENT


def test_a_cap_and_a_threshold_count_in_one_window(desk: Desk) -> None:
    desk.credit("100.00")
    watch_spending(desk, 30, limit=50)
    desk.reserve("a")
    assert desk.extend_to_the_end("a").granted_s == 50
    desk.settle("a", 40)
    assert crossings(desk) == [("spent", 0, 40)]
    desk.reserve("b")
    assert desk.extend_to_the_end("b").granted_s == 10


def test_what_a_grant_of_money_pays_is_told_and_what_minutes_pay_is_not(desk: Desk) -> None:
    desk.credit("100.00")
    desk.give(money("bonus", "0.30"))
    watch_spending(desk, 40)
    desk.use_allowances(allowance(100))
    talk(desk, "a", 100)
    assert crossings(desk) == []
    talk(desk, "b", 45)
    assert crossings(desk) == [("spent", 0, 45)]


def test_repeats_and_postings_are_no_spending(desk: Desk) -> None:
    desk.credit("100.00")
    watch_spending(desk, 50)
    desk.debit("60.00")
    desk.reserve("a")
    settlement = desk.a_settlement("a", 30)
    for _ in range(3):
        desk.ask(settlement)
    assert crossings(desk) == []


def test_an_emergency_call_crosses_nothing(desk: Desk) -> None:
    watch_spending(desk, 10)
    desk.reserve("a", exempt=True)
    desk.settle("a", 30)
    assert crossings(desk) == []


# The owner of a group


def share_money(desk: Desk, **owner: object) -> None:
    """ACME draws on BOSS's money."""
    terms = Terms(use_money=True, **owner)  # type: ignore[arg-type]
    desk.terms = replace(desk.terms, share=Share(OWNER, terms))


def capped(desk: Desk, cents: int, *, shadow: bool = False) -> tuple[SpendCap, ...]:
    return (SpendCap(SpendWindow.DAY, cents * CENT, NOON_MS, shadow),)


def test_the_owners_caps_count_what_its_members_spend(desk: Desk) -> None:
    desk.credit("100.00", account=OWNER)
    share_money(desk, spend=capped(desk, 50))
    desk.reserve("a")
    reply = desk.extend_to_the_end("a")
    assert (reply.granted_s, reply.capped) == (50, True)
    assert desk.reserve("b").reason is Reason.SPEND_LIMIT
    desk.settle("a", 40)
    assert desk.account(OWNER).balance_micro == 9_960 * CENT
    desk.terms = replace(Terms(), spend=capped(desk, 50))
    desk.reserve("own", account=OWNER)
    assert desk.extend_to_the_end("own", account=OWNER).granted_s == 10, "what its member spent is spent"


def test_at_the_end_of_the_owners_cap_the_members_money_goes_on(desk: Desk) -> None:
    desk.credit("100.00", account=OWNER)
    desk.credit("0.25")
    share_money(desk, spend=capped(desk, 20))
    desk.reserve("a")
    reply = desk.extend_to_the_end("a")
    assert reply.granted_s == 45
    assert reply.capped, "with the owner's money it could have gone on"
    desk.settle("a", 45)
    assert (desk.account(OWNER).balance_micro, desk.account().balance_micro) == (9_980 * CENT, 0)


def test_members_and_owner_share_what_the_cap_leaves(desk: Desk) -> None:
    desk.credit("100.00", account=OWNER)
    share_money(desk, spend=capped(desk, 60))
    legs = ["a", "b", "c"]
    granted = {leg: desk.reserve(leg).granted_s for leg in legs}
    for _ in range(40):
        granted = {leg: desk.extend(leg, granted[leg] - 1).granted_s for leg in legs}
    assert sum(granted.values()) == 60
    assert min(granted.values()) >= 9


def test_the_owners_cap_in_shadow_is_told(desk: Desk) -> None:
    desk.credit("100.00", account=OWNER)
    share_money(desk, spend=capped(desk, 40, shadow=True))
    assert desk.reserve("a").reason is Reason.ALLOWED
    reply = desk.extend("a", 30)
    assert (reply.reason, reply.granted_s, reply.capped) == (Reason.SPEND_LIMIT, 90, False)


def test_the_owners_spending_is_told_of_what_members_use(desk: Desk) -> None:
    desk.credit("100.00", account=OWNER)
    spent = Threshold("spent", ThresholdKind.SPEND_DAY, 30 * CENT)
    share_money(desk, spend=(SpendCap(SpendWindow.DAY, None, NOON_MS),), thresholds=(spent,))
    talk(desk, "a", 20)
    talk(desk, "b", 20)
    [entry] = desk.entries("threshold")
    assert (entry["account"], entry["before"], entry["after"], entry["id"]) == (
        OWNER, 20 * CENT, 40 * CENT, "b:2:BOSS:spent",
    )  # fmt: skip


def test_what_a_cap_taken_away_and_set_again_left_is_put_right(desk: Desk) -> None:
    desk.credit("100.00")
    capped_terms = replace(desk.terms, spend=capped(desk, 50))
    desk.terms = capped_terms
    desk.reserve("a")
    desk.terms = replace(desk.terms, spend=())
    desk.settle("a", 10)
    desk.terms = capped_terms
    desk.reserve("b")
    desk.settle("b", 10)
    desk.reserve("c")
    assert desk.extend_to_the_end("c").granted_s == 40


# Why nothing more is to be had


def test_the_end_of_a_cap_and_the_end_of_money_are_told_apart(desk: Desk) -> None:
    desk.credit("1.00")
    desk.terms = replace(desk.terms, spend=capped(desk, 50))
    first = desk.reserve("a", slices=SlicePolicy(30, 60, 2))
    assert (first.final, first.capped) == (False, False)
    last = desk.extend_to_the_end("a")
    assert (last.granted_s, last.final, last.capped) == (50, True, True)
    desk.settle("a", 50)
    desk.terms = replace(desk.terms, spend=capped(desk, 5000))
    desk.reserve("b")
    last = desk.extend_to_the_end("b")
    assert (last.granted_s, last.final, last.capped) == (50, True, False)


def test_the_longest_call_and_an_allowance_that_blocks_are_no_caps(desk: Desk) -> None:
    desk.credit("1.00")
    desk.terms = replace(desk.terms, spend=capped(desk, 50))
    reply = desk.reserve("a", replace(PER_SECOND, horizon_s=20))
    assert (reply.final, reply.capped) == (True, False)
    desk.use_allowances(allowance(10), use_money=False)
    reply = desk.reserve("b")
    assert (reply.final, reply.capped) == (False, False)
    reply = desk.extend_to_the_end("b")
    assert (reply.granted_s, reply.final, reply.capped) == (10, True, False)


def test_a_percentage_does_not_look_at_the_cycle_of_others(desk: Desk) -> None:
    used = Threshold("half", ThresholdKind.ALLOWANCE_PERCENT, 50, GrantId("minutes"))
    desk.terms = replace(desk.terms, thresholds=(used,))
    desk.use_allowances(allowance(10), use_money=False)
    talk(desk, "a", 10)
    assert [(e["threshold"], e["after"]) for e in desk.entries("threshold")] == [("half", 10)]


# Thresholds of one account, beside those of its plan


def test_an_accounts_own_thresholds_are_told_beside_its_plans_and_each_crossing_once(
    desk: Desk, tmp_path: Path
) -> None:
    """Both plan and account name 5.00; the account alone 2.00, and what is spent in a day."""
    own = 'thresholds = { money_below = ["2.00", "5.00"], spend_day = ["4.00"] }'
    snapshot = catalog(
        tmp_path,
        plans=PLANS.replace(", allowance_percent = [80] }", " }"),
        accounts=ACCOUNTS.replace(
            'plan = "basic"\nmodality = "allowance"', f'plan = "basic"\nmodality = "prepaid"\n{own}'
        ),
    )

    def crossed(account: str, *, credit: str = "6.00") -> list[tuple[str, int, int]]:
        before = len(crossings(desk))
        desk.terms = snapshot.terms(AccountId(account), "intl_fixed", desk.now_ms)
        desk.credit(credit, f"top-up {account}", account=account)
        for leg, seconds in ((f"{account}-1", 200), (f"{account}-2", 250)):
            talk(desk, leg, seconds, account=account)
        return crossings(desk)[before:]

    assert crossed("ann") == [("money_below:5000000", 600, 400)]
    assert crossed("cid") == [
        ("money_below:5000000", 600, 400), ("money_below:2000000", 400, 150), ("spend_day:4000000", 200, 450),
    ]  # fmt: skip
    assert [entry["account"] for entry in desk.entries("threshold")] == ["ann", "cid", "cid", "cid"]
