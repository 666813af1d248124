"""The ledger as a whole: a checkpoint, and the stream of entries after it.

Every change of every balance is an entry in the shard's stream. Old entries are moved to files
(`rater.charging.archive`) and out of Redis; what they add up to stays, by account, so that at every moment

    sums of the checkpoint + entries in the stream = the ledger from its first day

    <prefix>:{N}:ledger              the stream
    <prefix>:{N}:ledger:checkpoint   hash: `at`, the last entry that is in the sums; `entries`, how many are;
                                     while a move is under way `archive`, its file, and `until`, its last entry
    <prefix>:{N}:ledger:sums         hash: account → packed (resource, cycle_ms, sum) …, money's resource is ""
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rater.charging.books import LedgerEntry
from rater.charging.records import AccountState
from rater.charging.redis_reads import RedisReads
from rater.charging.scripts import script
from rater.charging.wire import parse_sequence, sequence
from rater.charging.wire_moves import at_home
from rater.charging.wire_states import to_account, to_ledger_entry
from rater.ids import AccountId, Shard

START = "0-0"
PAGE = 500
Resource = tuple[str, int]
"""Grant and start of its cycle in ms; ``("", 0)`` for money."""
MONEY: Resource = ("", 0)
Sums = dict[Resource, int]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    at: str = START
    entries: int = 0
    archive: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """One entry and its place in the stream."""

    id: str
    entry: LedgerEntry


def order(stream_id: str) -> tuple[int, int]:
    """What sorts the ids of a stream in its order."""
    millis, _, count = stream_id.partition("-")
    return int(millis), int(count or 0)


def add_entry(sums: Sums, entry: LedgerEntry) -> None:
    """Count the entry's changes in. What comes to zero is dropped: a cycle that is over leaves nothing behind."""
    for line in entry.lines:
        resource = (line.resource, line.cycle_ms) if line.resource else MONEY
        total = sums.get(resource, 0) + line.after - line.before
        if total:
            sums[resource] = total
        else:
            sums.pop(resource, None)


def pack_sums(sums: Mapping[Resource, int]) -> bytes:
    flat: list[Any] = [value for (grant, cycle_ms), total in sums.items() for value in (grant, cycle_ms, total)]
    return sequence(flat) if flat else b""


def unpack_sums(data: bytes | None) -> Sums:
    flat = parse_sequence(data) if data else []
    return {(flat[i].decode(), flat[i + 1]): flat[i + 2] for i in range(0, len(flat), 3)}


class ShardLedger:
    """One shard's ledger."""

    def __init__(self, store: RedisReads, shard: Shard) -> None:
        self.shard = shard
        self._redis: Any = store.redis
        self._keys = store.keys(shard)
        self._begin = self._redis.register_script(script("ledger_begin"))
        self._fold = self._redis.register_script(script("ledger_fold"))

    async def checkpoint(self) -> Checkpoint:
        held = await self._redis.hgetall(self._keys.ledger_checkpoint)
        text = {name.decode(): value.decode() for name, value in held.items()}
        return Checkpoint(
            text.get("at", START), int(text.get("entries", 0)), text.get("archive", ""), text.get("until", "")
        )

    async def now_ms(self) -> int:
        """By the clock that numbers the entries."""
        seconds, micros = await self._redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def entries(self) -> int:
        """How many the stream holds."""
        return int(await self._redis.xlen(self._keys.ledger))

    async def memory_bytes(self) -> int:
        """What the stream takes, as Redis estimates it."""
        return int(await self._redis.memory_usage(self._keys.ledger, samples=5) or 0)

    async def page(self, after: str, count: int = PAGE) -> list[Placed]:
        raw = await self._redis.xrange(self._keys.ledger, min=f"({after}", count=count)
        return [Placed(place.decode(), to_ledger_entry(fields)) for place, fields in raw]

    async def each(self, after: str) -> AsyncIterator[Placed]:
        """The entries after that place, as far as they are there."""
        while page := await self.page(after):
            for placed in page:
                yield placed
            after = page[-1].id

    async def sums_of(self, accounts: Sequence[AccountId]) -> dict[AccountId, Sums]:
        """What the checkpoint holds of these accounts."""
        if not accounts:
            return {}
        held = await self._redis.hmget(self._keys.ledger_sums, accounts)
        return {account: unpack_sums(data) for account, data in zip(accounts, held, strict=True)}

    async def each_sums(self) -> AsyncIterator[tuple[AccountId, Sums]]:
        """The checkpoint's sums of every account; while it moves, of one before or after."""
        seen: set[bytes] = set()
        async for name, data in self._redis.hscan_iter(self._keys.ledger_sums, count=PAGE):
            if name not in seen:
                seen.add(name)
                yield AccountId(name.decode()), unpack_sums(data)

    async def total(self) -> tuple[dict[AccountId, Sums], str]:
        """What the ledger comes to, by account, and its last entry that is counted.

        Read again when the checkpoint has moved meanwhile: sums from before it and entries from after would miss
        what lies between.
        """
        while True:
            before = await self.checkpoint()
            held = {account: sums async for account, sums in self.each_sums()}
            totals: dict[AccountId, Sums] = defaultdict(dict, held)
            last = before.at
            async for placed in self.each(before.at):
                add_entry(totals[placed.entry.account], placed.entry)
                last = placed.id
            if (await self.checkpoint()).at == before.at:
                return totals, last

    async def states(
        self, accounts: Sequence[AccountId], totals: dict[AccountId, Sums], last: str
    ) -> tuple[list[AccountState], str]:
        """These accounts as stored, and `totals` brought up to that very moment from the entry `last` on; and the
        last entry that is counted now."""
        while True:
            start = last
            async for placed in self.each(last):
                add_entry(totals[placed.entry.account], placed.entry)
                last = placed.id
            async with self._redis.pipeline(transaction=True) as pipe:
                for account in accounts:  # one by one: a cluster's client refuses MGET here
                    pipe.get(self._keys.account(account))
                pipe.xrange(self._keys.ledger, min=f"({last}")
                pipe.hget(self._keys.ledger_checkpoint, "at")
                *stored, raw, at = await pipe.execute()
            for place, fields in raw:
                entry = to_ledger_entry(fields)
                add_entry(totals[entry.account], entry)
                last = place.decode()
            if at is None or order(at.decode()) <= order(start):
                break
            anew, last = await self.total()  # entries were moved away before they were counted
            totals.clear()
            totals.update(anew)
        known = zip(accounts, map(at_home, stored), strict=True)
        return [to_account(account, data) for account, data in known if data is not None], last

    async def begin(self, at: str, archive: str, until: str) -> bool:
        """Note the archive that entries are now moved to; False when somebody else is moving them."""
        keys = [self._keys.ledger_checkpoint]
        return bool(await self._begin(keys=keys, args=[at, archive, until]))

    async def fold(self, at: str, page: Sequence[Placed], *, is_last: bool) -> bool:
        """Move the ledger's first entries from the stream into the sums, all or nothing. `at`: the checkpoint as it
        was read. False when the checkpoint or the ledger is not as the caller believes; nothing was done then."""
        sums = await self.sums_of(list(dict.fromkeys(placed.entry.account for placed in page)))
        for placed in page:
            add_entry(sums[placed.entry.account], placed.entry)
        millis, count = order(page[-1].id)
        arguments: list[Any] = [at, page[-1].id, f"{millis}-{count + 1}", len(page), int(is_last)]
        for account, totals in sums.items():
            arguments += (account, pack_sums(totals))
        keys = [self._keys.ledger, self._keys.ledger_checkpoint, self._keys.ledger_sums]
        return bool(await self._fold(keys=keys, args=arguments))
