"""What is read from Redis outside the calls, and the leadership of switches. Over redis-py, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.exceptions import RedisError, ResponseError

from rater.charging.books import LedgerEntry
from rater.charging.keys import Keys, leadership_key
from rater.charging.moves import MOVES_MAX, AwayState, Move
from rater.charging.records import AccountState, LegState, PendingTransfer
from rater.charging.redis_client import open_client
from rater.charging.scripts import script
from rater.charging.states import account_state, as_of
from rater.charging.terms import Terms
from rater.charging.wire_moves import Parcel, at_home, to_away, to_homes
from rater.charging.wire_states import to_account, to_books, to_ledger_entry, to_leg, to_pending
from rater.errors import ConfigError, StoreUnavailable
from rater.ids import AccountId, LegId, OpId, Shard, SwitchId

PAGE = 500
"""Values fetched in one command."""
Page = list[tuple[AccountId, bytes | None]]


async def account_pages(redis: Any, keys: Keys) -> AsyncIterator[Page]:
    """A shard's accounts as they are stored, each once; one that is elsewhere by now has none. One that is made
    meanwhile may be missing."""
    cursor, seen = 0, set()
    while True:
        cursor, names = await redis.sscan(keys.accounts, cursor, count=PAGE)
        new = [AccountId(name.decode()) for name in names if name not in seen]
        seen.update(names)
        held = await redis.mget([keys.account(account) for account in new]) if new else []
        yield list(zip(new, map(at_home, held), strict=True))
        if not cursor:
            return


class RedisReads:
    """`redis`: the client of redis-py, for others too."""

    def __init__(self, url: str, *, password: str | None, prefix: str, shards: int, cluster: bool) -> None:
        self.prefix = prefix
        self.shards = shards
        self._cluster = cluster
        self.redis = open_client(url, password, cluster=cluster)
        self._led: dict[SwitchId, tuple[str, int]] = {}
        self._shard_keys = [Keys(prefix, Shard(shard)) for shard in range(shards)]
        self._lead = self.redis.register_script(script("lead"))
        self._fence = self.redis.register_script(script("fence"))

    async def check(self) -> None:
        """Raises StoreUnavailable when the server cannot be reached or refuses, ConfigError when it is a node of a
        cluster and not spoken to as such."""
        try:
            await self.redis.ping()
            alone = self._cluster or not await self._in_cluster()
        except (RedisError, OSError) as error:
            await self.redis.aclose()
            raise StoreUnavailable(
                f"Redis does not answer: {error}", hint="Is it running, and is [redis] url right? See rater doctor."
            ) from error
        if not alone:
            await self.redis.aclose()
            raise ConfigError("[redis] url names a node of a Redis Cluster", hint="Set [redis] cluster = true.")

    async def _in_cluster(self) -> bool:
        """Unknown, where INFO is forbidden, counts as not."""
        try:
            return bool((await self.redis.info("cluster"))["cluster_enabled"])
        except (ResponseError, KeyError):
            return False

    async def close(self) -> None:
        await self.redis.aclose()

    async def time_ms(self) -> int:
        """The server's wall clock. Raises StoreUnavailable."""
        try:
            seconds, micros = await self.redis.time()
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis does not tell the time: {error}") from error
        return int(seconds) * 1000 + int(micros) // 1000

    def keys(self, shard: Shard) -> Keys:
        return Keys(self.prefix, shard)

    async def account(
        self, shard: Shard, account: AccountId, terms: Terms | None = None, now_ms: int = 0
    ) -> AccountState | None:
        """See `ChargingStore.account`."""
        _, data = await self._found(shard, account)
        if data is None:
            return None
        held = to_books(account, data)
        return account_state(held if terms is None else as_of(held, terms, now_ms))

    async def find(self, shard: Shard, account: AccountId) -> Shard | Move:
        """See `MovingStore.find`."""
        return (await self._found(shard, account))[0]

    async def homes(self, shard: Shard, account: AccountId) -> list[Shard]:
        """Where it lives, and where it lived before, the latest first."""
        found = await self.find(shard, account)
        shard = found.shard if isinstance(found, Move) else found
        data = await self.redis.get(self.keys(shard).homes(account))
        return [shard, *(home for home, _ in reversed(to_homes(data).before))] if data else [shard]

    async def _found(self, shard: Shard, account: AccountId) -> tuple[Shard | Move, bytes | None]:
        """Where it lives, or the move that it is on, and what it is as stored; None when there is none yet."""
        for _ in range(MOVES_MAX):
            data = await self.redis.get(self.keys(shard).account(account))
            away = to_away(data) if data else None
            if away is None:
                return shard, data
            move = Move(account, shard, away.to, away.number)
            if away.state is AwayState.LEAVING:
                return move, away.held or None
            if away.state is AwayState.LEFT:
                parcel = Parcel.unpack(await self.redis.get(self.keys(shard).moving(account)))
                return move, parcel.account or None
            shard = away.to
        raise StoreUnavailable(f"{account} is not where the shards say that it is", hint="Run rater audit.")

    async def accounts_of(self, shard: Shard, accounts: Sequence[AccountId]) -> Sequence[AccountState]:
        """Several at once, in whatever shard they live now; those that the store does not know are left out."""
        keys = self.keys(shard)
        found = await self.redis.mget([keys.account(account) for account in accounts]) if accounts else []
        states = []
        for account, data in zip(accounts, found, strict=True):
            if data is not None and to_away(data) is not None:
                _, data = await self._found(shard, account)
            if data is not None:
                states.append(to_account(account, data))
        return states

    async def accounts(self, shard: Shard) -> Sequence[AccountState]:
        return [state async for state in self.each_account(shard)]

    async def each_account(self, shard: Shard) -> AsyncIterator[AccountState]:
        """Every account of a shard, page by page; one that is made meanwhile may be missing."""
        async for page in account_pages(self.redis, self.keys(shard)):
            for account, data in page:
                if data is not None:
                    yield to_account(account, data)

    async def leg(self, shard: Shard, leg: LegId) -> LegState | None:
        data = await self.redis.get(self.keys(shard).leg(leg))
        return None if data is None else to_leg(leg, shard, data)

    async def legs(self, shard: Shard, switch: SwitchId | None = None) -> Sequence[LegState]:
        keys = self.keys(shard)
        switches = [switch] if switch is not None else [
            SwitchId(name.decode()) for name in await self.redis.smembers(keys.switches)
        ]  # fmt: skip
        found: list[LegState] = []
        for each in switches:
            names = sorted(name.decode() for name in await self.redis.smembers(keys.legs(each)))
            for start in range(0, len(names), PAGE):
                page = [LegId(name) for name in names[start : start + PAGE]]
                values = await self.redis.mget([keys.leg(leg) for leg in page])
                states = [to_leg(leg, shard, data) for leg, data in zip(page, values, strict=True) if data]
                found += [state for state in states if state is not None]
        return found

    async def ledger(self, shard: Shard) -> AsyncIterator[LedgerEntry]:
        """The shard's ledger from its beginning, page by page."""
        key, after = self.keys(shard).ledger, "-"
        while True:
            page = await self.redis.xrange(key, min=after, count=PAGE)
            for _, fields in page:
                yield to_ledger_entry(fields)
            if len(page) < PAGE:
                return
            after = f"({page[-1][0].decode()}"

    async def transfers(self, shard: Shard) -> Sequence[PendingTransfer]:
        """See `ChargingStore.transfers`."""
        held = await self.redis.hgetall(self.keys(shard).transfers)
        return [to_pending(shard, OpId(op.decode()), data) for op, data in sorted(held.items())]

    async def end_transfer(self, pending: PendingTransfer) -> None:
        await self.redis.hdel(self.keys(pending.shard).transfers, pending.op)

    async def charged_micro(self, shard: Shard, account: AccountId, event: LegId) -> int | None:
        """What the account's balance was charged for an event, in whatever shard, by the entries that the ledger
        has in Redis, the newest first; None when they know of no such charge."""
        for home in await self.homes(shard, account):
            charged = await self._charged_in(home, account, event)
            if charged is not None:
                return charged
        return None

    async def _charged_in(self, shard: Shard, account: AccountId, event: LegId) -> int | None:
        key, before = self.keys(shard).ledger, "+"
        while True:
            page = await self.redis.xrevrange(key, max=before, count=PAGE)
            for _, fields in page:
                if fields[b"account"].decode() == account:
                    entry = to_ledger_entry(fields)
                    calls = [line for line in entry.lines if line.cause == "call" and not line.resource]
                    if calls and entry.op.rpartition(":")[0] == event:
                        return sum(line.before - line.after for line in calls)
            if len(page) < PAGE:
                return None
            before = f"({page[-1][0].decode()}"

    async def live_leases(self, shard: Shard, scope: str, now_ms: int) -> int:
        """How many slots of a limit are taken."""
        return int(await self.redis.zcount(self.keys(shard).lease(scope), now_ms + 1, "+inf"))

    # -- leadership ----------------------------------------------------------------------------------------------

    async def lead(self, switch: SwitchId, holder: str, ttl_ms: int, above: int = 0) -> int | None:
        """See `ChargingStore.lead`."""
        least = above
        while True:
            key = leadership_key(self.prefix, switch)
            epoch = int(await self._lead(keys=[key], args=[holder, ttl_ms, least]))
            if not epoch:
                return None
            # A shard that is away need not be written to again and again: it has this epoch, or will be given it.
            renewed = self._led.get(switch) == (holder, epoch)
            shards = [shard for shard in map(Shard, range(self.shards)) if not renewed or self.reaches(shard)]
            written = [await self._write_epoch(shard, switch, epoch) for shard in shards]
            least = max(written, default=0)
            # Equal to what another leader has written it must not be: both would be believed.
            if least < epoch or (renewed and least == epoch):
                self._led[switch] = holder, epoch
                return epoch

    def reaches(self, shard: Shard) -> bool:
        """Whether the shard's server answers, as far as it is known."""
        return True

    async def _write_epoch(self, shard: Shard, switch: SwitchId, epoch: int) -> int:
        """The epoch that stood there before."""
        keys = self.keys(shard)
        return int(await self._fence(keys=[keys.epoch(switch), keys.switches], args=[epoch, switch]))

    async def release(self, switch: SwitchId, holder: str) -> None:
        """Give the leadership up at once, so that a standby need not wait for it to run out."""
        await self._lead(keys=[leadership_key(self.prefix, switch)], args=[holder, 0, 0])
