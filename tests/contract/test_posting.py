"""Moving money by hand, and telling when a balance crosses a threshold."""

from __future__ import annotations

import pytest

from rater.charging.model import Status
from rater.charging.terms import SlicePolicy, Terms, Threshold, ThresholdKind
from rater.errors import AmountError, InputError
from rater.ids import GrantId
from rater.verdict import Reason
from tests.contract.desk import CENT, NOON_MS, Desk, allowance

BELOW_1 = Threshold("low", ThresholdKind.MONEY_BELOW, 100 * CENT)
BELOW_50_CENTS = Threshold("very-low", ThresholdKind.MONEY_BELOW, 50 * CENT)
USED_80 = Threshold("80", ThresholdKind.ALLOWANCE_PERCENT, 80, GrantId("minutes"))
USED_ALL = Threshold("all", ThresholdKind.ALLOWANCE_PERCENT, 100, GrantId("minutes"))


def test_credit_and_debit_move_the_balance_and_are_in_the_ledger(desk: Desk) -> None:
    assert desk.credit("5.00", cause="paid in").balance_micro == 500 * CENT
    reply = desk.debit("1.25", cause="a fee")
    assert (reply.amount_micro, reply.balance_micro) == (125 * CENT, 375 * CENT)
    account = desk.account()
    assert (account.credits_micro, account.debits_micro, account.opening_micro) == (500 * CENT, 125 * CENT, 0)
    entries = [
        (entry.note, line.cause, line.before, line.after) for entry in desk.driver.ledger() for line in entry.lines
    ]
    assert entries == [("paid in", "credit", 0, 500 * CENT), ("a fee", "debit", 500 * CENT, 375 * CENT)]
    assert desk.driver.ledger()[0].at_ms == NOON_MS


def test_a_posting_is_carried_out_once_for_its_operation_id(desk: Desk) -> None:
    first = desk.credit("5.00", "till-17")
    again = desk.credit("5.00", "till-17")
    assert (first.repeated, again.repeated) == (False, True)
    assert again.balance_micro == 500 * CENT
    assert desk.account().balance_micro == 500 * CENT


@pytest.mark.parametrize("other", ["amount", "account", "kind", "cause"])
def test_the_same_operation_id_with_other_contents_is_a_conflict(desk: Desk, other: str) -> None:
    desk.credit("5.00", "till-17", cause="cash")
    if other == "amount":
        reply = desk.credit("5.01", "till-17", cause="cash")
    elif other == "account":
        reply = desk.credit("5.00", "till-17", cause="cash", account="OTHER")
    elif other == "kind":
        reply = desk.debit("5.00", "till-17", cause="cash")
    else:
        reply = desk.credit("5.00", "till-17", cause="card")
    assert (reply.status, reply.repeated) == (Status.CONFLICT, False)
    assert desk.account().balance_micro == 500 * CENT


def test_a_denied_debit_stays_denied_under_its_id(desk: Desk) -> None:
    desk.credit("1.00")
    assert desk.debit("2.00", "fee").reason is Reason.INSUFFICIENT_CREDIT
    desk.credit("5.00")
    again = desk.debit("2.00", "fee")
    assert (again.status, again.repeated) == (Status.DENIED, True)
    assert desk.debit("2.00", "fee-2").status is Status.OK


def test_a_debit_leaves_what_legs_hold_and_stops_at_the_floor(desk: Desk) -> None:
    desk.credit("1.00")
    desk.reserve("l")
    reply = desk.debit("0.700001")
    assert (reply.status, reply.reason, reply.reserved_micro) == (
        Status.DENIED, Reason.INSUFFICIENT_CREDIT, 30 * CENT,
    )  # fmt: skip
    assert desk.debit("0.70").status is Status.OK
    desk.terms = Terms(floor_micro=-100 * CENT)
    assert desk.debit("1.00").status is Status.OK
    assert desk.debit("0.01").status is Status.DENIED


def test_an_account_is_opened_once_in_its_life(desk: Desk) -> None:
    assert desk.opening("10.00", "opening:1").status is Status.OK
    again = desk.opening("10.00", "opening:2")
    assert (again.status, again.repeated, again.balance_micro) == (Status.OK, True, 1000 * CENT)
    assert desk.opening("11.00", "opening:3").status is Status.CONFLICT
    assert desk.account().opening_micro == 1000 * CENT


def test_an_account_may_be_opened_with_nothing(desk: Desk) -> None:
    assert desk.opening("0").status is Status.OK
    assert desk.account().balance_micro == 0
    assert desk.driver.ledger() == []


def test_an_opening_after_credits_adds_to_them(desk: Desk) -> None:
    desk.credit("1.00")
    assert desk.opening("2.00").balance_micro == 300 * CENT


@pytest.mark.parametrize("amount", ["0", "-1"])
def test_amounts_that_cannot_be_moved_are_refused(desk: Desk, amount: str) -> None:
    with pytest.raises(AmountError, match="cannot be moved"):
        desk.credit(amount)


@pytest.mark.parametrize("op", ["", "x" * 201])
def test_operation_ids_have_a_length(desk: Desk, op: str) -> None:
    with pytest.raises(InputError, match="operation id"):
        desk.ask(desk.a_posting(op, "1.00"))


def test_balances_and_totals_stay_within_the_exact_range(desk: Desk) -> None:
    desk.credit("8999999999.999999")
    assert desk.credit("0.000002").reason is Reason.OUT_OF_RANGE
    assert desk.credit("0.000001").balance_micro == 9_000_000_000_000_000
    desk.debit("9000000000")
    assert desk.credit("0.000001").reason is Reason.OUT_OF_RANGE, "the total of credits is full"
    assert desk.account().balance_micro == 0


# Thresholds


def crossings(desk: Desk) -> list[tuple[str, int, int]]:
    return [(entry["threshold"], entry["before"], entry["after"]) for entry in desk.entries("threshold")]


def test_a_balance_that_falls_below_tells_it_once(desk: Desk) -> None:
    desk.terms = Terms(thresholds=(BELOW_1,))
    desk.credit("1.20")
    for leg, talked_s in (("a", 10), ("b", 11), ("c", 12)):
        desk.reserve(leg)
        desk.settle(leg, talked_s)
    assert crossings(desk) == [("low", 110 * CENT, 99 * CENT)]
    [entry] = desk.entries("threshold")
    assert (entry["kind"], entry["value"], entry["grant"], entry["account"], entry["at_ms"], entry["id"]) == (
        "money_below", 100 * CENT, "", "ACME", NOON_MS, "b:2:low",
    )  # fmt: skip


def test_reservations_cross_nothing(desk: Desk) -> None:
    desk.terms = Terms(thresholds=(BELOW_1,))
    desk.credit("1.20")
    desk.reserve("l", slices=SlicePolicy(60, 60, 2))
    desk.settle("l", None)
    assert crossings(desk) == []


def test_one_operation_may_cross_several(desk: Desk) -> None:
    desk.terms = Terms(thresholds=(BELOW_1, BELOW_50_CENTS))
    desk.credit("2.00")
    desk.debit("1.60", "fee")
    assert crossings(desk) == [("low", 200 * CENT, 40 * CENT), ("very-low", 200 * CENT, 40 * CENT)]
    assert {entry["id"] for entry in desk.entries("threshold")} == {"fee:low", "fee:very-low"}


def test_each_fall_is_told_again_after_a_rise(desk: Desk) -> None:
    desk.terms = Terms(thresholds=(BELOW_1,))
    desk.credit("1.00")
    desk.debit("0.01")
    desk.credit("0.01")
    desk.debit("0.01")
    assert len(crossings(desk)) == 2


def test_a_repeat_crosses_nothing(desk: Desk) -> None:
    desk.terms = Terms(thresholds=(BELOW_1,))
    desk.credit("1.00")
    for _ in range(3):
        desk.debit("0.50", "fee")
    desk.reserve("l")
    settlement = desk.a_settlement("l", 1)
    for _ in range(3):
        desk.ask(settlement)
    assert len(crossings(desk)) == 1


def test_an_allowance_used_to_a_percentage_tells_it_once(desk: Desk) -> None:
    desk.terms = Terms(thresholds=(USED_80, USED_ALL))
    desk.use_allowances(allowance(50))
    desk.credit("10.00")
    for leg, talked_s in (("a", 39), ("b", 1), ("c", 9), ("d", 30)):
        desk.reserve(leg, slices=SlicePolicy(90, 90, 2))
        desk.settle(leg, talked_s)
    assert crossings(desk) == [("80", 39, 40), ("all", 49, 50)], "before and after are seconds used"
    assert [entry["grant"] for entry in desk.entries("threshold")] == ["minutes", "minutes"]


def test_a_threshold_on_an_allowance_that_is_not_there_is_silent(desk: Desk) -> None:
    desk.terms = Terms(thresholds=(USED_80,))
    desk.credit("1.00")
    desk.reserve("l")
    desk.settle("l", 10)
    assert crossings(desk) == []
