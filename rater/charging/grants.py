"""Grants as a store keeps them: opened, renewed, rolled over, closed. Plain arithmetic, no I/O.

The reference for lua/grants.lua. A grant is an amount of one resource with a validity; what was granted, used and
is reserved by live legs. An allowance is a row of grants, one for each cycle, opened when a request first meets it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum

from rater.charging.terms import AllowanceTerm, GrantSpec, Resource, Rollover
from rater.ids import AccountId, GrantId

GRANT_KEPT_MS = 40 * 86_400_000
"""How long the last, expired cycle of an allowance stays on record, so that no late request opens it again."""
ROLLOVER_KEPT_MS = 400 * 86_400_000
"""How long what is left of an expired cycle waits to be rolled over."""
ROLLED = "~"
"""What an allowance's id ends with when the grant is what rolled over of it."""
QUOTA = "share:"
"""What the id of a quota begins with; the group's owner follows."""
MAX_GRANTS = 64
"""Most grants that one account holds; more are refused when made by hand."""


class Kind(IntEnum):
    """Values are stored."""

    ALLOWANCE = 0
    SECONDS = 1
    MONEY = 2
    ROLLED = 3
    QUOTA = 4
    """Counts what a member took from its group: nothing is paid from it."""


@dataclass(frozen=True, slots=True)
class Rolled:
    """How a cycle that live legs still held of was rolled over: `left_s` went on, within the bounds, from `from_ms`
    until `until_ms`. What the legs give back later goes on too."""

    max_s: int
    min_s: int
    left_s: int
    from_ms: int
    until_ms: int

    @property
    def seconds(self) -> int:
        return min(self.max_s, max(self.left_s, self.min_s))


@dataclass(slots=True)
class Grant:
    """Closed when its validity is over: what is left then is void, what live legs hold of it stays theirs. Once
    closed, granted = used + reserved. `spec`: of one made by hand. `rolls`: an allowance's rest is not void at its
    end, but waits for the next request to roll it over."""

    id: GrantId
    valid_from_ms: int
    valid_until_ms: int
    granted: int
    used: int = 0
    reserved: int = 0
    closed: bool = False
    kind: Kind = Kind.ALLOWANCE
    spec: GrantSpec | None = None
    rolls: bool = False
    rolled: Rolled | None = None

    @property
    def remaining(self) -> int:
        return self.granted - self.used - self.reserved

    @property
    def held(self) -> int:
        """The balance that the ledger speaks of."""
        return self.granted - self.used

    @property
    def base(self) -> str:
        """The allowance that it is of."""
        return self.id.removesuffix(ROLLED) if self.kind is Kind.ROLLED else self.id


@dataclass(frozen=True, slots=True)
class Line:
    """One change of one balance in the ledger. `resource` is empty for money (micro-units), else the grant, whose
    cycle `cycle_ms` names by its start. `cause`: ``opening``, ``credit``, ``debit``, ``call``, ``grant``,
    ``renew``, ``rollover``, ``expire``."""

    cause: str
    resource: str
    cycle_ms: int
    before: int
    after: int


@dataclass(slots=True)
class Account:
    """`legs`: live legs that draw on it; `waiting`: those among them that could get no more."""

    id: AccountId
    balance_micro: int = 0
    reserved_micro: int = 0
    opening_micro: int = 0
    credits_micro: int = 0
    debits_micro: int = 0
    charges_micro: int = 0
    opened: bool = False
    legs: int = 0
    waiting: int = 0
    grants: list[Grant] = field(default_factory=list)

    def cycle(self, grant: str, at_ms: int) -> Grant | None:
        """The open cycle of an allowance, or the grant, that is valid at a moment."""
        for held in self.grants:
            if held.id == grant and not held.closed and held.valid_from_ms <= at_ms < held.valid_until_ms:
                return held
        return None

    def grant(self, grant: str, valid_from_ms: int) -> Grant | None:
        for held in self.grants:
            if held.id == grant and held.valid_from_ms == valid_from_ms:
                return held
        return None


def quota_id(owner: AccountId, resource: Resource) -> GrantId:
    return GrantId(f"{QUOTA}{owner}" if resource is Resource.SECONDS else f"{QUOTA}{owner}:money")


def renew(
    account: Account, terms: tuple[AllowanceTerm, ...], now_ms: int, kind: Kind = Kind.ALLOWANCE
) -> list[Line]:
    """Close the cycles that are over, roll over what is left, open those that have begun; what the ledger says."""
    lines: list[Line] = []
    for term in terms:
        lines += _renew_term(account, term, now_ms, kind)
    for grant in account.grants:
        if not grant.closed and grant.valid_until_ms <= now_ms and not _waits(grant, now_ms):
            lines += close(grant)
    drop_spent(account, now_ms)
    return lines


def _waits(grant: Grant, now_ms: int) -> bool:
    """Whether its rest may still be rolled over."""
    return grant.rolls and grant.valid_until_ms + ROLLOVER_KEPT_MS > now_ms


def _renew_term(account: Account, term: AllowanceTerm, now_ms: int, kind: Kind) -> list[Line]:
    lines: list[Line] = []
    if term.valid_until_ms <= now_ms:
        return lines
    newest_ms = max((g.valid_from_ms for g in account.grants if g.id == term.grant), default=-1)
    if term.rollover is not None:
        lines += _roll(account, term, term.rollover, newest_ms, now_ms)
    if term.valid_from_ms > newest_ms:
        for grant in account.grants:
            if grant.id == term.grant and not grant.closed:
                lines += close(grant)
        lines += open_cycle(account, term, term.valid_from_ms, term.valid_until_ms, kind)
    return lines


def _roll(account: Account, term: AllowanceTerm, rollover: Rollover, newest_ms: int, now_ms: int) -> list[Line]:
    """What is left of each cycle before becomes a grant of its own. A cycle that nobody met had all its seconds."""
    lines: list[Line] = []
    for past in rollover.past:
        held = account.grant(term.grant, past.valid_from_ms)
        if held is not None and not held.closed:
            left_s = held.remaining
            lines += close(held)
            if held.reserved and past.rolled_until_ms > now_ms:
                held.rolled = Rolled(
                    rollover.max_s, rollover.min_s, left_s, past.ended_at_ms, past.rolled_until_ms
                )  # fmt: skip
        elif held is None and past.valid_from_ms > newest_ms >= 0:
            left_s = past.seconds
        else:
            continue
        rolled_s = min(rollover.max_s, max(left_s, rollover.min_s))
        if rolled_s and past.rolled_until_ms > now_ms:
            rolled = Grant(
                GrantId(term.grant + ROLLED), past.ended_at_ms, past.rolled_until_ms, rolled_s, kind=Kind.ROLLED
            )
            lines += _open(account, rolled, "rollover")
    return lines


def open_cycle(account: Account, term: AllowanceTerm, from_ms: int, until_ms: int, kind: Kind) -> list[Line]:
    rolls = term.rollover is not None
    return _open(account, Grant(term.grant, from_ms, until_ms, term.seconds, kind=kind, rolls=rolls), "renew")


def open_next(account: Account, term: AllowanceTerm, at_ms: int, kind: Kind) -> list[Line]:
    """The cycle after the term's, when a slice reaches into it before it has begun."""
    known = account.grant(term.grant, term.valid_until_ms) is not None
    if known or not term.valid_until_ms <= at_ms < term.next_until_ms:
        return []
    return open_cycle(account, term, term.valid_until_ms, term.next_until_ms, kind)


def _open(account: Account, grant: Grant, cause: str) -> list[Line]:
    account.grants.append(grant)
    return [Line(cause, grant.id, grant.valid_from_ms, 0, grant.granted)]


def give(account: Account, spec: GrantSpec) -> list[Line]:
    """A grant made by hand."""
    kind = Kind.SECONDS if spec.resource is Resource.SECONDS else Kind.MONEY
    grant = Grant(spec.id, spec.valid_from_ms, spec.valid_until_ms, spec.amount, kind=kind, spec=spec)
    lines = _open(account, grant, "grant")
    return lines if spec.amount else []


def close(grant: Grant) -> list[Line]:
    """End it: what is left is void."""
    before, left = grant.held, grant.remaining
    grant.closed = True
    grant.granted -= left
    if not left:
        return []
    return [Line("expire", grant.id, grant.valid_from_ms, before, before - left)]


def use(account: Account, grant: Grant, reserved: int, taken: int) -> list[Line]:
    """Take `taken` of the `reserved` amount and give the rest back; to a closed grant it is void, but for what
    rolls over of it."""
    lines = []
    before = grant.held
    grant.reserved -= reserved
    grant.used += taken
    if taken:
        lines.append(Line("call", grant.id, grant.valid_from_ms, before, before - taken))
    if grant.closed and grant.remaining:
        left = grant.remaining
        lines.append(Line("expire", grant.id, grant.valid_from_ms, grant.held, grant.held - left))
        grant.granted -= left
        if grant.rolled is not None:
            lines += _roll_back(account, grant, grant.rolled, left)
    return lines


def _roll_back(account: Account, grant: Grant, before: Rolled, back_s: int) -> list[Line]:
    """What comes back of a cycle that was rolled over goes on like what was left of it, within the same bounds."""
    after = grant.rolled = replace(before, left_s=before.left_s + back_s)
    more_s = after.seconds - before.seconds
    name = GrantId(grant.id + ROLLED)
    if not more_s:
        return []
    if not before.seconds:
        opened = Grant(name, before.from_ms, before.until_ms, more_s, kind=Kind.ROLLED)
        return _open(account, opened, "rollover")
    rolled = account.grant(name, before.from_ms)
    if rolled is None or rolled.closed:
        return []
    held_s = rolled.held
    rolled.granted += more_s
    return [Line("rollover", name, rolled.valid_from_ms, held_s, held_s + more_s)]


def drop_spent(account: Account, now_ms: int) -> None:
    """Forget closed grants that nobody holds, except the newest cycle of each allowance for a while."""
    newest = {grant.id: grant for grant in account.grants}
    account.grants = [
        grant
        for grant in account.grants
        if not grant.closed
        or grant.reserved
        or (
            grant.kind in (Kind.ALLOWANCE, Kind.QUOTA)
            and newest[grant.id] is grant
            and grant.valid_until_ms + GRANT_KEPT_MS > now_ms
        )
    ]
