"""What a leg is given ahead, what it is charged, and what comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rater.charging.model import Status
from rater.charging.records import Piece
from rater.charging.terms import SlicePolicy, Terms
from rater.ids import GrantId, LegId
from rater.money import Cadence, Quote, Segment
from rater.verdict import Reason
from tests.contract.desk import CENT, DAY_MS, FREE, NOON_MS, PER_SECOND, SWITCH, Desk, allowance, facts

PER_MINUTE = Quote((Segment(0, 60, CENT, 1),), "EUR", "fixed", connect_micro=5 * CENT)
"""Whole minutes of 60 cents, and a fee of 5 cents for the connection."""
FIRST_30_THEN_6 = Quote((Segment(0, 30, CENT, 1), Segment(30, 6, CENT, 1)), "EUR", "mobile", unit_micro=CENT)
FREE_3_S = Quote((Segment(0, 1, CENT, 1),), "EUR", "fixed", free_s=3)
CAPPED = Quote((Segment(0, 1, CENT, 1),), "EUR", "fixed", max_micro=45 * CENT, horizon_s=600)
SHORT = Quote((Segment(0, 1, CENT, 1),), "EUR", "fixed", horizon_s=40)
A_THIRD = Quote((Segment(0, 1, 1, 3),), "EUR", "fixed")


def test_a_leg_pays_for_what_it_talked_and_gets_the_rest_back(desk: Desk) -> None:
    desk.credit("10.00")
    reply = desk.reserve("l")
    assert (reply.status, reply.granted_s, reply.final) == (Status.OK, 30, False)
    assert (reply.balance_micro, reply.reserved_micro) == (1000 * CENT, 30 * CENT)
    desk.answer("l")
    assert desk.extend("l", 25).granted_s == 85
    reply = desk.settle("l", 42)
    assert (reply.amount_micro, reply.balance_micro, reply.reserved_micro) == (42 * CENT, 958 * CENT, 0)


@pytest.mark.parametrize(
    ("quote", "talked_s", "cents"),
    [
        (PER_SECOND, 1, 1),
        (PER_SECOND, 60, 60),
        (PER_MINUTE, 1, 65),
        (PER_MINUTE, 60, 65),
        (PER_MINUTE, 61, 125),
        (FIRST_30_THEN_6, 1, 30),
        (FIRST_30_THEN_6, 31, 36),
        (FIRST_30_THEN_6, 37, 42),
        (FREE_3_S, 3, 0),
        (FREE_3_S, 4, 4),
        (CAPPED, 300, 45),
        (FREE, 300, 0),
    ],
)
def test_a_leg_costs_what_its_quote_says_however_it_was_sliced(
    desk: Desk, quote: Quote, talked_s: int, cents: int
) -> None:
    desk.credit("10.00")
    granted_s = desk.reserve("l", quote).granted_s
    elapsed_s = 0
    while granted_s < talked_s:
        elapsed_s = granted_s - 1
        granted_s = desk.extend("l", elapsed_s, slices=SlicePolicy(7, 11, 2)).granted_s
    assert desk.settle("l", talked_s).amount_micro == cents * CENT


def test_fractions_are_rounded_once_over_the_whole_leg(desk: Desk) -> None:
    desk.credit("1.00")
    granted_s = desk.reserve("l", A_THIRD, slices=SlicePolicy(1, 1, 1)).granted_s
    while granted_s < 50:
        granted_s = desk.extend("l", granted_s, slices=SlicePolicy(1, 1, 1)).granted_s
    assert desk.settle("l", 50).amount_micro == 17


@pytest.mark.parametrize("duration_s", [None, 0])
def test_an_unanswered_leg_costs_nothing(desk: Desk, duration_s: int | None) -> None:
    desk.credit("10.00")
    desk.reserve("l", PER_MINUTE)
    reply = desk.settle("l", duration_s)
    assert (reply.amount_micro, reply.balance_micro, reply.reserved_micro) == (0, 1000 * CENT, 0)
    [event] = desk.entries("rated")
    assert (event["amount_micro"], event["duration_s"], event["pieces"]) == (0, 0, [])


def test_the_charge_never_exceeds_what_was_paid_ahead(desk: Desk) -> None:
    desk.credit("10.00")
    desk.reserve("l")
    assert desk.settle("l", 3600).amount_micro == 30 * CENT


def test_the_rated_entry_explains_the_charge(desk: Desk) -> None:
    desk.credit("10.00")
    desk.use_allowances(allowance(20))
    desk.reserve("l", PER_SECOND)
    desk.settle("l", 25)
    [event] = desk.entries("rated")
    assert event == {
        "id": "l",
        "reason": "",
        "amount_micro": 5 * CENT,
        "pieces": [["minutes", 0, 20, 20], ["", 20, 25, 5 * CENT]],
        "duration_s": 25,
        "granted_s": 30,
        "balance_before_micro": 1000 * CENT,
        "balance_after_micro": 995 * CENT,
        "quote": PER_SECOND.to_wire(),
    }


def test_an_attempt_that_never_became_a_leg_leaves_no_event(desk: Desk) -> None:
    desk.credit("10.00")
    desk.reserve("l")
    desk.settle("l", None, emit=False)
    assert desk.entries("rated") == []


# Near the end of the money


def test_no_money_no_leg_and_the_denial_is_recorded(desk: Desk) -> None:
    reply = desk.reserve("l")
    assert (reply.status, reply.reason) == (Status.DENIED, Reason.INSUFFICIENT_CREDIT)
    [denial] = desk.entries("denied")
    assert denial == {
        "id": "l", "reason": Reason.INSUFFICIENT_CREDIT, "balance_micro": 0, "reserved_micro": 0,
    }  # fmt: skip


def test_a_lone_leg_gets_the_money_to_the_last_second(desk: Desk) -> None:
    desk.credit("0.04")
    first = desk.reserve("l")
    assert (first.granted_s, first.final) == (2, False), "half is left for a leg that may come"
    assert desk.extend_to_the_end("l").granted_s == 4
    reply = desk.settle("l", 9)
    assert (reply.amount_micro, reply.balance_micro) == (4 * CENT, 0)


def test_money_for_less_than_a_short_slice_is_still_given(desk: Desk) -> None:
    desk.credit("0.015")
    reply = desk.reserve("l")
    assert (reply.granted_s, reply.final, reply.reserved_micro) == (1, True, CENT)


def test_an_increment_is_given_whole_or_not_at_all(desk: Desk) -> None:
    desk.credit("0.64")
    assert desk.reserve("l", PER_MINUTE).reason is Reason.INSUFFICIENT_CREDIT
    desk.credit("0.61")
    reply = desk.reserve("m", PER_MINUTE, slices=SlicePolicy(5, 5, 2))
    assert (reply.granted_s, reply.reserved_micro, reply.final) == (60, 65 * CENT, False)
    reply = desk.extend("m", 58)
    assert (reply.granted_s, reply.final) == (120, True)


def test_five_legs_share_what_is_there_for_twenty_seconds(desk: Desk) -> None:
    desk.credit("0.20")
    granted = {f"l{i}": desk.reserve(f"l{i}").granted_s for i in range(5)}
    assert all(granted.values()), "none is turned away while there is money for a short slice"
    talked = dict.fromkeys(granted, 0)
    while granted:
        for leg in list(granted):
            if talked[leg] == granted[leg]:
                granted[leg] = desk.extend(leg, talked[leg]).granted_s
            if talked[leg] == granted[leg]:
                desk.settle(leg, granted.pop(leg))
            else:
                talked[leg] += 1
    account = desk.account()
    assert (account.balance_micro, account.charges_micro) == (0, 20 * CENT)
    assert sum(talked.values()) == 20


def test_legs_on_one_balance_come_to_its_end_together(desk: Desk) -> None:
    desk.credit("3.00")
    granted = {f"l{i}": desk.reserve(f"l{i}").granted_s for i in range(5)}
    ends: list[int] = []
    for second in range(1, 400):
        for leg in list(granted):
            if granted[leg] - second <= 1:
                granted[leg] = desk.extend(leg, second).granted_s
            if granted[leg] <= second:
                ends.append(granted[leg])
                desk.settle(leg, granted.pop(leg))
    assert len(ends) == 5
    assert sum(ends) == 300
    assert max(ends) - min(ends) <= 15, ends


def test_when_nothing_more_can_be_had_the_slice_stands_and_is_final(desk: Desk) -> None:
    desk.credit("0.30")
    desk.reserve("l")
    assert desk.extend_to_the_end("l").granted_s == 30
    reply = desk.extend("l", 28)
    assert (reply.granted_s, reply.final) == (30, True)


def test_a_leg_goes_on_when_money_arrives(desk: Desk) -> None:
    desk.credit("0.01")
    assert desk.reserve("l").final
    desk.credit("1.00")
    assert desk.woken() == ["ACME"]
    reply = desk.extend("l", 0)
    assert (reply.granted_s, reply.final) == (51, False)
    seen = desk.woken()
    desk.credit("1.00")
    assert desk.woken() == seen, "no leg waits any more"


def test_money_given_back_wakes_the_legs_that_wait(desk: Desk) -> None:
    desk.credit("0.40")
    desk.reserve("l")
    desk.reserve("m", slices=SlicePolicy(40, 40, 40))
    assert desk.extend_to_the_end("m").granted_s == 20
    desk.settle("l", 1)
    assert desk.woken() == ["ACME"]
    assert desk.extend_to_the_end("m").granted_s == 39


def test_the_horizon_ends_a_leg_that_has_money(desk: Desk) -> None:
    desk.credit("10.00")
    assert desk.reserve("l", SHORT).granted_s == 30
    reply = desk.extend("l", 25)
    assert (reply.granted_s, reply.final) == (40, True)


def test_postpaid_goes_down_to_its_limit_and_no_further(desk: Desk) -> None:
    desk.terms = Terms(floor_micro=-20 * CENT, currency="EUR")
    desk.reserve("l")
    assert desk.extend_to_the_end("l").granted_s == 20
    assert desk.settle("l", 20).balance_micro == -20 * CENT
    assert desk.reserve("m").reason is Reason.INSUFFICIENT_CREDIT


def test_a_floor_raised_above_the_balance_gives_nothing_more(desk: Desk) -> None:
    desk.credit("1.00")
    desk.reserve("l")
    desk.terms = Terms(floor_micro=200 * CENT)
    reply = desk.extend("l", 20)
    assert (reply.granted_s, reply.final) == (30, True)


# What is free


def test_free_seconds_alone_are_no_slice(desk: Desk) -> None:
    desk.credit("0.03")
    assert desk.reserve("l", FREE_3_S).reason is Reason.INSUFFICIENT_CREDIT
    desk.credit("0.01")
    reply = desk.reserve("m", FREE_3_S)
    assert (reply.granted_s, reply.final) == (4, True)


def test_a_free_leg_needs_no_money_and_holds_none(desk: Desk) -> None:
    desk.credit("0.01")
    desk.reserve("paid", slices=SlicePolicy(1, 1, 1))
    desk.terms = Terms(floor_micro=CENT)
    reply = desk.reserve("l", FREE)
    assert (reply.granted_s, reply.final, reply.reserved_micro) == (30, False, CENT)
    assert desk.extend("l", 30).granted_s == 90
    assert desk.reserve("m", FREE, slices=SlicePolicy(86_400, 86_400, 86_400)).granted_s == 86_400
    desk.settle("l", 80)
    [event] = desk.entries("rated")
    assert event["pieces"] == [["", 0, 80, 0]]


def test_a_free_leg_leaves_allowances_alone_unless_they_block(desk: Desk) -> None:
    desk.use_allowances(allowance(100))
    desk.reserve("l", FREE)
    assert desk.grants() == [("minutes", 100, 0, 0)]
    desk.use_allowances(allowance(100), use_money=False)
    desk.reserve("m", FREE)
    assert desk.grants() == [("minutes", 100, 0, 30)]


def test_an_emergency_leg_passes_without_money_and_is_charged_nothing(desk: Desk) -> None:
    reply = desk.reserve("l", PER_SECOND, exempt=True)
    assert (reply.status, reply.granted_s) == (Status.OK, 30)
    assert desk.settle("l", 20).amount_micro == 0


# Allowances


def test_an_allowance_is_used_before_money_inside_one_leg(desk: Desk) -> None:
    desk.credit("10.00")
    desk.use_allowances(allowance(10))
    reply = desk.reserve("l")
    assert (reply.granted_s, reply.reserved_micro) == (30, 20 * CENT)
    assert desk.grants() == [("minutes", 10, 0, 10)]
    assert desk.settle("l", 25).amount_micro == 15 * CENT
    assert desk.grants() == [("minutes", 10, 10, 0)]


def test_allowances_are_used_in_the_order_given(desk: Desk) -> None:
    desk.use_allowances(allowance(10, grant="local"), allowance(15, grant="any"))
    desk.credit("1.00")
    desk.reserve("l")
    leg = desk.leg("l")
    assert leg is not None
    assert leg.pieces == (
        Piece(GrantId("local"), 0, 10, 10), Piece(GrantId("any"), 10, 25, 15), Piece(None, 25, 30, 5 * CENT),
    )  # fmt: skip


def test_what_was_not_talked_goes_back_to_each(desk: Desk) -> None:
    desk.use_allowances(allowance(10, grant="local"), allowance(15, grant="any"))
    desk.credit("1.00")
    desk.reserve("l")
    assert desk.settle("l", 12).amount_micro == 0
    assert desk.grants() == [("local", 10, 10, 0), ("any", 15, 2, 0)]


def test_an_exhausted_allowance_blocks_when_it_should(desk: Desk) -> None:
    desk.credit("10.00")
    desk.use_allowances(allowance(40), use_money=False)
    assert desk.reserve("l").granted_s == 20, "half is left for a leg that may come"
    assert desk.extend_to_the_end("l").granted_s == 40
    assert desk.reserve("m").reason is Reason.ALLOWANCE_EXHAUSTED
    desk.settle("l", 40)
    assert desk.reserve("n").reason is Reason.ALLOWANCE_EXHAUSTED


def test_without_an_allowance_for_the_class_a_blocking_account_has_no_credit(desk: Desk) -> None:
    desk.credit("10.00")
    desk.use_allowances(use_money=False)
    assert desk.reserve("l").reason is Reason.INSUFFICIENT_CREDIT


@pytest.mark.parametrize(
    ("cadence", "talked_s", "counted_s"),
    [
        (Cadence(0, 30, 6), 1, 30),
        (Cadence(0, 30, 6), 30, 30),
        (Cadence(0, 30, 6), 31, 36),
        (Cadence(3, 30, 6), 3, 0),
        (Cadence(3, 30, 6), 4, 30),
        (Cadence(0, 60, 60), 61, 120),
        (Cadence(0, 1, 1), 61, 61),
    ],
)
def test_an_allowance_counts_by_its_cadence(desk: Desk, cadence: Cadence, talked_s: int, counted_s: int) -> None:
    desk.use_allowances(allowance(1000, cadence=cadence), use_money=False)
    desk.reserve("l")
    desk.extend("l", 29)
    desk.settle("l", talked_s)
    assert desk.grants() == [("minutes", 1000, counted_s, 0)]


def test_a_rest_smaller_than_an_increment_is_left_and_money_goes_on(desk: Desk) -> None:
    desk.credit("10.00")
    desk.use_allowances(allowance(64, cadence=Cadence(0, 30, 30)))
    desk.reserve("l")
    desk.extend("l", 29)
    assert desk.grants() == [("minutes", 64, 0, 60)]
    leg = desk.leg("l")
    assert leg is not None
    assert leg.pieces == (Piece(GrantId("minutes"), 0, 60, 60), Piece(None, 60, 89, 29 * CENT))


def test_an_allowance_renews_when_it_is_first_met_in_its_new_cycle(desk: Desk) -> None:
    desk.use_allowances(allowance(100), use_money=False)
    desk.reserve("l")
    desk.settle("l", 30)
    desk.now_ms += DAY_MS
    desk.use_allowances(allowance(100, cycle=1), use_money=False)
    desk.reserve("m")
    assert desk.grants() == [("minutes", 100, 0, 30)]
    causes = [(line.cause, line.before, line.after) for entry in desk.driver.ledger() for line in entry.lines]
    assert causes == [("renew", 0, 100), ("call", 100, 70), ("expire", 70, 0), ("renew", 0, 100)]


def test_a_running_leg_keeps_what_it_holds_of_the_old_cycle(desk: Desk) -> None:
    desk.use_allowances(allowance(100), use_money=False)
    desk.reserve("l", slices=SlicePolicy(50, 50, 2))
    desk.now_ms += DAY_MS
    desk.use_allowances(allowance(100, cycle=1), use_money=False)
    assert desk.extend("l", 45, slices=SlicePolicy(50, 50, 2)).granted_s == 95
    assert desk.grants() == [("minutes", 50, 0, 50), ("minutes", 100, 0, 45)]
    desk.settle("l", 60)
    assert desk.grants() == [("minutes", 100, 10, 0)]


def test_what_an_old_cycle_gets_back_is_void(desk: Desk) -> None:
    desk.use_allowances(allowance(100), use_money=False)
    desk.reserve("l", slices=SlicePolicy(50, 50, 2))
    desk.now_ms += DAY_MS
    desk.use_allowances(allowance(100, cycle=1), use_money=False)
    desk.reserve("m", slices=SlicePolicy(10, 10, 2))
    desk.settle("l", 20)
    assert desk.grants() == [("minutes", 100, 0, 10)]
    last = desk.driver.ledger()[-1].lines
    assert [(line.cause, line.before, line.after) for line in last] == [("call", 50, 30), ("expire", 30, 0)]


def test_a_cycle_that_is_over_is_not_opened_again_by_a_late_request(desk: Desk) -> None:
    desk.use_allowances(allowance(100), use_money=False)
    desk.reserve("l")
    desk.settle("l", 30)
    desk.now_ms += DAY_MS
    assert desk.reserve("m").reason is Reason.ALLOWANCE_EXHAUSTED
    desk.now_ms = NOON_MS
    assert desk.reserve("n").reason is Reason.ALLOWANCE_EXHAUSTED, "its rest is void"


def test_a_denial_that_renewed_an_allowance_keeps_the_renewal(desk: Desk) -> None:
    desk.use_allowances(allowance(0), use_money=False)
    assert desk.reserve("l").reason is Reason.ALLOWANCE_EXHAUSTED
    assert desk.grants() == [("minutes", 0, 0, 0)]


def test_a_blocking_allowance_is_shared_near_its_end(desk: Desk) -> None:
    desk.use_allowances(allowance(20), use_money=False)
    granted = [desk.reserve(f"l{i}").granted_s for i in range(5)]
    assert all(granted)
    for i in range(5):
        desk.settle(f"l{i}", granted[i])
    assert desk.grants() == [("minutes", 20, sum(granted), 0)]


# What is kept of a leg


def test_a_stored_leg_can_be_read_back_whole(desk: Desk) -> None:
    desk.credit("10.00")
    desk.reserve("l", PER_MINUTE)
    desk.now_ms += 3000
    desk.answer("l", note="on a channel")
    leg = desk.leg("l")
    assert leg is not None
    assert leg == desk.legs(SWITCH)[0]
    assert (leg.leg, leg.account, leg.switch, leg.quote) == ("l", "ACME", SWITCH, PER_MINUTE)
    assert (leg.granted_s, leg.final, leg.next_op, leg.exempt) == (60, False, 3, False)
    assert (leg.reserved_at_ms, leg.answered_at_ms, leg.seen_at_ms) == (NOON_MS, NOON_MS + 2995, NOON_MS + 2995)
    assert leg.facts == facts("l", "on a channel")
    assert leg.pieces == (Piece(None, 0, 60, 65 * CENT),)


def test_live_legs_are_listed_and_settled_ones_are_not(desk: Desk) -> None:
    desk.credit("10.00")
    for leg in ("a", "b", "c"):
        desk.reserve(leg)
    desk.settle("b", 1)
    assert {leg.leg for leg in desk.legs()} == {LegId("a"), LegId("c")}
    assert desk.leg("b") is None


def test_the_last_proof_of_life_is_kept_in_the_switchs_time(desk: Desk) -> None:
    desk.credit("10.00")
    desk.reserve("l")
    leg = desk.leg("l")
    assert leg is not None
    assert leg.seen_at_ms == 0, "nothing of the switch is known yet"
    for seen_at_ms, kept_at_ms in ((NOON_MS - 7_000, NOON_MS - 7_000), (NOON_MS - 9_000, NOON_MS - 7_000)):
        desk.ask(replace(desk.an_extension("l", 1), seen_at_ms=seen_at_ms))
        leg = desk.leg("l")
        assert leg is not None
        assert leg.seen_at_ms == kept_at_ms
