"""What is decided before any balance, and which limits a leg is then measured by."""

from __future__ import annotations

import datetime as dt
from itertools import combinations
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from rater.admission import Admitted, Rejected
from rater.calls.signals import Direction, Mode
from rater.charging.terms import CallRate, Lease, SpendCap, SpendWindow
from rater.money import MAX_CALL_S
from rater.verdict import Reason
from tests.limits.support import FRANCE, KINGDOM, NOWHERE, PREMIUM, attempt, catalog, decide


def admitted(decision: Admitted | Rejected) -> Admitted:
    assert isinstance(decision, Admitted), decision
    return decision


def reason(decision: Admitted | Rejected) -> Reason:
    assert isinstance(decision, Rejected), decision
    return decision.reason


# -- blocked, longest ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_account", "of_line", "number", "detail"),
    [
        ('blocked_classes = ["premium"]', "", PREMIUM, "the account ACME bars the class premium"),
        ('blocked_prefixes = ["44", "1"]', "", KINGDOM, "the account ACME bars numbers that begin with 44"),
        ("", "blocked_classes=fixed intl_fixed", KINGDOM, "the line 1001 bars the class intl_fixed"),
        ("", "blocked_prefixes=1 3312", FRANCE, "the line 1001 bars numbers that begin with 3312"),
        ('blocked_prefixes = ["34"]', "", NOWHERE, "the account ACME bars numbers that begin with 34"),
    ],
)
def test_account_and_line_bar_places(
    tmp_path: Path, of_account: str, of_line: str, number: str, detail: str
) -> None:
    snapshot = catalog(tmp_path, account=of_account, line=of_line)
    decision = decide(snapshot, attempt(number))
    assert reason(decision) is Reason.BLOCKED_DESTINATION
    assert (decision.facts.reason, decision.facts.detail) == ("blocked_destination", detail)


def test_what_is_not_barred_passes_and_emergency_cannot_be_barred(tmp_path: Path) -> None:
    snapshot = catalog(tmp_path, account='blocked_prefixes = ["44", "1", "112"]')
    admitted(decide(snapshot, attempt(FRANCE)))
    assert admitted(decide(snapshot, attempt("112"))).exempt
    admitted(decide(snapshot, attempt(KINGDOM, direction=Direction.IN)))


@pytest.mark.parametrize(
    ("plan", "account", "line", "longest_s"),
    [
        ("", "", "", MAX_CALL_S),
        ("max_call_s = 600", "", "", 600),
        ("max_call_s = 600", "max_call_s = 300", "", 300),
        ("max_call_s = 600", "max_call_s = 900", "max_call_s=120", 120),
        ("", "max_call_s = 60", "max_call_s=120", 60),
    ],
)
def test_the_shortest_of_the_longest_calls_counts(
    tmp_path: Path, plan: str, account: str, line: str, longest_s: int
) -> None:
    snapshot = catalog(tmp_path, plan=plan, account=account, line=line)
    assert admitted(decide(snapshot)).quote.horizon_s == longest_s
    assert admitted(decide(snapshot, attempt("112"))).quote.horizon_s == MAX_CALL_S
    assert admitted(decide(snapshot, attempt(direction=Direction.IN))).quote.horizon_s == MAX_CALL_S


# -- what is measured ------------------------------------------------------------------------------------------

ALL = 'limits = { both = 5, out = 3, in = 4, calls_per_second = 2, classes = { premium = 1 } }\nreseller = "r"'
RESELLER = "[reseller.r]\nlimits = { both = 9, out = 8 }"


def test_a_leg_out_is_measured_by_every_limit_of_its_owners(tmp_path: Path) -> None:
    line = "limit=2;limit_out=1;calls_per_second=7"
    decision = admitted(decide(catalog(tmp_path, account=ALL, line=line, more=RESELLER), attempt(PREMIUM)))
    assert decision.leases == (
        Lease("line:1001", 2, Reason.LINE_LIMIT),
        Lease("line:1001:out", 1, Reason.LINE_LIMIT),
        Lease("account:ACME", 5, Reason.ACCOUNT_LIMIT),
        Lease("account:ACME:out", 3, Reason.ACCOUNT_LIMIT),
        Lease("account:ACME:class:premium", 1, Reason.CLASS_LIMIT),
    )
    assert decision.rates == (CallRate("line:1001", 7), CallRate("account:ACME", 2))
    assert decision.outside == (
        Lease("reseller:r", 9, Reason.RESELLER_LIMIT),
        Lease("reseller:r:out", 8, Reason.RESELLER_LIMIT),
    )
    assert decision.facts.reseller == "r"


def test_a_leg_in_has_no_class_and_no_call_rate(tmp_path: Path) -> None:
    decision = admitted(decide(catalog(tmp_path, account=ALL, more=RESELLER), attempt(direction=Direction.IN)))
    assert [lease.scope for lease in decision.leases] == ["account:ACME", "account:ACME:in"]
    assert decision.rates == ()
    assert [lease.scope for lease in decision.outside] == ["reseller:r"]


def test_the_accounts_own_limit_of_a_class_stands_before_the_plans(tmp_path: Path) -> None:
    account = "limits = { classes = { premium = 3 } }"
    snapshot = catalog(tmp_path, plan="class_limits = { premium = 1, intl_fixed = 2 }", account=account)
    for number, limit in ((PREMIUM, 3), (KINGDOM, 2)):
        [lease] = admitted(decide(snapshot, attempt(number))).leases
        assert (lease.limit, lease.reason) == (limit, Reason.CLASS_LIMIT)
    assert admitted(decide(snapshot, attempt(FRANCE))).leases == ()


@pytest.mark.parametrize(
    ("zone", "local", "hour", "day"),
    [
        ("Europe/Paris", "2026-07-01 14:59", "2026-07-01 14:00", "2026-07-01 00:00"),
        ("Asia/Kolkata", "2026-07-01 00:10", "2026-07-01 00:00", "2026-07-01 00:00"),
        ("Europe/Paris", "2026-10-25 23:30", "2026-10-25 23:00", "2026-10-25 00:00"),
    ],
)
def test_spend_is_capped_by_clock_hours_and_days_of_the_zone(
    tmp_path: Path, zone: str, local: str, hour: str, day: str
) -> None:
    def at_ms(text: str) -> int:
        return int(dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)

    snapshot = catalog(tmp_path, account='spend = { hour = "2", day = "5.50" }', zone=zone)
    terms = admitted(decide(snapshot, at_ms=at_ms(local))).terms
    assert terms.spend == (
        SpendCap(SpendWindow.HOUR, 2_000_000, at_ms(hour)),
        SpendCap(SpendWindow.DAY, 5_500_000, at_ms(day)),
    )


# -- margin ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("floor_percent", "number", "broken"),
    [
        (40, FRANCE, Reason.ALLOWED),
        (41, FRANCE, Reason.MARGIN_FLOOR),
        (5, KINGDOM, Reason.ALLOWED),
        (6, KINGDOM, Reason.MARGIN_FLOOR),
        (90, PREMIUM, Reason.ALLOWED),
    ],
)
def test_a_call_that_would_earn_less_than_the_floor_is_refused(
    tmp_path: Path, floor_percent: int, number: str, broken: Reason
) -> None:
    snapshot = catalog(tmp_path, plan=f"margin = {{ floor_percent = {floor_percent} }}")
    assert admitted(decide(snapshot, attempt(number))).broken is broken
    assert admitted(decide(snapshot, attempt("112"))).broken is Reason.ALLOWED


TIERS = """prefix,destination,class,price,per,tier_from,carrier_cost
33,France,fixed,0.02,1,0,0.01
33,France,fixed,{later},1,600,0.01
"""


@pytest.mark.parametrize(
    ("later", "longest_s", "broken"),
    [
        ("0.02", 86_400, Reason.ALLOWED),
        ("0.01", 86_400, Reason.MARGIN_FLOOR),
        ("0.01", 1000, Reason.ALLOWED),
        ("0.01", 2000, Reason.MARGIN_FLOOR),
    ],
)
def test_the_margin_is_that_of_the_whole_call_however_long(
    tmp_path: Path, later: str, longest_s: int, broken: Reason
) -> None:
    """Sold for 12 and bought for 6 in the first 600 s; after that nothing is earned: 25 % are left at 1200 s … not
    to be had by a call that may last an hour."""
    plan = f"margin = {{ floor_percent = 30 }}\nmax_call_s = {longest_s}"
    snapshot = catalog(tmp_path, plan=plan, deck=TIERS.format(later=later))
    assert admitted(decide(snapshot)).broken is broken


def test_free_first_seconds_and_fees_are_judged_by_the_first_minute(tmp_path: Path) -> None:
    deck = "prefix,destination,class,price,per,free_below,carrier_cost\n33,France,fixed,0.02,1,10,0.01\n"
    assert admitted(decide(catalog(tmp_path, plan="margin = { floor_percent = 40 }", deck=deck))).broken.allows


# -- precedence ------------------------------------------------------------------------------------------------

EARLY = {
    Reason.MALFORMED_NUMBER: "number",
    Reason.ACCOUNT_INACTIVE: "active = false",
    Reason.LINE_INACTIVE: "active=no",
    Reason.BLOCKED_DESTINATION: 'blocked_prefixes = ["34"]',
    Reason.NO_RATE: "nowhere",
}


@pytest.mark.parametrize(("one", "other"), list(combinations(sorted(EARLY), 2)))
def test_of_two_reasons_before_any_balance_the_first_is_told(tmp_path: Path, one: Reason, other: Reason) -> None:
    both = (one, other)
    account = "\n".join(EARLY[r] for r in both if r in (Reason.ACCOUNT_INACTIVE, Reason.BLOCKED_DESTINATION))
    line = EARLY[Reason.LINE_INACTIVE] if Reason.LINE_INACTIVE in both else ""
    number = "" if Reason.MALFORMED_NUMBER in both else NOWHERE
    if Reason.NO_RATE not in both and Reason.BLOCKED_DESTINATION not in both and number:
        number = FRANCE
    assert reason(decide(catalog(tmp_path, account=account, line=line), attempt(number))) is one


def test_the_unknown_payer_stands_before_what_only_a_known_one_could_be_denied_for(tmp_path: Path) -> None:
    snapshot = catalog(tmp_path)
    assert reason(decide(snapshot, attempt(endpoint="9999"))) is Reason.UNKNOWN_PAYER
    assert reason(decide(snapshot, attempt("112", endpoint="9999"))) is Reason.EMERGENCY


# -- shadow ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["switch", "account"])
def test_in_shadow_what_would_be_denied_is_noted_and_followed(tmp_path: Path, by: str) -> None:
    account = 'active = false\nreseller = "r"' + ('\nenforce = "shadow"' if by == "account" else "")
    snapshot = catalog(tmp_path, plan="max_call_s = 60", account=account, more=RESELLER)
    mode = Mode.SHADOW if by == "switch" else Mode.GATE
    decision = admitted(decide(snapshot, attempt(mode=mode)))
    assert (decision.shadow, decision.would, decision.broken) == (True, Reason.ACCOUNT_INACTIVE, Reason.ALLOWED)
    assert (decision.facts.mode, decision.facts.longest_s, decision.quote.horizon_s) == ("shadow", 60, MAX_CALL_S)
    assert all(lease.shadow for lease in decision.outside)
    nowhere = admitted(decide(snapshot, attempt(NOWHERE, mode=mode)))
    assert (nowhere.would, nowhere.free) == (Reason.ACCOUNT_INACTIVE, True)


def test_without_a_payer_shadow_tells_and_follows_nothing(tmp_path: Path) -> None:
    decision = decide(catalog(tmp_path), attempt(endpoint="9999", mode=Mode.SHADOW))
    assert (reason(decision), isinstance(decision, Rejected) and decision.shadow) == (Reason.UNKNOWN_PAYER, True)


def test_a_rule_in_shadow_leaves_the_others_in_force(tmp_path: Path) -> None:
    account = 'limits = { both = 1, calls_per_second = 1, classes = { fixed = 1 }, enforce = "shadow" }'
    plan = 'margin = { floor_percent = 99, enforce = "shadow" }'
    spend = 'spend = { day = "1", enforce = "shadow" }'
    decision = admitted(decide(catalog(tmp_path, plan=plan, account=f"{account}\n{spend}", line="limit=3")))
    assert [lease.shadow for lease in decision.leases] == [False, True, True]
    assert decision.rates[0].shadow
    assert decision.terms.spend[0].shadow
    assert (decision.shadow, decision.broken, decision.would) == (False, Reason.ALLOWED, Reason.MARGIN_FLOOR)
