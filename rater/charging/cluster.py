"""The hot path on a Redis Cluster: a `Link` to each master that has shards of ours, the operations of a shard over
the link of the master that serves the shard's slot.

Which that is may change at any moment. A node that is asked for a slot which it gave away says so (MOVED), one that
is giving it away says where the keys may be already (ASK), and one that is dead says nothing: then the map of slots
is asked for, again and again, until another has taken its place. In each case the same operation goes to the right
master; it is known there by its id, should it have been carried out before. An operation is in one link's hands at
a time, and a link that has no connection gives its operations back, so none is answered twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import hiredis
import structlog
from redis.crc import key_slot
from redis.exceptions import RedisClusterException, RedisError

from rater.charging.connection import UNKNOWN, Address, Ask, Call, Link
from rater.charging.scripts import Forms

LOOK_S = 2.0
"""The map of slots comes within that, or is asked for again."""
LOOK_AGAIN_S, LOOK_EVERY_S = 0.1, 5.0
"""How soon after a doubt, and how often without one."""
FOLLOWED_AT_ONCE = 5
"""So many redirections of an operation are followed without a pause."""
_ASKING = hiredis.pack_command(("ASKING",))
log = structlog.get_logger(__name__)
Place = tuple[str, int]


def slot_of(shard: int) -> int:
    """Of every key that carries the shard's hash tag."""
    return int(key_slot(b"%d" % shard))


class _Asking(Call):
    """Goes before an operation that follows an ASK; its answer is nobody's."""

    __slots__ = ()


class ClusterLinks:
    """What `Link` is for one server. `redis`: redis-py's cluster client, which knows the map of slots. `seed`: how
    to log in. `whole` when every shard's master can be reached, `up` when any can: one that is away hinders the
    operations of its own shards only."""

    def __init__(
        self,
        redis: Any,
        seed: Address,
        forms: Forms,
        *,
        shards: int,
        timeout_s: float,
        on_answer: Callable[[Any, Any], None],
        after_read: Callable[[], None],
        on_up: Callable[[bool], None],
        inspect: Callable[[Ask], Awaitable[None]],
    ) -> None:
        self.whole = False
        self._redis = redis
        self._seed = seed
        self._forms = forms
        self._slots = {shard: slot_of(shard) for shard in range(shards)}
        self._timeout_s = timeout_s
        self._on_answer = on_answer
        self._after_read = after_read
        self._on_up = on_up
        self._inspect = inspect
        self._links: dict[Place, Link] = {}
        self._masters: dict[int, Place] = {}
        """By slot, as far as it is known."""
        self._homeless: list[Call] = []
        """Of slots whose master is not known."""
        self._doubt = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        return any(self.reaches(shard) for shard in self._slots)

    def reaches(self, shard: int) -> bool:
        """Whether the shard's master, as far as it is known, is connected."""
        link = self._link_of(shard)
        return link is not None and link.up

    def expected_wait_s(self, shard: int) -> float:
        """Of operations of that shard: see `Pipeline`."""
        link = self._link_of(shard)
        return link.expected_wait_s(shard) if link is not None else 0.0

    def _link_of(self, shard: int) -> Link | None:
        return self._links.get(self._masters.get(self._slots.get(shard, -1), ("", 0)))

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name="redis cluster")

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for link in self._links.values():
            await link.close()

    def queue(self, call: Call) -> None:
        slot = self._slots.get(call.shard)
        if slot is None:
            slot = self._slots[call.shard] = slot_of(call.shard)
        place = self._masters.get(slot)
        if place is None:
            self._homeless.append(call)
            self._doubt.set()
        else:
            self._links[place].queue(call)

    def flush(self) -> None:
        for link in self._links.values():
            link.flush()

    def refused(self, call: Call, code: str, error: str, tries: int) -> bool:
        """A server did not carry the call out. True when it is on its way to another."""
        if code == UNKNOWN:
            place = self._masters.get(self._slots[call.shard])
            if place is not None:
                self._links[place].reconnect()
            return False
        self._doubt.set()
        if code not in ("MOVED", "ASK"):
            return False
        _, slot, where = error[error.index(code) :].split()[:3]
        host, _, port = where.rpartition(":")
        link = self._link((host or self._seed.host, int(port)))
        if code == "ASK":
            link.queue(_Asking(_ASKING))
            link.queue(call)
            return True
        self._masters[int(slot)] = (link.address.host, link.address.port)
        if tries > FOLLOWED_AT_ONCE:
            return False
        link.queue(call)
        return True

    # -- masters -------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            await self._look()
            try:
                async with asyncio.timeout(LOOK_EVERY_S if self.whole else LOOK_AGAIN_S):
                    await self._doubt.wait()
                await asyncio.sleep(LOOK_AGAIN_S)
            except TimeoutError:
                pass
            self._doubt.clear()

    async def _look(self) -> None:
        """Ask for the map of slots and go by it."""
        nodes = self._redis.nodes_manager
        try:
            async with asyncio.timeout(LOOK_S):
                await nodes.initialize()
            for slot in self._slots.values():
                master = nodes.get_node_from_slot(slot)
                self._masters[slot] = self._at(master.host, int(master.port))
        except (RedisError, RedisClusterException, OSError) as error:
            log.warning("no map of the cluster's slots", error=str(error))
            return
        await self._rearrange()

    @staticmethod
    def _at(host: str, port: int) -> Place:
        # redis-py writes the name for this address
        return ("127.0.0.1" if host == "localhost" else host, port)

    async def _rearrange(self) -> None:
        """A link for each master; what waits on the way to a server that is away goes to its successor."""
        wanted = set(self._masters.values())
        for place in wanted:
            self._link(place)
        astray, self._homeless = self._homeless, []
        for link in list(self._links.values()):
            if not link.up:
                astray += link.take_back()
        for call in astray:
            if not isinstance(call, _Asking):
                self.queue(call)
        for place in set(self._links) - wanted:
            if self._links[place].idle:
                await self._links.pop(place).close()
        self._tell()
        self.flush()

    def _link(self, place: Place) -> Link:
        link = self._links.get(place)
        if link is None:
            host, port = place
            link = self._links[place] = Link(
                replace(self._seed, host=host, port=port),
                self._forms,
                timeout_s=self._timeout_s,
                on_answer=self._answered,
                after_read=self._after_read,
                on_up=self._changed,
                inspect=self._inspect,
            )
            log.info("redis master", address=str(link.address))
            link.start()
        return link

    def _answered(self, call: Call, answer: Any) -> None:
        if not isinstance(call, _Asking):
            self._on_answer(call, answer)

    def _changed(self, up: bool) -> None:
        if not up:
            self._doubt.set()
        self._tell()

    def _tell(self) -> None:
        """Say whether every shard can be charged in, when that has changed."""
        whole = all(self.reaches(shard) for shard in self._slots)
        if whole != self.whole:
            self.whole = whole
            self._on_up(whole)
