"""Leases outside the account's shard, a reseller's: separate, idempotent, safe under crash and repeat."""

from __future__ import annotations

from rater.charging.model import Status
from rater.charging.terms import Lease
from rater.verdict import Reason
from tests.contract.desk import OTHER_SHARD, Desk

RESELLER = Lease("reseller:R", 2, Reason.RESELLER_LIMIT)


def test_leases_outside_are_exact_and_free_again(desk: Desk) -> None:
    assert [desk.take(leg, RESELLER).status for leg in "abc"] == [Status.OK, Status.OK, Status.DENIED]
    assert desk.take("c", RESELLER).reason is Reason.RESELLER_LIMIT
    assert desk.live(RESELLER.scope, OTHER_SHARD) == 2
    assert desk.live(RESELLER.scope) == 0, "they are not in the account's shard"
    desk.free("a", RESELLER)
    assert desk.take("c", RESELLER).status is Status.OK


def test_taking_and_freeing_may_be_repeated(desk: Desk) -> None:
    for _ in range(3):
        assert desk.take("a", RESELLER).status is Status.OK
    assert desk.live(RESELLER.scope, OTHER_SHARD) == 1
    for _ in range(3):
        assert desk.free("a", RESELLER).status is Status.OK
    assert desk.live(RESELLER.scope, OTHER_SHARD) == 0


def test_all_leases_outside_are_taken_or_none(desk: Desk) -> None:
    full = Lease("reseller:R:out", 0, Reason.RESELLER_LIMIT)
    assert desk.take("a", RESELLER, full).status is Status.DENIED
    assert desk.live(RESELLER.scope, OTHER_SHARD) == 0


def test_leases_of_a_dead_daemon_free_themselves_and_a_renewed_one_lasts(desk: Desk) -> None:
    desk.take("a", RESELLER, lasting_s=60)
    desk.take("b", RESELLER, lasting_s=60)
    desk.now_ms += 59_999
    assert desk.take("b", RESELLER, forced=True, lasting_s=60).status is Status.OK
    assert desk.take("c", RESELLER).status is Status.DENIED
    desk.now_ms += 1
    assert desk.live(RESELLER.scope, OTHER_SHARD) == 1
    assert desk.take("c", RESELLER).status is Status.OK
    assert desk.take("d", RESELLER).status is Status.DENIED


def test_a_forced_lease_is_counted_beyond_the_limit(desk: Desk) -> None:
    for leg in "ab":
        desk.take(leg, RESELLER)
    assert desk.take("sos", RESELLER, forced=True).status is Status.OK
    desk.free("a", RESELLER)
    assert desk.take("c", RESELLER).status is Status.DENIED


def test_an_old_leader_takes_and_frees_nothing_outside(desk: Desk) -> None:
    desk.epoch = 2
    desk.take("a", RESELLER)
    desk.epoch = 1
    assert desk.take("b", RESELLER).status is Status.STALE
    assert desk.free("a", RESELLER).status is Status.STALE
    assert desk.live(RESELLER.scope, OTHER_SHARD) == 1
    desk.epoch = 2


def test_leases_outside_and_the_legs_own_do_not_mix(desk: Desk) -> None:
    line = Lease("line:1", 1, Reason.LINE_LIMIT)
    desk.credit("10.00")
    desk.take("a", RESELLER)
    granted_s = desk.reserve("a", leases=(line,)).granted_s
    for _ in range(3):
        desk.take("a", RESELLER, forced=True)
        granted_s = desk.extend("a", granted_s).granted_s
    assert (desk.live("line:1"), desk.live(RESELLER.scope, OTHER_SHARD)) == (1, 1)
    desk.settle("a", granted_s)
    assert (desk.live("line:1"), desk.live(RESELLER.scope, OTHER_SHARD)) == (0, 1)
    desk.free("a", RESELLER)
    assert desk.live(RESELLER.scope, OTHER_SHARD) == 0


def test_a_reseller_in_shadow_is_told_and_denies_nobody(desk: Desk) -> None:
    told = Lease(RESELLER.scope, 1, Reason.RESELLER_LIMIT, shadow=True)
    assert desk.take("a", told).reason is Reason.ALLOWED
    reply = desk.take("b", told)
    assert (reply.status, reply.reason) == (Status.OK, Reason.RESELLER_LIMIT)
    assert desk.live(RESELLER.scope, OTHER_SHARD) == 2


def test_a_leg_that_holds_its_lease_is_not_counted_against_itself(desk: Desk) -> None:
    one = Lease(RESELLER.scope, 1, Reason.RESELLER_LIMIT)
    assert desk.take("a", one).status is Status.OK
    assert desk.take("a", one).status is Status.OK
    assert desk.take("b", one).status is Status.DENIED
