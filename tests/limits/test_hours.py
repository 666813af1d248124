"""Grants with hours through the whole engine: from the catalogue's bands to the event, while the clock goes on.

A call begins at 16:13:20 of the plan's zone, so that 16:14 comes forty seconds later.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rater.charging.model import PostGrant, PostKind
from rater.charging.terms import GrantSpec, Resource
from rater.ids import GrantId, OpId
from tests.limits.site import Site, make
from tests.limits.support import attempt, catalog

BAND = '[[plan.p.band]]\nname = "late"\nwindows = [{ from = "%s", to = "%s" }]\n'
ALLOWANCE = '[[plan.p.allowance]]\nid = "m"\nclasses = ["fixed"]\nseconds = 300\nhours = ["late"]\n'
OPENS, CLOSES = BAND % ("16:14", "22:00"), BAND % ("09:00", "16:14")


def pieces(site: Site) -> list[Any]:
    [event] = site.records("rated")
    return [list(piece) for piece in event["pieces"]]


def test_a_call_goes_over_to_its_allowance_when_the_hours_begin(tmp_path: Path) -> None:
    site = make(tmp_path, plan=f"{OPENS}{ALLOWANCE}")
    site.call(attempt(), 70)
    site.run(75)
    assert pieces(site) == [["", 0, 40, 400_000], ["p/m", 40, 70, 30]]


def test_and_back_to_money_when_they_end(tmp_path: Path) -> None:
    site = make(tmp_path, plan=f"{CLOSES}{ALLOWANCE}")
    site.call(attempt(), 70)
    site.run(75)
    assert pieces(site) == [["p/m", 0, 40, 40], ["", 40, 70, 300_000]]


def test_without_money_the_call_is_cut_at_the_second_its_hours_end(tmp_path: Path) -> None:
    site = make(tmp_path, plan=f"{CLOSES}{ALLOWANCE}")
    [acme] = site.snapshot.accounts.values()
    site.post(acme, PostKind.DEBIT, acme.opening_micro)
    site.call(attempt(), 300)
    site.run(60)
    assert site.over == {"l1": 40_000}
    assert pieces(site) == [["p/m", 0, 40, 40]]
    site.call(attempt(leg="l2"), 30)
    assert site.reasons() == ["insufficient_credit"]


def test_a_gift_with_hours_that_a_new_catalogue_no_longer_has_is_closed_in_mid_call(tmp_path: Path) -> None:
    site = make(tmp_path, plan=BAND % ("09:00", "22:00"))
    [acme] = site.snapshot.accounts.values()
    gift = GrantSpec(GrantId("gift"), Resource.SECONDS, 300, site.now_ms, hours=("late",))
    site.store.execute(PostGrant(OpId("gift"), acme.shard, acme.id, gift, site.now_ms))
    site.call(attempt(), 60)
    site.run(15)
    renamed = (BAND % ("09:00", "22:00")).replace("late", "daytime")
    site.engine.set_catalog(catalog(tmp_path / "new", plan=renamed))
    site.run(60)
    first, second = pieces(site)
    assert first[:2] == ["gift", 0]
    assert 15 <= first[2] <= 40, "what was paid ahead stays paid"
    assert second == ["", first[2], 60, (60 - first[2]) * 10_000]


def test_a_member_follows_the_hours_of_its_owners_plan(tmp_path: Path) -> None:
    owner = (
        '[plan.o]\nzone = "Asia/Tokyo"\ncurrency = "EUR"\ndeck = "decks/retail.csv"\ndecimals = 6\n'
        + (BAND % ("23:14", "23:30")).replace("plan.p", "plan.o")
        + ALLOWANCE.replace("plan.p", "plan.o")
    )
    more = '[account.BOSS]\nplan = "o"\nmodality = "prepaid"\n[group.g]\nowner = "BOSS"\n[group.g.member.ACME]\n'
    site = make(tmp_path, plan=f"{CLOSES}{owner}", more=more)
    site.call(attempt(), 70)
    site.run(75)
    assert pieces(site) == [["", 0, 40, 400_000], ["o/m", 40, 70, 30]]
