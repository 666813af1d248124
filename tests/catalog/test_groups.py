"""Sharing groups in the catalogue: whose grants serve whom, when; what cannot be."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from rater.catalog.pieces import from_pieces, to_pieces
from rater.catalog.snapshot import Snapshot
from rater.charging.terms import FOREVER_MS, Quota, Share
from rater.ids import AccountId

from .support import ACCOUNTS, FILES, catalog, problems

PARIS = ZoneInfo("Europe/Paris")
GROUP = """
[group.family]
owner = "bob"
classes = ["mobile", "fixed"]
cycle = "weekly"
day = "wed"

[group.family.member.ann]
quota_minutes = 90
quota_money = "5.00"

[group.family.member.cid]
valid_until = "2026-12-01"
"""


CID = "[group.family.member.cid]"


def ms(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=PARIS).timestamp() * 1000)


NOON_MS = ms("2026-11-24T12:00")


def grouped(tmp_path: Path, old: str = "", new: str = "") -> Snapshot:
    return catalog(tmp_path, accounts=ACCOUNTS + GROUP.replace(old, new))


def share(snapshot: Snapshot, account: str = "ann", klass: str = "mobile", at_ms: int = NOON_MS) -> Share | None:
    return snapshot.terms(AccountId(account), klass, at_ms).share


def test_a_member_draws_on_its_owners_allowances(tmp_path: Path) -> None:
    snapshot = grouped(tmp_path)
    found = share(snapshot)
    assert found is not None
    assert (found.owner, found.first, found.valid_until_ms) == ("bob", False, FOREVER_MS)
    assert found.terms.allowances == snapshot.terms(AccountId("bob"), "mobile", NOON_MS).allowances
    assert not found.terms.use_money
    week = (ms("2026-11-18"), ms("2026-11-25"), ms("2026-12-02"))
    assert found.quota_s == Quota(5400, *week)
    assert found.quota_micro == Quota(5_000_000, *week)


def test_money_is_shared_down_to_the_owners_floor_when_the_group_says_so(tmp_path: Path) -> None:
    found = share(grouped(tmp_path, 'owner = "bob"', 'owner = "bob"\nmoney = true\nfirst = true'))
    assert found is not None
    assert (found.terms.use_money, found.terms.floor_micro, found.first) == (True, -20_000_000, True)


def test_a_group_serves_its_classes_only(tmp_path: Path) -> None:
    snapshot = grouped(tmp_path)
    assert share(snapshot, klass="intl_fixed") is None
    assert share(snapshot, klass="") is not None, "of no class: what there is at all"


def test_owner_and_strangers_have_no_share(tmp_path: Path) -> None:
    snapshot = grouped(tmp_path)
    assert share(snapshot, "bob") is None
    assert share(snapshot, "dora") is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('owner = "bob"', 'owner = "bob"\nactive = false'),
        ("quota_minutes = 90", "active = false"),
        ('owner = "bob"', 'owner = "bob"\nvalid_from = "2026-11-24T12:01"'),
        ("quota_minutes = 90", 'valid_until = "2026-11-24T12:00"'),
    ],
)
def test_what_is_not_in_force_does_not_serve(tmp_path: Path, old: str, new: str) -> None:
    assert share(grouped(tmp_path, old, new)) is None


def test_an_inactive_owner_serves_nobody(tmp_path: Path) -> None:
    accounts = ACCOUNTS.replace("[account.bob]\n", "[account.bob]\nactive = false\n") + GROUP
    assert share(catalog(tmp_path, accounts=accounts)) is None


def test_a_membership_ends_at_its_time(tmp_path: Path) -> None:
    snapshot = grouped(tmp_path)
    found = share(snapshot, "cid")
    assert found is not None
    assert (found.valid_until_ms, found.quota_s, found.quota_micro) == (ms("2026-12-01"), None, None)
    assert share(snapshot, "cid", at_ms=ms("2026-12-01")) is None


def test_groups_travel_through_redis(tmp_path: Path) -> None:
    snapshot = grouped(tmp_path)
    again = from_pieces(to_pieces(snapshot))
    assert share(again) == share(snapshot)
    assert again.content.groups == snapshot.content.groups


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('owner = "bob"', 'owner = "rob"', "unknown account 'rob'"),
        ("member.ann", "member.anna", "unknown account 'anna'"),
        ("member.ann", "member.bob", "member of its own group"),
        ("member.ann", "member.dora", "another currency"),
        ('"mobile", "fixed"', '"mobile", "emergency"', '"emergency" cannot stand here'),
        ('cycle = "weekly"', 'cycle = "yearly"', '"yearly" cannot stand here'),
        ("quota_minutes = 90", "quota_minutes = 90\nquota_seconds = 1", "it must be given once"),
        ('"5.00"', "5.00", "floating-point"),
        ("quota_minutes = 90", "quota_hours = 2", "unknown key 'quota_hours'"),
        ('valid_until = "2026-12-01"', 'valid_until = "soon"', '"soon" cannot stand here'),
        ('valid_until = "2026-12-01"', 'valid_until = "2026-12-01"\nvalid_from = "2027-01-01"', "before it begins"),
        (CID, f'[group.work]\nowner = "cid"\n\n{CID}', "cid owns the group work"),
        (CID, f'[group.work]\nowner = "cid"\n[group.work.member.ann]\n\n{CID}', "is a member of family already"),
    ],
)  # fmt: skip
def test_faults_are_named_with_their_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert GROUP.count(old) == 1
    found = problems(tmp_path, FILES | {"accounts.toml": ACCOUNTS + GROUP.replace(old, new)})
    assert [problem for problem in found if said in problem.message], found
    assert all(problem.file == "accounts.toml" and problem.line and problem.column for problem in found)
