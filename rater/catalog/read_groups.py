"""`[group.NAME]` in `accounts.toml`: sharing groups. See docs/catalog.md for every key."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from zoneinfo import ZoneInfo

from rater.catalog.groups import Group, Member
from rater.catalog.model import Account
from rater.catalog.plan import Plan
from rater.catalog.read_plans import read_length
from rater.catalog.read_thresholds import read_cycle
from rater.catalog.table import Table, describe
from rater.charging.terms import FOREVER_MS
from rater.ids import AccountId, GroupId, PlanId
from rater.rating.moments import EXPECTED, parse_moment
from rater.rating.timeline import LAST_AT_MS


def read_groups(
    top: Table, accounts: Mapping[AccountId, Account], plans: Mapping[PlanId, Plan], classes: Collection[str]
) -> dict[GroupId, Group]:
    """`classes`: those that decks may use. Faults go to ``top.problems``."""
    groups: dict[GroupId, Group] = {}
    tables: dict[GroupId, Table] = {}
    for name, table in top.named("group"):
        group = _group(GroupId(name), table, accounts, plans, classes)
        groups[group.id], tables[group.id] = group, table
    _check_membership(groups, tables)
    return groups


def _group(
    name: GroupId,
    table: Table,
    accounts: Mapping[AccountId, Account],
    plans: Mapping[PlanId, Plan],
    classes: Collection[str],
) -> Group:
    owner = AccountId(table.reference("owner", accounts, "account"))
    plan = plans.get(accounts[owner].plan) if owner in accounts else None
    zone = plan.zone if plan is not None else "UTC"
    from_ms, until_ms = _validity(table, zone)
    group = Group(
        id=name,
        owner=owner,
        zone=zone,
        active=table.flag("active", True),
        from_ms=from_ms,
        until_ms=until_ms,
        first=table.flag("first", False),
        money=table.flag("money", False),
        classes=table.texts("classes", among=classes),
        cycle=read_cycle(table),
        members=tuple(_members(table, owner, accounts, plans, zone)),
    )
    table.finish()
    return group


def _members(
    table: Table, owner: AccountId, accounts: Mapping[AccountId, Account], plans: Mapping[PlanId, Plan], zone: str
) -> list[Member]:
    found = []
    currency = _currency(owner, accounts, plans)
    for name, entry in table.named("member"):
        account = AccountId(name)
        if account not in accounts:
            entry.fault(None, f"unknown account {name!r}", "an account of this file")
        elif account == owner:
            entry.fault(None, "the owner is a member of its own group", "other accounts")
        elif currency and _currency(account, accounts, plans) not in ("", currency):
            entry.fault(None, f"{name} has another currency than the owner", f"an account in {currency}")
        from_ms, until_ms = _validity(entry, zone)
        in_seconds = "quota_minutes" in entry or "quota_seconds" in entry
        quota_s = read_length(entry, "quota", 0)
        quota_micro = entry.amount("quota_money", 0)
        found.append(
            Member(
                account, entry.flag("active", True), from_ms, until_ms, quota_s if in_seconds else None,
                quota_micro if "quota_money" in entry else None,
            )
        )  # fmt: skip
        entry.finish()
    return found


def _check_membership(groups: Mapping[GroupId, Group], tables: Mapping[GroupId, Table]) -> None:
    """An account is a member of one group at most, and of none when it owns one."""
    owners = {group.owner: group.id for group in groups.values()}
    seen: dict[AccountId, GroupId] = {}
    for group in groups.values():
        for member in group.members:
            if member.account in seen:
                tables[group.id].fault_at(
                    ("member", member.account),
                    f"{member.account} is a member of {seen[member.account]} already", "one group for each account",
                )  # fmt: skip
            elif member.account in owners and member.account != group.owner:
                tables[group.id].fault_at(
                    ("member", member.account),
                    f"{member.account} owns the group {owners[member.account]}", "an account that owns none",
                )  # fmt: skip
            seen[member.account] = group.id


def _currency(account: AccountId, accounts: Mapping[AccountId, Account], plans: Mapping[PlanId, Plan]) -> str:
    plan = plans.get(accounts[account].plan) if account in accounts else None
    return plan.currency if plan is not None else ""


def _validity(table: Table, zone: str) -> tuple[int, int]:
    from_ms = _moment(table, "valid_from", zone, 0)
    until_ms = _moment(table, "valid_until", zone, FOREVER_MS)
    if until_ms <= from_ms:
        table.fault("valid_until", "it ends before it begins", "a moment after valid_from")
    return from_ms, until_ms


def _moment(table: Table, key: str, zone: str, default_ms: int) -> int:
    text = table.text(key, "", expected=EXPECTED)
    if not text:
        return default_ms
    at_ms = parse_moment(text, ZoneInfo(zone))
    if at_ms is None or not 0 <= at_ms < LAST_AT_MS:
        table.fault(key, f"{describe(text)} cannot stand here", f"{EXPECTED}, from 1970 to 2099")
        return default_ms
    return at_ms
