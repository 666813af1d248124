"""An auditor with an arithmetic of its own: exact fractions, nothing of the product's but its records.

It is told of every operation that was carried out for the first time, and looks at accounts, live legs, ledger and
outbox after each. It knows prices, cadences and movements by itself, and says what does not agree.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from rater.charging.records import AccountState, LegState


@dataclass(frozen=True)
class Price:
    """A connection fee, then increments: `first_s`, then `next_s`, of which each second costs `per_s`."""

    connect: int
    first_s: int
    next_s: int
    per_s: Fraction
    unit: int

    def of(self, seconds: int) -> int:
        if seconds <= 0:
            return 0
        exact = self.connect + self.per_s * counted(seconds, self.first_s, self.next_s)
        return int((exact / self.unit + Fraction(1, 2)) // 1) * self.unit


def counted(seconds: int, first_s: int, next_s: int) -> int:
    """Whole increments."""
    if seconds <= 0:
        return 0
    return first_s + (0 if seconds <= first_s else -(-(seconds - first_s) // next_s) * next_s)


@dataclass
class Auditor:
    """`floors`: of each account. `below`: where it has thresholds: `low` down and `high` up with each crossing,
    `rare` down once a day. `spent`: of each, in a day, told as `spent`. `caps`: most that is taken of an account's
    money in a day. `cadences`: of each grant, (first_s, next_s). `hours`: bands of each grant that has any. `band`:
    which is in force for an account at a moment (ms). `day`: the present one."""

    floors: Mapping[str, int]
    below: Mapping[str, int]
    spent: int
    caps: Mapping[str, int]
    day: int = 0
    band: Callable[[str, int], str] = lambda account, at_ms: ""
    hours: dict[str, tuple[str, ...]] = field(default_factory=dict)
    reached: dict[str, int] = field(default_factory=dict)
    cadences: dict[str, tuple[int, int]] = field(default_factory=dict)
    balance: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    given: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    used: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    spending: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    rarely: set[tuple[str, int]] = field(default_factory=set)
    crossings: Counter[tuple[str, str]] = field(default_factory=Counter)
    settled: set[str] = field(default_factory=set)

    def moves(self, op: str, account: str, amount_micro: int) -> None:
        """Money came or went."""
        before = self.balance[account]
        self.balance[account] = after = before + amount_micro
        if before < self.below[account] <= after:
            self.crossings[account, f"{op}:high"] += 1
        if before >= self.below[account] > after:
            self.crossings[account, f"{op}:low"] += 1
            if (account, self.day) not in self.rarely:
                self.rarely.add((account, self.day))
                self.crossings[account, f"{op}:rare"] += 1

    def spends(self, op: str, account: str, amount_micro: int) -> None:
        """A call took money, whoever paid; or an account paid for another's."""
        before = self.spending[account, self.day]
        self.spending[account, self.day] = before + amount_micro
        if before < self.spent <= before + amount_micro:
            self.crossings[account, f"{op}:spent"] += 1

    def gives(self, account: str, grant: str, amount: int) -> None:
        self.given[account, grant] += amount

    def settles(
        self, op: str, member: str, price: Price, talked_s: int, granted_s: int, event: Mapping[str, Any], paid: int
    ) -> None:
        """A leg ended. `paid`: as the answer has it."""
        assert event["id"] not in self.settled, "one event for each leg"
        self.settled.add(event["id"])
        seconds = min(talked_s, granted_s)
        assert event["duration_s"] == seconds
        at_s = money = 0
        for grant, from_s, to_s, amount in event["pieces"]:
            assert from_s == at_s < to_s, "pieces follow each other"
            at_s = to_s
            if grant:
                first_s, next_s = self.cadences[grant]
                assert amount == counted(to_s, first_s, next_s) - counted(from_s, first_s, next_s), grant
                owner = event.get("owner", member) if (event.get("owner", member), grant) in self.given else member
                self.used[owner, grant] += amount
            else:
                assert amount == price.of(to_s) - price.of(from_s), "money is the price of its seconds"
                money += amount
        assert at_s == seconds, "pieces reach to the end"
        assert money == event["amount_micro"] == paid
        funds = event.get("funds", [["", 0, money]])
        assert sum(amount for *_, amount in funds) == money
        self.spends(op, member, money)
        if "owner" in event:
            self.spends(
                f"{op}:{event['owner']}", event["owner"], sum(amount for _, shared, amount in funds if shared)
            )
        for grant, shared, amount in funds:
            payer = event["owner"] if shared else member
            if grant:
                self.used[payer, grant] += amount
            elif amount:
                self.moves(f"{op}:{payer}" if shared else op, payer, -amount)

    def grows(self, leg: LegState, start_ms: int) -> None:
        """A leg, whose seconds are counted from `start_ms` on now, may have got more: of grants with hours only
        seconds in which these were open. What of money's costs nothing may be at any time."""
        from_s = self.reached.get(leg.leg, 0)
        for piece in leg.pieces:
            payer, grant = (leg.owner if piece.shared else leg.account), piece.grant or ""
            if grant not in self.hours or payer is None:
                continue
            new = range(max(piece.from_s, from_s), piece.to_s)
            opened = [self.band(payer, start_ms + second * 1000) in self.hours[grant] for second in new]
            assert piece.money or all(opened), f"{grant} outside its hours"
            if piece.money and piece.from_s >= from_s:
                assert any(opened), f"{grant} outside its hours"
        self.reached[leg.leg] = leg.granted_s

    # -- looking -------------------------------------------------------------------------------------------------

    def look(
        self,
        states: Sequence[AccountState],
        legs: Sequence[LegState],
        ledger: Sequence[Any],
        crossings: Sequence[Mapping[str, Any]],
        leases: int,
        *,
        may_lapse: bool = False,
    ) -> None:
        sums: dict[tuple[str, str], int] = defaultdict(int)
        for entry in ledger:
            for line in entry.lines:
                sums[entry.account, line.resource] += line.after - line.before
                if line.cause == "renew":
                    assert line.before == 0
        for state in states:
            self._look_at(state, legs, sums)
        told = Counter((found["account"], found["id"]) for found in crossings)
        assert told == self.crossings, "each crossing is told once"
        assert leases == len(legs) or (may_lapse and leases < len(legs)), "a lease for each live leg, for no other"

    def _look_at(self, state: AccountState, legs: Sequence[LegState], sums: Mapping[tuple[str, str], int]) -> None:
        who = state.account
        assert state.balance_micro == self.balance[who], who
        assert state.balance_micro == sums.get((who, ""), 0)
        assert state.balance_micro - state.reserved_micro >= self.floors[who], "the floor holds"
        if who in self.caps:
            held_micro = state.reserved_micro + sum(money.reserved_micro for money in state.money_grants)
            assert self.spending[who, self.day] + held_micro <= self.caps[who], "the spend cap holds"
        holds: dict[str, int] = defaultdict(int)
        for leg in legs:
            for piece in leg.pieces:
                if (leg.owner if piece.shared else leg.account) == who:
                    holds[piece.grant or ""] += piece.amount
        assert holds.pop("", 0) == state.reserved_micro, "reserved is what live legs hold"
        for money in state.money_grants:
            self._grant(who, money.grant, money.used_micro, money.closed)
            assert holds.pop(money.grant, 0) == money.reserved_micro
            assert money.remaining_micro >= 0
        reserved: dict[str, int] = defaultdict(int)
        for grant in state.grants:
            reserved[grant.grant] += grant.reserved_s
            assert grant.remaining_s >= 0
            assert not (grant.closed and grant.remaining_s)
        for grant_id in {grant.grant for grant in state.grants if grant.source != "allowance"}:
            [only] = [grant for grant in state.grants if grant.grant == grant_id]
            self._grant(who, grant_id, only.used_s, only.closed)
        assert {name: amount for name, amount in reserved.items() if amount} == {
            name: amount for name, amount in holds.items() if amount
        }
        for name in {name for account, name in sums if account == who and name and not name.startswith("share:")}:
            held = sum(g.granted_s - g.used_s for g in state.grants if g.grant == name)
            held += sum(g.granted_micro - g.used_micro for g in state.money_grants if g.grant == name)
            assert sums[who, name] == held, f"the ledger of {name}"

    def _grant(self, who: str, name: str, used: int, closed: bool) -> None:
        assert used == self.used[who, name], name
        assert used <= self.given[who, name] or closed
