"""Grants given by hand, their order, their validity, blockers; money that ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rater.charging.grants import MAX_GRANTS
from rater.charging.model import PostKind, Status
from rater.charging.terms import (
    Consumption,
    GrantSpec,
    Resource,
    SlicePolicy,
    Terms,
    Threshold,
    ThresholdKind,
    Tier,
)
from rater.errors import AmountError, InputError
from rater.ids import GrantId
from rater.money import Cadence, Quote, Segment
from rater.verdict import Reason
from tests.contract.desk import CENT, DAY_MS, FREE, NOON_MS, PER_SECOND, Desk, allowance, blocker, minutes, money

HOUR_MS = 3_600_000
PER_MINUTE = Quote((Segment(0, 60, CENT, 1),), "EUR", "fixed")
MOBILE = Quote((Segment(0, 1, CENT, 1),), "EUR", "mobile")
ALL = SlicePolicy(3600, 3600, 1)


# Giving and ending


def test_a_gift_of_minutes_is_used_before_money(desk: Desk) -> None:
    desk.credit("1.00")
    reply = desk.give(minutes("welcome", 20, source="voucher"))
    assert (reply.status, reply.amount_micro, reply.balance_micro) == (Status.OK, 20, 100 * CENT)
    desk.reserve("l")
    assert desk.pieces("l") == [("welcome", 0, 20, 20), ("", 20, 30, 10)]
    assert desk.settle("l", 25).amount_micro == 5 * CENT
    assert desk.causes()[1:] == [
        ("grant", "welcome", 0, 20), ("call", "", 100 * CENT, 95 * CENT), ("call", "welcome", 20, 0),
    ]  # fmt: skip
    assert desk.account().grants[0].source == "voucher"


def test_a_gift_makes_the_account(desk: Desk) -> None:
    desk.give(minutes("welcome", 20), account="NEW")
    assert desk.grants("NEW") == [("welcome", 20, 0, 0)]


def test_a_gift_is_given_once_for_its_operation_id(desk: Desk) -> None:
    first = desk.give(minutes("welcome", 20), "op")
    again = desk.give(minutes("welcome", 20), "op")
    assert (first.repeated, again.repeated, again.status) == (False, True, Status.OK)
    assert desk.grants() == [("welcome", 20, 0, 0)]


@pytest.mark.parametrize(
    "other",
    [
        {"amount": 21}, {"valid_until_ms": NOON_MS + 1}, {"priority": 1}, {"source": "gift2"},
        {"classes": ("fixed",)}, {"cadence": Cadence(0, 30, 6)}, {"resource": Resource.MONEY},
    ],
)  # fmt: skip
def test_the_same_operation_id_for_another_gift_is_a_conflict(desk: Desk, other: dict[str, object]) -> None:
    desk.give(minutes("welcome", 20), "op")
    spec = replace(minutes("welcome", 20), **other)  # type: ignore[arg-type]  # fields of many types
    assert desk.give(spec, "op").status is Status.CONFLICT
    assert desk.grants() == [("welcome", 20, 0, 0)]


def test_a_grants_id_is_used_once_while_it_is_on_record(desk: Desk) -> None:
    desk.give(minutes("welcome", 20), "one")
    assert desk.give(minutes("welcome", 30), "two").status is Status.CONFLICT
    desk.expire("welcome")
    assert desk.give(minutes("welcome", 30), "three").status is Status.OK
    assert desk.grants() == [("welcome", 30, 0, 0)]


def test_an_account_holds_a_bounded_number_of_grants(desk: Desk) -> None:
    for i in range(MAX_GRANTS):
        assert desk.give(minutes(f"g{i}", 1)).status is Status.OK
    assert desk.give(minutes("more", 1)).reason is Reason.OUT_OF_RANGE
    desk.expire("g7")
    assert desk.give(minutes("more", 1), "again").status is Status.OK


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (minutes("", 1), InputError),
        (minutes("a/b", 1), InputError),
        (minutes("share:X", 1), InputError),
        (minutes("g", 0), AmountError),
        (minutes("g", -5), AmountError),
        (minutes("g", 10**9 + 1), AmountError),
        (replace(blocker("g"), amount=5), AmountError),
        (minutes("g", 1, valid_until_ms=NOON_MS), InputError),
        (minutes("g", 1, priority=1001), InputError),
        (minutes("g", 1, also=("mobile",)), InputError),
        (minutes("g", 1, classes=("a,b",)), InputError),
    ],
)
def test_a_gift_that_cannot_be_is_refused(desk: Desk, spec: GrantSpec, error: type[Exception]) -> None:
    with pytest.raises(error):
        desk.give(spec)


def test_ending_a_grant_by_hand_voids_what_is_left_but_not_what_a_call_holds(desk: Desk) -> None:
    desk.credit("1.00")
    desk.give(minutes("welcome", 100))
    desk.reserve("l")
    reply = desk.expire("welcome", "end")
    assert (reply.status, reply.amount_micro) == (Status.OK, 70)
    assert desk.expire("welcome", "end").repeated
    desk.settle("l", 20)
    assert desk.causes()[-3:] == [
        ("expire", "welcome", 100, 30), ("call", "welcome", 30, 10), ("expire", "welcome", 10, 0),
    ]  # fmt: skip
    assert desk.grants() == []
    assert desk.expire("welcome", "end2").status is Status.GONE


def test_an_allowance_ended_by_hand_comes_again_with_its_next_cycle(desk: Desk) -> None:
    desk.use_allowances(allowance(100))
    desk.credit("1.00")
    desk.reserve("l")
    desk.settle("l", 10)
    assert desk.expire("minutes").amount_micro == 90
    desk.reserve("m")
    assert desk.pieces("m") == [("", 0, 30, 30)]
    desk.settle("m", 1)
    desk.now_ms += DAY_MS
    desk.use_allowances(allowance(100, cycle=1))
    desk.reserve("n")
    assert desk.pieces("n") == [("minutes", 0, 30, 30)]


# The order of use


def test_own_class_then_linked_then_all_classes_then_money(desk: Desk) -> None:
    desk.credit("1.00")
    desk.give(minutes("generic", 5))
    desk.give(minutes("linked", 5, classes=("mobile",), also=("fixed",)))
    desk.give(minutes("own", 5, classes=("fixed", "other")))
    desk.give(minutes("foreign", 5, classes=("mobile",)))
    desk.use_allowances(allowance(5, grant="plan"), allowance(5, grant="plan-linked", tier=Tier.LINKED))
    desk.reserve("l")
    assert [piece[0] for piece in desk.pieces("l")] == ["plan", "own", "plan-linked", "linked", "generic", ""]


def test_a_grant_of_another_class_is_left_alone(desk: Desk) -> None:
    desk.give(minutes("fixed-only", 100, classes=("fixed",)))
    assert desk.reserve("l", MOBILE).reason is Reason.INSUFFICIENT_CREDIT


def test_inside_a_tier_priority_then_earliest_expiry_then_oldest(desk: Desk) -> None:
    desk.now_ms += 10
    desk.give(minutes("late", 5, valid_until_ms=NOON_MS + 9 * DAY_MS))
    desk.give(minutes("young", 5, valid_from_ms=NOON_MS + 5, valid_until_ms=NOON_MS + 2 * DAY_MS))
    desk.give(minutes("old", 5, valid_until_ms=NOON_MS + 2 * DAY_MS))
    desk.give(minutes("first", 5, priority=-1))
    desk.give(minutes("last", 5, priority=1, valid_until_ms=NOON_MS + DAY_MS))
    desk.reserve("l", slices=SlicePolicy(24, 60, 1))
    assert [piece[0] for piece in desk.pieces("l")] == ["first", "old", "young", "late", "last"]


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (Consumption.EARLIEST_EXPIRY, ["b", "a", "c"]),
        (Consumption.LATEST_EXPIRY, ["c", "a", "b"]),
        (Consumption.OLDEST, ["a", "b", "c"]),
        (Consumption.NEWEST, ["c", "b", "a"]),
    ],
)
@pytest.mark.parametrize("resource", Resource)
def test_each_resource_may_have_an_order_of_its_own(
    desk: Desk, order: Consumption, names: list[str], resource: Resource
) -> None:
    desk.now_ms += 10
    for name, from_ms, days in (("a", 0, 2), ("b", 1, 1), ("c", 2, 3)):
        desk.give(
            GrantSpec(
                GrantId(name), resource, 5 if resource is Resource.SECONDS else 5 * CENT, NOON_MS + from_ms,
                NOON_MS + days * DAY_MS,
            )
        )  # fmt: skip
    desk.terms = (
        Terms(seconds_order=order) if resource is Resource.SECONDS else Terms(money_order=order)
    )  # fmt: skip
    desk.reserve("l", slices=SlicePolicy(15, 15, 15))
    desk.extend_to_the_end("l")
    assert list(dict.fromkeys(piece[0] for piece in desk.pieces("l"))) == names


def test_a_grant_counts_by_its_own_cadence(desk: Desk) -> None:
    desk.give(minutes("m", 1000, cadence=Cadence(3, 30, 6)))
    desk.reserve("l")
    desk.extend("l", 29)
    desk.settle("l", 31)
    assert desk.grants() == [("m", 1000, 36, 0)]


def test_a_blocker_stops_the_chain(desk: Desk) -> None:
    desk.credit("10.00")
    desk.give(minutes("before", 10))
    desk.give(blocker("stop", priority=1))
    desk.give(minutes("after", 10, priority=2))
    assert desk.reserve("l").granted_s == 10
    assert desk.leg("l").final  # type: ignore[union-attr]
    assert desk.reserve("m").reason is Reason.ALLOWANCE_EXHAUSTED
    desk.expire("stop")
    assert desk.extend("l", 5).granted_s == 65


def test_a_blocker_of_one_class_leaves_the_others_alone(desk: Desk) -> None:
    desk.credit("10.00")
    desk.give(blocker("no-mobiles", classes=("mobile",)))
    assert desk.reserve("l", MOBILE).reason is Reason.ALLOWANCE_EXHAUSTED
    assert desk.reserve("m").status is Status.OK


def test_a_blocker_of_money_leaves_seconds_and_money_before_it(desk: Desk) -> None:
    desk.credit("10.00")
    desk.give(money("gift", "0.10"))
    desk.give(blocker("stop", Resource.MONEY, priority=1))
    desk.give(minutes("m", 10))
    desk.reserve("l")
    assert desk.extend_to_the_end("l").granted_s == 20
    assert desk.pieces("l") == [("m", 0, 10, 10), ("gift", 10, 20, 10)]
    assert desk.account().reserved_micro == 0


# Validity


def test_a_grant_that_begins_later_is_not_used_before(desk: Desk) -> None:
    desk.give(minutes("later", 100, valid_from_ms=NOON_MS + HOUR_MS))
    assert desk.reserve("l").reason is Reason.INSUFFICIENT_CREDIT
    desk.now_ms += HOUR_MS
    assert desk.reserve("m").status is Status.OK


def test_a_grant_that_ends_during_the_call_covers_the_seconds_before_its_end(desk: Desk) -> None:
    desk.credit("1.00")
    desk.give(minutes("ends", 1000, valid_until_ms=NOON_MS + 10_000))
    desk.reserve("l")
    assert desk.pieces("l") == [("ends", 0, 10, 10), ("", 10, 30, 20)]
    desk.now_ms += 40_000
    desk.extend("l", 29)
    assert desk.settle("l", 35).amount_micro == 25 * CENT
    assert desk.causes()[-2:] == [("call", "", 100 * CENT, 75 * CENT), ("call", "ends", 10, 0)]


def test_the_end_of_a_grant_is_counted_from_the_answer_on(desk: Desk) -> None:
    desk.credit("1.00")
    desk.give(minutes("ends", 1000, valid_until_ms=NOON_MS + 50_000))
    desk.reserve("l")
    desk.now_ms += 45_000
    desk.extend("l", 20)
    assert desk.pieces("l") == [("ends", 0, 30, 30), ("", 30, 80, 50)], "20 s into the call it is 45 s past noon"


def test_a_grant_that_begins_during_the_slice_is_used_from_there_on(desk: Desk) -> None:
    desk.credit("1.00")
    desk.give(minutes("begins", 8, valid_from_ms=NOON_MS + 9_500))
    desk.reserve("l")
    assert desk.pieces("l") == [("", 0, 10, 10), ("begins", 10, 18, 8), ("", 18, 30, 12)]


def test_a_slice_that_reaches_into_the_next_cycle_takes_from_it(desk: Desk) -> None:
    until_ms = NOON_MS - 1000 + DAY_MS
    desk.now_ms = until_ms - 20_000
    desk.use_allowances(allowance(1000, next_until_ms=until_ms + DAY_MS), use_money=False)
    assert desk.reserve("l").granted_s == 30
    assert desk.pieces("l") == [("minutes", 0, 20, 20), ("minutes", 20, 30, 10)]
    assert desk.grants() == [("minutes", 1000, 0, 20), ("minutes", 1000, 0, 10)]
    desk.now_ms += 25_000
    desk.use_allowances(allowance(1000, cycle=1, next_until_ms=until_ms + 2 * DAY_MS), use_money=False)
    assert desk.extend("l", 25).granted_s == 85
    desk.settle("l", 50)
    assert desk.grants() == [("minutes", 1000, 30, 0)]
    assert desk.causes() == [
        ("renew", "minutes", 0, 1000), ("renew", "minutes", 0, 1000), ("expire", "minutes", 1000, 20),
        ("call", "minutes", 20, 0), ("call", "minutes", 1000, 970),
    ]  # fmt: skip


# Money that ends


def test_money_that_ends_is_used_before_the_balance(desk: Desk) -> None:
    desk.credit("1.00")
    desk.give(money("gift", "0.20", valid_until_ms=NOON_MS + DAY_MS))
    reply = desk.reserve("l")
    assert (reply.granted_s, reply.reserved_micro) == (30, 10 * CENT)
    assert desk.money_grants() == [("gift", 20, 0, 20)]
    reply = desk.settle("l", 25)
    assert (reply.amount_micro, reply.balance_micro) == (25 * CENT, 95 * CENT)
    [event] = desk.entries("rated")
    assert event["pieces"] == [["", 0, 25, 25 * CENT]]
    assert event["funds"] == [["gift", 0, 20 * CENT], ["", 0, 5 * CENT]]


def test_what_was_not_talked_goes_back_to_money_in_the_right_order(desk: Desk) -> None:
    desk.credit("1.00")
    desk.give(money("gift", "0.20"))
    desk.reserve("l")
    assert desk.settle("l", 15).balance_micro == 100 * CENT
    assert desk.money_grants() == [("gift", 20, 15, 0)]


def test_an_increment_may_be_paid_from_two_sources(desk: Desk) -> None:
    desk.credit("1.00")
    desk.give(money("gift", "0.25"))
    desk.reserve("l", PER_MINUTE)
    assert desk.pieces("l") == [("gift", 0, 60, 25), ("", 0, 60, 35)]
    reply = desk.extend("l", 55)
    assert (reply.granted_s, reply.final) == (120, True)
    assert desk.settle("l", 10).amount_micro == 60 * CENT
    assert desk.account().balance_micro == 65 * CENT
    [event] = desk.entries("rated")
    assert event["pieces"] == [["", 0, 10, 60 * CENT]]


def test_money_that_ends_during_the_call_pays_only_before_its_end(desk: Desk) -> None:
    desk.credit("1.00")
    desk.give(money("gift", "5.00", valid_until_ms=NOON_MS + 10_000))
    desk.reserve("l")
    assert desk.pieces("l") == [("gift", 0, 10, 10), ("", 10, 30, 20)]


def test_an_increment_begun_with_money_that_ends_goes_on_to_its_end(desk: Desk) -> None:
    desk.give(money("gift", "5.00", valid_until_ms=NOON_MS + 10_000))
    reply = desk.reserve("l", PER_MINUTE)
    assert (reply.granted_s, reply.final) == (60, True)
    assert desk.pieces("l") == [("gift", 0, 60, 60)]
    assert desk.settle("l", 40).amount_micro == 60 * CENT


def test_several_legs_share_money_that_ends(desk: Desk) -> None:
    desk.give(money("gift", "0.20"))
    granted = {f"l{i}": desk.reserve(f"l{i}").granted_s for i in range(5)}
    assert all(granted.values())
    for leg in granted:
        desk.extend_to_the_end(leg)
        desk.settle(leg, 3600)
    assert desk.account().balance_micro == 0
    assert desk.money_grants() == [("gift", 20, 20, 0)]


def test_money_given_wakes_the_legs_that_wait(desk: Desk) -> None:
    desk.credit("0.01")
    assert desk.reserve("l").final
    desk.give(money("gift", "1.00"))
    assert desk.woken() == ["ACME"]
    assert desk.extend("l", 0).granted_s == 51


def test_an_account_that_its_allowance_blocks_uses_no_money_at_all(desk: Desk) -> None:
    desk.use_allowances(allowance(10), use_money=False)
    desk.give(money("gift", "1.00"))
    assert desk.reserve("l", slices=ALL).granted_s == 5
    assert desk.extend_to_the_end("l").granted_s == 10


def test_money_goes_down_to_the_limit_after_what_ends(desk: Desk) -> None:
    desk.terms = Terms(floor_micro=-10 * CENT)
    desk.give(money("gift", "0.05"))
    desk.reserve("l")
    assert desk.extend_to_the_end("l").granted_s == 15
    assert desk.settle("l", 15).balance_micro == -10 * CENT


def test_a_free_leg_takes_nothing_of_grants(desk: Desk) -> None:
    desk.give(minutes("m", 100))
    desk.give(money("gift", "1.00"))
    desk.reserve("l", FREE)
    assert desk.grants() == [("m", 100, 0, 0)]
    assert desk.money_grants() == [("gift", 100, 0, 0)]


def test_a_threshold_on_the_balance_does_not_see_money_grants(desk: Desk) -> None:
    desk.terms = Terms(thresholds=(Threshold("low", ThresholdKind.MONEY_BELOW, 100 * CENT),))
    desk.ask(desk.a_posting("c", "1.00", PostKind.CREDIT))
    desk.give(money("gift", "0.10"))
    desk.reserve("l")
    desk.settle("l", 10)
    assert desk.entries("threshold") == []
    desk.reserve("m")
    desk.settle("m", 1)
    assert len(desk.entries("threshold")) == 1


def test_a_leg_costs_what_its_quote_says_whoever_pays(desk: Desk) -> None:
    desk.credit("10.00")
    quote = Quote((Segment(0, 30, 700, 3), Segment(60, 6, 100, 7)), "EUR", "fixed", 10, connect_micro=12_345)
    for i, amount in enumerate(("0.000300", "0.012400", "0.003333")):
        desk.give(money(f"g{i}", amount))
    desk.reserve("l", quote, slices=SlicePolicy(7, 11, 2))
    elapsed_s = 0
    while (granted_s := desk.extend("l", elapsed_s, slices=SlicePolicy(7, 11, 2)).granted_s) < 200:
        elapsed_s = granted_s - 1
    reply = desk.settle("l", 199)
    exact = 12_345 + 700 * 60 / 3 + 100 * 144 / 7
    assert reply.amount_micro == round(exact / 10) * 10
    funds = {name: amount for name, _, amount in desk.entries("rated")[0]["funds"]}
    assert sum(funds.values()) == reply.amount_micro
    assert (funds["g0"], funds["g1"], funds["g2"]) == (300, 12_400, 3333)


def test_per_second_pieces_of_one_source_are_one_piece(desk: Desk) -> None:
    desk.credit("10.00")
    desk.give(money("gift", "2.00"))
    desk.reserve("l", PER_SECOND)
    for elapsed_s in (20, 80, 140):
        desk.extend("l", elapsed_s)
    assert desk.pieces("l") == [("gift", 0, 200, 200)]
