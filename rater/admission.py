"""Who pays for an attempt, what it would cost, and which limits it meets. Pure: the catalogue in, a decision out.

The order of the checks is the order of `rater.verdict.Reason`; what needs no balance is denied here, limits and
money are the store's. An emergency number passes before anything else is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

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
from rater.limits.rules import Limits, call_rate, class_lease, leases
from rater.money import MAX_CALL_S, Quote, Segment
from rater.verdict import Reason

INBOUND_CLASS = "inbound"
# Members looked up once; see `rater.calls.session`.
_IN, _OUT = Direction.IN, Direction.OUT
_SHADOW_MODE, _IN_SHADOW = Mode.SHADOW, Enforce.SHADOW
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
    by_endpoint = catalog.line_by_endpoint(payer.endpoint) if payer.endpoint else None
    for source in rules.payer:
        if source is _ENDPOINT:
            line = by_endpoint
        else:
            code = payer.account_code if source is _ACCOUNT_CODE else payer.variable
            if not code:
                continue
            line = catalog.line_by_account_code(code)
            account = catalog.accounts.get(AccountId(code)) if line is None else None
            if account is not None:
                own = by_endpoint is not None and by_endpoint.account == account.id
                return account, by_endpoint if own else None
        if line is not None:
            return catalog.accounts.get(line.account), line
    return None, None


def admit(catalog: Catalog, attempt: Attempted, rules: SwitchRules, wall_ms: int) -> Admitted | Rejected:
    """Decide what can be decided without a balance. `wall_ms`: the moment that picks band and cycle."""
    account, line = find_payer(catalog, attempt, rules)
    facts = _facts(catalog, attempt, account, line)
    facts.rated_at_ms = wall_ms
    if attempt.direction is _IN:
        rated: Rated | Refused | None = None
    else:
        rated = _rate(catalog, attempt, account, line, wall_ms)
        _note_rating(facts, rated)
    emergency = isinstance(rated, Rated) and rated.emergency
    shadow = attempt.mode is _SHADOW_MODE or (account is not None and account.enforce is _IN_SHADOW)
    night = _night(catalog, account, line, wall_ms)
    reason, detail = _denial(account, line, rated, emergency, night)
    if reason is not None:
        facts.reason, facts.detail = reason.code, detail
    if account is None or (reason is not None and not shadow):
        reason = reason or _UNKNOWN_PAYER
        return Rejected(reason, account, facts, shadow and not reason.allows)
    if shadow:
        facts.mode = _SHADOW_MODE._value_
    quote = _quote(account, line, rated, facts, shadow)
    reseller = catalog.resellers.get(account.reseller) if account.reseller is not None else None
    outbound = attempt.direction is _OUT
    broken, would = _margin(rated)
    class_limits = catalog.class_limits(account.plan, wall_ms)
    asked = _asked(account, line, facts.destination_class, class_limits, night, outbound)
    return Admitted(
        account, line, quote, catalog.terms(account.id, facts.destination_class, wall_ms), asked.leases, facts,
        emergency, is_free(quote), asked.rates, reseller,
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
    if not isinstance(rated, Rated) or not rated.below_margin:
        return _ALLOWED, _ALLOWED
    if rated.margin_enforce is _IN_SHADOW:
        return _ALLOWED, Reason.MARGIN_FLOOR
    return Reason.MARGIN_FLOOR, _ALLOWED


def _quote(
    account: Account, line: Line | None, rated: Rated | Refused | None, facts: LegFacts, shadow: bool
) -> Quote:
    """The price, for as long as the leg may last: the shortest of what plan, account and line say. What has no
    price costs nothing: emergency, inbound, and in shadow a number that would have been refused."""
    if not isinstance(rated, Rated) or rated.emergency:
        return Quote((Segment(0, 1, 0, 1),), "", facts.destination_class, horizon_s=MAX_CALL_S)
    quote = rated.quote
    horizon_s = longest_s = quote.horizon_s
    for barred in (account.barred, line.barred) if line is not None else (account.barred,):
        if barred.max_call_s and barred.max_call_s < longest_s:
            longest_s = barred.max_call_s
    if shadow:
        facts.longest_s = longest_s
        longest_s = MAX_CALL_S
    return quote if longest_s == horizon_s else replace(quote, horizon_s=longest_s)


def is_free(quote: Quote) -> bool:
    """Whether a leg costs nothing however long it lasts."""
    if quote.connect_micro or quote.min_micro:
        return False
    for segment in quote.segments:  # noqa: SIM110  # no generator: each leg asks
        if segment.price_num:
            return False
    return True


def _rate(
    catalog: Catalog, attempt: Attempted, account: Account | None, line: Line | None, wall_ms: int
) -> Rated | Refused:
    """Under the payer's plan. Without a payer any plan serves to tell an emergency number: it must pass."""
    area = line.area if line is not None else ""
    if account is not None:
        return catalog.rate(account.plan, attempt.number, area, wall_ms)
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
    passes = account is not None and account.active and (line is None or line.active)
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
    bars = _bars(account.barred, rated)
    if bars:
        return f"the account {account.id} {bars}"
    bars = _bars(line.barred, rated) if line is not None else ""
    if bars and line is not None:
        return f"the line {line.id} {bars}"
    bars = _bars(night.account.barred, rated) if night.account is not None else ""
    if bars:
        return f"in off-hours the account {account.id} {bars}"
    bars = _bars(night.line.barred, rated) if night.line is not None else ""
    return f"in off-hours the line {line.id} {bars}" if bars and line is not None else ""


def _bars(barred: Barred, rated: Rated | Refused) -> str:
    if barred.classes and isinstance(rated, Rated) and rated.destination_class in barred.classes:
        return f"bars the class {rated.destination_class}"
    for prefix in barred.prefixes:
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
    if (account is None or account.off_hours is None) and (line is None or line.off_hours is None):
        return _NONE_HOLDS
    return _Night(
        catalog.off_hours(account, at_ms) if account is not None else None,
        catalog.off_hours(line, at_ms) if line is not None else None,
    )


class _Asked:
    """The leases and call rates of legs of one kind, kept with what they follow from."""

    __slots__ = ("account", "class_limits", "leases", "line", "night", "rates")

    def __init__(
        self, account: Account, line: Line | None, klass: str, class_limits: Mapping[str, int], night: _Night,
        outbound: bool,
    ) -> None:  # fmt: skip
        self.account, self.line = account, line
        self.class_limits, self.night = class_limits, night
        self.leases = tuple(_leases(account, line, klass, class_limits, night, outbound=outbound))
        self.rates = tuple(_rates(account, line, outbound=outbound))


_KEPT = 20_000
_ASKED = Kept(_KEPT)
"""A new catalogue has other objects, so that what was kept of an older one is made anew."""


def _asked(
    account: Account, line: Line | None, klass: str, class_limits: Mapping[str, int], night: _Night, outbound: bool
) -> _Asked:
    """Many calls of a line ask for the same."""
    key = (account.id, line.id if line is not None else None, klass, outbound)
    known: _Asked | None = _ASKED.get(key)
    if (
        known is None
        or known.account is not account
        or known.line is not line
        or known.class_limits is not class_limits
        or known.night.account is not night.account
        or known.night.line is not night.line
    ):
        known = _Asked(account, line, klass, class_limits, night, outbound)
        _ASKED.put(key, known)
    return known


def _leases(
    account: Account,
    line: Line | None,
    klass: str,
    class_limits: Mapping[str, int],
    night: _Night,
    *,
    outbound: bool,
) -> Iterator[Lease]:
    """In the account's shard, the narrowest scope first."""
    if line is not None:
        yield from _line_leases(line, klass, night.line, outbound=outbound)
    scope, limits = f"account:{account.id}", account.limits
    most = dict(limits.classes).get(klass, class_limits.get(klass))
    if night.account is not None:
        limits, most = _tightened(limits, most, night.account.limits, klass)
    yield from leases(scope, _limits(limits), Reason.ACCOUNT_LIMIT, outbound=outbound)
    if most is not None:
        yield class_lease(scope, klass, most, shadow=limits.enforce is _IN_SHADOW)


def _line_leases(line: Line, klass: str, off_hours: OffHours | None, *, outbound: bool) -> Iterator[Lease]:
    scope, limits, most = f"line:{line.id}", line.limits, None
    if off_hours is not None:
        limits, most = _tightened(limits, None, off_hours.limits, klass)
    yield from leases(scope, _limits(limits), Reason.LINE_LIMIT, outbound=outbound)
    if most is not None:
        yield class_lease(scope, klass, most, shadow=False)


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
    limits = _limits(reseller.limits)
    if shadow:
        limits = replace(limits, shadow=True)
    return tuple(leases(f"reseller:{reseller.id}", limits, Reason.RESELLER_LIMIT, outbound=outbound))


def _rates(account: Account, line: Line | None, *, outbound: bool) -> Iterator[CallRate]:
    if line is not None:
        yield from call_rate(f"line:{line.id}", _limits(line.limits), outbound=outbound)
    yield from call_rate(f"account:{account.id}", _limits(account.limits), outbound=outbound)


def _limits(limits: CallLimits) -> Limits:
    shadow = limits.enforce is _IN_SHADOW
    return Limits(limits.both, limits.outbound, limits.inbound, limits.per_second, shadow)


def _facts(catalog: Catalog, attempt: Attempted, account: Account | None, line: Line | None) -> LegFacts:
    direction, plan = attempt.direction, account.plan if account is not None else ""
    return LegFacts(
        attempt.leg, attempt.call, attempt.switch, attempt.mode._value_, direction._value_,
        account.id if account is not None else "", line.id if line is not None else "", attempt.trunk or "",
        attempt.caller, attempt.number, attempt.number, "", "", INBOUND_CLASS if direction is _IN else "", plan,
        catalog.version, [], False, attempt.at_ms,
        reseller=(account.reseller or "") if account is not None else "",
    )  # fmt: skip


def _note_rating(facts: LegFacts, rated: Rated | Refused) -> None:
    facts.number = rated.number
    facts.steps = list(rated.steps)
    if isinstance(rated, Rated):
        known = rated
        facts.prefix = known.prefix
        facts.destination = known.destination
        facts.destination_class = known.destination_class
        facts.emergency = known.emergency
        facts.detail = known.below_margin
