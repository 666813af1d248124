"""Who pays for an attempt, what it would cost, and which limits it meets. Pure: the catalogue in, a decision out.

The order of the checks is the order of `rater.verdict.Reason`; what needs no balance is denied here, limits and
money are the store's. An emergency number passes before anything else is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rater.attributes import Attribute
from rater.calls.signals import Attempted, Direction, Mode
from rater.catalog.model import (
    Account,
    Barred,
    CallLimits,
    Catalog,
    Enforce,
    Line,
    OffHours,
    PayerSource,
    Reseller,
    SwitchRules,
)
from rater.catalog.rated import Rated, Refused
from rater.charging.terms import CallRate, Lease, Terms
from rater.events.facts import LegFacts
from rater.ids import AccountId
from rater.kept import Kept
from rater.limits.off_hours import tighter
from rater.limits.rules import add_leases, class_lease
from rater.money import MAX_CALL_S, Quote, Segment
from rater.verdict import Reason

INBOUND_CLASS = "inbound"
# Members looked up once; see `rater.calls.session`.
_IN, _OUT = Direction.IN, Direction.OUT
_GATE, _SHADOW_MODE, _IN_SHADOW = Mode.GATE, Mode.SHADOW, Enforce.SHADOW
_OUT_VALUE, _GATE_VALUE, _SHADOW_VALUE = _OUT._value_, _GATE._value_, _SHADOW_MODE._value_
_LINE_LIMIT, _ACCOUNT_LIMIT = Reason.LINE_LIMIT, Reason.ACCOUNT_LIMIT
# What is read for each leg. The catalogue's records are plain dataclasses, as they are read and published.
_ACCOUNT_ID, _PLAN, _RESELLER, _ENFORCE, _ACCOUNT_ACTIVE, _ACCOUNT_BARRED, _ACCOUNT_LIMITS, _ACCOUNT_OFF_HOURS = [
    Attribute(Account, name)
    for name in ("id", "plan", "reseller", "enforce", "active", "barred", "limits", "off_hours")
]
_LINE_ID, _LINE_ACCOUNT, _AREA, _LINE_ACTIVE, _LINE_BARRED, _LINE_LIMITS, _LINE_OFF_HOURS = [
    Attribute(Line, name) for name in ("id", "account", "area", "active", "barred", "limits", "off_hours")
]
_BOTH, _OUTBOUND, _INBOUND, _PER_SECOND, _LIMITED_CLASSES, _LIMITS_ENFORCE = [
    Attribute(CallLimits, name) for name in ("both", "outbound", "inbound", "per_second", "classes", "enforce")
]
_BARRED_CLASSES, _BARRED_PREFIXES, _MAX_CALL = [
    Attribute(Barred, name) for name in ("classes", "prefixes", "max_call_s")
]
_HORIZON, _SEGMENTS, _PRICE = (
    Attribute(Quote, "horizon_s"),
    Attribute(Quote, "segments"),
    Attribute(Segment, "price_num"),
)
_RULES_PAYER = Attribute(SwitchRules, "payer")
_ENDPOINT, _ACCOUNT_CODE = PayerSource.ENDPOINT, PayerSource.ACCOUNT_CODE
_ALLOWED, _UNKNOWN_PAYER, _EMERGENCY = Reason.ALLOWED, Reason.UNKNOWN_PAYER, Reason.EMERGENCY


@dataclass(frozen=True)
class Admitted:
    """The leg may be reserved: `terms` as of now; `free` legs cost nothing however long.

    `leases` and `rates` are kept in the account's shard, `outside` in the reseller's; trunks are the leader's.
    `broken`: a limit that is reached already. `shadow`: nothing is enforced on the leg. `would`: what would deny
    it, were it not for shadow.
    """

    account: Account
    line: Line | None
    quote: Quote
    terms: Terms
    leases: tuple[Lease, ...]
    facts: LegFacts
    exempt: bool
    free: bool
    rates: tuple[CallRate, ...] = ()
    reseller: Reseller | None = None
    outside: tuple[Lease, ...] = ()
    broken: Reason = Reason.ALLOWED
    shadow: bool = False
    would: Reason = Reason.ALLOWED


@dataclass(frozen=True)
class Rejected:
    """Denied without asking the store. `account` when it is known, for the record of the denial. `shadow`: it is to
    be told and to go on, uncharged."""

    reason: Reason
    account: Account | None
    facts: LegFacts
    shadow: bool = False


def find_payer(catalog: Catalog, attempt: Attempted, rules: SwitchRules) -> tuple[Account | None, Line | None]:
    """The paying account and, if it can be told, the line, by the first source that names a known one."""
    payer = attempt.payer
    for source in _RULES_PAYER.of(rules):
        if source is _ENDPOINT:
            line = catalog.line_by_endpoint(payer.endpoint) if payer.endpoint else None
        else:
            code = payer.account_code if source is _ACCOUNT_CODE else payer.variable
            if not code:
                continue
            line = catalog.line_by_account_code(code)
            account = catalog.accounts.get(AccountId(code)) if line is None else None
            if account is not None:
                by_endpoint = catalog.line_by_endpoint(payer.endpoint) if payer.endpoint else None
                own = by_endpoint is not None and by_endpoint.account == account.id
                return account, by_endpoint if own else None
        if line is not None:
            return catalog.accounts.get(_LINE_ACCOUNT.of(line)), line
    return None, None


def admit(catalog: Catalog, attempt: Attempted, rules: SwitchRules, wall_ms: int) -> Admitted | Rejected:
    """Decide what can be decided without a balance. `wall_ms`: the moment that picks band and cycle."""
    account, line = find_payer(catalog, attempt, rules)
    inbound = attempt.direction is _IN
    rated = None if inbound else _rate(catalog, attempt, account, line, wall_ms)
    facts = _facts(catalog, attempt, account, line, rated, wall_ms)
    emergency = False
    if isinstance(rated, Rated):
        priced = rated
        emergency = priced.emergency
    shadow = attempt.mode is _SHADOW_MODE or (account is not None and _ENFORCE.of(account) is _IN_SHADOW)
    night = _night(catalog, account, line, wall_ms)
    reason, detail = _denial(account, line, rated, emergency, night)
    if reason is not None:
        facts.reason, facts.detail = reason.code, detail
    if account is None or (reason is not None and not shadow):
        reason = reason or _UNKNOWN_PAYER
        return Rejected(reason, account, facts, shadow and not reason.allows)
    if shadow:
        facts.mode = _SHADOW_VALUE
    quote = _quote(account, line, rated, facts, shadow)
    its_reseller = _RESELLER.of(account)
    reseller = catalog.resellers.get(its_reseller) if its_reseller is not None else None
    outbound = attempt.direction is _OUT
    broken, would = _margin(rated)
    class_limits = catalog.class_limits(_PLAN.of(account), wall_ms)
    klass = facts.destination_class
    leases = _leases(account, line, klass, class_limits, night, outbound)
    return Admitted(
        account, line, quote, catalog.terms(_ACCOUNT_ID.of(account), klass, wall_ms), leases, facts,
        emergency, is_free(quote), _rates(account, line, outbound), reseller,
        reseller_leases(reseller, outbound=outbound, shadow=shadow) if reseller is not None else (),
        _ALLOWED if shadow else broken, shadow,
        first(reason or _ALLOWED, first(would, broken) if shadow else would),
    )  # fmt: skip


def first(one: Reason, other: Reason) -> Reason:
    """The one that stands first in the order of precedence; ALLOWED is none."""
    if one is other:
        return one
    return min(one or other, other or one)


def _margin(rated: Rated | Refused | None) -> tuple[Reason, Reason]:
    """What the margin's floor denies, and what it would deny were it not in shadow."""
    if not isinstance(rated, Rated):
        return _ALLOWED, _ALLOWED
    priced = rated
    if not priced.below_margin:
        return _ALLOWED, _ALLOWED
    if priced.margin_enforce is _IN_SHADOW:
        return _ALLOWED, Reason.MARGIN_FLOOR
    return Reason.MARGIN_FLOOR, _ALLOWED


def _quote(
    account: Account, line: Line | None, rated: Rated | Refused | None, facts: LegFacts, shadow: bool
) -> Quote:
    """The price, for as long as the leg may last: the shortest of what plan, account and line say. What has no
    price costs nothing: emergency, inbound, and in shadow a number that would have been refused."""
    if not isinstance(rated, Rated) or facts.emergency:
        return _nothing(facts.destination_class)
    priced = rated
    quote = priced.quote
    horizon_s = longest_s = _HORIZON.of(quote)
    most_s = _MAX_CALL.of(_ACCOUNT_BARRED.of(account))
    if most_s and most_s < longest_s:
        longest_s = most_s
    if line is not None:
        most_s = _MAX_CALL.of(_LINE_BARRED.of(line))
        if most_s and most_s < longest_s:
            longest_s = most_s
    if shadow:
        facts.longest_s = longest_s
        longest_s = MAX_CALL_S
    return quote if longest_s == horizon_s else replace(quote, horizon_s=longest_s)


_FREE = Kept(64)
"""Quotes of what costs nothing, by class."""


def _nothing(klass: str) -> Quote:
    quote: Quote | None = _FREE.get(klass)
    if quote is None:
        quote = Quote((Segment(0, 1, 0, 1),), "", klass, horizon_s=MAX_CALL_S)
        _FREE.put(klass, quote)
    return quote


def is_free(quote: Quote) -> bool:
    """Whether a leg costs nothing however long it lasts."""
    for segment in _SEGMENTS.of(quote):
        if _PRICE.of(segment):
            return False
    return not (quote.connect_micro or quote.min_micro)


def _rate(
    catalog: Catalog, attempt: Attempted, account: Account | None, line: Line | None, wall_ms: int
) -> Rated | Refused:
    """Under the payer's plan. Without a payer any plan serves to tell an emergency number: it must pass."""
    area = _AREA.of(line) if line is not None else ""
    if account is not None:
        return catalog.rate(_PLAN.of(account), attempt.number, area, wall_ms)
    for plan in catalog.plans:
        rated = catalog.rate(plan, attempt.number, area, wall_ms)
        if isinstance(rated, Rated) and rated.emergency:
            return rated
    return Refused(_UNKNOWN_PAYER, detail="neither account code, endpoint nor variable names a known payer")


def _denial(
    account: Account | None,
    line: Line | None,
    rated: Rated | Refused | None,
    emergency: bool,
    night: _Night,
) -> tuple[Reason | None, str]:
    """The first reason that stands, in order of precedence, with its detail; None when nothing denies."""
    if emergency:
        return (_EMERGENCY if account is None else None), ""
    barred = _barred(account, line, rated, night)
    passes = account is not None and _ACCOUNT_ACTIVE.of(account) and (line is None or _LINE_ACTIVE.of(line))
    if passes and not barred and not isinstance(rated, Refused):
        return None, ""
    reasons: list[tuple[Reason, str]] = []
    if isinstance(rated, Refused):
        reasons.append((rated.reason, rated.detail))
    if account is None:
        reasons.append((_UNKNOWN_PAYER, ""))
    elif not account.active:
        reasons.append((Reason.ACCOUNT_INACTIVE, ""))
    if line is not None and not line.active:
        reasons.append((Reason.LINE_INACTIVE, ""))
    if barred:
        reasons.append((Reason.BLOCKED_DESTINATION, barred))
    return min(reasons, key=lambda found: found[0], default=(None, ""))


def _barred(account: Account | None, line: Line | None, rated: Rated | Refused | None, night: _Night) -> str:
    """What account or line bar; the plan's own list is rating's. Empty when nothing."""
    if account is None or rated is None:
        return ""
    bars = _bars(_ACCOUNT_BARRED.of(account), rated)
    if bars:
        return f"the account {account.id} {bars}"
    bars = _bars(_LINE_BARRED.of(line), rated) if line is not None else ""
    if bars and line is not None:
        return f"the line {line.id} {bars}"
    bars = _bars(night.account.barred, rated) if night.account is not None else ""
    if bars:
        return f"in off-hours the account {account.id} {bars}"
    bars = _bars(night.line.barred, rated) if night.line is not None else ""
    return f"in off-hours the line {line.id} {bars}" if bars and line is not None else ""


def _bars(barred: Barred, rated: Rated | Refused) -> str:
    classes = _BARRED_CLASSES.of(barred)
    if classes and isinstance(rated, Rated) and rated.destination_class in classes:
        return f"bars the class {rated.destination_class}"
    for prefix in _BARRED_PREFIXES.of(barred):
        if rated.number.startswith(prefix):
            return f"bars numbers that begin with {prefix}"
    return ""


@dataclass(frozen=True)
class _Night:
    """The rules of off-hours that hold now."""

    account: OffHours | None
    line: OffHours | None


_NONE_HOLDS = _Night(None, None)


def _night(catalog: Catalog, account: Account | None, line: Line | None, at_ms: int) -> _Night:
    its_account = _ACCOUNT_OFF_HOURS.of(account) if account is not None else None
    if its_account is None and (line is None or _LINE_OFF_HOURS.of(line) is None):
        return _NONE_HOLDS
    return _Night(
        catalog.off_hours(account, at_ms) if account is not None else None,
        catalog.off_hours(line, at_ms) if line is not None else None,
    )


def _leases(
    account: Account, line: Line | None, klass: str, class_limits: Mapping[str, int], night: _Night, outbound: bool
) -> tuple[Lease, ...]:
    """In the account's shard, the narrowest scope first."""
    found: list[Lease] = []
    if line is not None:
        _add_line(found, line, klass, night.line, outbound)
    limits = _ACCOUNT_LIMITS.of(account)
    classes, most = _LIMITED_CLASSES.of(limits), None
    if classes or class_limits:
        most = dict(classes).get(klass, class_limits.get(klass))
    if night.account is not None:
        limits, most = _tightened(limits, most, night.account.limits, klass)
    scope: str = "account:" + _ACCOUNT_ID.of(account)
    _add(found, scope, limits, _ACCOUNT_LIMIT, outbound)
    if most is not None:
        found.append(class_lease(scope, klass, most, shadow=limits.enforce is _IN_SHADOW))
    return tuple(found)


def _add_line(found: list[Lease], line: Line, klass: str, off_hours: OffHours | None, outbound: bool) -> None:
    limits, most = _LINE_LIMITS.of(line), None
    if off_hours is not None:
        limits, most = _tightened(limits, None, off_hours.limits, klass)
    scope: str = "line:" + _LINE_ID.of(line)
    _add(found, scope, limits, _LINE_LIMIT, outbound)
    if most is not None:
        found.append(class_lease(scope, klass, most, shadow=False))


def _add(found: list[Lease], scope: str, limits: CallLimits, reason: Reason, outbound: bool) -> None:
    one_way = _OUTBOUND.of(limits) if outbound else _INBOUND.of(limits)
    add_leases(found, scope, _BOTH.of(limits), one_way, reason, outbound, _LIMITS_ENFORCE.of(limits) is _IN_SHADOW)


def _tightened(
    own: CallLimits, most: int | None, off_hours: CallLimits, klass: str
) -> tuple[CallLimits, int | None]:
    """Limits of account or line and that of the class with those of off-hours; the latter alone where its own are
    in shadow."""
    if own.enforce is _IN_SHADOW:
        own, most = CallLimits(), None
    limits = replace(
        own,
        both=tighter(own.both, off_hours.both),
        outbound=tighter(own.outbound, off_hours.outbound),
        inbound=tighter(own.inbound, off_hours.inbound),
    )
    return limits, tighter(most, dict(off_hours.classes).get(klass))


def reseller_leases(reseller: Reseller, *, outbound: bool, shadow: bool = False) -> tuple[Lease, ...]:
    """In the reseller's shard."""
    limits = reseller.limits
    if shadow:
        limits = replace(limits, enforce=_IN_SHADOW)
    found: list[Lease] = []
    _add(found, "reseller:" + reseller.id, limits, Reason.RESELLER_LIMIT, outbound)
    return tuple(found)


def _rates(account: Account, line: Line | None, outbound: bool) -> tuple[CallRate, ...]:
    """Of outbound attempts only: a ring group of twenty is twenty inbound legs in one moment."""
    if not outbound:
        return ()
    own = _ACCOUNT_LIMITS.of(account)
    of_line = _LINE_LIMITS.of(line) if line is not None else None
    at_line, at_account = _PER_SECOND.of(of_line) if of_line is not None else None, _PER_SECOND.of(own)
    if at_line is None and at_account is None:
        return ()
    found = []
    if line is not None and of_line is not None and at_line is not None:
        found.append(CallRate(f"line:{line.id}", at_line, shadow=of_line.enforce is _IN_SHADOW))
    if at_account is not None:
        found.append(CallRate(f"account:{account.id}", at_account, shadow=own.enforce is _IN_SHADOW))
    return tuple(found)


def _facts(
    catalog: Catalog, attempt: Attempted, account: Account | None, line: Line | None, rated: Rated | Refused | None,
    wall_ms: int,
) -> LegFacts:  # fmt: skip
    direction, mode = attempt.direction, attempt.mode
    number, prefix, destination, klass, detail, emergency = attempt.number, "", "", "", "", False
    steps: list[str] = []
    if direction is _IN:
        klass = INBOUND_CLASS
    if isinstance(rated, Rated):
        known = rated
        number, prefix, destination = known.number, known.prefix, known.destination
        klass, emergency, detail = known.destination_class, known.emergency, known.below_margin
        steps = list(known.steps)
    elif rated is not None:
        refused = rated
        number, steps = refused.number, list(refused.steps)
    facts = LegFacts(
        attempt.leg, attempt.call, attempt.switch, _GATE_VALUE if mode is _GATE else mode._value_,
        _OUT_VALUE if direction is _OUT else direction._value_,
        _ACCOUNT_ID.of(account) if account is not None else "", _LINE_ID.of(line) if line is not None else "",
        attempt.trunk or "",
        attempt.caller, attempt.number, number, prefix, destination, klass,
        _PLAN.of(account) if account is not None else "", catalog.version, steps, emergency, attempt.at_ms,
        wall_ms,
    )  # fmt: skip
    facts.detail = detail
    if account is not None:
        facts.reseller = _RESELLER.of(account) or ""
    return facts
