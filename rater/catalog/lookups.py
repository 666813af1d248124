"""What the engine asks of a catalogue, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rater.catalog.content import Content
from rater.catalog.groups import Sharing
from rater.catalog.model import Account, Line, OffHours
from rater.catalog.pricing import PricedPlan
from rater.catalog.rated import Rated, Refused
from rater.charging.terms import Terms
from rater.ids import AccountId, PlanId
from rater.limits.off_hours import holds
from rater.rating.compiled import CompiledDeck


class Lookups:
    """See `rater.catalog.model.Catalog`. Raises CatalogError or InputError when a deck does not fit."""

    def __init__(self, content: Content, decks: tuple[CompiledDeck, ...], version: int = 0) -> None:
        self.content = content
        self.decks = decks
        self.version = version
        self.accounts, self.lines, self.resellers = content.accounts, content.lines, content.resellers
        self.trunks, self.switches = content.trunks, content.switches
        self.plans: dict[PlanId, PricedPlan] = {
            plan.id: PricedPlan(plan, [decks[content.plan_decks[version.key]] for version in plan.versions])
            for plan in content.plans.values()
        }
        self.sharing = Sharing(content.groups)
        self._members = self.sharing.members
        self._by_endpoint = {line.endpoint: line for line in content.lines.values()}
        self._by_code = {line.account_code: line for line in content.lines.values() if line.account_code}

    def line_by_endpoint(self, endpoint: str) -> Line | None:
        return self._by_endpoint.get(endpoint)

    def line_by_account_code(self, account_code: str) -> Line | None:
        return self._by_code.get(account_code)

    def rate(self, plan: PlanId, number: str, area: str, at_ms: int) -> Rated | Refused:
        """Raises KeyError for a plan that is not in the catalogue; for a number it never raises."""
        priced = self.plans[plan]
        return priced.rate(number, area, at_ms, self.version)

    def class_limits(self, plan: PlanId, at_ms: int) -> Mapping[str, int]:
        """Raises KeyError for a plan that is not in the catalogue."""
        priced = self.plans[plan]
        return priced.at(at_ms).class_limits

    def off_hours(self, owner: Account | Line, at_ms: int) -> OffHours | None:
        """Raises KeyError for one that is not in the catalogue."""
        rule = owner.off_hours
        if rule is None:
            return None
        payer = owner if isinstance(owner, Account) else self.accounts[owner.account]
        priced = self.plans[payer.plan]
        return rule if holds(rule.windows, at_ms, priced.at(at_ms).zone) else None

    def terms(self, account: AccountId, destination_class: str, at_ms: int) -> Terms:
        """Raises KeyError for an account that is not in the catalogue."""
        terms = self._own_terms(account, destination_class, at_ms)
        if account not in self._members or not self.sharing.serves(account, destination_class, at_ms):
            return terms
        owner = self.sharing.owner(account)
        if owner is None or not self.accounts[owner].active:
            return terms
        lent = self._own_terms(owner, destination_class, at_ms)
        return replace(terms, share=self.sharing.share(account, lent, at_ms))

    def _own_terms(self, account: AccountId, destination_class: str, at_ms: int) -> Terms:
        payer = self.accounts[account]
        priced = self.plans[payer.plan]
        return priced.at(at_ms).terms.terms(payer, destination_class, at_ms)
