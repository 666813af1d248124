"""Sharing groups: whose grants serve whom, and how much of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from rater.catalog.cycles import Cycle
from rater.charging.terms import FOREVER_MS, Quota, Share, Terms
from rater.ids import AccountId, GroupId


@dataclass(frozen=True, slots=True)
class Member:
    """`quota_s`, `quota_micro`: the most that it takes from the group in each cycle; None: any amount."""

    account: AccountId
    active: bool = True
    from_ms: int = 0
    until_ms: int = FOREVER_MS
    quota_s: int | None = None
    quota_micro: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """The grants of `owner`, and with `money` its money too, serve the members. `first`: before a member's own
    grants. `classes`: for calls of these only; none for all. `cycle`: of the quotas, from midnight of `zone`."""

    id: GroupId
    owner: AccountId
    zone: str
    active: bool = True
    from_ms: int = 0
    until_ms: int = FOREVER_MS
    first: bool = False
    money: bool = False
    classes: tuple[str, ...] = ()
    cycle: Cycle = field(default_factory=Cycle)
    members: tuple[Member, ...] = ()


class Sharing:
    """The groups of a catalogue, as a member asks them."""

    def __init__(self, groups: dict[GroupId, Group]) -> None:
        self._of = {member.account: (group, member) for group in groups.values() for member in group.members}
        self._bounds: dict[GroupId, tuple[int, int, int]] = {}
        self.members = frozenset(self._of)

    def owner(self, account: AccountId) -> AccountId | None:
        """Of the group that the account is a member of, whether it is in force or not."""
        found = self._of.get(account)
        return found[0].owner if found is not None else None

    def serves(self, account: AccountId, destination_class: str, at_ms: int) -> bool:
        """Whether the account's group serves it at that moment. Of no class (""): of any."""
        found = self._of.get(account)
        if found is None:
            return False
        group, member = found
        in_force = group.active and member.active
        in_time = max(group.from_ms, member.from_ms) <= at_ms < min(group.until_ms, member.until_ms)
        return in_force and in_time and (not group.classes or destination_class in (*group.classes, ""))

    def share(self, account: AccountId, owner_terms: Terms, at_ms: int) -> Share:
        """What it may draw on; `owner_terms`: the owner's, for the class. Only when `serves`."""
        group, member = self._of[account]
        from_ms, until_ms, next_until_ms = self._cycle(group, at_ms)

        def quota(amount: int | None) -> Quota | None:
            return None if amount is None else Quota(amount, from_ms, until_ms, next_until_ms)

        return Share(
            group.owner, _lent(owner_terms, money=group.money), group.first, quota(member.quota_s),
            quota(member.quota_micro), min(group.until_ms, member.until_ms),
        )  # fmt: skip

    def _cycle(self, group: Group, at_ms: int) -> tuple[int, int, int]:
        kept = self._bounds.get(group.id)
        if kept is None or not kept[0] <= at_ms < kept[1]:
            zone = ZoneInfo(group.zone)
            from_ms, until_ms = group.cycle.bounds(at_ms, zone)
            kept = self._bounds[group.id] = (from_ms, until_ms, group.cycle.bounds(until_ms, zone)[1])
        return kept


def _lent(terms: Terms, *, money: bool) -> Terms:
    return Terms(
        terms.floor_micro, terms.use_money and money, terms.allowances, terms.thresholds, terms.currency,
        spend=terms.spend, seconds_order=terms.seconds_order, money_order=terms.money_order, bands=terms.bands,
    )  # fmt: skip
