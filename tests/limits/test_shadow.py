"""Shadow: decided, told, charged; nothing touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rater.calls.commands import AnswerGate
from rater.calls.signals import Mode
from rater.events.notices import denied_record
from rater.ids import LegId
from rater.verdict import Reason
from tests.limits.site import Site, make
from tests.limits.support import NOWHERE, attempt

BY = {"switch": (Mode.SHADOW, ""), "account": (Mode.GATE, 'enforce = "shadow"')}


def told(site: Site) -> list[tuple[str, str, int | None]]:
    """Leg, reason and second of each record; all of them of shadow."""
    found = []
    for record in site.records("denied"):
        public = denied_record(record, record)
        assert public.shadow
        found.append((public.id, public.reason, public.shadow_at_s))
    return found


def event(site: Site) -> dict[str, Any]:
    [found] = site.records("rated")
    return found


def counted(site: Site, kind: str, reason: str) -> int:
    return site.metrics._counters["rater_shadow_denials"][kind, reason]


@pytest.mark.parametrize("by", BY)
def test_a_leg_in_shadow_outlives_its_credit_and_nothing_touches_it(tmp_path: Path, by: str) -> None:
    mode, account = BY[by]
    site = make(tmp_path, account=account)
    site.call(attempt(leg="a", mode=mode), 1020)
    site.run(1021)
    assert site.over["a"] == 1_020_000, "0.01 a second, and 10.00: its credit ended at 1000 s"
    assert told(site) == [("a", "insufficient_credit", 1000)]
    assert (event(site)["amount_micro"], event(site)["cut"], event(site)["mode"]) == (10_200_000, "", "shadow")
    assert (event(site)["shadow"], event(site)["shadow_at_s"]) == ("insufficient_credit", 1000)
    assert counted(site, "cut", "insufficient_credit") == 1
    if by == "switch":
        assert site.switch.touched("a") == []
    else:
        assert site.switch.touched("a") == [AnswerGate(LegId("a"), Reason.ALLOWED, 0)]


def test_a_call_that_ends_before_its_credit_does_is_not_told(tmp_path: Path) -> None:
    site = make(tmp_path)
    site.call(attempt(leg="a", mode=Mode.SHADOW), 999)
    site.run(1000)
    assert told(site) == []
    assert event(site)["shadow"] == ""


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({"account": "limits = { both = 0 }"}, "account_limit"),
        ({"account": "limits = { both = 0, calls_per_second = 1 }", "line": "limit=0"}, "line_limit"),
        ({"trunk": "max_calls = 0"}, "trunk_limit"),
        ({"account": 'spend = { hour = "0" }'}, "spend_limit"),
        ({"account": 'reseller = "r"', "more": "[reseller.r]\nlimits = { both = 0 }"}, "reseller_limit"),
        ({"plan": "margin = { floor_percent = 90 }"}, "margin_floor"),
        ({"account": "active = false"}, "account_inactive"),
        ({"account": 'blocked_classes = ["fixed"]'}, "blocked_destination"),
    ],
)
def test_what_would_be_denied_is_told_once_and_charged(tmp_path: Path, texts: dict[str, str], reason: str) -> None:
    site = make(tmp_path, **texts)
    site.call(attempt(leg="a", mode=Mode.SHADOW), 60)
    site.run(61)
    assert told(site) == [("a", reason, None)]
    assert (event(site)["amount_micro"], event(site)["shadow"]) == (600_000, reason)
    assert site.switch.touched("a") == []
    assert counted(site, "denied", reason) == 1


@pytest.mark.parametrize(
    "texts",
    [
        {"account": 'limits = { both = 0, enforce = "shadow" }'},
        {"account": 'limits = { calls_per_second = 1, enforce = "shadow" }'},
        {"account": 'spend = { hour = "0", enforce = "shadow" }'},
        {"trunk": 'max_calls = 0\nenforce = "shadow"'},
        {"account": 'reseller = "r"', "more": '[reseller.r]\nlimits = { both = 0, enforce = "shadow" }'},
        {"plan": 'margin = { floor_percent = 90, enforce = "shadow" }'},
    ],
    ids=["limits", "rate", "spend", "trunk", "reseller", "margin"],
)
@pytest.mark.parametrize("mode", [Mode.GATE, Mode.WATCH])
def test_one_rule_in_shadow_is_told_and_everything_else_is_enforced(
    tmp_path: Path, texts: dict[str, str], mode: Mode
) -> None:
    site = make(tmp_path, **texts)
    for leg in ("a", "b"):
        site.call(attempt(leg=leg, mode=mode), 5)
        site.run(0.2)
    site.run(6)
    assert [record[0] for record in told(site)][-1] == "b"
    assert {record["mode"] for record in site.records("rated")} == {mode.value}
    assert site.switch.timers, "the timers of paid slices are armed as ever"


def test_a_call_longer_than_the_longest_is_told_when_it_is_over(tmp_path: Path) -> None:
    site = make(tmp_path, account="max_call_s = 30")
    site.call(attempt(leg="a", mode=Mode.SHADOW), 45)
    site.run(46)
    assert told(site) == [("a", "max_length", 30)]
    assert (event(site)["duration_s"], event(site)["amount_micro"]) == (45, 450_000)


def test_a_number_without_a_price_is_followed_and_costs_nothing(tmp_path: Path) -> None:
    site = make(tmp_path)
    site.call(attempt(NOWHERE, leg="a", mode=Mode.SHADOW), 45)
    site.run(46)
    assert told(site) == [("a", "no_rate", None)]
    assert (event(site)["duration_s"], event(site)["amount_micro"]) == (45, 0)


def test_an_attempt_without_a_payer_is_told_and_let_go(tmp_path: Path) -> None:
    site = make(tmp_path)
    site.call(attempt(leg="a", endpoint="9999", mode=Mode.SHADOW), 5)
    site.run(6)
    assert told(site) == [("a", "unknown_payer", None)]
    assert site.switch.touched("a") == []


def test_a_gate_in_shadow_is_never_denied_by_a_store_that_is_away(tmp_path: Path) -> None:
    site = make(tmp_path, account='enforce = "shadow"')
    site.store.flush = lambda: None  # type: ignore[method-assign]  # it takes what is asked and never answers
    site.engine.on_signal(attempt(leg="a", mode=Mode.GATE))
    site.run(2)
    assert site.switch.touched("a") == [AnswerGate(LegId("a"), Reason.ALLOWED, 0)]
