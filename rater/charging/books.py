"""The arithmetic of charging, readable: what a leg holds, and how it is charged and the rest given back.

This is the reference that the Lua scripts are twins of, with `rater.charging.grants` and `rater.charging.walk`.
`Account` and `Leg` are what a store keeps; the functions here change them in memory, `rater.charging.memory`
decides when. Nothing here divides money: `rater.money` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rater.charging.grants import Account as Account
from rater.charging.grants import Line as Line
from rater.charging.grants import drop_spent, quota_id, use
from rater.charging.model import Reply
from rater.charging.model import op_number as op_number
from rater.charging.records import Piece
from rater.charging.terms import Resource, SpendWindow, Terms, Threshold, ThresholdKind
from rater.ids import AccountId, GrantId, LegId, Shard, SwitchId
from rater.money import MAX_AMOUNT_MICRO, Cadence, Quote, cumulative_micro


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What one operation changed; never empty. `note` is what a person gave as the reason."""

    op: str
    account: AccountId
    at_ms: int
    note: str
    lines: tuple[Line, ...]


@dataclass(slots=True)
class PaidPiece:
    """A `Piece` with what it takes to count it again when less was talked. `cadence`: None for money. `quota_ms`:
    the cycle of the quota that counts a shared piece, −1 without one."""

    piece: Piece
    cycle_ms: int
    cadence: Cadence | None
    quota_ms: int = -1

    @property
    def of_money(self) -> bool:
        return self.cadence is None

    @property
    def payer(self) -> tuple[object, ...]:
        """Pieces of one payer that follow each other are one."""
        return (self.piece.grant, self.cycle_ms, self.cadence, self.piece.shared, self.quota_ms)


@dataclass(slots=True)
class Leg:
    """`owner`: of the sharing group that it draws on, once it does, to its end."""

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
    owner: AccountId | None = None
    granted_s: int = 0
    final: bool = False
    answered_at_ms: int | None = None
    leased_until_ms: int = 0
    pieces: list[PaidPiece] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        return self.competes and self.final and self.granted_s < self.quote.horizon_s

    @property
    def money_micro(self) -> int:
        """What it holds of money, whichever grant or balance pays."""
        return sum(paid.piece.amount for paid in self.pieces if paid.of_money)

    @property
    def shared_micro(self) -> int:
        """What of it is the group owner's."""
        return sum(paid.piece.amount for paid in self.pieces if paid.of_money and paid.piece.shared)


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


def levels(
    account: Account, thresholds: tuple[Threshold, ...], now_ms: int, spent_micro: Mapping[SpendWindow, int]
) -> list[int | None]:
    """Where each threshold's quantity stands: the balance, the seconds used of an allowance's cycle, or what was
    charged in a window."""
    found: list[int | None] = []
    for threshold in thresholds:
        if threshold.kind in (ThresholdKind.MONEY_BELOW, ThresholdKind.MONEY_ABOVE):
            found.append(account.balance_micro)
        elif threshold.kind.window is not None:
            found.append(spent_micro.get(threshold.kind.window))
        else:
            grant = account.cycle(threshold.grant or "", now_ms)
            found.append(grant.used if grant is not None else None)
    return found


def crossed(account: Account, threshold: Threshold, before: int | None, after: int | None, now_ms: int) -> bool:
    """Whether the threshold lies between two levels; `account` as it is after."""
    if before is None or after is None:
        return False
    if threshold.kind is ThresholdKind.MONEY_BELOW:
        return before >= threshold.value > after
    if threshold.kind is not ThresholdKind.ALLOWANCE_PERCENT:
        return before < threshold.value <= after
    grant = account.cycle(threshold.grant or "", now_ms)
    return grant is not None and 100 * before < threshold.value * grant.granted <= 100 * after


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


Fund = tuple[GrantId | None, bool]
"""Who pays: a grant of money, or None for the balance; whether it is the group owner's."""


@dataclass(slots=True)
class Charge:
    """What a settlement took. `pieces`: stretches of seconds, those of money joined whoever paid. `returned`:
    whether anything went back to the account, and to the owner."""

    amount_micro: int = 0
    pieces: list[Piece] = field(default_factory=list)
    funds: dict[Fund, int] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    owner_lines: list[Line] = field(default_factory=list)
    returned: bool = False
    owner_returned: bool = False

    @property
    def shared_micro(self) -> int:
        """What of the amount the group's owner paid."""
        return sum(amount for (_, shared), amount in self.funds.items() if shared)


def charge(account: Account, owner: Account | None, leg: Leg, charged_s: int, now_ms: int) -> Charge:
    """Take what `charged_s` seconds cost from what the leg holds and give the rest back. `charged_s` ≤ granted.

    Money owed for the seconds of several pieces is taken from each in turn, as far as it holds.
    """
    done = Charge()
    owed_micro = paid_to_s = 0
    for paid in leg.pieces:
        piece = paid.piece
        payer = owner if piece.shared and owner is not None else account
        to_s = min(piece.to_s, charged_s)
        if paid.cadence is None:
            from_s = max(piece.from_s, paid_to_s)
            if to_s > from_s:
                cost_micro = cumulative_micro(leg.quote, to_s) - cumulative_micro(leg.quote, from_s)
                owed_micro += cost_micro if leg.competes else 0
                paid_to_s = to_s
            taken = min(owed_micro, piece.amount)
            owed_micro -= taken
            _list_money(done, piece, from_s, to_s, taken)
            done.amount_micro += taken
        else:
            reached = to_s > piece.from_s
            taken = paid.cadence.counted_s(to_s) - paid.cadence.counted_s(piece.from_s) if reached else 0
            if reached:
                done.pieces.append(Piece(piece.grant, piece.from_s, to_s, taken, shared=piece.shared))
        _take(done, payer, account, paid, taken)
    done.lines[:0] = _charge_balance(account, done.funds.get((None, False), 0))
    if owner is not None:
        done.owner_lines[:0] = _charge_balance(owner, done.funds.get((None, True), 0))
        drop_spent(owner, now_ms)
    drop_spent(account, now_ms)
    return done


def _list_money(done: Charge, piece: Piece, from_s: int, to_s: int, taken: int) -> None:
    """Into the stretch of money before when it goes on from there or lies over it."""
    last = done.pieces[-1] if done.pieces else None
    if taken:
        fund = (piece.grant, piece.shared)
        done.funds[fund] = done.funds.get(fund, 0) + taken
    if last is not None and last.grant is None and (to_s <= from_s or last.to_s == from_s):
        done.pieces[-1] = Piece(None, last.from_s, max(last.to_s, to_s), last.amount + taken)
    elif to_s > from_s:
        done.pieces.append(Piece(None, from_s, to_s, taken))


def _take(done: Charge, payer: Account, member: Account, paid: PaidPiece, taken: int) -> None:
    piece = paid.piece
    lines = done.lines if payer is member else done.owner_lines
    if taken < piece.amount:
        done.returned |= payer is member
        done.owner_returned |= payer is not member
    if piece.grant is None:
        payer.reserved_micro -= piece.amount
    else:
        grant = payer.grant(piece.grant, paid.cycle_ms)
        if grant is not None:
            lines += use(payer, grant, piece.amount, taken)
    if paid.quota_ms >= 0:
        resource = Resource.MONEY if paid.cadence is None else Resource.SECONDS
        quota = member.grant(quota_id(payer.id, resource), paid.quota_ms)
        if quota is not None:
            done.lines += use(member, quota, piece.amount, taken)


def _charge_balance(account: Account, amount_micro: int) -> list[Line]:
    before_micro = account.balance_micro
    account.balance_micro -= amount_micro
    account.charges_micro += amount_micro
    return [Line("call", "", 0, before_micro, account.balance_micro)] if amount_micro else []
