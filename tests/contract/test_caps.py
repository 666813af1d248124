"""Call rates, spend caps, precedence, shadow; over every store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import pytest

from rater.charging.model import Status
from rater.charging.terms import CallRate, Lease, SpendCap, SpendWindow
from rater.verdict import Reason
from tests.contract.desk import CENT, FREE, Desk, allowance, blocker, money

HOUR_MS = 3_600_000
RATE = CallRate("account:ACME", 3)


@pytest.fixture(autouse=True)
def rich(desk: Desk) -> None:
    desk.credit("100.00")


def cap(desk: Desk, cents: int, window: SpendWindow = SpendWindow.HOUR, **more: bool) -> None:
    """From now on, in the window that begins now."""
    desk.terms = replace(desk.terms, spend=(SpendCap(window, cents * CENT, desk.now_ms, **more),))


# -- calls per second ----------------------------------------------------------------------------------------------


def passed(desk: Desk, rate: CallRate, times: list[int]) -> list[int]:
    """At which of these milliseconds an attempt passed; each leg ends at once, so that no other limit plays in."""
    start_ms, found = desk.now_ms, []
    for i, at_ms in enumerate(times):
        desk.now_ms = start_ms + at_ms
        leg = f"r{desk.now_ms}.{i}"
        if desk.reserve(leg, rates=(rate,)).status is Status.OK:
            found.append(at_ms)
            desk.settle(leg, None)
    return found


def test_no_second_has_more_attempts_than_the_rate_allows(desk: Desk) -> None:
    assert passed(desk, RATE, [0, 0, 0, 0, 400, 999, 1000, 1000, 1000, 1001]) == [0, 0, 0, 1000, 1000, 1000]


def test_the_second_slides(desk: Desk) -> None:
    assert passed(desk, RATE, [0, 600, 900, 950, 1000, 1050, 1600, 1650]) == [0, 600, 900, 1000, 1600]


def test_attempts_that_were_denied_do_not_count(desk: Desk) -> None:
    busy = Lease("line:1", 0, Reason.LINE_LIMIT)
    for i in range(5):
        assert desk.reserve(f"b{i}", leases=(busy,), rates=(RATE,)).reason is Reason.LINE_LIMIT
    assert passed(desk, RATE, [0, 0, 0, 0]) == [0, 0, 0]


def test_scopes_have_rates_of_their_own_and_a_repeat_is_no_attempt(desk: Desk) -> None:
    line, account = CallRate("line:1", 1), CallRate("account:ACME", 2)
    first = desk.a_reservation("a", rates=(line, account))
    assert desk.ask(first).status is Status.OK
    assert desk.ask(first).repeated
    assert desk.reserve("b", rates=(line, account)).reason is Reason.CALL_RATE_LIMIT
    assert desk.reserve("c", rates=(CallRate("line:2", 1), account)).status is Status.OK
    assert desk.reserve("d", rates=(CallRate("line:3", 1), account)).reason is Reason.CALL_RATE_LIMIT


def test_a_clock_set_back_blocks_nobody(desk: Desk) -> None:
    desk.now_ms += HOUR_MS
    assert passed(desk, RATE, [0, 0, 0]) == [0, 0, 0]
    desk.now_ms -= HOUR_MS
    assert passed(desk, RATE, [0]) == [0]


# -- money in an hour and a day ------------------------------------------------------------------------------------


def test_a_leg_ends_where_the_cap_is_spent_and_the_next_is_denied(desk: Desk) -> None:
    cap(desk, 50)
    desk.reserve("a")
    assert desk.extend_to_the_end("a").granted_s == 50
    assert desk.reserve("b").reason is Reason.SPEND_LIMIT
    desk.settle("a", 50)
    assert desk.reserve("c").reason is Reason.SPEND_LIMIT
    assert desk.account().balance_micro == 9_950 * CENT


def test_what_is_given_back_may_be_spent(desk: Desk) -> None:
    cap(desk, 50)
    desk.reserve("a")
    desk.extend_to_the_end("a")
    desk.settle("a", 20)
    desk.reserve("b")
    assert desk.extend_to_the_end("b").granted_s == 30


@pytest.mark.parametrize("window", list(SpendWindow))
def test_the_next_window_has_a_cap_of_its_own(desk: Desk, window: SpendWindow) -> None:
    cap(desk, 50, window)
    desk.reserve("a")
    desk.extend_to_the_end("a")
    desk.settle("a", 50)
    desk.now_ms += HOUR_MS
    cap(desk, 50, window)
    assert desk.reserve("b").status is Status.OK
    desk.settle("b", 10)
    desk.terms = replace(desk.terms, spend=(SpendCap(window, 50 * CENT, desk.now_ms - HOUR_MS),))
    assert desk.reserve("late").status is Status.OK, "a daemon that is late reads the newer window"
    assert desk.extend_to_the_end("late").granted_s == 40


def test_the_smaller_of_two_caps_decides(desk: Desk) -> None:
    caps = ((SpendWindow.HOUR, 60), (SpendWindow.DAY, 40))
    desk.terms = replace(desk.terms, spend=tuple(SpendCap(w, n * CENT, desk.now_ms) for w, n in caps))
    desk.reserve("a")
    assert desk.extend_to_the_end("a").granted_s == 40


def test_live_legs_share_what_the_cap_leaves(desk: Desk) -> None:
    cap(desk, 60)
    legs = ["a", "b", "c"]
    granted = {leg: desk.reserve(leg).granted_s for leg in legs}
    for _ in range(40):
        granted = {leg: desk.extend(leg, granted[leg] - 1).granted_s for leg in legs}
    assert sum(granted.values()) == 60
    assert min(granted.values()) >= 9, "whoever comes first does not take it all"


def test_seconds_of_an_allowance_are_no_spending(desk: Desk) -> None:
    desk.use_allowances(allowance(100))
    cap(desk, 0)
    assert desk.reserve("a").granted_s == 30
    desk.settle("a", 30)
    assert desk.reserve("b", FREE).status is Status.OK


def test_the_want_of_credit_is_told_after_a_spent_cap(desk: Desk) -> None:
    cap(desk, 5000)
    desk.debit("100.00")
    assert desk.reserve("a").reason is Reason.INSUFFICIENT_CREDIT
    cap(desk, 0)
    assert desk.reserve("b").reason is Reason.SPEND_LIMIT


def test_what_a_grant_of_money_pays_is_spending_too(desk: Desk) -> None:
    desk.give(money("bonus", "0.30"))
    cap(desk, 50)
    desk.reserve("a")
    assert desk.extend_to_the_end("a").granted_s == 50
    desk.settle("a", 40)
    assert desk.account().balance_micro == 9_990 * CENT, "0.30 of the bonus, 0.10 of the balance"
    desk.reserve("b")
    assert desk.extend_to_the_end("b").granted_s == 10


def test_a_repeat_spends_nothing_twice(desk: Desk) -> None:
    cap(desk, 50)
    desk.reserve("a")
    extension = desk.an_extension("a", 5)
    for _ in range(3):
        desk.ask(extension)
    settlement = desk.a_settlement("a", 20)
    for _ in range(3):
        desk.ask(settlement)
    desk.reserve("b")
    assert desk.extend_to_the_end("b").granted_s == 30


# -- precedence ----------------------------------------------------------------------------------------------------

Breaking = dict[str, object]


def spent(desk: Desk) -> Breaking:
    cap(desk, 0)
    return {}


def used_up(desk: Desk) -> Breaking:
    desk.use_allowances(allowance(0), use_money=False)
    return {}


def poor(desk: Desk) -> Breaking:
    desk.debit("100.00")
    return {}


BREAKERS: dict[Reason, Callable[[Desk], Breaking]] = {
    Reason.LINE_LIMIT: lambda _: {"leases": (Lease("line:1", 0, Reason.LINE_LIMIT),)},
    Reason.ACCOUNT_LIMIT: lambda _: {"leases": (Lease("account:ACME", 0, Reason.ACCOUNT_LIMIT),)},
    Reason.TRUNK_LIMIT: lambda _: {"broken": Reason.TRUNK_LIMIT},
    Reason.CLASS_LIMIT: lambda _: {"leases": (Lease("account:ACME:class:x", 0, Reason.CLASS_LIMIT),)},
    Reason.RESELLER_LIMIT: lambda _: {"broken": Reason.RESELLER_LIMIT},
    Reason.CALL_RATE_LIMIT: lambda _: {"rates": (CallRate("account:ACME", 0),)},
    Reason.SPEND_LIMIT: spent,
    Reason.MARGIN_FLOOR: lambda _: {"broken": Reason.MARGIN_FLOOR},
    Reason.ALLOWANCE_EXHAUSTED: used_up,
    Reason.INSUFFICIENT_CREDIT: poor,
}
"""Each reason that is decided with the balance, and how to bring it about."""
NOT_TOGETHER = {(Reason.SPEND_LIMIT, Reason.ALLOWANCE_EXHAUSTED)}
"""Where an allowance is all that pays, no money can be spent."""


def broken(desk: Desk, reasons: tuple[Reason, ...]) -> Breaking:
    """All of them at once."""
    together: Breaking = {}
    for reason in reasons:
        for name, value in BREAKERS[reason](desk).items():
            if isinstance(value, tuple):
                together[name] = (*together.get(name, ()), *value)  # type: ignore[misc]
            else:
                together[name] = min(value, together.get(name, value))  # type: ignore[type-var]
    return together


def test_of_every_two_reasons_the_first_in_the_order_is_told(desk: Desk) -> None:
    clean = desk.terms
    pairs = set(combinations(sorted(BREAKERS), 2)) - NOT_TOGETHER
    for n, (one, other) in enumerate(sorted(pairs)):
        desk.terms = clean
        desk.now_ms += 10_000
        reply = desk.reserve(f"p{n}", **broken(desk, (one, other)))
        assert (reply.status, reply.reason) == (Status.DENIED, one), (one, other)
        if Reason.INSUFFICIENT_CREDIT in (one, other):
            desk.credit("100.00")


@pytest.mark.parametrize("reason", list(BREAKERS))
def test_an_emergency_passes_every_limit(desk: Desk, reason: Reason) -> None:
    breaking = broken(desk, (reason,))
    assert desk.reserve("normal", **breaking).reason is reason
    reply = desk.reserve("sos", FREE, exempt=True, **breaking)
    assert (reply.status, reply.reason) == (Status.OK, Reason.ALLOWED)
    assert desk.settle("sos", 60).amount_micro == 0


# -- shadow --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", list(BREAKERS))
def test_a_leg_in_shadow_goes_on_and_is_told_what_would_have_denied_it(desk: Desk, reason: Reason) -> None:
    breaking = broken(desk, (reason,))
    desk.terms = replace(desk.terms, shadow=True)
    reply = desk.reserve("a", **breaking)
    assert (reply.status, reply.reason, reply.granted_s) == (Status.OK, reason, 30)
    before_micro = desk.account().balance_micro
    assert desk.settle("a", 20).amount_micro == 20 * CENT
    assert desk.account().balance_micro == before_micro - 20 * CENT
    assert desk.entries("denied") == []


def test_one_rule_in_shadow_is_told_and_the_others_deny(desk: Desk) -> None:
    line = Lease("line:1", 0, Reason.LINE_LIMIT, shadow=True)
    rate = CallRate("account:ACME", 0, shadow=True)
    reply = desk.reserve("a", leases=(line,), rates=(rate,))
    assert (reply.status, reply.reason) == (Status.OK, Reason.LINE_LIMIT)
    assert desk.live("line:1") == 1
    trunk = Lease("account:ACME", 0, Reason.ACCOUNT_LIMIT)
    assert desk.reserve("b", leases=(line, trunk), rates=(rate,)).reason is Reason.ACCOUNT_LIMIT


def test_a_spend_cap_in_shadow_is_told_when_it_is_passed(desk: Desk) -> None:
    cap(desk, 50, shadow=True)
    assert desk.reserve("a").reason is Reason.ALLOWED
    reply = desk.extend("a", 25)
    assert (reply.granted_s, reply.reason) == (85, Reason.SPEND_LIMIT)
    desk.settle("a", 80)
    assert desk.reserve("b").reason is Reason.SPEND_LIMIT


def test_at_the_end_of_its_credit_a_leg_in_shadow_is_told_and_charged_on(desk: Desk) -> None:
    desk.debit("99.60")
    desk.terms = replace(desk.terms, shadow=True)
    assert desk.reserve("a").granted_s == 20
    granted_s = 20
    while (reply := desk.extend("a", granted_s - 2)).granted_s > granted_s:
        assert reply.reason is Reason.ALLOWED
        granted_s = reply.granted_s
    assert (granted_s, reply.final) == (40, True)
    nearly = desk.extend("a", 30)
    assert (nearly.granted_s, nearly.reason) == (40, Reason.ALLOWED), "it might yet end before"
    reply = desk.extend("a", 39)
    assert (reply.reason, reply.final) == (Reason.INSUFFICIENT_CREDIT, False)
    assert reply.granted_s >= 99
    assert desk.settle("a", 90).amount_micro == 90 * CENT
    assert desk.account().balance_micro == -50 * CENT


def test_a_blocker_does_not_block_in_shadow(desk: Desk) -> None:
    desk.give(blocker("stop"))
    assert desk.reserve("a").reason is Reason.ALLOWANCE_EXHAUSTED
    desk.terms = replace(desk.terms, shadow=True)
    reply = desk.reserve("b")
    assert (reply.status, reply.reason, reply.granted_s) == (Status.OK, Reason.ALLOWANCE_EXHAUSTED, 30)
    assert desk.settle("b", 10).amount_micro == 10 * CENT


def test_an_allowance_that_blocks_does_not_block_in_shadow(desk: Desk) -> None:
    desk.use_allowances(allowance(10), use_money=False)
    desk.terms = replace(desk.terms, shadow=True)
    granted_s = desk.reserve("a").granted_s
    while granted_s < 10:
        granted_s = desk.extend("a", granted_s - 2).granted_s
    assert desk.extend("a", 9).reason is Reason.ALLOWANCE_EXHAUSTED
    assert desk.settle("a", 15).amount_micro == 5 * CENT
