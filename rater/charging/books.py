"""The arithmetic of charging, readable: how a slice is taken from allowances and money, and given back.

This is the reference that the Lua scripts are twins of. `Account` and `Leg` are what a store keeps; the functions
here change them in memory, `rater.charging.memory` decides when. Nothing here divides money: `rater.money` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rater.charging.model import AllowanceTerm, Piece, Reply, SlicePolicy, Terms, Threshold, ThresholdKind
from rater.ids import AccountId, GrantId, LegId, OpId, Shard, SwitchId
from rater.money import MAX_AMOUNT_MICRO, Cadence, Quote, affordable_s, cumulative_micro

GRANT_KEPT_MS = 40 * 86_400_000
"""How long the last, expired cycle of an allowance stays on record, so that no late request opens it again."""


@dataclass(slots=True)
class Grant:
    """One cycle of an allowance. Closed when its validity is over: what is left then is void, what live legs hold
    of it stays theirs. Once closed, granted = used + reserved."""

    id: GrantId
    valid_from_ms: int
    valid_until_ms: int
    granted_s: int
    used_s: int = 0
    reserved_s: int = 0
    closed: bool = False

    @property
    def remaining_s(self) -> int:
        return self.granted_s - self.used_s - self.reserved_s

    @property
    def held_s(self) -> int:
        """The balance that the ledger speaks of."""
        return self.granted_s - self.used_s


@dataclass(frozen=True, slots=True)
class Line:
    """One change of one balance in the ledger. `resource` is empty for money (micro-units), else the grant, whose
    cycle `cycle_ms` names by its start (seconds). `cause`: ``opening``, ``credit``, ``debit``, ``call``, ``renew``,
    ``expire``."""

    cause: str
    resource: str
    cycle_ms: int
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What one operation changed; never empty. `note` is what a person gave as the reason."""

    op: str
    account: AccountId
    at_ms: int
    note: str
    lines: tuple[Line, ...]


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

    def open_grant(self, grant: GrantId) -> Grant | None:
        for held in self.grants:
            if held.id == grant and not held.closed:
                return held
        return None


@dataclass(slots=True)
class PaidPiece:
    """A `Piece` with what it takes to count it again when less was talked."""

    piece: Piece
    cycle_ms: int
    cadence: Cadence


@dataclass(slots=True)
class Leg:
    id: LegId
    account: AccountId
    shard: Shard
    switch: SwitchId
    quote: Quote
    exempt: bool
    competes: bool
    reserved_at_ms: int
    seen_at_ms: int
    facts: bytes
    leases: tuple[str, ...]
    last_op: int
    reply: Reply
    granted_s: int = 0
    final: bool = False
    reserved_micro: int = 0
    answered_at_ms: int | None = None
    pieces: list[PaidPiece] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        return self.competes and self.final and self.granted_s < self.quote.horizon_s


def price_micro(quote: Quote, seconds: int) -> int | None:
    """C(seconds), or None where it leaves the exact range: such a second cannot be bought."""
    amount_micro = cumulative_micro(quote, seconds)
    return amount_micro if amount_micro <= MAX_AMOUNT_MICRO else None


def needs_funds(quote: Quote, terms: Terms, *, exempt: bool) -> bool:
    """Whether the leg draws on the account. One that is free however long does not, unless its allowance blocks
    when exhausted."""
    if exempt:
        return False
    return cumulative_micro(quote, quote.horizon_s) > 0 or bool(terms.allowances and not terms.use_money)


def op_number(op: OpId) -> int:
    """The n of ``<leg>:<n>``, at least 1. Raises ValueError."""
    number = int(op.rpartition(":")[2])
    if number < 1:
        raise ValueError(f"operations of a leg are numbered from 1: {op!r}")
    return number


def levels(account: Account, thresholds: tuple[Threshold, ...]) -> list[int | None]:
    """Where each threshold's quantity stands: the balance, or the seconds used of an open grant."""
    found: list[int | None] = []
    for threshold in thresholds:
        if threshold.kind is ThresholdKind.MONEY_BELOW:
            found.append(account.balance_micro)
            continue
        grant = account.open_grant(threshold.grant) if threshold.grant is not None else None
        found.append(grant.used_s if grant is not None else None)
    return found


def crossed(account: Account, threshold: Threshold, before: int | None, after: int | None) -> bool:
    """Whether the threshold lies between two levels; `account` as it is after."""
    if before is None or after is None:
        return False
    if threshold.kind is ThresholdKind.MONEY_BELOW:
        return before >= threshold.value > after
    grant = account.open_grant(threshold.grant) if threshold.grant is not None else None
    return grant is not None and 100 * before < threshold.value * grant.granted_s <= 100 * after


def increment_end_s(quote: Quote, seconds: int) -> int:
    """The end of the increment that `seconds` lies in, within the horizon: up to there it costs the same."""
    seconds = min(seconds, quote.horizon_s)
    start_s, step_s, end_s = 0, 1, quote.horizon_s
    for segment in quote.segments:
        if segment.from_s >= seconds:
            end_s = min(segment.from_s, end_s)
            break
        start_s, step_s = segment.from_s, segment.step_s
    return min(start_s + -(-(seconds - start_s) // step_s) * step_s, end_s)


def renew(account: Account, terms: Terms, now_ms: int) -> list[Line]:
    """Close the cycles that are over, open those that have begun; what the ledger says of it."""
    lines: list[Line] = []
    for grant in account.grants:
        if not grant.closed and grant.valid_until_ms <= now_ms:
            lines += _close(grant)
    for term in terms.allowances:
        newest_ms = max((g.valid_from_ms for g in account.grants if g.id == term.grant), default=-1)
        if term.valid_from_ms <= newest_ms or term.valid_until_ms <= now_ms:
            continue
        superseded = account.open_grant(term.grant)
        if superseded is not None:
            lines += _close(superseded)
        account.grants.append(Grant(term.grant, term.valid_from_ms, term.valid_until_ms, term.seconds))
        lines.append(Line("renew", term.grant, term.valid_from_ms, 0, term.seconds))
    drop_spent(account, now_ms)
    return lines


def _close(grant: Grant) -> list[Line]:
    before_s, left_s = grant.held_s, grant.remaining_s
    grant.closed = True
    grant.granted_s -= left_s
    if not left_s:
        return []
    return [Line("expire", grant.id, grant.valid_from_ms, before_s, before_s - left_s)]


def drop_spent(account: Account, now_ms: int) -> None:
    """Forget closed cycles that nobody holds, except the newest of each allowance for a while."""
    newest = {grant.id: grant for grant in account.grants}
    account.grants = [
        grant
        for grant in account.grants
        if not grant.closed
        or grant.reserved_s
        or (newest[grant.id] is grant and grant.valid_until_ms + GRANT_KEPT_MS > now_ms)
    ]


@dataclass(slots=True)
class Walk:
    """Extends a leg's pieces: allowances in the order given, then money.

    `sharers`: into how many shares what is left is divided when it does not reach for all. It is twice the legs
    that draw on the account: each takes half of its equal share, then half of what that has become. So a leg that
    comes later finds something, and legs on one balance come to its end together.
    """

    account: Account
    leg: Leg
    terms: Terms
    slice: SlicePolicy
    sharers: int

    def go(self, goal_s: int) -> None:
        """Pay ahead up to `goal_s`, or as far as it reaches, and note whether anything more could be had."""
        leg = self.leg
        if not leg.competes:
            if goal_s > leg.granted_s:
                self._add(None, 0, Cadence(), goal_s, 0)
        elif not self._use_allowances(goal_s) and leg.granted_s < goal_s and self.terms.use_money:
            self._pay(goal_s)
        leg.final = not self.more()

    def _use_allowances(self, goal_s: int) -> bool:
        """True when one of them could still go on: then nothing after it is touched."""
        leg = self.leg
        for term, grant in self._usable():
            if leg.granted_s >= goal_s:
                return True
            to_s = self._covered_s(term, grant, goal_s)
            if to_s > leg.granted_s:
                amount_s = term.cadence.counted_s(to_s) - term.cadence.counted_s(leg.granted_s)
                grant.reserved_s += amount_s
                self._add(grant.id, grant.valid_from_ms, term.cadence, to_s, amount_s)
            if self._goes_on(term, grant):
                return True
        return False

    def _goes_on(self, term: AllowanceTerm, grant: Grant) -> bool:
        """Whether this allowance has one second more; a rest smaller than an increment has not."""
        leg = self.leg
        return self._reach_s(term.cadence, grant.remaining_s, leg.granted_s + 1) > leg.granted_s

    @property
    def available_micro(self) -> int:
        """Never negative: when the floor was raised above the balance, nothing is available."""
        return max(0, self.account.balance_micro - self.terms.floor_micro - self.account.reserved_micro)

    def more(self) -> bool:
        """Whether one second more could be had now."""
        leg = self.leg
        if leg.granted_s >= leg.quote.horizon_s:
            return False
        if not leg.competes or any(self._goes_on(term, grant) for term, grant in self._usable()):
            return True
        return self.terms.use_money and self._afford_s(leg.granted_s + 1, self.available_micro) > leg.granted_s

    def _usable(self) -> Iterator[tuple[AllowanceTerm, Grant]]:
        for term in self.terms.allowances:
            grant = self.account.open_grant(term.grant)
            if grant is not None:
                yield term, grant

    def _covered_s(self, term: AllowanceTerm, grant: Grant, goal_s: int) -> int:
        """How far this allowance carries. One that nothing can follow is shared like money."""
        budget_s = grant.remaining_s
        if term is self.terms.allowances[-1] and not (self.terms.use_money and self.available_micro):
            short_s = max(self.leg.granted_s + self.slice.short_s, term.cadence.free_s + 1)
            least_s = term.cadence.counted_s(short_s) - term.cadence.counted_s(self.leg.granted_s)
            budget_s = min(budget_s, max(budget_s // self.sharers, least_s))
        return self._reach_s(term.cadence, budget_s, goal_s)

    def _reach_s(self, cadence: Cadence, budget_s: int, goal_s: int) -> int:
        """The end of what an allowance covers. Its free seconds alone count as nothing."""
        goal_s = min(max(goal_s, cadence.free_s + 1), self.leg.quote.horizon_s)
        to_s = cadence.covers_s(self.leg.granted_s, budget_s, goal_s)
        return to_s if to_s > cadence.free_s else self.leg.granted_s

    def _pay(self, goal_s: int) -> None:
        """One slice of money: up to the goal, or an equal share, but at least a short slice while it lasts."""
        leg = self.leg
        available_micro = self.available_micro
        short_s = max(leg.granted_s + self.slice.short_s, leg.quote.free_s + 1)
        least_micro = self._cost(min(short_s, leg.quote.horizon_s))
        budget_micro = available_micro // self.sharers
        if least_micro is None or least_micro > budget_micro:
            budget_micro = available_micro if least_micro is None else min(available_micro, least_micro)
        to_s = self._afford_s(goal_s, budget_micro)
        if to_s > leg.granted_s:
            amount_micro = self._cost(to_s)
            assert amount_micro is not None
            self.account.reserved_micro += amount_micro
            leg.reserved_micro += amount_micro
            self._add(None, 0, Cadence(), to_s, amount_micro)

    def _cost(self, to_s: int) -> int | None:
        paid = price_micro(self.leg.quote, self.leg.granted_s)
        total = price_micro(self.leg.quote, to_s)
        return None if paid is None or total is None else total - paid

    def _afford_s(self, goal_s: int, budget_micro: int) -> int:
        """The end of what money buys. The quote's free seconds alone count as nothing."""
        leg, quote = self.leg, self.leg.quote
        goal_s = min(max(goal_s, quote.free_s + 1), quote.horizon_s)
        paid_micro = price_micro(quote, leg.granted_s)
        if paid_micro is None:
            return leg.granted_s
        budget_micro = min(budget_micro, MAX_AMOUNT_MICRO - paid_micro)
        to_s = min(affordable_s(quote, leg.granted_s, budget_micro), goal_s)
        return to_s if to_s > quote.free_s else leg.granted_s

    def _add(self, grant: GrantId | None, cycle_ms: int, cadence: Cadence, to_s: int, amount: int) -> None:
        leg = self.leg
        last = leg.pieces[-1] if leg.pieces else None
        if last is not None and (last.piece.grant, last.cycle_ms, last.cadence) == (grant, cycle_ms, cadence):
            last.piece = Piece(grant, last.piece.from_s, to_s, last.piece.amount + amount)
        else:
            leg.pieces.append(PaidPiece(Piece(grant, leg.granted_s, to_s, amount), cycle_ms, cadence))
        leg.granted_s = to_s


def charge(account: Account, leg: Leg, charged_s: int, now_ms: int) -> tuple[int, list[Piece], list[Line]]:
    """Take what `charged_s` seconds cost from what the leg holds and give the rest back.

    Returns the money charged (micro-units), the pieces as charged, and the ledger's lines. `charged_s` ≤ granted.
    """
    amount_micro = 0
    pieces: list[Piece] = []
    lines: list[Line] = []
    for paid in leg.pieces:
        piece = paid.piece
        to_s = min(piece.to_s, charged_s)
        reached = to_s > piece.from_s
        if piece.grant is not None:
            taken = paid.cadence.counted_s(to_s) - paid.cadence.counted_s(piece.from_s) if reached else 0
            lines += _use(account, paid, taken)
        else:
            taken = 0
            if reached and leg.competes:
                taken = cumulative_micro(leg.quote, to_s) - cumulative_micro(leg.quote, piece.from_s)
            amount_micro += taken
        if reached:
            pieces.append(Piece(piece.grant, piece.from_s, to_s, taken))
    if amount_micro:
        lines.insert(0, Line("call", "", 0, account.balance_micro, account.balance_micro - amount_micro))
    account.balance_micro -= amount_micro
    account.charges_micro += amount_micro
    account.reserved_micro -= leg.reserved_micro
    drop_spent(account, now_ms)
    return amount_micro, pieces, lines


def _use(account: Account, paid: PaidPiece, taken_s: int) -> list[Line]:
    for grant in account.grants:
        if grant.id == paid.piece.grant and grant.valid_from_ms == paid.cycle_ms:
            break
    else:
        return []
    lines = []
    before_s = grant.held_s
    grant.reserved_s -= paid.piece.amount
    grant.used_s += taken_s
    if taken_s:
        lines.append(Line("call", grant.id, grant.valid_from_ms, before_s, before_s - taken_s))
    if grant.closed and grant.remaining_s:
        lines.append(Line("expire", grant.id, grant.valid_from_ms, grant.held_s, grant.held_s - grant.remaining_s))
        grant.granted_s -= grant.remaining_s
    return lines
