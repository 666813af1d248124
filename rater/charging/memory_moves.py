"""The steps of moving an account between shards, in the reference store. What they mean: `rater.charging.moves`.

Where the Redis store waits for an account that is on its way, this one moves it on at once: nothing else would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rater.charging.books import Account, LedgerEntry, Leg, Line, op_number
from rater.charging.caps import Spent
from rater.charging.model import (
    Answer,
    ExpireGrant,
    LegRequest,
    Post,
    PostGrant,
    Reply,
    Request,
    Reserve,
    Settle,
    Status,
)
from rater.charging.moves import MOVES_MAX, Away, AwayState, Homes, Move, MoveRefusal
from rater.charging.operations import Operations
from rater.charging.places import OfAccount, Places, is_within, without_group
from rater.charging.states import account_state, recorded
from rater.clock import Clock
from rater.ids import AccountId, LegId, Shard

Place = tuple[Shard, AccountId]


@dataclass(slots=True)
class Parcel:
    """What is under way. `leases`: of each leg, scope and expiry."""

    account: Account | None
    homes: Homes
    legs: list[Leg]
    leases: Mapping[LegId, Mapping[str, int]]
    spent: Spent | None


class MemoryMoves(Operations):
    """`Operations` that follow accounts to where they live. See `MovingStore`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._places = Places()
        self._away: dict[Place, Away] = {}
        self._known_homes: dict[Place, Homes] = {}
        self._parcels: dict[Place, Parcel] = {}
        self._arrived: dict[Shard, int] = {}

    # -- following -----------------------------------------------------------------------------------------------

    def execute(self, request: Request) -> Reply:
        """Do it at once where its account lives, or repeat the first answer."""
        alone = False
        for _ in range(MOVES_MAX):
            routed = self._places.route(request)
            if not isinstance(routed, OfAccount):
                return super().execute(routed)
            if alone:
                routed = without_group(routed)
            if self._was_done_here(routed):
                return super().execute(routed)
            account = self._missing(routed)
            if account is None:
                return super().execute(routed)
            away = self._away[routed.shard, account]
            if away.state is not AwayState.ELSEWHERE:
                self._finish(Move(account, routed.shard, away.to, away.number))
            elif is_within(routed):
                return Reply(Status.MOVED)
            else:
                self._places.learn(account, away)
                alone = account != routed.account
        raise AssertionError(f"{request} found its account nowhere")

    def _was_done_here(self, request: OfAccount) -> bool:
        """Whether the shard has its answer, or that of a later operation of the leg, though the account left."""
        if isinstance(request, Post | PostGrant | ExpireGrant):
            return (request.shard, request.op) in self._operations
        tomb = self._tombs.get((request.shard, request.leg))
        if tomb is None:
            return False
        anew = isinstance(request, Reserve) and tomb[1].status is Status.DENIED
        return not anew or op_number(request.op) <= tomb[0]

    def _missing(self, request: OfAccount) -> AccountId | None:
        """Which of the accounts that it needs is not in the shard, if any."""
        needed = [request.account]
        if isinstance(request, Post):
            needed += [request.other] if is_within(request) and request.other is not None else []
        elif isinstance(request, LegRequest):
            leg = self._legs.get((request.shard, request.leg))
            share = None if isinstance(request, Answer) else request.terms.share
            owner = share.owner if share is not None and not isinstance(request, Settle) else None
            if leg is not None and leg.owner is not None:
                owner = leg.owner
            needed += [owner] if owner is not None else []
        return next((account for account in needed if (request.shard, account) in self._away), None)

    def _homes(self, shard: Shard, account: AccountId) -> Sequence[Shard]:
        return (shard, *(home for home, _ in self._known_homes.get((shard, account), Homes()).before))

    # -- the steps -----------------------------------------------------------------------------------------------

    async def find(self, shard: Shard, account: AccountId) -> Shard | Move:
        """See `MovingStore.find`."""
        while (away := self._away.get((shard, account))) is not None:
            if away.state is not AwayState.ELSEWHERE:
                return Move(account, shard, away.to, away.number)
            shard = away.to
        return shard

    async def _held(self, shard: Shard, account: AccountId) -> Account | None:
        """As it is, wherever it is, if only on its way."""
        found = await self.find(shard, account)
        place = (found.shard if isinstance(found, Move) else found, account)
        parcel = self._parcels.get(place)
        return parcel.account if parcel is not None else self._accounts.get(place)

    async def moves(self, shard: Shard) -> Sequence[Move]:
        return [
            Move(account, where, away.to, away.number)
            for (where, account), away in self._away.items()
            if where == shard and away.state is not AwayState.ELSEWHERE
        ]

    async def arrivals(self, shard: Shard) -> int:
        return self._arrived.get(shard, 0)

    async def begin_move(self, shard: Shard, account: AccountId, to: Shard) -> Move | Shard:
        place = (shard, account)
        away = self._away.get(place)
        if away is not None and away.state is AwayState.ELSEWHERE:
            return away.to
        if away is None:
            homes = self._known_homes.get(place, Homes())
            self._known_homes[place] = replace(homes, number=homes.number + 1)
            away = self._away[place] = Away(AwayState.LEAVING, homes.number + 1, to)
        return Move(account, shard, away.to, away.number)

    async def take_out(self, move: Move) -> MoveRefusal | None:
        return self._take_out(move)

    def _take_out(self, move: Move) -> MoveRefusal | None:
        place = (move.shard, move.account)
        if not self._stands(move, AwayState.LEAVING):
            return None
        refusal = self._refusal(move)
        if refusal is not None:
            del self._away[place]
            return refusal
        now_ms, account = self._clock.wall_ms(), self._accounts.pop(place, None)
        legs = [leg for leg in self._legs.values() if (leg.shard, leg.account) == place]
        leases = {leg.id: self._limits.lift(leg) for leg in legs}
        homes = self._known_homes[place].after(move, now_ms)
        for leg in legs:
            del self._legs[leg.shard, leg.id]
        self._parcels[place] = Parcel(account, homes, legs, leases, self._limits.lift_spent(*place))
        self._away[place] = Away(AwayState.LEFT, move.number, move.to)
        self._carry(move, account, now_ms, out=True)
        return None

    def _refusal(self, move: Move) -> MoveRefusal | None:
        for leg in self._legs.values():
            if leg.shard == move.shard and move.account in (leg.account, leg.owner):
                if leg.account != move.account:
                    return MoveRefusal.SERVES_OTHERS
                if leg.owner is not None:
                    return MoveRefusal.DRAWS_ON_GROUP
        return MoveRefusal.NAME_TAKEN if (move.to, move.account) in self._accounts else None

    async def bring_in(self, move: Move) -> None:
        self._bring_in(move)

    def _bring_in(self, move: Move) -> None:
        place = (move.to, move.account)
        if not self._stands(move, AwayState.LEFT):
            return
        if self._known_homes.get(place, Homes()).number >= move.number:
            return
        parcel = self._parcels[move.shard, move.account]
        self._away.pop(place, None)
        self._known_homes[place] = parcel.homes
        if parcel.account is not None:
            self._accounts[place] = parcel.account
        for leg in parcel.legs:
            leg.shard = move.to
            self._legs[move.to, leg.id] = leg
            self._limits.lay(leg, parcel.leases[leg.id])
        self._limits.lay_spent(*place, parcel.spent)
        self._arrived[move.to] = self._arrived.get(move.to, 0) + 1
        self._carry(move, parcel.account, self._clock.wall_ms(), out=False)

    async def end_move(self, move: Move) -> None:
        self._end(move)

    def _end(self, move: Move) -> None:
        if self._stands(move, AwayState.LEFT):
            place = (move.shard, move.account)
            del self._parcels[place]
            self._away[place] = Away(AwayState.ELSEWHERE, move.number, move.to)

    def _finish(self, move: Move) -> None:
        if self._take_out(move) is None:
            self._bring_in(move)
            self._end(move)

    def _stands(self, move: Move, state: AwayState) -> bool:
        away = self._away.get((move.shard, move.account))
        return away is not None and (away.state, away.number) == (state, move.number)

    def _carry(self, move: Move, account: Account | None, now_ms: int, *, out: bool) -> None:
        """The ledger's entry for one half."""
        if account is None:
            return
        balances = [("", 0, account.balance_micro)]
        balances += [(entry.grant, entry.cycle_ms, entry.held) for entry in recorded(account_state(account))]
        lines = [
            Line("move", grant, cycle_ms, held if out else 0, 0 if out else held)
            for grant, cycle_ms, held in balances
            if held
        ]
        if lines:
            note = f"to shard {move.to}" if out else f"from shard {move.shard}"
            op = f"move:{move.account}:{move.number}"
            self.ledger.append(LedgerEntry(op, account.id, now_ms, note, tuple(lines)))
