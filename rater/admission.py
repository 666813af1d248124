"""Who pays for an attempt, what it would cost, and which limits it meets. Pure: the catalogue in, a decision out.

The order of the checks is the order of `rater.verdict.Reason`; what needs no balance is denied here, limits and
money are the store's. An emergency number passes before anything else is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

from rater.calls.signals import Attempted, Direction
from rater.catalog.model import Account, Catalog, Line, PayerSource, Rated, Refused, SwitchRules
from rater.charging.model import Lease, Terms
from rater.events.rated import LegFacts
from rater.ids import AccountId
from rater.limits.rules import leases
from rater.money import MAX_CALL_S, Quote, Segment
from rater.verdict import Reason

INBOUND_CLASS = "inbound"


@dataclass(frozen=True, slots=True)
class Admitted:
    """The leg may be reserved: `terms` as of now; `free` legs cost nothing however long."""

    account: Account
    line: Line | None
    quote: Quote
    terms: Terms
    leases: tuple[Lease, ...]
    facts: LegFacts
    exempt: bool
    free: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """Denied without asking the store. `account` when it is known, for the record of the denial."""

    reason: Reason
    account: Account | None
    facts: LegFacts


def find_payer(catalog: Catalog, attempt: Attempted, rules: SwitchRules) -> tuple[Account | None, Line | None]:
    """The paying account and, if it can be told, the line, by the first source that names a known one."""
    payer = attempt.payer
    by_endpoint = catalog.line_by_endpoint(payer.endpoint) if payer.endpoint else None
    for source in rules.payer:
        if source is PayerSource.ENDPOINT:
            line = by_endpoint
        else:
            code = payer.account_code if source is PayerSource.ACCOUNT_CODE else payer.variable
            if not code:
                continue
            line = catalog.line_by_account_code(code)
            account = catalog.accounts.get(AccountId(code))
            if line is None and account is not None:
                own = by_endpoint is not None and by_endpoint.account == account.id
                return account, by_endpoint if own else None
        if line is not None:
            return catalog.accounts.get(line.account), line
    return None, None


def admit(catalog: Catalog, attempt: Attempted, rules: SwitchRules, *, wall_ms: int) -> Admitted | Rejected:
    """Decide what can be decided without a balance. `wall_ms`: the moment that picks band and cycle."""
    account, line = find_payer(catalog, attempt, rules)
    facts = _facts(catalog, attempt, account, line)
    facts.rated_at_ms = wall_ms
    if attempt.direction is Direction.IN:
        rated: Rated | Refused | None = None
    else:
        rated = _rate(catalog, attempt, account, line, wall_ms)
        _note_rating(facts, rated)
    emergency = isinstance(rated, Rated) and rated.emergency
    reason = _denial(account, line, rated, emergency)
    if reason is not None or account is None:
        facts.reason = (reason or Reason.UNKNOWN_PAYER).code
        return Rejected(reason or Reason.UNKNOWN_PAYER, account, facts)
    if isinstance(rated, Rated) and not emergency:
        quote = rated.quote
    else:
        quote = Quote((Segment(0, 1, 0, 1),), "", facts.destination_class, horizon_s=MAX_CALL_S)
    terms = catalog.terms(account.id, facts.destination_class, wall_ms)
    return Admitted(
        account=account,
        line=line,
        quote=quote,
        terms=terms,
        leases=_leases(catalog, attempt, account, line),
        facts=facts,
        exempt=emergency,
        free=is_free(quote),
    )


def is_free(quote: Quote) -> bool:
    """Whether a leg costs nothing however long it lasts."""
    return not (quote.connect_micro or quote.min_micro or any(s.price_num for s in quote.segments))


def _rate(
    catalog: Catalog, attempt: Attempted, account: Account | None, line: Line | None, wall_ms: int
) -> Rated | Refused:
    """Under the payer's plan. Without a payer any plan serves to tell an emergency number: it must pass."""
    area = line.area if line is not None else ""
    if account is not None:
        return catalog.rate(account.plan, attempt.number, area=area, at_ms=wall_ms)
    for plan in catalog.plans:
        rated = catalog.rate(plan, attempt.number, area=area, at_ms=wall_ms)
        if isinstance(rated, Rated) and rated.emergency:
            return rated
    return Refused(Reason.UNKNOWN_PAYER, detail="neither account code, endpoint nor variable names a known payer")


def _denial(
    account: Account | None, line: Line | None, rated: Rated | Refused | None, emergency: bool
) -> Reason | None:
    """The first reason that stands, in order of precedence; None when nothing denies."""
    if emergency:
        return Reason.EMERGENCY if account is None else None
    reasons = []
    if isinstance(rated, Refused):
        reasons.append(rated.reason)
    if account is None:
        reasons.append(Reason.UNKNOWN_PAYER)
    elif not account.active:
        reasons.append(Reason.ACCOUNT_INACTIVE)
    if line is not None and not line.active:
        reasons.append(Reason.LINE_INACTIVE)
    return min(reasons, default=None)


def _leases(catalog: Catalog, attempt: Attempted, account: Account, line: Line | None) -> tuple[Lease, ...]:
    trunk = catalog.trunks.get(attempt.trunk) if attempt.trunk is not None else None
    return leases(
        outbound=attempt.direction is Direction.OUT,
        account=account.id,
        account_limits=(account.limits.both, account.limits.outbound, account.limits.inbound),
        line=line.id if line is not None else None,
        line_limits=(line.limits.both, line.limits.outbound, line.limits.inbound) if line is not None else None,
        trunk=trunk.id if trunk is not None else None,
        trunk_limit=trunk.max_calls if trunk is not None else None,
    )


def _facts(catalog: Catalog, attempt: Attempted, account: Account | None, line: Line | None) -> LegFacts:
    return LegFacts(
        id=attempt.leg,
        call=attempt.call,
        switch=attempt.switch,
        mode=attempt.mode.value,
        direction=attempt.direction.value,
        account=account.id if account is not None else "",
        line=line.id if line is not None else "",
        trunk=attempt.trunk or "",
        caller=attempt.caller,
        dialled=attempt.number,
        number=attempt.number,
        prefix="",
        destination="",
        destination_class=INBOUND_CLASS if attempt.direction is Direction.IN else "",
        plan=account.plan if account is not None else "",
        catalog_version=catalog.version,
        steps=[],
        emergency=False,
        attempted_at_ms=attempt.at_ms,
    )


def _note_rating(facts: LegFacts, rated: Rated | Refused) -> None:
    facts.number = rated.number
    facts.steps = list(rated.steps)
    if isinstance(rated, Rated):
        facts.prefix = rated.prefix
        facts.destination = rated.destination
        facts.destination_class = rated.destination_class
        facts.emergency = rated.emergency
    else:
        facts.detail = rated.detail
