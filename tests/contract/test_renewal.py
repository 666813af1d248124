"""What rolls over from one cycle to the next; who reads an account nobody has touched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rater.charging.terms import AllowanceTerm, PastCycle, Rollover
from rater.ids import AccountId, GrantId
from rater.money import Cadence
from tests.contract.desk import DAY_MS, NOON_MS, SHARD, Desk, allowance

START_MS = NOON_MS - 1000


def monthly(
    seconds: int, cycle: int, *, most: int = 60, least: int = 0, cycles: int = 1, size: int | None = None
) -> AllowanceTerm:
    """An allowance of a day's cycle that rolls over; `cycle` days after the first."""
    past = tuple(
        PastCycle(
            START_MS + (cycle - k) * DAY_MS, size or seconds, START_MS + (cycle - k + 1) * DAY_MS,
            START_MS + (cycle - k + 1 + cycles) * DAY_MS,
        )
        for k in range(cycles, 0, -1)
    )  # fmt: skip
    from_ms = START_MS + cycle * DAY_MS
    return AllowanceTerm(
        GrantId("minutes"), seconds, Cadence(), from_ms, from_ms + DAY_MS, next_until_ms=from_ms + 2 * DAY_MS,
        rollover=Rollover(most, least, past),
    )  # fmt: skip


def day(desk: Desk, number: int, term: AllowanceTerm) -> None:
    desk.now_ms = NOON_MS + number * DAY_MS
    desk.use_allowances(term, use_money=False)


def talk(desk: Desk, leg: str, seconds: int) -> None:
    desk.reserve(leg)
    desk.extend_to_the_end(leg)
    desk.settle(leg, seconds)


@pytest.mark.parametrize(
    ("left_s", "most_s", "least_s", "rolled_s"),
    [(40, 60, 0, 40), (90, 60, 0, 60), (0, 60, 15, 15), (40, 60, 50, 50), (0, 60, 0, 0), (30, 20, 20, 20)],
)
def test_what_is_left_rolls_over_within_its_bounds(
    desk: Desk, left_s: int, most_s: int, least_s: int, rolled_s: int
) -> None:
    day(desk, 0, monthly(100, 0, most=most_s, least=least_s))
    talk(desk, "a", 100 - left_s)
    day(desk, 1, monthly(100, 1, most=most_s, least=least_s))
    desk.reserve("b")
    rolled = [g for g in desk.account().grants if g.source == "rollover"]
    assert [g.granted_s for g in rolled] == ([rolled_s] if rolled_s else [])
    causes = [cause for cause, *_ in desk.causes()]
    assert causes == ["renew", "call"][: 1 + (left_s < 100)] + ["expire"] * (left_s > 0) + ["rollover"] * (
        rolled_s > 0
    ) + ["renew"]


def test_what_rolled_over_is_used_by_its_expiry_and_ends_with_its_last_cycle(desk: Desk) -> None:
    day(desk, 0, monthly(100, 0, cycles=2))
    talk(desk, "a", 50)
    day(desk, 1, monthly(100, 1, cycles=2))
    talk(desk, "b", 10)
    assert desk.grants() == [("minutes~", 50, 0, 0), ("minutes", 100, 10, 0)]
    day(desk, 2, monthly(100, 2, cycles=2))
    desk.reserve("c")
    assert [g for g in desk.grants() if g[0] == "minutes~"] == [("minutes~", 50, 0, 30), ("minutes~", 60, 0, 0)]
    desk.settle("c", 5)
    day(desk, 3, monthly(100, 3, cycles=2))
    talk(desk, "d", 1)
    assert [g[1] for g in desk.grants() if g[0] == "minutes~"] == [60, 60], "the first has ended"


def test_cycles_that_nobody_met_roll_over_whole(desk: Desk) -> None:
    day(desk, 0, monthly(100, 0, cycles=3, most=1000))
    talk(desk, "a", 70)
    day(desk, 3, monthly(100, 3, cycles=3, most=1000))
    desk.reserve("b")
    rolled = [
        (g.granted_s, g.valid_from_ms, g.valid_until_ms) for g in desk.account().grants if g.source == "rollover"
    ]
    assert rolled == [
        (30, START_MS + DAY_MS, START_MS + 4 * DAY_MS), (100, START_MS + 2 * DAY_MS, START_MS + 5 * DAY_MS),
        (100, START_MS + 3 * DAY_MS, START_MS + 6 * DAY_MS),
    ]  # fmt: skip


def test_what_is_older_than_the_rollover_is_void(desk: Desk) -> None:
    day(desk, 0, monthly(100, 0))
    talk(desk, "a", 70)
    day(desk, 5, monthly(100, 5, most=1000))
    desk.reserve("b")
    assert [g[1] for g in desk.grants() if g[0] == "minutes~"] == [100]
    assert ("expire", "minutes", 30, 0) in desk.causes()


def test_a_new_account_has_nothing_to_roll_over(desk: Desk) -> None:
    day(desk, 3, monthly(100, 3))
    desk.reserve("a")
    assert [g[0] for g in desk.grants()] == ["minutes"]


def test_an_ended_cycle_waits_for_its_rollover_though_others_call(desk: Desk) -> None:
    day(desk, 0, monthly(100, 0))
    talk(desk, "a", 70)
    desk.now_ms += DAY_MS
    desk.use_allowances()
    desk.credit("1.00")
    desk.reserve("other class")
    day(desk, 1, monthly(100, 1))
    desk.reserve("b")
    assert [g[1] for g in desk.grants() if g[0] == "minutes~"] == [30]


def test_what_a_call_gives_back_after_the_renewal_rolls_over_too(desk: Desk) -> None:
    day(desk, 0, monthly(1000, 0, most=5000))
    desk.reserve("a")
    desk.reserve("other")
    day(desk, 1, monthly(1000, 1, most=5000))
    desk.reserve("b")
    assert [g[1] for g in desk.grants() if g[0] == "minutes~"] == [940], "what they hold counts as used so far"
    desk.settle("a", 10)
    assert desk.causes()[-2:] == [("expire", "minutes", 50, 30), ("rollover", "minutes~", 940, 960)]
    desk.settle("other", None)
    assert [g[1] for g in desk.grants() if g[0] == "minutes~"] == [990], "all but what was talked"


@pytest.mark.parametrize(
    ("talked_s", "most_s", "least_s", "rolled_s", "after_s"),
    [(10, 500, 0, [], [30]), (10, 12, 0, [], [12]), (10, 500, 15, [15], [30]), (10, 500, 35, [35], [35]),
     (40, 500, 0, [], [])],
)  # fmt: skip
def test_what_comes_back_keeps_to_the_bounds_of_the_rollover(
    desk: Desk, talked_s: int, most_s: int, least_s: int, rolled_s: list[int], after_s: list[int]
) -> None:
    def rolled() -> list[int]:
        return [g.granted_s for g in desk.account().grants if g.source == "rollover"]

    day(desk, 0, monthly(40, 0, most=most_s, least=least_s))
    desk.reserve("a")
    assert desk.extend_to_the_end("a").granted_s == 40
    day(desk, 1, monthly(40, 1, most=most_s, least=least_s))
    desk.reserve("b")
    assert rolled() == rolled_s
    desk.settle("a", talked_s)
    assert rolled() == after_s


def test_a_slice_into_the_next_cycle_does_not_lose_the_rollover(desk: Desk) -> None:
    day(desk, 0, monthly(1000, 0, most=5000))
    desk.now_ms = START_MS + DAY_MS - 10_000
    desk.reserve("a")
    assert desk.pieces("a") == [("minutes", 0, 10, 10), ("minutes", 10, 30, 20)]
    day(desk, 1, monthly(1000, 1, most=5000))
    desk.reserve("b")
    assert [g[1] for g in desk.grants() if g[0] == "minutes~"] == [990]
    assert desk.pieces("b") == [("minutes~", 0, 30, 30)]


def test_reading_shows_the_renewal_though_nobody_touched_the_account(desk: Desk) -> None:
    day(desk, 0, monthly(100, 0))
    talk(desk, "a", 70)
    before = desk.driver.ledger()
    tomorrow = monthly(100, 1)
    terms = replace(desk.terms, allowances=(tomorrow, allowance(50, grant="new", cycle=1)))
    store = desk.driver.store
    state = desk.driver.run(store.account(SHARD, AccountId("ACME"), terms, NOON_MS + DAY_MS))
    assert [(g.grant, g.remaining_s, g.closed) for g in state.grants] == [
        ("minutes~", 30, False), ("minutes", 100, False), ("new", 50, False),
    ]  # fmt: skip
    assert desk.grants() == [("minutes", 100, 70, 0)], "nothing was stored"
    assert desk.driver.ledger() == before
    assert desk.driver.run(store.account(SHARD, AccountId("NOBODY"), terms, NOON_MS)) is None
