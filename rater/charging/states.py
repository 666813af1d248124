"""An account as it is stored, and as it is at a moment, for those who read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rater.charging.books import Account
from rater.charging.grants import QUOTA, Grant, Kind, quota_id, renew
from rater.charging.records import AccountState, GrantState, LegState, MoneyGrantState, QuotaState
from rater.charging.terms import Resource, Terms
from rater.charging.walk import quota_terms
from rater.ids import AccountId


def account_state(held: Account) -> AccountState:
    """Everything on record."""
    return AccountState(
        held.id, held.balance_micro, held.reserved_micro, held.opening_micro, held.credits_micro,
        held.debits_micro, held.charges_micro,
        tuple(_seconds(g) for g in held.grants if g.kind in (Kind.ALLOWANCE, Kind.SECONDS, Kind.ROLLED)),
        tuple(_money(g) for g in held.grants if g.kind is Kind.MONEY),
        tuple(_quota(g) for g in held.grants if g.kind is Kind.QUOTA),
    )  # fmt: skip


def as_of(held: Account, terms: Terms, now_ms: int) -> Account:
    """The account with what is over closed, and what has begun opened, as its next request would find it. `held` is
    changed; nothing is stored. `terms`: with every allowance of its plan."""
    renew(held, terms.allowances, now_ms)
    if terms.share is not None:
        share = terms.share
        renew(held, quota_terms(share.owner, share.quota_s, share.quota_micro), now_ms, Kind.QUOTA)
    return held


@dataclass(frozen=True, slots=True)
class Recorded:
    """One grant, or quota, of an account. `held`: what the ledger's lines for it must add up to; `reserved`: what
    live legs must hold of it together. `money`: micro-units, else seconds."""

    grant: str
    cycle_ms: int
    held: int
    reserved: int
    money: bool = False


def recorded(state: AccountState) -> Iterator[Recorded]:
    """Everything but the balance, for checking it."""
    for grant in state.grants:
        yield Recorded(grant.grant, grant.valid_from_ms, grant.granted_s - grant.used_s, grant.reserved_s)
    for money in state.money_grants:
        held_micro = money.granted_micro - money.used_micro
        yield Recorded(money.grant, money.valid_from_ms, held_micro, money.reserved_micro, True)
    for quota in state.quotas:
        grant_id = quota_id(quota.owner, quota.resource)
        in_money = quota.resource is Resource.MONEY
        yield Recorded(grant_id, quota.valid_from_ms, quota.limit - quota.used, quota.reserved, in_money)


def holdings(leg: LegState) -> Iterator[tuple[AccountId, str, int]]:
    """What a live leg holds: of which account, of which grant ("" for the balance), how much."""
    for piece in leg.pieces:
        payer = leg.owner if piece.shared and leg.owner is not None else leg.account
        yield payer, piece.grant or "", piece.amount
        if piece.quota:
            resource = Resource.MONEY if piece.money or piece.grant is None else Resource.SECONDS
            yield leg.account, quota_id(payer, resource), piece.amount


def _source(grant: Grant) -> str:
    if grant.spec is not None:
        return grant.spec.source
    return "rollover" if grant.kind is Kind.ROLLED else "allowance"


def _seconds(g: Grant) -> GrantState:
    return GrantState(
        g.id, g.granted, g.used, g.reserved, g.valid_from_ms, g.valid_until_ms, _source(g), g.closed,
        g.spec.hours if g.spec is not None else (),
    )  # fmt: skip


def _money(g: Grant) -> MoneyGrantState:
    return MoneyGrantState(
        g.id, g.granted, g.used, g.reserved, g.valid_from_ms, g.valid_until_ms, _source(g), g.closed,
        g.spec.hours if g.spec is not None else (),
    )  # fmt: skip


def _quota(g: Grant) -> QuotaState:
    owner = g.id.removeprefix(QUOTA)
    resource = Resource.MONEY if owner.endswith(":money") else Resource.SECONDS
    return QuotaState(
        AccountId(owner.removesuffix(":money")), resource, g.granted, g.used, g.reserved, g.valid_from_ms,
        g.valid_until_ms, g.closed,
    )  # fmt: skip
