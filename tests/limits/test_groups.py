"""A group's owner and its members while they talk: the whole engine, the catalogue changed in between."""

from __future__ import annotations

from pathlib import Path

from rater.calls.commands import AnnounceEnd
from rater.ids import LegId, Shard
from tests.limits.site import Site, make
from tests.limits.support import attempt, catalog

BOSS = '[account.BOSS]\nplan = "p"\nmodality = "prepaid"\nopening = "5"\n'
GROUP = '[group.family]\nowner = "BOSS"\nmoney = true\n[group.family.member.ACME]\n'


def publish(site: Site, folder: Path, more: str, **texts: str) -> None:
    snapshot = catalog(folder, more=more, **texts)
    site.engine.set_catalog(snapshot.placed(dict.fromkeys(snapshot.accounts, Shard(0)), 2))


def payers(site: Site) -> dict[str, int]:
    """Of the one rated event: what each has paid, in cents."""
    [event] = site.records("rated")
    funds = event.get("funds", [["", 0, event["amount_micro"]]])
    return {("BOSS" if shared else "ACME"): amount // 10_000 for _, shared, amount in funds}


def test_a_leg_that_began_before_its_account_joined_draws_on_the_group_from_the_next_slice(tmp_path: Path) -> None:
    site = make(tmp_path, more=BOSS)
    site.call(attempt(), 60)
    site.run(5)
    publish(site, tmp_path, BOSS + GROUP)
    site.run(60)
    assert payers(site) == {"ACME": 10, "BOSS": 50}


def test_a_leg_whose_account_has_left_uses_the_group_no_more_and_the_owner_is_still_told(tmp_path: Path) -> None:
    plan = 'thresholds = { spend_hour = ["0.05"], money_below = ["4.95"] }'
    site = make(tmp_path, more=BOSS + GROUP, plan=plan)
    site.call(attempt(), 60)
    site.run(5)
    publish(site, tmp_path, BOSS, plan=plan)
    site.run(60)
    assert payers(site) == {"BOSS": 10, "ACME": 50}
    told = [(each["account"], each["kind"], each["after"]) for each in site.records("threshold")]
    assert told == [
        ("ACME", "spend_hour", 600_000), ("BOSS", "money_below", 4_900_000), ("BOSS", "spend_hour", 100_000),
    ]  # fmt: skip


def test_where_the_owners_cap_is_spent_the_members_money_goes_on_to_its_end(tmp_path: Path) -> None:
    site = make(tmp_path, more=f'{BOSS}spend = {{ day = "0.40" }}\n{GROUP}')
    site.call(attempt(), 2000)
    site.run(1100)
    [event] = site.records("rated")
    assert payers(site) == {"BOSS": 40, "ACME": 1000}
    assert event["cut"] == "spend_limit", "but for the cap the owner's money would have paid on"


def test_a_call_that_a_spend_cap_ends_says_so_and_the_dialplan_knows_before(tmp_path: Path) -> None:
    site = make(tmp_path, account='spend = { hour = "0.40" }')
    site.call(attempt(), 100)
    site.run(60)
    [event] = site.records("rated")
    assert (event["cut"], event["duration_s"], event["amount_micro"]) == ("spend_limit", 40, 400_000)
    announced = [c for c in site.switch.commands[LegId("l1")] if isinstance(c, AnnounceEnd)]
    assert [c.cut for c in announced] == ["spend_limit"]
    site.call(attempt(leg="l2"), 10)
    assert site.reasons() == ["spend_limit"]
