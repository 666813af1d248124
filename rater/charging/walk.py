"""How a slice is taken: the sources that a leg may draw on, in their order, and the walk along them.

The reference for lua/chain.lua and lua/walk.lua. Seconds come first: grants of the leg's own class, of linked
classes, of all classes, and those that a group shares. Then money: a group's, then the account's grants that end,
then its balance. Within a tier the lower priority number comes first, then the plan's order (`Consumption`). A
leg's second s is at `start_ms` + s; where a grant or its hours begin or end within a slice, the sources are
looked for anew from there on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from rater.charging.books import Leg, PaidPiece, price_micro
from rater.charging.grants import Account, Grant, Kind, Line, open_next, quota_id
from rater.charging.records import Piece
from rater.charging.terms import (
    FOREVER_MS,
    AllowanceTerm,
    Consumption,
    GrantSpec,
    Quota,
    Resource,
    Share,
    SlicePolicy,
    Terms,
    Tier,
)
from rater.ids import AccountId, GrantId
from rater.money import MAX_AMOUNT_MICRO, Cadence, affordable_s
from rater.verdict import Reason

SHADOW_CREDIT_MICRO = 10**15
"""What a leg in shadow may hold beyond the account's credit: never the reason for its end."""
_SHARED_TIERS = 3
MAX_TERMS = 1_000_000
"""By how much the tiers of shared grants are moved: after the member's own, or before them."""


@dataclass(slots=True)
class Source:
    """One grant, or an account's balance (`grant` None). `sharers`: into how many shares what is left is divided
    when it does not reach for all: twice the legs that draw on the account."""

    account: Account
    grant: Grant | None
    sharers: int
    floor_micro: int = 0
    tier: int = 0
    priority: int = 0
    place: int = 2 * MAX_TERMS
    """Of an allowance in its plan, what rolled over before it: decides among equals."""
    cadence: Cadence = field(default_factory=Cadence)
    blocks: bool = False
    shared: bool = False
    quota: Grant | None = None

    @property
    def left(self) -> int:
        """Never negative: when the floor was raised above the balance, nothing is left."""
        if self.grant is not None:
            left = self.grant.remaining
        else:
            left = self.account.balance_micro - self.floor_micro - self.account.reserved_micro
        if self.quota is not None:
            left = min(left, self.quota.remaining)
        return max(0, left)

    def take(self, amount: int) -> None:
        if self.grant is not None:
            self.grant.reserved += amount
        else:
            self.account.reserved_micro += amount
        if self.quota is not None:
            self.quota.reserved += amount


def tier_of(spec: GrantSpec, destination_class: str) -> Tier | None:
    """None when the class may not draw on it."""
    if not spec.classes or destination_class in spec.classes:
        return Tier.OWN if spec.classes else Tier.GENERIC
    return Tier.LINKED if destination_class in spec.also else None


def _rank(source: Source, order: Consumption) -> tuple[int, ...]:
    grant = source.grant
    assert grant is not None
    from_ms, until_ms = grant.valid_from_ms, grant.valid_until_ms
    keys = {
        Consumption.EARLIEST_EXPIRY: (until_ms, from_ms),
        Consumption.LATEST_EXPIRY: (-until_ms, from_ms),
        Consumption.OLDEST: (from_ms, until_ms),
        Consumption.NEWEST: (-from_ms, until_ms),
    }
    return (source.tier, source.priority, *keys[order], source.place)


def quota_terms(owner: AccountId, seconds: Quota | None, micro: Quota | None) -> tuple[AllowanceTerm, ...]:
    """The quotas of a member as cycles that renew like allowances."""
    return tuple(
        AllowanceTerm(
            quota_id(owner, resource), quota.amount, Cadence(), quota.valid_from_ms, quota.valid_until_ms,
            next_until_ms=quota.next_until_ms,
        )
        for resource, quota in ((Resource.SECONDS, seconds), (Resource.MONEY, micro))
        if quota is not None
    )  # fmt: skip


def _total(amounts: Iterable[int]) -> int:
    """Within the exact range."""
    return min(MAX_AMOUNT_MICRO, sum(amounts))


@dataclass(slots=True)
class Walk:
    """Extends a leg's pieces. `owner`: the account of the group that the leg draws on, when it does.

    Near the end each leg takes half of its equal share, then half of what that has become: so a leg that comes
    later finds something, and legs on one balance come to its end together. `lines`, `owner_lines`: what the
    ledger says.
    """

    account: Account
    leg: Leg
    terms: Terms
    slice: SlicePolicy
    start_ms: int
    legs: int
    lines: list[Line] = field(default_factory=list)
    owner: Account | None = None
    owner_legs: int = 0
    owner_lines: list[Line] = field(default_factory=list)
    edge_ms: int = FOREVER_MS
    seconds: list[Source] | None = None
    funds: list[Source] | None = None
    spend_left_micro: int | None = None
    """How much more money the spend caps allow; None: any amount."""
    owner_spend_left_micro: int | None = None
    """The same of the group owner's money and the owner's caps."""
    relaxed: bool = False
    """Whatever is asked for is granted: a leg in shadow whose credit is at its end."""

    def go(self, goal_s: int) -> None:
        """Pay ahead up to `goal_s`, or as far as it reaches, and note whether anything more could be had."""
        leg = self.leg
        if not leg.competes:
            if goal_s > leg.granted_s:
                self._add(GrantId(""), goal_s)
        else:
            self._look()
            while True:
                limit_s = min(goal_s, -(-(self.edge_ms - self.start_ms) // 1000))
                if not self._use_seconds(limit_s) and leg.granted_s < limit_s:
                    self._pay(limit_s)
                if leg.granted_s < limit_s or leg.granted_s >= goal_s:
                    break
                self._look()
            if self._at_ms >= self.edge_ms:
                self._look()
        leg.final = not self.more()

    @property
    def blocked(self) -> bool:
        """Whether a blocker stands among the sources, or the account pays with its allowances only."""
        blocker = any(source.blocks for source in (*(self.seconds or ()), *(self.funds or ())))
        return blocker or (bool(self.terms.allowances) and not self.terms.use_money)

    # -- limits and shadow ---------------------------------------------------------------------------------------

    def could_begin(self) -> bool:
        """Whether a first second could be had."""
        self._look()
        return self.more()

    def shortage(self) -> Reason:
        """Why no second more can be had."""
        if self.blocked:
            return Reason.ALLOWANCE_EXHAUSTED
        return Reason.SPEND_LIMIT if self._beyond_caps() else Reason.INSUFFICIENT_CREDIT

    def _beyond_caps(self) -> bool:
        """Whether spend caps are what the next second costs too much for: those of the account, or of the group's
        owner, without whose money the account has too little."""
        if self.spend_left_micro is None and self.owner_spend_left_micro is None:
            return False
        next_s = max(self.leg.granted_s, self.leg.quote.free_s) + 1
        if next_s > self.leg.quote.horizon_s:
            return False
        cost_micro = self._cost(next_s)
        if self.spend_left_micro is not None and (cost_micro is None or cost_micro > self.spend_left_micro):
            return True
        if self.owner_spend_left_micro is None or cost_micro is None:
            return False
        left_micro = _total(left for _, left in self._usable_funds())
        uncapped_micro = _total(left for _, left in self._usable_funds(capped=False))
        return left_micro < cost_micro <= uncapped_micro

    @property
    def capped(self) -> bool:
        """Whether spend caps are why the leg gets nothing more."""
        return self.leg.waits and not self.blocked and self._beyond_caps()

    def relax(self) -> None:
        """From here on whatever is asked for is granted."""
        unheld_micro = self.account.balance_micro - self.account.reserved_micro
        self.terms = replace(self.terms, use_money=True, floor_micro=unheld_micro - SHADOW_CREDIT_MICRO)
        self.spend_left_micro, self.owner_spend_left_micro, self.relaxed = None, None, True

    # -- the sources ---------------------------------------------------------------------------------------------

    @property
    def _at_ms(self) -> int:
        """When the first second that is not paid yet begins."""
        return self.start_ms + self.leg.granted_s * 1000

    def _look(self) -> None:
        """Find the sources as they are at that moment, and the next moment at which they may be others."""
        at_ms = self._at_ms
        self.edge_ms = FOREVER_MS
        self.seconds, self.funds = [], []
        self._look_at_share(at_ms)
        self._open_next(self.account, self.terms.allowances, at_ms, Kind.ALLOWANCE, self.lines)
        seconds, funds = self._sources(self.account, self.terms, at_ms, 2 * self.legs)
        order = self.terms.seconds_order
        self.seconds = sorted((*seconds, *self.seconds), key=lambda source: _rank(source, order))
        self.funds += funds
        if self.relaxed:
            self.seconds = [source for source in self.seconds if not source.blocks]
            self.funds = [source for source in self.funds if not source.blocks]

    def _look_at_share(self, at_ms: int) -> None:
        share, owner = self.terms.share, self.owner
        if share is None or owner is None or at_ms >= share.valid_until_ms:
            return
        self._note_edge(at_ms, share.valid_until_ms)
        self._open_next(owner, share.terms.allowances, at_ms, Kind.ALLOWANCE, self.owner_lines)
        quotas = quota_terms(share.owner, share.quota_s, share.quota_micro)
        self._open_next(self.account, quotas, at_ms, Kind.QUOTA, self.lines)
        seconds, funds = self._sources(owner, share.terms, at_ms, 2 * self.owner_legs)
        self.seconds = self._within_quota(share, seconds, Resource.SECONDS, at_ms, share.quota_s)
        self.funds = self._within_quota(share, funds, Resource.MONEY, at_ms, share.quota_micro)

    def _within_quota(
        self, share: Share, sources: list[Source], resource: Resource, at_ms: int, limit: Quota | None
    ) -> list[Source]:
        """The owner's sources as the member sees them; none where a quota has no cycle at that moment."""
        quota = self.account.cycle(quota_id(share.owner, resource), at_ms)
        if limit is not None and quota is None:
            return []
        for source in sources:
            source.shared = True
            source.tier += -_SHARED_TIERS if share.first else _SHARED_TIERS
            source.quota = quota if limit is not None else None
        return sources

    def _open_next(
        self, account: Account, terms: tuple[AllowanceTerm, ...], at_ms: int, kind: Kind, lines: list[Line]
    ) -> None:
        for term in terms:
            lines += open_next(account, term, at_ms, kind)

    def _note_edge(self, at_ms: int, *moments_ms: int) -> None:
        self.edge_ms = min(self.edge_ms, *(ms if ms > at_ms else FOREVER_MS for ms in moments_ms))

    def _is_open(self, hours: tuple[str, ...], bands: tuple[tuple[int, str], ...], at_ms: int) -> bool:
        """Whether one of a grant's hours is in force; the next moment at which that is otherwise is an edge."""
        opened = not hours
        for from_ms, band in bands if hours else ():
            if from_ms <= at_ms:
                opened = band in hours
            elif (band in hours) != opened:
                self._note_edge(at_ms, from_ms)
                break
        return opened

    def _sources(
        self, account: Account, terms: Terms, at_ms: int, sharers: int
    ) -> tuple[list[Source], list[Source]]:
        """What of an account the leg may use: grants of seconds, in no order yet, and money as it is used."""
        by_id = {term.grant: (place, term) for place, term in enumerate(terms.allowances)}
        seconds: list[Source] = []
        money: list[Source] = []
        for grant in account.grants:
            if grant.closed:
                continue
            self._note_edge(at_ms, grant.valid_from_ms, grant.valid_until_ms)
            if not grant.valid_from_ms <= at_ms < grant.valid_until_ms or grant.kind is Kind.QUOTA:
                continue
            source = Source(account, grant, sharers)
            if grant.spec is None:
                place, term = by_id.get(GrantId(grant.base), (0, None))
                if term is not None and self._is_open(term.hours, terms.bands, at_ms):
                    source.place = 2 * place - (grant.kind is Kind.ROLLED)
                    source.tier, source.priority, source.cadence = term.tier, term.priority, term.cadence
                    seconds.append(source)
                continue
            tier = tier_of(grant.spec, self.leg.quote.destination_class)
            if tier is not None and self._is_open(grant.spec.hours, terms.bands, at_ms):
                source.tier, source.priority = tier, grant.spec.priority
                source.cadence, source.blocks = grant.spec.cadence, grant.spec.blocks
                (seconds if grant.kind is Kind.SECONDS else money).append(source)
        if not terms.use_money:
            return seconds, []
        money.sort(key=lambda source: _rank(source, terms.money_order))
        money.append(Source(account, None, sharers, terms.floor_micro))
        return seconds, money

    # -- seconds -------------------------------------------------------------------------------------------------

    def _use_seconds(self, limit_s: int) -> bool:
        """True when one of them could still go on, or blocks: then nothing after it is touched."""
        leg = self.leg
        for source in self.seconds or ():
            if leg.granted_s >= limit_s or source.blocks:
                return True
            to_s = self._covered_s(source, limit_s)
            if to_s > leg.granted_s:
                amount_s = source.cadence.counted_s(to_s) - source.cadence.counted_s(leg.granted_s)
                source.take(amount_s)
                self._add_from(source, leg.granted_s, to_s, amount_s)
            if self._goes_on(source):
                return True
        return False

    def _goes_on(self, source: Source) -> bool:
        """Whether this grant has one second more; a rest smaller than an increment has not."""
        leg = self.leg
        return self._reach_s(source.cadence, source.left, leg.granted_s + 1) > leg.granted_s

    def _covered_s(self, source: Source, limit_s: int) -> int:
        """How far this grant carries. One that nothing can follow is shared like money."""
        budget_s = source.left
        if self.seconds and source is self.seconds[-1] and not self._available_micro(self._usable_funds()):
            short_s = max(self.leg.granted_s + self.slice.short_s, source.cadence.free_s + 1)
            least_s = source.cadence.counted_s(short_s) - source.cadence.counted_s(self.leg.granted_s)
            budget_s = min(budget_s, max(budget_s // source.sharers, least_s))
        return self._reach_s(source.cadence, budget_s, limit_s)

    def _reach_s(self, cadence: Cadence, budget_s: int, goal_s: int) -> int:
        """The end of what a grant covers. Its free seconds alone count as nothing."""
        goal_s = min(max(goal_s, cadence.free_s + 1), self.leg.quote.horizon_s)
        to_s = cadence.covers_s(self.leg.granted_s, budget_s, goal_s)
        return to_s if to_s > cadence.free_s else self.leg.granted_s

    # -- money ---------------------------------------------------------------------------------------------------

    def _usable_funds(self, *, capped: bool = True) -> list[tuple[Source, int]]:
        """The sources of money up to the first blocker, with what each can give when those before gave theirs.
        `capped`: within the spend caps of the group's owner."""
        usable: list[tuple[Source, int]] = []
        under_quota = under_cap = 0
        cap_micro = self.owner_spend_left_micro if capped else None
        for fund in self.funds or ():
            if fund.blocks:
                break
            left_micro = fund.left
            if fund.quota is not None:
                left_micro = min(left_micro, fund.quota.remaining - under_quota)
            if fund.shared and cap_micro is not None:
                left_micro = min(left_micro, cap_micro - under_cap)
            if fund.quota is not None:
                under_quota += left_micro
            if fund.shared:
                under_cap += left_micro
            usable.append((fund, left_micro))
        return usable

    def _available_micro(self, funds: list[tuple[Source, int]]) -> int:
        total_micro = _total(left for _, left in funds)
        return total_micro if self.spend_left_micro is None else min(total_micro, self.spend_left_micro)

    def _pay(self, limit_s: int) -> None:
        """One slice of money: up to the limit, or an equal share, but at least a short slice while it lasts."""
        leg = self.leg
        funds = self._usable_funds()
        if not funds:
            return
        available_micro = self._available_micro(funds)
        short_s = max(leg.granted_s + self.slice.short_s, leg.quote.free_s + 1)
        least_micro = self._cost(min(short_s, leg.quote.horizon_s))
        budget_micro = _total(left // fund.sharers for fund, left in funds)
        if self.spend_left_micro is not None and self.spend_left_micro <= available_micro:
            budget_micro = min(budget_micro, self.spend_left_micro // (2 * self.legs))
        if least_micro is None or least_micro > budget_micro:
            budget_micro = available_micro if least_micro is None else min(available_micro, least_micro)
        to_s = self._afford_s(limit_s, budget_micro)
        if to_s > leg.granted_s:
            amount_micro = self._cost(to_s)
            assert amount_micro is not None
            self._pay_from(funds, to_s, amount_micro)

    def _pay_from(self, funds: list[tuple[Source, int]], to_s: int, amount_micro: int) -> None:
        """Each source pays what it has, in its turn."""
        from_s = self.leg.granted_s
        if self.spend_left_micro is not None:
            self.spend_left_micro -= amount_micro
        last = self.leg.pieces[-1] if self.leg.pieces else None
        if not amount_micro:
            if last is not None and last.of_money:
                self._lengthen(last, to_s, 0)
            else:
                self._add_from(funds[0][0], from_s, to_s, 0)
            return
        for fund, left_micro in funds:
            part_micro = min(left_micro, amount_micro)
            if part_micro:
                fund.take(part_micro)
                if fund.shared and self.owner_spend_left_micro is not None:
                    self.owner_spend_left_micro -= part_micro
                self._add_from(fund, from_s, to_s, part_micro)
                amount_micro -= part_micro

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

    # -- the leg -------------------------------------------------------------------------------------------------

    def more(self) -> bool:
        """Whether one second more could be had now."""
        leg = self.leg
        if leg.granted_s >= leg.quote.horizon_s:
            return False
        if not leg.competes:
            return True
        for source in self.seconds or ():
            if source.blocks:
                return False
            if self._goes_on(source):
                return True
        funds = self._usable_funds()
        available_micro = self._available_micro(funds)
        return bool(funds) and self._afford_s(leg.granted_s + 1, available_micro) > leg.granted_s

    def _add_from(self, source: Source, from_s: int, to_s: int, amount: int) -> None:
        grant = source.grant
        money = grant is None or grant.kind is Kind.MONEY
        self._add(
            grant.id if grant is not None else GrantId(""),
            to_s,
            amount,
            from_s,
            cycle_ms=grant.valid_from_ms if grant is not None else 0,
            cadence=None if money else source.cadence,
            shared=source.shared,
            quota_ms=source.quota.valid_from_ms if source.quota is not None else -1,
        )

    def _add(
        self,
        grant: GrantId,
        to_s: int,
        amount: int = 0,
        from_s: int | None = None,
        *,
        cycle_ms: int = 0,
        cadence: Cadence | None = None,
        shared: bool = False,
        quota_ms: int = -1,
    ) -> None:
        leg = self.leg
        piece = Piece(
            grant or None, leg.granted_s if from_s is None else from_s, to_s, amount,
            cadence is None and grant != "", shared, quota_ms >= 0,
        )  # fmt: skip
        paid = PaidPiece(piece, cycle_ms, cadence, quota_ms)
        last = leg.pieces[-1] if leg.pieces else None
        if last is not None and last.payer == paid.payer:
            self._lengthen(last, to_s, amount)
        else:
            leg.pieces.append(paid)
            leg.granted_s = to_s

    def _lengthen(self, last: PaidPiece, to_s: int, amount: int) -> None:
        piece = last.piece
        last.piece = replace(piece, to_s=to_s, amount=piece.amount + amount)
        self.leg.granted_s = to_s
