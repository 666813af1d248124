"""Under which terms a live leg is charged, as the catalogue has them now. Pure."""

from __future__ import annotations

from dataclasses import replace

from rater.catalog.model import Catalog
from rater.charging.terms import Share, Terms
from rater.live import LiveLeg


def renew(record: LiveLeg, catalog: Catalog | None, wall_ms: int) -> None:
    """Its terms, and the shard in which they make sense, as the catalogue has them now; an account that is no
    longer in it keeps what it had. Where the account really lives is the store's to know."""
    terms = record.terms
    account = catalog.accounts.get(record.account) if catalog is not None else None
    if catalog is not None and account is not None:
        session = record.session
        facts = session.facts
        terms = catalog.terms(record.account, facts.destination_class, wall_ms)
        record.shard = account.shard
    record.terms = in_mode(record, terms)


def with_owner(record: LiveLeg, catalog: Catalog | None, wall_ms: int) -> Terms:
    """Its account may have left the group that the leg drew on: what the owner pays is still told and counted
    by the owner's terms."""
    terms, owner = record.terms, record.owner
    if owner is None:
        return terms
    share = terms.share
    left = share is None or share.owner != owner
    if not left or catalog is None or owner not in catalog.accounts:
        return terms
    klass = record.session.facts.destination_class
    return replace(terms, share=Share(owner, catalog.terms(owner, klass, wall_ms)))


def in_mode(record: LiveLeg, terms: Terms) -> Terms:
    """Nothing is enforced on a leg in shadow."""
    return replace(terms, shadow=True) if record.shadow else terms
