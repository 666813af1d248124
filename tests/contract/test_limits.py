"""Simultaneous-call limits: exact, with precedence, never leaking a slot."""

from __future__ import annotations

import pytest

from rater.charging.model import Status
from rater.charging.rules import LEASE_MARGIN_MS
from rater.charging.terms import Lease, SlicePolicy
from rater.verdict import Reason
from tests.contract.desk import FREE, PER_SECOND, Desk

LINE = Lease("line:1001", 2, Reason.LINE_LIMIT)
ACCOUNT = Lease("account:ACME", 3, Reason.ACCOUNT_LIMIT)
TRUNK = Lease("trunk:t1", 1, Reason.TRUNK_LIMIT)


@pytest.fixture(autouse=True)
def rich(desk: Desk) -> None:
    desk.credit("100.00")


def test_of_twenty_attempts_exactly_as_many_pass_as_the_limit_allows(desk: Desk) -> None:
    replies = [desk.reserve(f"l{i}", leases=(Lease("line:1", 5, Reason.LINE_LIMIT),)) for i in range(20)]
    assert [reply.status for reply in replies] == [Status.OK] * 5 + [Status.DENIED] * 15
    assert {reply.reason for reply in replies[5:]} == {Reason.LINE_LIMIT}
    assert desk.live("line:1") == 5


@pytest.mark.parametrize("duration_s", [None, 7])
def test_a_slot_is_free_again_when_its_leg_is_settled(desk: Desk, duration_s: int | None) -> None:
    desk.reserve("a", leases=(TRUNK,))
    assert desk.reserve("b", leases=(TRUNK,)).reason is Reason.TRUNK_LIMIT
    desk.settle("a", duration_s)
    assert desk.live("trunk:t1") == 0
    assert desk.reserve("c", leases=(TRUNK,)).status is Status.OK


@pytest.mark.parametrize(
    ("leases", "reason"),
    [
        ((LINE,), Reason.LINE_LIMIT),
        ((TRUNK, LINE), Reason.LINE_LIMIT),
        ((TRUNK, ACCOUNT, LINE), Reason.LINE_LIMIT),
        ((TRUNK, ACCOUNT), Reason.TRUNK_LIMIT),
        ((ACCOUNT,), None),
    ],
)
def test_of_several_reached_limits_the_first_by_precedence_is_told(
    desk: Desk, leases: tuple[Lease, ...], reason: Reason | None
) -> None:
    for leg in ("a", "b"):
        desk.reserve(leg, leases=(LINE, ACCOUNT))
    desk.reserve("c", leases=(TRUNK,))
    reply = desk.reserve("d", leases=leases)
    assert (reply.reason if reply.status is Status.DENIED else None) == reason


def test_a_limit_is_told_before_the_lack_of_money(desk: Desk) -> None:
    desk.reserve("a", leases=(TRUNK,))
    desk.debit("99.70")
    assert desk.reserve("b").reason is Reason.INSUFFICIENT_CREDIT
    assert desk.reserve("c", leases=(TRUNK,)).reason is Reason.TRUNK_LIMIT


def test_a_denied_leg_takes_no_slot_anywhere(desk: Desk) -> None:
    desk.reserve("a", leases=(TRUNK, LINE))
    desk.reserve("b", leases=(TRUNK, LINE))
    assert (desk.live("trunk:t1"), desk.live("line:1001")) == (1, 1)


@pytest.mark.parametrize("kept_elsewhere", [Reason.TRUNK_LIMIT, Reason.RESELLER_LIMIT, Reason.MARGIN_FLOOR])
def test_a_limit_kept_elsewhere_denies_with_its_place_in_the_order(desk: Desk, kept_elsewhere: Reason) -> None:
    assert desk.reserve("a", broken=kept_elsewhere).reason is kept_elsewhere
    assert desk.reserve("sos", FREE, exempt=True, broken=kept_elsewhere).status is Status.OK
    desk.debit("99.00")
    assert desk.reserve("b", broken=kept_elsewhere).reason is kept_elsewhere
    line = Lease("line:9", 0, Reason.LINE_LIMIT)
    assert desk.reserve("c", leases=(line,), broken=kept_elsewhere).reason is Reason.LINE_LIMIT


def test_leases_expire_with_their_slices_and_are_renewed_by_them(desk: Desk) -> None:
    lease = Lease("account:ACME:class:premium", 1, Reason.CLASS_LIMIT)
    granted_s = desk.reserve("a", leases=(lease,)).granted_s
    desk.now_ms += granted_s * 1000 + LEASE_MARGIN_MS - 1
    longer_s = desk.extend("a", granted_s).granted_s
    desk.now_ms += longer_s * 1000 + LEASE_MARGIN_MS - 1
    assert desk.reserve("b", leases=(lease,)).reason is Reason.CLASS_LIMIT
    desk.now_ms += 1
    assert desk.reserve("b", leases=(lease,)).status is Status.OK


def test_a_limit_of_zero_lets_nothing_pass(desk: Desk) -> None:
    assert desk.reserve("a", leases=(Lease("line:1", 0, Reason.LINE_LIMIT),)).reason is Reason.LINE_LIMIT


def test_free_legs_are_limited_too(desk: Desk) -> None:
    desk.reserve("a", FREE, leases=(TRUNK,))
    assert desk.reserve("b", FREE, leases=(TRUNK,)).reason is Reason.TRUNK_LIMIT


def test_an_emergency_leg_passes_a_full_limit_and_is_counted(desk: Desk) -> None:
    desk.reserve("a", leases=(TRUNK,))
    assert desk.reserve("sos", FREE, leases=(TRUNK,), exempt=True).status is Status.OK
    assert desk.live("trunk:t1") == 2
    desk.settle("a", 1)
    assert desk.reserve("b", leases=(TRUNK,)).reason is Reason.TRUNK_LIMIT


def test_the_slot_of_a_leg_that_nobody_renews_frees_itself(desk: Desk) -> None:
    granted_s = desk.reserve("a", leases=(TRUNK,)).granted_s
    desk.now_ms += granted_s * 1000 + LEASE_MARGIN_MS - 1
    assert desk.reserve("b", leases=(TRUNK,)).reason is Reason.TRUNK_LIMIT
    desk.now_ms += 1
    assert desk.live("trunk:t1") == 0
    assert desk.reserve("c", leases=(TRUNK,)).status is Status.OK


@pytest.mark.parametrize("renewal", ["answer", "extend", "extend while it rings"])
def test_each_operation_renews_the_slot(desk: Desk, renewal: str) -> None:
    granted_s = desk.reserve("a", leases=(TRUNK,)).granted_s
    desk.now_ms += granted_s * 1000 + LEASE_MARGIN_MS - 1
    if renewal == "answer":
        desk.answer("a")
    elif renewal == "extend":
        desk.extend("a", 20)
    else:
        assert desk.extend("a", 0, slices=SlicePolicy(1, 1, 1)).granted_s == granted_s
    desk.now_ms += LEASE_MARGIN_MS
    assert desk.reserve("b", leases=(TRUNK,)).reason is Reason.TRUNK_LIMIT


def test_slots_of_expired_legs_do_not_pile_up_and_their_legs_can_still_be_settled(desk: Desk) -> None:
    desk.reserve("a", leases=(TRUNK,))
    desk.now_ms += 10_000_000
    desk.reserve("b", leases=(TRUNK,))
    desk.reserve("c", leases=(TRUNK,))
    assert desk.settle("a", 5).amount_micro == 5 * 10_000
    assert desk.live("trunk:t1") == 1


def test_the_leases_of_a_leg_are_kept_with_it(desk: Desk) -> None:
    desk.reserve("a", PER_SECOND, leases=(LINE, ACCOUNT, TRUNK))
    leg = desk.leg("a")
    assert leg is not None
    assert leg.leases == ("line:1001", "account:ACME", "trunk:t1")
