"""An account moves from one shard to another, with its live legs, exactly once, whoever dies on the way.

The shards may be on two servers, so no script sees both. The move has four steps, each one script and each harmless
when it is repeated:

1. *begin*, in the old shard: a mark stands in the account's place. Whatever is asked of the account waits from now
   on, so that what belongs to it can be read in peace. Up to here the move can be given up.
2. *take out*, in the old shard: account, live legs, their leases and the spend windows leave it, into one value
   that is kept there; the ledger has an entry that carries every balance out.
3. *bring in*, in the new shard: all of it is written, with a ledger entry that carries the balances in, unless this
   move or a later one has been there before.
4. *end*, in the old shard: the mark says from now on where the account lives. It stays for ever.

Who meets the mark waits a moment and then takes the steps that are left itself; so does a daemon before it takes up
the legs of a switch. Moves of an account are numbered, and the numbers travel with it: a mover that slept through
others' moves finds its number used up.

What is not indexed by account stays in the old shard: the ids of operations done and what was refunded of events.
The account's *homes* tell where to ask for them before a posting is carried out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Protocol

from rater.charging.records import LegState
from rater.ids import AccountId, Shard, SwitchId

MOVES_MAX = 100
"""So many moves of an account are followed one after the other."""


class AwayState(IntEnum):
    """Values are stored."""

    LEAVING = 0
    """It is here, but nothing is done to it."""
    LEFT = 1
    """It is neither here nor, as far as is known here, there."""
    ELSEWHERE = 2


@dataclass(frozen=True, slots=True)
class Away:
    """What stands in an account's place. `held`: the account as stored, while it is leaving."""

    state: AwayState
    number: int
    to: Shard
    held: bytes = b""


@dataclass(frozen=True, slots=True)
class Move:
    """One under way. `number`: of this account's moves."""

    account: AccountId
    shard: Shard
    to: Shard
    number: int


@dataclass(frozen=True, slots=True)
class Homes:
    """What travels with an account: the number of its last move, and the shards it lived in before with the moment
    (ms) when it left each."""

    number: int = 0
    before: tuple[tuple[Shard, int], ...] = ()

    def after(self, move: Move, now_ms: int) -> Homes:
        """Where the move brings it."""
        kept = tuple(home for home in self.before if home[0] not in (move.shard, move.to))
        return Homes(move.number, (*kept, (move.shard, now_ms)))


class MoveRefusal(StrEnum):
    """Why an account stays where it is. Each passes with the calls that are up."""

    SERVES_OTHERS = "live calls of other accounts draw on it"
    """It owns a sharing group whose members talk."""
    DRAWS_ON_GROUP = "its live calls draw on the sharing group that it was in when they began"
    NAME_TAKEN = "the other shard has an account of that name"


class MovingStore(Protocol):
    """What a store needs for moving accounts."""

    async def find(self, shard: Shard, account: AccountId) -> Shard | Move:
        """Where the account lives that was known to live in `shard`, or the move that it is on."""
        ...

    async def begin_move(self, shard: Shard, account: AccountId, to: Shard) -> Move | Shard:
        """The move that is under way from now on, perhaps another's; or where else the account lives."""
        ...

    async def take_out(self, move: Move) -> MoveRefusal | None:
        """When it is refused, the move is given up. No effect when that was done before."""
        ...

    async def bring_in(self, move: Move) -> None:
        """No effect when that was done before."""
        ...

    async def end_move(self, move: Move) -> None: ...

    async def moves(self, shard: Shard) -> Sequence[Move]:
        """Those under way from this shard."""
        ...

    async def arrivals(self, shard: Shard) -> int:
        """How many accounts have come into the shard; only grows."""
        ...

    async def legs(self, shard: Shard, switch: SwitchId | None = None) -> Sequence[LegState]: ...


async def move_account(store: MovingStore, shard: Shard, account: AccountId, to: Shard) -> MoveRefusal | None:
    """Move it from wherever it lives, as far as it was known to live in `shard`. Why not, when it may not now."""
    for _ in range(MOVES_MAX):
        found = await store.find(shard, account)
        if found == to:
            return None
        begun = found if isinstance(found, Move) else await store.begin_move(found, account, to)
        if isinstance(begun, Move):
            refusal = await finish_move(store, begun)
            if refusal is not None and begun.to == to:
                return refusal
        shard = begun.shard if isinstance(begun, Move) else begun
    raise AssertionError(f"{account} moved {MOVES_MAX} times while it was to be moved once")


async def stands_in(store: MovingStore, shard: Shard, account: AccountId) -> Shard:
    """The shard to be asked for the account: while it is on its way still the old one."""
    found = await store.find(shard, account)
    return found.shard if isinstance(found, Move) else found


async def finish_move(store: MovingStore, move: Move) -> MoveRefusal | None:
    """Take the steps that are left. Several may do that at once."""
    refusal = await store.take_out(move)
    if refusal is None:
        await store.bring_in(move)
        await store.end_move(move)
    return refusal


async def finish_moves(store: MovingStore, shard: Shard) -> int:
    """Finish what was left in the middle; how many there were."""
    left = await store.moves(shard)
    for move in left:
        await finish_move(store, move)
    return len(left)


async def live_legs(store: MovingStore, shards: int, switch: SwitchId) -> list[LegState]:
    """All live legs of a switch, each once, though accounts move meanwhile.

    A leg would be missed when the shard that it comes to was read before, and the one that it leaves after. Then a
    move is still under way, or the first shard has counted an arrival: all is read again.
    """
    places = [Shard(shard) for shard in range(shards)]
    while True:
        before = [await store.arrivals(shard) for shard in places]
        legs = [leg for shard in places for leg in await store.legs(shard, switch)]
        under_way = sum([await finish_moves(store, shard) for shard in places])
        if not under_way and before == [await store.arrivals(shard) for shard in places]:
            return legs
