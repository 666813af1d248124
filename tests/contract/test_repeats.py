"""Repeats, late arrivals and stale leaders: the first answer stands, and nothing moves twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rater.charging.model import Request, Status
from rater.charging.terms import Lease
from rater.ids import OpId, SwitchId
from rater.verdict import Reason
from tests.contract.desk import CENT, SHARD, SWITCH, Desk

TRUNK = (Lease("trunk:t1", 1, Reason.TRUNK_LIMIT),)


def test_every_operation_of_a_leg_repeated_gives_its_first_answer(desk: Desk) -> None:
    desk.credit("10.00")
    for request in _a_life(desk, "l"):
        first = desk.ask(request)
        assert first.status is Status.OK
        assert not first.repeated
        assert [desk.ask(request) for _ in range(3)] == [replace(first, repeated=True)] * 3
    assert desk.account().balance_micro == 958 * CENT
    assert len(desk.entries("rated")) == 1
    assert desk.live("trunk:t1") == 0


def _a_life(desk: Desk, leg: str) -> list[Request]:
    return [
        desk.a_reservation(leg, leases=TRUNK),
        desk.an_answer(leg),
        desk.an_extension(leg, 25),
        desk.a_settlement(leg, 42),
    ]


def test_a_denial_repeated_is_recorded_once(desk: Desk) -> None:
    request = desk.a_reservation("l")
    replies = [desk.ask(request) for _ in range(3)]
    assert [reply.repeated for reply in replies] == [False, True, True]
    assert {reply.reason for reply in replies} == {Reason.INSUFFICIENT_CREDIT}
    assert len(desk.entries("denied")) == 1


def test_a_denial_stands_even_when_money_came_meanwhile(desk: Desk) -> None:
    request = desk.a_reservation("l")
    desk.ask(request)
    desk.credit("1.00")
    assert desk.ask(request).status is Status.DENIED
    assert desk.reserve("l").status is Status.OK, "a new operation asks anew"


def test_a_denial_without_a_balance_is_recorded_once(desk: Desk) -> None:
    for repeated in (False, True):
        reply = desk.deny("x", "no_rate")
        assert (reply.status, reply.repeated) == (Status.OK, repeated)
    [entry] = desk.entries("denied")
    assert (entry["id"], entry["reason"]) == ("x", Reason.NO_RATE)


def test_an_operation_overtaken_by_a_later_one_changes_nothing_and_tells_the_state(desk: Desk) -> None:
    desk.credit("10.00")
    reservation, extension = desk.a_reservation("l"), desk.an_extension("l", 20)
    desk.ask(reservation)
    desk.ask(extension)
    reply = desk.ask(reservation)
    assert (reply.status, reply.granted_s, reply.repeated) == (Status.OK, 80, True)


def test_what_comes_after_the_settlement_finds_the_leg_gone(desk: Desk) -> None:
    desk.credit("10.00")
    reservation = desk.a_reservation("l")
    extension = desk.an_extension("l", 20)
    desk.ask(reservation)
    desk.settle("l", 10)
    for late in (extension, reservation, desk.an_extension("l", 20), desk.a_settlement("l", 10)):
        assert desk.ask(late).status is Status.GONE
    assert desk.account().charges_micro == 10 * CENT


def test_a_settled_leg_is_not_reserved_again(desk: Desk) -> None:
    desk.credit("10.00")
    desk.reserve("l")
    desk.settle("l", 10)
    reply = desk.reserve("l")
    assert (reply.status, reply.reason) == (Status.GONE, Reason.STALE_LEADER)


def test_a_reservation_that_comes_after_its_settlement_reserves_nothing(desk: Desk) -> None:
    desk.credit("10.00")
    reservation = desk.a_reservation("l", leases=TRUNK)
    assert desk.settle("l", None).status is Status.GONE
    assert desk.ask(reservation).status is Status.GONE
    assert desk.account().reserved_micro == 0
    assert desk.live("trunk:t1") == 0


def test_operations_on_an_unknown_leg_do_nothing(desk: Desk) -> None:
    assert desk.answer("l").status is Status.GONE
    assert desk.extend("l", 5).status is Status.GONE
    assert desk.settle("l", 5).status is Status.GONE
    assert desk.entries("rated") == []


def test_a_second_reservation_of_a_live_leg_takes_nothing_more(desk: Desk) -> None:
    desk.credit("10.00")
    desk.reserve("l")
    reply = desk.reserve("l")
    assert (reply.status, reply.granted_s, reply.repeated) == (Status.OK, 30, True)
    assert desk.account().reserved_micro == 30 * CENT


# Leadership


def test_a_stale_leader_changes_nothing(desk: Desk) -> None:
    desk.credit("10.00")
    desk.epoch = 5
    desk.reserve("l", leases=TRUNK)
    before = desk.account(), desk.leg("l")
    desk.epoch = 4
    for request in (
        desk.a_reservation("m"), desk.an_answer("l"), desk.an_extension("l", 20), desk.a_settlement("l", 10),
    ):  # fmt: skip
        reply = desk.ask(request)
        assert (reply.status, reply.reason) == (Status.STALE, Reason.STALE_LEADER)
    assert (desk.account(), desk.leg("l")) == before
    assert desk.entries("rated") == []


def test_a_newer_leader_takes_a_leg_over(desk: Desk) -> None:
    desk.credit("10.00")
    desk.reserve("l")
    desk.epoch += 1
    assert desk.settle("l", 10).amount_micro == 10 * CENT


def test_epochs_of_one_switch_do_not_touch_another(desk: Desk) -> None:
    desk.credit("10.00")
    desk.epoch = 9
    desk.reserve("l")
    desk.epoch = 1
    other = replace(desk.a_reservation("m"), switch=SwitchId("pbx2"))
    assert desk.ask(other).status is Status.OK
    assert {leg.leg for leg in desk.legs(SWITCH)} == {"l"}
    assert {leg.leg for leg in desk.legs()} == {"l", "m"}


def test_leadership_has_one_holder_and_a_growing_epoch(desk: Desk) -> None:
    store, run = desk.driver.store, desk.driver.run
    assert run(store.lead(SWITCH, "one", 60_000)) == 1
    assert run(store.lead(SWITCH, "one", 60_000)) == 1
    assert run(store.lead(SWITCH, "two", 60_000)) is None
    assert run(store.lead(SwitchId("pbx2"), "two", 60_000)) == 1
    assert run(store.lead(SWITCH, "one", 0)) == 1, "given up"
    assert run(store.lead(SWITCH, "two", 60_000)) == 2


def test_leadership_fences_the_holder_before(desk: Desk) -> None:
    store, run = desk.driver.store, desk.driver.run
    desk.credit("10.00")
    desk.epoch = run(store.lead(SWITCH, "one", 0))
    assert desk.reserve("l").status is Status.OK
    run(store.lead(SWITCH, "two", 60_000))
    assert desk.settle("l", 5).status is Status.STALE


@pytest.mark.parametrize("written", [40, 1])
def test_34_a_new_epoch_exceeds_every_one_that_was_written(desk: Desk, written: int) -> None:
    """Were it the same, the leader before would be believed on, too."""
    store, run = desk.driver.store, desk.driver.run
    desk.credit("10.00")
    desk.epoch = written
    desk.reserve("l")
    desk.epoch = run(store.lead(SWITCH, "one", 60_000))
    assert desk.epoch == written + 1
    assert run(store.lead(SWITCH, "one", 60_000, written)) == written + 1, "renewed"
    assert desk.settle("l", 5).status is Status.OK


def test_an_account_nobody_knows_is_none(desk: Desk) -> None:
    assert desk.driver.run(desk.driver.store.accounts(SHARD)) == []
    assert desk.reserve("l").status is Status.DENIED
    assert desk.driver.run(desk.driver.store.accounts(SHARD)) == [], "a denial makes no account"
    desk.ask(desk.a_posting(OpId("first"), "1.00", account="NEW"))
    assert [state.account for state in desk.driver.run(desk.driver.store.accounts(SHARD))] == ["NEW"]
