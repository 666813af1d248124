"""Limits in the engine: trunks over all shards, resellers over all accounts, shadow, the end of credit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from rater.calls.commands import HangUp
from rater.calls.signals import Attempted, Direction, Mode
from rater.catalog.files import read_catalog
from rater.charging.model import PostKind, Request
from rater.charging.store import Done
from rater.ids import CallId, LegId, Shard, SwitchId
from rater.money import parse_amount
from tests.limits.site import Site, make
from tests.limits.support import FRANCE, KINGDOM, attempt, catalog

SECOND_ACCOUNT = '[account.B]\nplan = "p"\nmodality = "prepaid"\nopening = "10"\n'


@pytest.fixture
def names() -> Iterator[str]:
    return (f"leg{n}" for n in count())


def two_accounts(folder: Path, *, more: str = "", account: str = "", trunk: str = "") -> Site:
    """ACME with line 1001 in shard 0, B with line 1002 in shard 1."""
    catalog(folder, more=SECOND_ACCOUNT + more, account=account, trunk=trunk)
    with (folder / "lines.csv").open("a") as file:
        file.write("1002,B,1002\n")
    return Site(read_catalog(folder), shards={"ACME": 0, "B": 1})


def leg(name: str, **more: object) -> Attempted:
    return attempt(leg=name, **more)  # type: ignore[arg-type]


# -- trunks ----------------------------------------------------------------------------------------------------


def test_a_trunks_limit_is_one_for_all_shards(tmp_path: Path, names: Iterator[str]) -> None:
    site = two_accounts(tmp_path, trunk="max_calls = 3")
    for i in range(8):
        site.call(leg(next(names), endpoint=("1001", "1002")[i % 2]), 30)
    assert site.reasons() == ["trunk_limit"] * 5
    site.run(31)
    for _ in range(4):
        site.call(leg(next(names), endpoint="1002"), 30)
    assert len(site.denials()) == 6, "the slots were free again"


def test_each_switch_counts_its_own_legs_on_a_trunk(tmp_path: Path, names: Iterator[str]) -> None:
    site = make(tmp_path, trunk="max_calls = 1")
    for switch in ("pbx1", "pbx2", "pbx1", "pbx2"):
        site.call(replace(leg(next(names)), switch=SwitchId(switch)), 30)
    assert len(site.denials()) == 2


def test_legs_taken_up_after_a_restart_hold_their_slots(tmp_path: Path, names: Iterator[str]) -> None:
    site = make(tmp_path, trunk="max_calls = 2")
    for _ in range(2):
        site.call(leg(next(names)), 60)
    site.begin()
    stored = asyncio.run(site.store.legs(Shard(0), SwitchId("pbx1")))
    assert len(stored) == 2
    site.engine.adopt(SwitchId("pbx1"), stored)
    site.call(leg(next(names)), 60)
    assert site.reasons() == ["trunk_limit"]
    site.run(61)
    site.call(leg(next(names)), 60)
    assert len(site.denials()) == 1


@pytest.mark.parametrize("why", ["account limit", "no answer from the trunk"])
def test_a_leg_that_comes_to_nothing_gives_its_slot_back(tmp_path: Path, names: Iterator[str], why: str) -> None:
    site = make(tmp_path, trunk="max_calls = 1", account="limits = { out = 0 }" if why == "account limit" else "")
    for _ in range(3):
        site.call(leg(next(names)), 5)
        site.run(6)
    assert site.reasons() == (["account_limit"] * 3 if why == "account limit" else [])


def test_a_gated_leg_is_hung_up_when_it_is_dialled_on_a_full_trunk(tmp_path: Path) -> None:
    site = make(tmp_path, trunk="max_calls = 1")
    for name in ("a", "b"):
        site.call(leg(name, mode=Mode.GATE, trunk=None), 30)
    assert [c for c in site.switch.touched("b") if isinstance(c, HangUp)] == [HangUp(LegId("b"), 34)]
    site.run(1)
    [event] = site.records("rated")
    assert (event["id"], event["cut"], event["amount_micro"]) == ("b", "trunk_limit", 0)
    assert site.store.live_leases(Shard(0), "account:ACME", site.now_ms) == 0


def test_an_emergency_passes_a_full_trunk_and_is_counted(tmp_path: Path) -> None:
    site = make(tmp_path, trunk="max_calls = 1")
    site.call(leg("a"), 5)
    site.call(leg("sos", number="112"), 60)
    assert site.denials() == []
    site.run(6)
    site.call(leg("b"), 5)
    assert site.reasons() == ["trunk_limit"], "the emergency holds the slot"


# -- resellers -------------------------------------------------------------------------------------------------

RESELLER = "[reseller.R]\nlimits = { both = 2 }\n"


def of_reseller(folder: Path) -> Site:
    return two_accounts(folder, more=f'reseller = "R"\n{RESELLER}', account='reseller = "R"')


def test_a_resellers_limit_is_one_for_all_its_accounts_in_all_shards(tmp_path: Path, names: Iterator[str]) -> None:
    site = of_reseller(tmp_path)
    for i in range(6):
        site.call(leg(next(names), endpoint=("1001", "1002")[i % 2]), 30)
    assert site.reasons() == ["reseller_limit"] * 4
    assert site.store.live_leases(Shard(7), "reseller:R", site.now_ms) == 2
    site.run(31)
    assert site.store.live_leases(Shard(7), "reseller:R", site.now_ms) == 0
    assert [event["reseller"] for event in site.records("rated")] == ["R", "R"]


def test_a_leg_that_talks_on_keeps_its_resellers_lease(tmp_path: Path) -> None:
    site = of_reseller(tmp_path)
    site.call(leg("a"), 900)
    site.run(600)
    assert site.store.live_leases(Shard(7), "reseller:R", site.now_ms) == 1


def test_a_leg_denied_for_something_else_gives_the_resellers_lease_back(tmp_path: Path) -> None:
    site = two_accounts(
        tmp_path, more=f'reseller = "R"\n{RESELLER}', account='reseller = "R"\nlimits = { both = 0 }'
    )
    site.call(leg("a"), 30)
    assert site.reasons() == ["account_limit"]
    assert site.store.live_leases(Shard(7), "reseller:R", site.now_ms) == 0


def test_an_emergency_passes_a_full_reseller(tmp_path: Path, names: Iterator[str]) -> None:
    site = of_reseller(tmp_path)
    for _ in range(3):
        site.call(leg(next(names)), 30)
    site.call(leg("sos", number="112"), 30)
    assert site.reasons() == ["reseller_limit"]
    site.run(31)
    assert site.over["sos"] >= 30_000


# -- the end of credit -----------------------------------------------------------------------------------------


def test_at_exhaustion_the_fewest_calls_end(tmp_path: Path) -> None:
    """Five legs at 0.01 a second on 5.50: four want 100 s, one 200 s, so that 0.50 is missing for one of them."""
    site = make(tmp_path)
    debit(site, "4.50")
    for name, talk_s in {"a": 100, "b": 100, "c": 100, "d": 100, "long": 200}.items():
        site.call(leg(name), talk_s)
    site.run(210)
    ended_early = [event["id"] for event in site.records("rated") if event["cut"]]
    assert ended_early == ["long"]
    assert [site.over[name] for name in "abcd"] == [100_000] * 4
    assert sum(event["amount_micro"] for event in site.records("rated")) == 5_500_000
    assert abs(site.over["long"] - 150_000) <= 1000


def test_when_the_money_reaches_for_all_no_call_ends_early(tmp_path: Path) -> None:
    site = make(tmp_path)
    debit(site, "3.90")
    for name, talk_s in {"a": 30, "b": 90, "c": 180, "d": 300}.items():
        site.call(leg(name), talk_s)
    site.run(310)
    assert [event["cut"] for event in site.records("rated")] == [""] * 4
    assert sum(event["amount_micro"] for event in site.records("rated")) == 6_000_000


def test_emergency_and_free_legs_outlive_the_money(tmp_path: Path) -> None:
    deck = "prefix,destination,class,price,per\n33,France,fixed,0.01,1\n44,UK,intl_fixed,0,1\n"
    site = make(tmp_path, deck=deck)
    debit(site, "9.80")
    site.call(leg("sos", number="112"), 120)
    site.call(leg("free", number=KINGDOM), 120)
    site.call(leg("in", direction=Direction.IN), 120)
    site.call(leg("paid", number=FRANCE), 120)
    site.run(130)
    cuts = {event["id"]: event["cut"] for event in site.records("rated")}
    assert cuts == {"sos": "", "free": "", "in": "", "paid": "credit"}
    assert abs(site.over["paid"] - 20_000) <= 500
    assert all(site.over[name] == 120_000 for name in ("sos", "free", "in"))


def test_money_that_arrives_prolongs_the_running_legs(tmp_path: Path) -> None:
    site = make(tmp_path)
    debit(site, "9.80")
    site.call(leg("a"), 60)
    site.run(15)
    site.credit("5.00")
    site.run(60)
    assert site.over["a"] == 60_000


def debit(site: Site, amount: str) -> None:
    [account] = site.snapshot.accounts.values()
    site.post(account, PostKind.DEBIT, parse_amount(amount))


# -- in and straight out again -----------------------------------------------------------------------------------


def passing_through(site: Site, out: str, number: str = FRANCE) -> None:
    """The outbound leg, and then the incoming channel that it makes a leg of the same account."""
    site.call(replace(leg(out, number=number), call=CallId("c")), 30)
    site.call(replace(leg("in", direction=Direction.IN), call=CallId("c")), 30)


def test_a_call_that_passes_through_needs_two_slots(tmp_path: Path) -> None:
    site = make(tmp_path, account="limits = { both = 1 }")
    passing_through(site, "out")
    assert site.reasons() == ["account_limit"]
    assert HangUp(LegId("in"), 17) in site.switch.touched("in")


@pytest.mark.parametrize("account", ["limits = { in = 0 }", "active = false"])
def test_its_denial_does_not_end_an_emergency_call(tmp_path: Path, account: str) -> None:
    """Whether it is denied by the store or before it is asked."""
    site = make(tmp_path, account=account)
    passing_through(site, "sos", "112")
    assert site.switch.touched("in") == []
    assert not any(isinstance(c, HangUp) for c in site.switch.touched("sos"))
    site.run(31)
    assert [event["id"] for event in site.records("rated")] == ["sos"]


# -- leadership ------------------------------------------------------------------------------------------------


def test_an_answer_to_what_was_asked_under_an_earlier_leadership_is_nobodys(tmp_path: Path) -> None:
    """The store refuses it. It must neither deny the leg as it was found again nor end the new leadership."""
    site = make(tmp_path)
    late: list[tuple[Request, Done]] = []
    site.store.submit, at_once = lambda request, done: late.append((request, done)), site.store.submit  # type: ignore
    site.call(leg("a"), 30)
    site.engine.detach(SwitchId("pbx1"))
    site.engine.attach(SwitchId("pbx1"), site.switch, epoch=2, fails_open=False)
    told: list[SwitchId] = []
    site.engine.on_stale = told.append
    site.store.submit = at_once  # type: ignore[method-assign]
    site.call(leg("a"), 30)
    for request, done in late:
        done(request, site.store.execute(request))
    assert told == []
    assert site.store.live_leases(Shard(0), "account:ACME", site.now_ms) <= 1
    site.run(31)
    assert [event["id"] for event in site.records("rated")] == ["a"]
    assert site.denials() == []
