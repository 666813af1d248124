"""The steps of moving an account between shards, in Redis. What they mean: `rater.charging.moves`.

Everything of the account is read here and moved as it is stored; only the ledger's lines are made of what the
account says. Since nothing of an account that is leaving changes, whoever reads it reads the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from rater.charging.keys import Keys, places_key
from rater.charging.moves import AwayState, Move, MoveRefusal, live_legs
from rater.charging.packed import parse_sequence, sequence
from rater.charging.records import AccountState, LegState
from rater.charging.redis_reads import PAGE, RedisReads
from rater.charging.scripts import script
from rater.charging.states import recorded
from rater.charging.wire_moves import Parcel, of_homes, to_away, to_homes
from rater.charging.wire_states import leg_payers, to_account, to_leg
from rater.errors import StoreUnavailable
from rater.ids import AccountId, LegId, Shard, SwitchId
from rater.money import format_amount

PARCEL_KEPT_MS = 7 * 86_400_000
"""How long what was moved is kept in the old shard, though it has arrived."""
MOVED = "move:"
"""Before the name of an account that has moved, in the hash of all accounts' shards; see lua/place.lua."""


class RedisMoves(RedisReads):
    """See `MovingStore`."""

    def __init__(self, url: str, *, password: str | None, prefix: str, shards: int, cluster: bool) -> None:
        super().__init__(url, password=password, prefix=prefix, shards=shards, cluster=cluster)
        names = ("begin", "back", "out", "in", "end")
        self._steps = {name: self.redis.register_script(script(f"move_{name}")) for name in names}
        self._place = self.redis.register_script(script("place"))

    # -- looking -------------------------------------------------------------------------------------------------

    async def moves(self, shard: Shard) -> Sequence[Move]:
        held = await self.redis.hgetall(self.keys(shard).moves)
        found = []
        for name, data in sorted(held.items()):
            number, to = parse_sequence(data)
            found.append(Move(AccountId(name.decode()), shard, Shard(to), number))
        return found

    async def arrivals(self, shard: Shard) -> int:
        return int(await self.redis.get(self.keys(shard).arrivals) or 0)

    async def under_way(self, move: Move) -> AccountState | None:
        """The account of a move that has left its shard, as it will arrive; None when it has not left, or there
        was none."""
        keys = self.keys(move.shard)
        mark = to_away(await self.redis.get(keys.account(move.account)) or b"")
        if mark is None or mark.state is not AwayState.LEFT:
            return None
        data = await self.redis.get(keys.moving(move.account))
        stored = Parcel.unpack(data).account if data else b""
        return to_account(move.account, stored) if stored else None

    async def lost(self) -> list[Move]:
        """Moves that ended, and of which no shard knows any more: the new shard's master died before its replica
        had what arrived. Found for as long as the old shard keeps what was moved."""
        found = []
        async for name, _ in self.redis.hscan_iter(places_key(self.prefix), match=f"{MOVED}*", count=PAGE):
            account = AccountId(name.decode().removeprefix(MOVED))
            for shard, data in enumerate(await self._in_each([keys.moving(account) for keys in self._all_keys()])):
                move = await self._left_with(Shard(shard), account, data) if data else None
                if move is not None and not await self._has_arrived(move):
                    found.append(move)
        return found

    def _all_keys(self) -> list[Keys]:
        return [self.keys(Shard(shard)) for shard in range(self.shards)]

    async def _in_each(self, names: Sequence[str]) -> list[bytes | None]:
        """A value of each shard, asked for at once."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.get(name)
            values: list[bytes | None] = await pipe.execute()
        return values

    async def _left_with(self, shard: Shard, account: AccountId, data: bytes) -> Move | None:
        """The move that ended with what is kept in the shard of the account."""
        mark = to_away(await self.redis.get(self.keys(shard).account(account)) or b"")
        if mark is None or mark.state is not AwayState.ELSEWHERE:
            return None
        ours = to_homes(Parcel.unpack(data).homes).number == mark.number
        return Move(account, shard, mark.to, mark.number) if ours else None

    async def _has_arrived(self, move: Move) -> bool:
        """In its shard, or later in another one."""
        homes = await self._in_each([keys.homes(move.account) for keys in self._all_keys()])
        return any(
            home and shard != move.shard and to_homes(home).number >= move.number
            for shard, home in enumerate(homes)
        )

    async def legs_of(self, switch: SwitchId) -> Sequence[LegState]:
        """All live legs of a switch, in whatever shards, each once. Finishes the moves under way."""
        return await live_legs(self, self.shards, switch)

    # -- the steps -----------------------------------------------------------------------------------------------

    async def begin_move(self, shard: Shard, account: AccountId, to: Shard) -> Move | Shard:
        keys = self.keys(shard)
        names = [keys.account(account), keys.homes(account), keys.moves]
        mark = to_away(await self._steps["begin"](keys=names, args=[sequence((account, to))]))
        assert mark is not None
        if mark.state is AwayState.ELSEWHERE:
            return mark.to
        return Move(account, shard, mark.to, mark.number)

    async def take_out(self, move: Move) -> MoveRefusal | None:
        keys = self.keys(move.shard)
        mark = to_away(await self.redis.get(keys.account(move.account)) or b"")
        if mark is None or mark.state is not AwayState.LEAVING or mark.number != move.number:
            return None
        refusal, items = await self._belongings(move)
        if refusal is None and await self._is_taken(move):
            refusal = MoveRefusal.NAME_TAKEN
        if refusal is not None:
            head = sequence((move.account, move.number))
            await self._steps["back"](keys=[keys.account(move.account), keys.moves], args=[head])
            return refusal
        homes = to_homes(await self.redis.get(keys.homes(move.account)))
        now_ms = await self.time_ms()
        lines = _lines(to_account(move.account, mark.held)) if mark.held else []
        parcel = Parcel(mark.held, of_homes(homes.after(move, now_ms)), lines, items)
        leaving = [item for item in items if item[0] != "switches"]
        await self._steps["out"](
            keys=[
                keys.account(move.account), keys.moving(move.account), keys.accounts, keys.ledger,
                *(keys.tag + item[0] for item in leaving),
            ],
            args=[
                sequence((move.account, move.number, move.to)), parcel.pack(),
                _entry(move, parcel, now_ms, out=True), *(sequence(_taken(item)) for item in leaving),
            ],
        )  # fmt: skip
        return None

    async def bring_in(self, move: Move) -> None:
        old = self.keys(move.shard)
        mark = to_away(await self.redis.get(old.account(move.account)) or b"")
        if mark is None or mark.state is not AwayState.LEFT or mark.number != move.number:
            return
        parcel = Parcel.unpack(await self.redis.get(old.moving(move.account)))
        if to_homes(parcel.homes).number != move.number:
            return  # it has ended, and the account has come back and left again
        await self._bring(move, parcel)

    async def restore(self, move: Move) -> None:
        """Bring in again what `lost` found, as it was when it left. Raises StoreUnavailable when an account of that
        name was made there meanwhile."""
        await self._bring(move, Parcel.unpack(await self.redis.get(self.keys(move.shard).moving(move.account))))

    async def _bring(self, move: Move, parcel: Parcel) -> None:
        new = self.keys(move.to)
        done = await self._steps["in"](
            keys=[
                new.account(move.account), new.homes(move.account), new.accounts, new.ledger, new.arrivals,
                *(new.tag + item[0].decode() for item in parcel.items),
            ],
            args=[
                sequence((move.account, move.number)), parcel.account, parcel.homes,
                _entry(move, parcel, await self.time_ms(), out=False),
                *(sequence(item[1:]) for item in parcel.items),
            ],
        )  # fmt: skip
        if int(done) < 0:
            raise StoreUnavailable(
                f"{move.account} left shard {move.shard} and cannot arrive in shard {move.to}: another account of "
                f"that name was made there meanwhile; what it left with: {_in_words(parcel)}",
                hint="Nothing is lost; what it had is kept in the old shard. See docs/redis.md.",
            )

    async def end_move(self, move: Move) -> None:
        await self._place(keys=[places_key(self.prefix)], args=[move.account, move.to, move.number])
        keys = self.keys(move.shard)
        await self._steps["end"](
            keys=[keys.account(move.account), keys.moves, keys.moving(move.account)],
            args=[sequence((move.account, move.number, move.to, str(PARCEL_KEPT_MS)))],
        )

    # -- what belongs to an account ------------------------------------------------------------------------------

    async def _is_taken(self, move: Move) -> bool:
        there = await self.redis.get(self.keys(move.to).account(move.account))
        return there is not None and to_away(there) is None

    async def _belongings(self, move: Move) -> tuple[MoveRefusal | None, list[list[Any]]]:
        """Its live legs with their places and leases, its spend windows; or why it cannot move now."""
        keys, items = self.keys(move.shard), []
        async for leg, data in self._live(keys):
            payers = leg_payers(data)
            if payers is None or move.account not in payers:
                continue
            account, owner = payers
            if account != move.account:
                return MoveRefusal.SERVES_OTHERS, []
            if owner is not None:
                return MoveRefusal.DRAWS_ON_GROUP, []
            items += await self._leg_items(keys, move.shard, leg, data)
        spend = keys.spend(move.account)
        async with self.redis.pipeline(transaction=False) as pipe:
            pipe.get(spend)
            pipe.pttl(spend)
            windows, left_ms = await pipe.execute()
        if windows is not None and left_ms > 0:
            items.append([_name(keys, spend), "timed", windows, str(left_ms)])
        return None, items

    async def _live(self, keys: Keys) -> AsyncIterator[tuple[LegId, bytes]]:
        for switch in await self.redis.smembers(keys.switches):
            names = [LegId(name.decode()) for name in await self.redis.smembers(keys.legs(switch.decode()))]
            for start in range(0, len(names), PAGE):
                page = names[start : start + PAGE]
                values = await self.redis.mget([keys.leg(leg) for leg in page])
                for leg, data in zip(page, values, strict=True):
                    if data:
                        yield leg, data

    async def _leg_items(self, keys: Keys, shard: Shard, leg: LegId, data: bytes) -> list[list[Any]]:
        state = to_leg(leg, shard, data)
        assert state is not None
        items: list[list[Any]] = [
            [_name(keys, keys.leg(leg)), "value", data],
            [_name(keys, keys.legs(state.switch)), "member", leg],
            [_name(keys, keys.switches), "member", state.switch],
        ]
        async with self.redis.pipeline(transaction=False) as pipe:
            for scope in state.leases:
                pipe.zscore(keys.lease(scope), leg)
            scores = await pipe.execute() if state.leases else []
        for scope, score in zip(state.leases, scores, strict=True):
            if score is not None:
                items.append([_name(keys, keys.lease(scope)), "score", leg, f"{score:.0f}"])
        return items


def _name(keys: Keys, key: str) -> str:
    """The key's name without its shard."""
    return key.removeprefix(keys.tag)


def _taken(item: Sequence[Any]) -> list[Any]:
    """What the old shard is told to do with it."""
    kind = "value" if item[1] == "timed" else item[1]
    return [kind, "" if kind == "value" else item[2]]


def _lines(state: AccountState) -> list[Any]:
    """For each balance that is not zero: the grant or "", start of its cycle, how much."""
    lines: list[Any] = ["", 0, state.balance_micro] if state.balance_micro else []
    for entry in recorded(state):
        if entry.held:
            lines += (entry.grant, entry.cycle_ms, entry.held)
    return lines


def _in_words(parcel: Parcel) -> str:
    """The balances that it carries."""
    held = list(zip(*(iter(parcel.lines),) * 3, strict=True))
    texts = [f"{left} of {grant.decode()}" for grant, _, left in held if grant]
    return ", ".join([format_amount(sum(left for grant, _, left in held if not grant)), *texts])


def _entry(move: Move, parcel: Parcel, now_ms: int, *, out: bool) -> bytes:
    """The ledger's, packed; empty when there is nothing to carry."""
    if not parcel.lines:
        return b""
    note = f"to shard {move.to}" if out else f"from shard {move.shard}"
    values: list[Any] = [f"move:{move.account}:{move.number}", now_ms, note]
    for grant, cycle_ms, held in zip(*(iter(parcel.lines),) * 3, strict=True):
        values += ("move", grant, cycle_ms, *((held, 0) if out else (0, held)))
    return sequence(values)
