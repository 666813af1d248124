"""Sharing groups: an owner's grants and money serve a member in real time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rater.charging.model import Status
from rater.charging.terms import Quota, Share, SlicePolicy, Terms, Threshold, ThresholdKind, Tier
from rater.ids import AccountId, GrantId
from rater.money import Quote, Segment
from rater.verdict import Reason
from tests.contract.desk import CENT, DAY_MS, NOON_MS, Desk, allowance, blocker, minutes, money

PER_MINUTE = Quote((Segment(0, 60, CENT, 1),), "EUR", "fixed")
OWNER = AccountId("BOSS")
START_MS = NOON_MS - 1000
TODAY = Quota(0, START_MS, START_MS + DAY_MS, START_MS + 2 * DAY_MS)


def join(desk: Desk, *, use_money: bool = False, floor_micro: int = 0, **more: Any) -> None:
    """ACME is a member of BOSS's group from now on. `allowances`, `thresholds`: of the owner."""
    owner = {name: more.pop(name) for name in ("allowances", "thresholds") if name in more}
    terms = Terms(floor_micro=floor_micro, use_money=use_money, **owner)
    desk.terms = replace(desk.terms, share=Share(OWNER, terms, **more))


def leave(desk: Desk) -> None:
    desk.terms = replace(desk.terms, share=None)


def quota(amount: int) -> Quota:
    return replace(TODAY, amount=amount)


def shared(desk: Desk, leg: str = "l") -> list[tuple[str, int, int, bool]]:
    """Of the live leg's pieces: grant, from, to, whether the owner pays."""
    state = desk.leg(leg)
    assert state is not None
    return [(p.grant or "", p.from_s, p.to_s, p.shared) for p in state.pieces]


# Seconds


def test_the_owners_minutes_serve_the_member_and_the_owners_balance_moves(desk: Desk) -> None:
    desk.give(minutes("pool", 100), account=OWNER)
    join(desk)
    assert desk.reserve("l").granted_s == 30
    assert desk.grants(OWNER) == [("pool", 100, 0, 30)]
    desk.settle("l", 20)
    assert desk.grants(OWNER) == [("pool", 100, 20, 0)]
    assert desk.causes(OWNER)[-1] == ("call", "pool", 100, 80)
    assert desk.causes("ACME") == []
    [event] = desk.entries("rated")
    assert (event["owner"], event["pieces"]) == (OWNER, [["pool", 0, 20, 20]])


def test_shared_minutes_come_after_the_members_own_and_before_money(desk: Desk) -> None:
    desk.give(minutes("pool", 10, classes=("fixed",)), account=OWNER)
    desk.give(minutes("own", 5))
    desk.credit("1.00")
    join(desk)
    desk.reserve("l")
    assert shared(desk) == [("own", 0, 5, False), ("pool", 5, 15, True), ("", 15, 30, False)]


def test_a_group_may_come_first(desk: Desk) -> None:
    desk.give(minutes("pool", 10), account=OWNER)
    desk.give(minutes("own", 5, classes=("fixed",)))
    desk.credit("1.00")
    join(desk, first=True)
    desk.reserve("l")
    assert shared(desk) == [("pool", 0, 10, True), ("own", 10, 15, False), ("", 15, 30, False)]


def test_the_owners_allowance_renews_when_a_member_meets_it(desk: Desk) -> None:
    desk.credit("1.00")
    join(desk, allowances=(allowance(10, grant="family", tier=Tier.GENERIC),))
    desk.reserve("l")
    assert shared(desk) == [("family", 0, 10, True), ("", 10, 30, False)]
    assert desk.causes(OWNER) == [("renew", "family", 0, 10)]
    desk.settle("l", 30)
    desk.now_ms += DAY_MS
    join(desk, allowances=(allowance(10, grant="family", cycle=1, tier=Tier.GENERIC),))
    desk.reserve("m")
    assert shared(desk, "m")[0] == ("family", 0, 10, True)


def test_a_renewal_is_kept_though_the_member_is_denied(desk: Desk) -> None:
    join(desk, allowances=(allowance(0, grant="family"),))
    assert desk.reserve("l").reason is Reason.INSUFFICIENT_CREDIT
    assert desk.grants(OWNER) == [("family", 0, 0, 0)]


def test_owner_and_members_share_the_end_of_it_fairly(desk: Desk) -> None:
    desk.give(minutes("pool", 40), account=OWNER)
    own = desk.reserve("boss", account=OWNER)
    join(desk)
    first = desk.reserve("l")
    second = desk.reserve("m")
    assert (own.granted_s, first.granted_s, second.granted_s) == (20, 5, 2)
    for leg, account in (("boss", OWNER), ("l", "ACME"), ("m", "ACME")):
        if account == OWNER:
            desk.settle(leg, 3600, account=account)
        else:
            desk.extend_to_the_end(leg)
            desk.settle(leg, 3600)
    assert desk.grants(OWNER) == [("pool", 40, 40, 0)]


def test_what_the_owner_blocks_stops_the_member_too(desk: Desk) -> None:
    desk.credit("1.00")
    desk.give(blocker("stop"), account=OWNER)
    join(desk)
    assert desk.reserve("l").reason is Reason.ALLOWANCE_EXHAUSTED


# Quotas


def test_a_member_takes_no_more_than_its_quota_in_a_cycle(desk: Desk) -> None:
    desk.give(minutes("pool", 1000), account=OWNER)
    join(desk, quota_s=quota(45))
    desk.reserve("l")
    assert desk.extend_to_the_end("l").granted_s == 45
    desk.settle("l", 40)
    [state] = desk.account().quotas
    assert (state.owner, state.limit, state.used, state.reserved) == (OWNER, 45, 40, 0)
    assert desk.reserve("m").granted_s == 2
    desk.extend_to_the_end("m")
    assert desk.settle("m", 3600).granted_s == 5
    assert desk.reserve("n").reason is Reason.INSUFFICIENT_CREDIT
    assert desk.grants(OWNER) == [("pool", 1000, 45, 0)]


def test_a_quota_is_new_with_each_cycle(desk: Desk) -> None:
    desk.give(minutes("pool", 1000), account=OWNER)
    join(desk, quota_s=quota(10))
    desk.reserve("l")
    desk.extend_to_the_end("l")
    desk.settle("l", 10)
    desk.now_ms += DAY_MS
    join(desk, quota_s=Quota(10, START_MS + DAY_MS, START_MS + 2 * DAY_MS))
    assert desk.reserve("m").status is Status.OK


def test_a_slice_that_reaches_into_a_quotas_next_cycle_goes_on_there(desk: Desk) -> None:
    desk.give(minutes("pool", 1000), account=OWNER)
    desk.credit("10.00")
    desk.now_ms = START_MS + DAY_MS - 10_000
    join(desk, quota_s=quota(8))
    desk.reserve("l")
    assert shared(desk) == [("pool", 0, 8, True), ("", 8, 10, False), ("pool", 10, 18, True), ("", 18, 30, False)]


def test_a_quota_of_money_counts_what_the_owner_pays(desk: Desk) -> None:
    desk.credit("5.00", account=OWNER)
    desk.give(money("gift", "0.10"), account=OWNER)
    desk.credit("5.00")
    join(desk, use_money=True, quota_micro=quota(25 * CENT))
    desk.reserve("l")
    assert shared(desk) == [("gift", 0, 30, True), ("", 0, 30, True), ("", 0, 30, False)]
    desk.settle("l", 30)
    assert desk.account(OWNER).balance_micro == 485 * CENT
    assert desk.account().balance_micro == 495 * CENT
    [state] = desk.account().quotas
    assert (state.limit, state.used) == (25 * CENT, 25 * CENT)


# Money


def test_the_owners_money_pays_before_the_members_when_the_group_shares_it(desk: Desk) -> None:
    desk.credit("0.20", account=OWNER)
    desk.credit("1.00")
    join(desk, use_money=True)
    desk.reserve("l", slices=SlicePolicy(60, 60, 2))
    reply = desk.settle("l", 50)
    assert reply.amount_micro == 50 * CENT
    assert (desk.account(OWNER).balance_micro, desk.account().balance_micro) == (0, 70 * CENT)
    [event] = desk.entries("rated")
    assert event["funds"] == [["", 1, 20 * CENT], ["", 0, 30 * CENT]]
    assert desk.account(OWNER).charges_micro == 20 * CENT


def test_the_owners_floor_holds_for_its_members(desk: Desk) -> None:
    join(desk, use_money=True, floor_micro=-5 * CENT)
    desk.reserve("l")
    assert desk.extend_to_the_end("l").granted_s == 5
    desk.settle("l", 3600)
    assert desk.account(OWNER).balance_micro == -5 * CENT


def test_money_for_the_owner_wakes_its_members_legs(desk: Desk) -> None:
    join(desk, use_money=True)
    desk.credit("0.01", account=OWNER)
    assert desk.reserve("l").final
    desk.credit("1.00", account=OWNER)
    assert desk.woken() == [OWNER]
    assert desk.extend("l", 0).granted_s == 51


def test_the_owners_thresholds_are_told_of_what_members_use(desk: Desk) -> None:
    low = Threshold("low", ThresholdKind.MONEY_BELOW, 100 * CENT)
    half = Threshold("half", ThresholdKind.ALLOWANCE_PERCENT, 50, GrantId("family"))
    desk.credit("1.20", account=OWNER)
    join(desk, use_money=True, allowances=(allowance(10, grant="family"),), thresholds=(low, half))
    desk.reserve("l", slices=SlicePolicy(40, 40, 2))
    desk.settle("l", 40)
    found = [(e["account"], e["threshold"], e["before"], e["after"], e["id"]) for e in desk.entries("threshold")]
    assert found == [
        (OWNER, "low", 120 * CENT, 90 * CENT, "l:2:BOSS:low"), (OWNER, "half", 0, 10, "l:2:BOSS:half"),
    ]  # fmt: skip


# Joining and leaving


def test_leaving_takes_effect_with_the_next_slice(desk: Desk) -> None:
    desk.give(minutes("pool", 1000), account=OWNER)
    desk.credit("10.00")
    join(desk)
    desk.reserve("l")
    leave(desk)
    desk.extend("l", 25)
    assert shared(desk) == [("pool", 0, 30, True), ("", 30, 85, False)]
    assert desk.settle("l", 50).amount_micro == 20 * CENT
    assert desk.grants(OWNER) == [("pool", 1000, 30, 0)]


def test_joining_takes_effect_with_the_next_slice(desk: Desk) -> None:
    desk.give(minutes("pool", 1000), account=OWNER)
    desk.credit("10.00")
    desk.reserve("l")
    join(desk)
    desk.extend("l", 25)
    assert shared(desk) == [("", 0, 30, False), ("pool", 30, 85, True)]
    assert desk.settle("l", 50).amount_micro == 30 * CENT
    assert desk.grants(OWNER) == [("pool", 1000, 20, 0)]


def test_a_leg_draws_on_one_group_in_its_life(desk: Desk) -> None:
    desk.give(minutes("pool", 1000), account=OWNER)
    desk.give(minutes("other", 1000), account="THEM")
    desk.credit("10.00")
    join(desk)
    desk.reserve("l")
    desk.terms = replace(desk.terms, share=Share(AccountId("THEM"), Terms(use_money=False)))
    desk.extend("l", 25)
    assert shared(desk) == [("pool", 0, 30, True), ("", 30, 85, False)]
    desk.settle("l", 85)
    desk.reserve("m")
    assert shared(desk, "m") == [("other", 0, 30, True)]


def test_a_membership_that_ends_during_the_slice_serves_until_then(desk: Desk) -> None:
    desk.give(minutes("pool", 1000), account=OWNER)
    desk.credit("10.00")
    join(desk, valid_until_ms=NOON_MS + 12_000)
    desk.reserve("l")
    assert shared(desk) == [("pool", 0, 12, True), ("", 12, 30, False)]


def test_repeats_move_neither_account_twice(desk: Desk) -> None:
    desk.give(minutes("pool", 1000), account=OWNER)
    desk.credit("10.00")
    requests = [desk.a_reservation("l")]
    desk.ask(requests[0])
    join(desk)
    for make in (lambda: desk.an_extension("l", 25), lambda: desk.a_settlement("l", 50)):
        request = make()
        first = desk.ask(request)
        for _ in range(2):
            assert desk.ask(request) == replace(first, repeated=True)
    assert desk.grants(OWNER) == [("pool", 1000, 20, 0)]
    assert desk.account().balance_micro == 970 * CENT


def test_a_leg_of_a_group_is_read_back_with_its_owner(desk: Desk) -> None:
    desk.give(minutes("pool", 1000), account=OWNER)
    join(desk)
    desk.reserve("l")
    desk.answer("l")
    leg = desk.leg("l")
    assert leg is not None
    assert (leg.owner, leg.pieces[0].shared, leg.leases) == (OWNER, True, ())


@pytest.mark.parametrize("talked_s", [5, 30])
def test_an_increment_may_be_paid_by_both(desk: Desk, talked_s: int) -> None:
    desk.credit("0.35", account=OWNER)
    desk.credit("10.00")
    join(desk, use_money=True)
    desk.reserve("l", PER_MINUTE)
    assert desk.settle("l", talked_s).amount_micro == 60 * CENT
    assert (desk.account(OWNER).balance_micro, desk.account().balance_micro) == (0, 975 * CENT)
