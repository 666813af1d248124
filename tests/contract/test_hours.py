"""Grants with hours: drawn on only while one of their bands is in force, and a slice is split at the second."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rater.charging.terms import AllowanceTerm, PastCycle, Quota, Rollover, Share, SlicePolicy, Terms, Tier
from rater.errors import InputError
from rater.ids import AccountId
from rater.money import Cadence, Quote, Segment
from rater.verdict import Reason
from tests.contract.desk import (
    CENT,
    DAY_MS,
    NOON_MS,
    PER_SECOND,
    Desk,
    allowance,
    blocker,
    minutes,
    money,
)

ALL = SlicePolicy(3600, 3600, 1)
MOBILE = Quote((Segment(0, 1, CENT, 1),), "EUR", "mobile")
NIGHT = ("night",)


def in_force(*edges: tuple[int, str]) -> tuple[tuple[int, str], ...]:
    """Bands by the second after noon from when they are in force; long before, the last one named."""
    return ((NOON_MS - DAY_MS, edges[-1][1]), *((NOON_MS + at_s * 1000, band) for at_s, band in edges))


OPENS = in_force((-3600, "day"), (20, "night"), (3600, "day"))
CLOSES = in_force((-3600, "night"), (20, "day"), (3600, "night"))


def night_minutes(seconds: int, *, cadence: Cadence | None = None, **more: object) -> AllowanceTerm:
    return replace(allowance(seconds, cadence=cadence), hours=NIGHT, **more)  # type: ignore[arg-type]


# Both edges


def test_an_allowance_is_drawn_on_from_the_second_its_hours_begin(desk: Desk) -> None:
    desk.use_allowances(night_minutes(100))
    desk.terms = replace(desk.terms, bands=OPENS)
    desk.credit("1.00")
    desk.reserve("l")
    assert desk.pieces("l") == [("", 0, 20, 20), ("minutes", 20, 30, 10)]
    desk.now_ms += 25_000
    desk.extend("l", 25)
    assert desk.pieces("l") == [("", 0, 20, 20), ("minutes", 20, 85, 65)]
    assert desk.settle("l", 50).amount_micro == 20 * CENT
    assert desk.grants() == [("minutes", 100, 30, 0)]


def test_an_allowance_is_left_at_the_second_its_hours_end(desk: Desk) -> None:
    desk.use_allowances(night_minutes(100))
    desk.terms = replace(desk.terms, bands=CLOSES)
    desk.credit("1.00")
    desk.reserve("l")
    assert desk.pieces("l") == [("minutes", 0, 20, 20), ("", 20, 30, 10)]
    assert desk.settle("l", 12).amount_micro == 0
    assert desk.grants() == [("minutes", 100, 12, 0)]


def test_a_call_that_was_answered_later_is_split_at_the_same_moment(desk: Desk) -> None:
    """Its seconds are counted from the answer."""
    desk.use_allowances(night_minutes(100))
    desk.terms = replace(desk.terms, bands=OPENS)
    desk.credit("1.00")
    desk.reserve("l", slices=SlicePolicy(5, 60, 2))
    desk.now_ms += 10_000
    desk.answer("l")
    desk.extend("l", 0)
    assert desk.pieces("l") == [("", 0, 10, 10), ("minutes", 10, 60, 50)]
    desk.settle("l", 60)


def test_hours_may_begin_and_end_within_one_slice(desk: Desk) -> None:
    desk.use_allowances(night_minutes(1000))
    desk.terms = replace(
        desk.terms, bands=in_force((-60, "day"), (10, "night"), (20, "day"), (40, "night"), (50, ""))
    )
    desk.credit("5.00")
    desk.reserve("l", slices=ALL)
    assert desk.pieces("l")[:5] == [
        ("", 0, 10, 10), ("minutes", 10, 20, 10), ("", 20, 40, 20), ("minutes", 40, 50, 10), ("", 50, 285, 235),
    ]  # fmt: skip
    desk.settle("l", 45)
    assert desk.grants() == [("minutes", 1000, 15, 0)]


def test_hours_that_begin_within_a_second_begin_with_the_next(desk: Desk) -> None:
    desk.use_allowances(night_minutes(100))
    desk.terms = replace(desk.terms, bands=((0, "day"), (NOON_MS + 20_001, "night")))
    desk.credit("1.00")
    desk.reserve("l")
    assert desk.pieces("l") == [("", 0, 21, 21), ("minutes", 21, 30, 9)]
    desk.settle("l", 0)


def test_an_increment_begun_before_the_hours_end_is_taken_whole(desk: Desk) -> None:
    desk.use_allowances(night_minutes(600, cadence=Cadence(0, 60, 60)))
    desk.terms = replace(desk.terms, bands=CLOSES)
    desk.credit("1.00")
    desk.reserve("l")
    assert desk.pieces("l") == [("minutes", 0, 20, 60), ("", 20, 30, 10)]
    desk.settle("l", 30)
    assert desk.grants() == [("minutes", 600, 60, 0)]


def test_one_of_several_bands_is_enough(desk: Desk) -> None:
    desk.use_allowances(replace(allowance(100), hours=("night", "weekend")))
    desk.terms = replace(desk.terms, bands=in_force((-60, "weekend"), (10, "night"), (20, "day")))
    desk.credit("1.00")
    desk.reserve("l")
    assert desk.pieces("l") == [("minutes", 0, 20, 20), ("", 20, 30, 10)]
    desk.settle("l", 0)


def test_the_name_is_the_whole_name(desk: Desk) -> None:
    desk.use_allowances(night_minutes(100))
    desk.terms = replace(desk.terms, bands=in_force((-60, "midnight"), (10, "night_"), (20, "")))
    desk.credit("1.00")
    desk.reserve("l")
    assert desk.pieces("l") == [("", 0, 30, 30)]
    desk.settle("l", 0)


# Who has no such hours


@pytest.mark.parametrize("bands", [(), OPENS[:2]])
def test_hours_that_the_plan_does_not_know_are_never_in_force(
    desk: Desk, bands: tuple[tuple[int, str], ...]
) -> None:
    """Never open, for a grant that is bound to hours must not become one of all hours when a plan changes."""
    desk.terms = replace(desk.terms, bands=bands)
    desk.credit("1.00")
    desk.give(minutes("gift", 100, hours=("sundays",)))
    desk.give(money("voucher", "1.00", hours=("sundays",)))
    desk.reserve("l")
    assert desk.pieces("l") == [("", 0, 30, 30)]
    desk.settle("l", 30)


def test_with_nothing_but_closed_grants_the_call_is_denied_and_ends_where_hours_do(desk: Desk) -> None:
    desk.terms = replace(desk.terms, bands=CLOSES)
    desk.give(minutes("gift", 100, hours=NIGHT))
    reply = desk.reserve("l")
    assert (reply.granted_s, reply.final) == (20, True)
    desk.settle("l", 20)
    desk.now_ms += 20_000
    assert desk.reserve("m").reason is Reason.INSUFFICIENT_CREDIT


def test_an_allowance_that_is_closed_counts_as_exhausted(desk: Desk) -> None:
    desk.use_allowances(night_minutes(100), use_money=False)
    desk.terms = replace(desk.terms, bands=OPENS)
    desk.credit("1.00")
    assert desk.reserve("l").reason is Reason.ALLOWANCE_EXHAUSTED


# By hand, and among others


def test_gifts_of_seconds_and_money_have_hours(desk: Desk) -> None:
    desk.terms = replace(desk.terms, bands=OPENS)
    desk.credit("1.00")
    desk.give(minutes("gift", 5, hours=NIGHT))
    desk.give(money("voucher", "0.03", hours=NIGHT))
    desk.reserve("l")
    assert desk.pieces("l") == [("", 0, 20, 20), ("gift", 20, 25, 5), ("voucher", 25, 30, 3), ("", 25, 30, 2)]
    desk.settle("l", 30)
    assert (desk.grants(), desk.money_grants()) == ([("gift", 5, 5, 0)], [("voucher", 3, 3, 0)])
    assert desk.account().grants[0].hours == NIGHT
    assert desk.account().money_grants[0].hours == NIGHT


def test_hours_go_before_priority_and_expiry_go_before_what_follows(desk: Desk) -> None:
    """Among the open ones the usual order: priority, then the earliest end."""
    desk.terms = replace(desk.terms, bands=OPENS)
    desk.credit("1.00")
    desk.give(minutes("first", 6, hours=NIGHT, priority=-1))
    desk.give(minutes("ends", 6, hours=NIGHT, valid_until_ms=NOON_MS + DAY_MS))
    desk.give(minutes("always", 26))
    desk.reserve("l", slices=SlicePolicy(40, 60, 2))
    assert desk.pieces("l") == [
        ("always", 0, 20, 20), ("first", 20, 26, 6), ("ends", 26, 32, 6), ("always", 32, 38, 6), ("", 38, 40, 2)
    ]  # fmt: skip
    desk.settle("l", 40)


def test_hours_and_validity_end_whichever_comes_first(desk: Desk) -> None:
    desk.terms = replace(desk.terms, bands=CLOSES)
    desk.credit("1.00")
    desk.give(minutes("short", 100, hours=NIGHT, valid_until_ms=NOON_MS + 10_000))
    desk.give(minutes("late", 100, hours=NIGHT, valid_from_ms=NOON_MS + 5_000, valid_until_ms=NOON_MS + DAY_MS))
    desk.reserve("l")
    assert desk.pieces("l") == [("short", 0, 10, 10), ("late", 10, 20, 10), ("", 20, 30, 10)]
    desk.settle("l", 30)


def test_a_blocker_blocks_in_its_hours(desk: Desk) -> None:
    desk.terms = replace(desk.terms, bands=OPENS)
    desk.credit("1.00")
    desk.give(blocker("quiet", hours=NIGHT))
    reply = desk.reserve("l")
    assert (reply.granted_s, reply.final) == (20, True)
    desk.settle("l", 20)
    desk.now_ms += 20_000
    assert desk.reserve("m").reason is Reason.ALLOWANCE_EXHAUSTED


def test_hours_of_grants_of_other_classes_do_not_split(desk: Desk) -> None:
    desk.terms = replace(desk.terms, bands=OPENS)
    desk.credit("1.00")
    desk.give(minutes("gift", 100, hours=NIGHT, classes=("fixed",)))
    desk.reserve("l", MOBILE)
    assert desk.pieces("l") == [("", 0, 30, 30)]
    desk.settle("l", 30)


@pytest.mark.parametrize("hours", [("a,b",), ("",), tuple(f"b{i}" for i in range(40))])
def test_hours_that_cannot_be_kept_are_refused(desk: Desk, hours: tuple[str, ...]) -> None:
    with pytest.raises(InputError):
        desk.give(minutes("gift", 100, hours=hours))


def test_the_same_operation_for_other_hours_is_a_conflict(desk: Desk) -> None:
    desk.give(minutes("gift", 100, hours=NIGHT), "op")
    assert desk.give(minutes("gift", 100, hours=NIGHT), "op").repeated
    assert desk.give(minutes("gift", 100), "op").status.value == "conflict"
    assert desk.give(minutes("gift", 100, hours=("day",)), "op").status.value == "conflict"


# Cycles, groups, shares, shadow


def test_a_cycle_that_the_slice_reaches_into_has_the_same_hours(desk: Desk) -> None:
    ends_ms = NOON_MS + 10_000
    term = replace(
        night_minutes(100), valid_until_ms=ends_ms, next_until_ms=ends_ms + DAY_MS,
    )  # fmt: skip
    desk.use_allowances(term)
    desk.terms = replace(desk.terms, bands=OPENS)
    desk.credit("1.00")
    desk.reserve("l")
    assert desk.pieces("l") == [("", 0, 20, 20), ("minutes", 20, 30, 10)]
    desk.settle("l", 30)
    assert desk.grants() == [("minutes", 100, 0, 0), ("minutes", 100, 10, 0)]


def test_what_rolled_over_keeps_the_hours_of_its_allowance(desk: Desk) -> None:
    desk.use_allowances(allowance(100))
    desk.credit("1.00")
    desk.reserve("before")
    desk.settle("before", 10)
    desk.now_ms += DAY_MS
    past = PastCycle(NOON_MS - 1000, 100, NOON_MS - 1000 + DAY_MS, NOON_MS - 1000 + 2 * DAY_MS)
    term = replace(allowance(100, cycle=1, rollover=Rollover(50, 0, (past,))), hours=NIGHT)
    opens = tuple((at_ms + DAY_MS, band) for at_ms, band in OPENS)
    desk.use_allowances(term)
    desk.terms = replace(desk.terms, bands=opens)
    desk.reserve("l")
    assert desk.pieces("l") == [("", 0, 20, 20), ("minutes~", 20, 30, 10)]
    desk.settle("l", 30)


def test_a_member_draws_on_the_group_in_the_hours_of_the_owners_plan(desk: Desk) -> None:
    lent = Terms(0, False, (night_minutes(100, tier=Tier.GENERIC),), (), "EUR", bands=OPENS)
    ends_ms = NOON_MS + DAY_MS
    quota = Quota(100, NOON_MS - 1000, ends_ms, ends_ms + DAY_MS)
    desk.credit("1.00")
    desk.terms = replace(desk.terms, share=Share(AccountId("BOSS"), lent, quota_s=quota), bands=CLOSES)
    desk.give(minutes("gift", 100, hours=NIGHT))
    desk.reserve("l")
    assert desk.pieces("l") == [("gift", 0, 20, 20), ("minutes", 20, 30, 10)]
    desk.settle("l", 30)
    assert desk.grants("BOSS") == [("minutes", 100, 10, 0)]


def test_near_its_end_a_closed_grant_leaves_the_fair_shares_of_money_as_they_are(desk: Desk) -> None:
    desk.terms = replace(desk.terms, bands=CLOSES)
    desk.give(minutes("gift", 1000, hours=("never",)))
    desk.credit("0.40")
    desk.reserve("l", slices=SlicePolicy(30, 60, 2))
    assert desk.pieces("l") == [("", 0, 20, 20)]
    desk.settle("l", 0)


def test_in_shadow_hours_bind_as_well(desk: Desk) -> None:
    desk.terms = replace(desk.terms, bands=CLOSES, shadow=True)
    desk.give(minutes("gift", 100, hours=NIGHT))
    desk.reserve("l")
    assert desk.pieces("l")[0] == ("gift", 0, 20, 20)
    desk.now_ms += 20_000
    desk.extend("l", 20)
    assert desk.pieces("l")[1][0] == ""
    desk.settle("l", 40)
    assert desk.grants() == [("gift", 100, 20, 0)]


@pytest.mark.parametrize("edges_ms", [((0, "night"),), ((0, "day"), (NOON_MS, "night"))])
def test_a_band_that_is_in_force_throughout_splits_nothing(
    desk: Desk, edges_ms: tuple[tuple[int, str], ...]
) -> None:
    desk.terms = replace(desk.terms, bands=edges_ms)
    desk.credit("1.00")
    desk.give(minutes("gift", 100, hours=NIGHT))
    desk.reserve("l", PER_SECOND)
    assert desk.pieces("l") == [("gift", 0, 30, 30)]
    desk.settle("l", 30)
