"""Dead letters: outbox entries that a target will never take, or that nobody can read, set aside so that the rest
goes on.

One stream for each shard, ``<prefix>:{<shard>}:dead``: the entry's own fields, and

- ``reason``: why, for a person
- ``group``: whose target it was not taken by
- ``entry``: its id in the outbox

To deliver one again, it goes back into the outbox with a field ``to``: its group. Other groups pass over it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import WatchError

from rater.errors import InputError
from rater.events.notices import record_of
from rater.events.stream import TO, UnreadableEntry, dead_key, decode_entry, outbox_key

PAGE = 500
REASON, ENTRY, GROUP = b"reason", b"entry", b"group"
_OURS = frozenset({REASON, ENTRY, GROUP, TO})


@dataclass(frozen=True, slots=True)
class Letter:
    """`raw`: the fields of the outbox entry. `record`: the id of the record in it, empty when it makes none."""

    shard: int
    id: str
    reason: str
    group: str
    kind: str
    record: str
    account: str
    raw: Mapping[bytes, bytes]

    @property
    def ref(self) -> str:
        """What a person names it by: ``<shard>/<id>``."""
        return f"{self.shard}/{self.id}"

    @property
    def at_ms(self) -> int:
        """When it was set aside."""
        return int(self.id.partition("-")[0])


def add_letter(
    pipe: Any, prefix: str, shard: int, raw: Mapping[bytes, bytes], *, reason: str, group: str, entry: str
) -> None:
    """Put the command that sets an entry aside on a pipeline."""
    own = {name: value for name, value in raw.items() if name not in _OURS}
    pipe.xadd(
        dead_key(prefix, shard), {**own, REASON: reason.encode(), ENTRY: entry.encode(), GROUP: group.encode()}
    )


class DeadLetters:
    """Those of all shards."""

    def __init__(self, redis: Redis, *, prefix: str, shards: int) -> None:
        self._redis: Any = redis  # redis-py's types differ between commands sync and async
        self._prefix = prefix
        self._shards = shards

    async def each(self, *, group: str | None = None) -> AsyncIterator[Letter]:
        """Every letter, of that group or of all, shard by shard, oldest first."""
        for shard in range(self._shards):
            after = "-"
            while page := await self._redis.xrange(dead_key(self._prefix, shard), min=after, count=PAGE):
                for stream_id, fields in page:
                    letter = _letter(shard, stream_id, fields)
                    if group is None or letter.group == group:
                        yield letter
                after = f"({page[-1][0].decode()}"

    async def find(self, ref: str) -> Letter:
        """Raises InputError when there is none by that name."""
        shard, _, place = ref.partition("/")
        if shard.isdecimal() and int(shard) < self._shards and place.replace("-", "", 1).isdecimal():
            found = await self._redis.xrange(dead_key(self._prefix, int(shard)), min=place, max=place)
            if found:
                return _letter(int(shard), *found[0])
        raise InputError(f"there is no dead letter {ref!r}", hint="rater events dead lists them: SHARD/ID.")

    async def retry(self, letter: Letter) -> bool:
        """Put the entry back into the outbox, for its group alone; False when it is gone, by another's doing."""
        dead, outbox = dead_key(self._prefix, letter.shard), outbox_key(self._prefix, letter.shard)
        while True:
            async with self._redis.pipeline(transaction=True) as pipe:
                await pipe.watch(dead)
                if not await pipe.xrange(dead, min=letter.id, max=letter.id):
                    return False
                pipe.multi()
                pipe.xadd(outbox, {**letter.raw, TO: letter.group.encode()})
                pipe.xdel(dead, letter.id)
                try:
                    await pipe.execute()
                except WatchError:
                    continue
                return True

    async def drop(self, letter: Letter) -> bool:
        """Delete it for good; False when it was gone."""
        return bool(await self._redis.xdel(dead_key(self._prefix, letter.shard), letter.id))


def _letter(shard: int, stream_id: bytes, fields: Mapping[bytes, bytes]) -> Letter:
    raw = {name: value for name, value in fields.items() if name not in _OURS}
    record, account = "", ""
    try:
        made = record_of(decode_entry(shard, fields.get(ENTRY, b"0-0"), raw))
        record, account = made.id, made.account
    except UnreadableEntry:
        pass
    text = {name: fields.get(name, b"").decode("utf-8", "replace") for name in (REASON, GROUP, b"k")}
    return Letter(shard, stream_id.decode(), text[REASON], text[GROUP], text[b"k"], record, account, raw)
