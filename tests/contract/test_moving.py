"""Adjustments, refunds and transfers: each once, never more than there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from rater.charging.model import Post, PostKind, Reply, Status
from rater.charging.terms import Terms
from rater.charging.transfers import finish_pending, transfer
from rater.errors import AmountError, InputError
from rater.ids import AccountId, LegId, OpId, Shard
from rater.money import parse_amount
from rater.verdict import Reason
from tests.contract.desk import CENT, NOON_MS, SHARD, Desk

FAR = Shard(1)
EVENT = LegId("pbx1.b.7")


def post(desk: Desk, op: str, kind: PostKind, amount: str, **more: Any) -> Reply:
    return desk.ask(replace(desk.a_posting(op, amount, kind), **more))


def refund(desk: Desk, op: str, amount: str, charged: str = "1.00", **more: Any) -> Reply:
    more = {"event": EVENT, "charged_micro": parse_amount(charged), **more}
    return post(desk, op, PostKind.REFUND, amount, **more)


# Adjusting


def test_an_adjustment_goes_up_or_down_and_is_told_as_such(desk: Desk) -> None:
    assert post(desk, "a", PostKind.ADJUST, "2.00").balance_micro == 200 * CENT
    reply = post(desk, "b", PostKind.ADJUST, "-0.50", cause="wrong price")
    assert (reply.amount_micro, reply.balance_micro) == (-50 * CENT, 150 * CENT)
    state = desk.account()
    assert (state.credits_micro, state.debits_micro) == (200 * CENT, 50 * CENT)
    assert desk.causes() == [("adjust", "", 0, 200 * CENT), ("adjust", "", 200 * CENT, 150 * CENT)]


def test_an_adjustment_leaves_what_calls_hold_and_stops_at_the_floor(desk: Desk) -> None:
    desk.credit("1.00")
    desk.reserve("l")
    assert post(desk, "a", PostKind.ADJUST, "-0.71").reason is Reason.INSUFFICIENT_CREDIT
    assert post(desk, "b", PostKind.ADJUST, "-0.70").status is Status.OK


def test_the_sign_of_an_adjustment_is_part_of_its_contents(desk: Desk) -> None:
    desk.credit("1.00")
    assert not post(desk, "a", PostKind.ADJUST, "0.10").repeated
    assert post(desk, "a", PostKind.ADJUST, "0.10").repeated
    assert post(desk, "a", PostKind.ADJUST, "-0.10").status is Status.CONFLICT


def test_an_adjustment_of_nothing_is_refused(desk: Desk) -> None:
    with pytest.raises(AmountError):
        post(desk, "a", PostKind.ADJUST, "0")


def test_an_adjustment_upwards_wakes_the_legs_that_wait(desk: Desk) -> None:
    desk.credit("0.01")
    desk.reserve("l")
    post(desk, "a", PostKind.ADJUST, "1.00")
    assert desk.woken() == ["ACME"]


# Refunds


def test_refunds_of_an_event_never_exceed_what_it_was_charged(desk: Desk) -> None:
    assert refund(desk, "r1", "0.60").balance_micro == 60 * CENT
    assert refund(desk, "r2", "0.41").reason is Reason.REFUND_TOO_LARGE
    assert refund(desk, "r3", "0.40").balance_micro == 100 * CENT
    assert refund(desk, "r4", "0.000001").reason is Reason.REFUND_TOO_LARGE
    assert [cause for cause, *_ in desk.causes()] == ["refund", "refund"]


def test_a_refund_is_carried_out_once_for_its_operation_id(desk: Desk) -> None:
    refund(desk, "r1", "0.60")
    assert refund(desk, "r1", "0.60").repeated
    assert refund(desk, "r1", "0.60", event=LegId("pbx1.b.8")).status is Status.CONFLICT
    assert desk.account().balance_micro == 60 * CENT


def test_each_event_has_refunds_of_its_own(desk: Desk) -> None:
    refund(desk, "r1", "1.00")
    assert refund(desk, "r2", "1.00", event=LegId("pbx1.b.8")).status is Status.OK


def test_a_refund_without_an_event_is_refused(desk: Desk) -> None:
    with pytest.raises(InputError, match="needs an event"):
        refund(desk, "r", "1.00", event=None)


# Transfers


@pytest.fixture(params=[SHARD, FAR], ids=["within", "across"])
def other_shard(request: pytest.FixtureRequest) -> Iterator[Shard]:
    yield request.param


def send(desk: Desk, op: str, amount: str, shard: Shard, **more: Any) -> Reply:
    request = replace(
        desk.a_posting(op, amount, PostKind.TRANSFER), other=AccountId("BETA"), other_shard=shard, **more
    )
    reply: Reply = desk.driver.run(transfer(desk.driver.store, request))
    return reply


def balance(desk: Desk, shard: Shard, account: str = "BETA") -> int:
    state = desk.driver.run(desk.driver.store.account(shard, AccountId(account)))
    return state.balance_micro if state is not None else 0


def test_a_transfer_takes_here_and_gives_there(desk: Desk, other_shard: Shard) -> None:
    desk.credit("1.00")
    reply = send(desk, "t", "0.30", other_shard, cause="family")
    assert (reply.status, reply.amount_micro, reply.balance_micro) == (Status.OK, 30 * CENT, 70 * CENT)
    assert balance(desk, other_shard) == 30 * CENT
    assert desk.causes()[-1] == ("transfer", "", 100 * CENT, 70 * CENT)
    assert desk.driver.run(desk.driver.store.transfers(SHARD)) == []


def test_a_transfer_is_carried_out_once_for_its_operation_id(desk: Desk, other_shard: Shard) -> None:
    desk.credit("1.00")
    send(desk, "t", "0.30", other_shard)
    assert send(desk, "t", "0.30", other_shard).repeated
    assert send(desk, "t", "0.31", other_shard).status is Status.CONFLICT
    assert (balance(desk, SHARD, "ACME"), balance(desk, other_shard)) == (70 * CENT, 30 * CENT)


def test_more_than_there_is_cannot_be_transferred(desk: Desk, other_shard: Shard) -> None:
    desk.credit("1.00")
    desk.reserve("l")
    assert send(desk, "t", "0.71", other_shard).reason is Reason.INSUFFICIENT_CREDIT
    assert (balance(desk, SHARD, "ACME"), balance(desk, other_shard)) == (100 * CENT, 0)


def test_a_transfer_that_the_other_side_cannot_take_changes_nothing(desk: Desk, other_shard: Shard) -> None:
    desk.credit("1.00")
    full = Post(
        OpId("full"), other_shard, AccountId("BETA"), PostKind.CREDIT, 9_000_000_000_000_000, NOON_MS, Terms()
    )  # fmt: skip
    desk.ask(full)
    assert send(desk, "t", "0.30", other_shard).reason is Reason.OUT_OF_RANGE
    assert balance(desk, SHARD, "ACME") == 100 * CENT
    assert desk.driver.run(desk.driver.store.transfers(SHARD)) == []


def test_money_that_arrives_wakes_the_legs_that_wait_there(desk: Desk) -> None:
    desk.credit("1.00")
    desk.credit("0.01", account="BETA")
    desk.reserve("l", account="BETA")
    send(desk, "t", "0.30", SHARD)
    assert desk.woken() == ["BETA"]


def test_a_transfer_left_in_the_middle_is_finished_by_whoever_finds_it(desk: Desk) -> None:
    desk.credit("1.00")
    first = replace(
        desk.a_posting("t", "0.30", PostKind.TRANSFER_OUT), other=AccountId("BETA"), other_shard=FAR, cause="half"
    )
    desk.ask(first)
    [pending] = desk.driver.run(desk.driver.store.transfers(SHARD))
    assert (pending.account, pending.other, pending.other_shard, pending.amount_micro, pending.cause) == (
        "ACME", "BETA", FAR, 30 * CENT, "half",
    )  # fmt: skip
    assert balance(desk, FAR) == 0
    for finished in (1, 0):
        assert desk.driver.run(finish_pending(desk.driver.store, SHARD, NOON_MS)) == finished
        assert balance(desk, FAR) == 30 * CENT


def test_finishing_twice_at_once_gives_once(desk: Desk) -> None:
    desk.credit("1.00")
    desk.ask(replace(desk.a_posting("t", "0.30", PostKind.TRANSFER_OUT), other=AccountId("BETA"), other_shard=FAR))
    reply = send(desk, "t", "0.30", FAR)
    assert (reply.status, reply.repeated) == (Status.OK, True)
    assert balance(desk, FAR) == 30 * CENT
    assert desk.driver.run(desk.driver.store.transfers(SHARD)) == []


def test_to_itself_nothing_is_transferred(desk: Desk) -> None:
    desk.credit("1.00")
    with pytest.raises(InputError, match="another account"):
        post(desk, "t", PostKind.TRANSFER, "0.10", other=AccountId("ACME"))
