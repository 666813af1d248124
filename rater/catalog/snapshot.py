"""The whole catalogue, validated and compiled: what the engine asks. How it travels through Redis is in `pieces`.

A snapshot is immutable and complete; publishing one replaces all of the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from rater.catalog.groups import Group, Sharing
from rater.catalog.model import Account, Line, OffHours, Rated, Refused, Reseller, SwitchRules, Trunk
from rater.catalog.plan import Plan
from rater.catalog.pricing import PricedPlan
from rater.catalog.terms import PlanTerms
from rater.charging.terms import Terms
from rater.ids import AccountId, GroupId, LineId, PlanId, ResellerId, Shard, SwitchId, TrunkId
from rater.limits.off_hours import holds
from rater.rating.compiled import CompiledDeck


@dataclass(frozen=True, slots=True)
class Content:
    """What a snapshot holds besides the decks. `plan_decks`: which of the decks each version of each plan uses, by
    `Plan.key`."""

    plans: dict[PlanId, Plan]
    plan_decks: dict[PlanId, int]
    accounts: dict[AccountId, Account] = field(default_factory=dict)
    lines: dict[LineId, Line] = field(default_factory=dict)
    trunks: dict[TrunkId, Trunk] = field(default_factory=dict)
    switches: dict[SwitchId, SwitchRules] = field(default_factory=dict)
    resellers: dict[ResellerId, Reseller] = field(default_factory=dict)
    groups: dict[GroupId, Group] = field(default_factory=dict)


class Snapshot:
    """Implements `rater.catalog.model.Catalog`. Raises CatalogError or InputError when a deck does not fit."""

    def __init__(self, content: Content, decks: tuple[CompiledDeck, ...], version: int = 0) -> None:
        self.content = content
        self.decks = decks
        self._version = version
        self.plans: Mapping[PlanId, PricedPlan] = {
            plan.id: PricedPlan(plan, [decks[content.plan_decks[version.key]] for version in plan.versions])
            for plan in content.plans.values()
        }
        self._terms = {
            version.plan.key: PlanTerms(version.plan, version.zone)
            for plan in self.plans.values()
            for version in plan.versions
        }
        self.sharing = Sharing(content.groups)
        self._by_endpoint = {line.endpoint: line for line in content.lines.values()}
        self._by_code = {line.account_code: line for line in content.lines.values() if line.account_code}

    @property
    def version(self) -> int:
        return self._version

    @property
    def accounts(self) -> Mapping[AccountId, Account]:
        return self.content.accounts

    @property
    def resellers(self) -> Mapping[ResellerId, Reseller]:
        return self.content.resellers

    @property
    def lines(self) -> Mapping[LineId, Line]:
        return self.content.lines

    @property
    def trunks(self) -> Mapping[TrunkId, Trunk]:
        return self.content.trunks

    @property
    def switches(self) -> Mapping[SwitchId, SwitchRules]:
        return self.content.switches

    def line_by_endpoint(self, endpoint: str) -> Line | None:
        return self._by_endpoint.get(endpoint)

    def line_by_account_code(self, account_code: str) -> Line | None:
        return self._by_code.get(account_code)

    def rate(self, plan: PlanId, number: str, *, area: str, at_ms: int) -> Rated | Refused:
        """Raises KeyError for a plan that is not in the catalogue; for a number it never raises."""
        return self.plans[plan].rate(number, area=area, at_ms=at_ms, version=self._version)

    def class_limits(self, plan: PlanId, at_ms: int) -> Mapping[str, int]:
        """Raises KeyError for a plan that is not in the catalogue."""
        return self.plans[plan].at(at_ms).class_limits

    def off_hours(self, owner: Account | Line, at_ms: int) -> OffHours | None:
        """Raises KeyError for one that is not in the catalogue."""
        rule = owner.off_hours
        if rule is None:
            return None
        payer = owner if isinstance(owner, Account) else self.content.accounts[owner.account]
        return rule if holds(rule.windows, at_ms, self.plans[payer.plan].at(at_ms).zone) else None

    def terms(self, account: AccountId, destination_class: str, at_ms: int) -> Terms:
        """Raises KeyError for an account that is not in the catalogue."""
        terms = self._own_terms(account, destination_class, at_ms)
        if not self.sharing.serves(account, destination_class, at_ms):
            return terms
        owner = self.sharing.owner(account)
        if owner is None or not self.content.accounts[owner].active:
            return terms
        lent = self._own_terms(owner, destination_class, at_ms)
        return replace(terms, share=self.sharing.share(account, lent, at_ms))

    def _own_terms(self, account: AccountId, destination_class: str, at_ms: int) -> Terms:
        payer = self.content.accounts[account]
        version = self.plans[payer.plan].at(at_ms).plan
        return self._terms[version.key].terms(payer, destination_class, at_ms)

    def placed(
        self, shards: Mapping[AccountId, Shard], version: int, resellers: Mapping[ResellerId, Shard] | None = None
    ) -> Snapshot:
        """The same catalogue as that version, with each account in its shard, and each reseller named in its."""
        accounts = {name: replace(account, shard=shards[name]) for name, account in self.accounts.items()}
        places = resellers or {}
        groups = {name: replace(each, shard=places.get(name, each.shard)) for name, each in self.resellers.items()}
        return Snapshot(replace(self.content, accounts=accounts, resellers=groups), self.decks, version)

    @cached_property
    def rows(self) -> int:
        """Rows of all decks."""
        return sum(len(deck) for deck in self.decks)
