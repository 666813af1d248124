"""The charging store as the simulated daemons reach it: operations that are late, lost before or after they were
done, or refused, and a server that is away.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from redis.exceptions import ResponseError

from rater.charging.keys import Keys
from rater.charging.model import FreeLeases, LegRequest, Reply, Request, Status, TakeLeases
from rater.charging.records import AccountState, LegState
from rater.charging.redis_store import RETRY_MAX_S, RETRY_MIN_S
from rater.charging.rules import validate
from rater.charging.store import Done
from rater.charging.terms import Terms
from rater.errors import StoreUnavailable
from rater.ids import AccountId, LegId, Shard, SwitchId

from .servers import SHARD, Server
from .virtual import VirtualLoop

_IN_TURN = LegRequest | TakeLeases | FreeLeases
"""What belongs to a leg goes one after the other."""
PREFIX = "rater"


@dataclass
class Way:
    """How operations fare, for all daemons alike. `lost` and `unanswered`: the chance that one is lost before, or
    its answer after, it was carried out; both are repeated after `timeout_s`, as the product's connection does."""

    latency_s: tuple[float, float] = (0.0003, 0.003)
    lost: float = 0.0
    unanswered: float = 0.0
    away: bool = False
    timeout_s: float = 0.5


@dataclass(eq=False)
class _Operation:
    request: Request
    done: Done
    number: int
    tries: int = 0


class SimStore:
    """A daemon's end: as `rater.charging.store.ChargingStore` and the leader's. `cut_off_from_leading`: the lease
    cannot be reached, everything else can."""

    def __init__(
        self,
        loop: VirtualLoop,
        random: Random,
        way: Way,
        execute: Callable[[Request], Reply | None],
        server: Server,
    ) -> None:
        self.dead = False
        self.redis = Looks(self, server)
        self.shards = 1
        self.cut_off_from_leading = False
        self._loop, self._random, self._way, self._execute, self._server = loop, random, way, execute, server
        self.on_lost: Callable[[tuple[Shard, ...]], None] = lambda shards: None
        self.on_flush: Callable[[], None] = lambda: None
        self._life = server.life
        self._newest: LegRequest | None = None
        """The newest operation that was acknowledged here."""
        self._queue: list[_Operation] = []
        self._busy: dict[LegId, deque[_Operation]] = {}
        self._numbers = itertools.count()

    @property
    def available(self) -> bool:
        return not self._way.away

    # -- the hot path: operations of one leg go one after the other ------------------------------------------------

    def submit(self, request: Request, done: Done) -> None:
        validate(request)
        operation = _Operation(request, done, next(self._numbers))
        if isinstance(request, _IN_TURN):
            waiting = self._busy.get(request.leg)
            if waiting is not None:
                waiting.append(operation)
                return
            self._busy[request.leg] = deque()
        self._queue.append(operation)

    def expected_wait_s(self, shard: Shard) -> float:
        return 0.0

    def flush(self) -> None:
        if self.dead:
            return
        queue, self._queue = self._queue, []
        for operation in queue:
            self._send(operation)
        self.on_flush()

    def _send(self, operation: _Operation) -> None:
        if not self.dead:
            self._loop.call_later(self._random.uniform(*self._way.latency_s), self._arrived, operation)

    def _arrived(self, operation: _Operation) -> None:
        """At the server. What a daemon sent before it died arrives all the same."""
        way = self._way
        if way.away or self._random.random() < way.lost:
            self._loop.call_later(way.timeout_s, self._send, operation)
            return
        if self._life != self._server.life and not self.dead:
            self._connected_anew()
        reply = self._execute(operation.request)
        if reply is None:
            operation.tries += 1
            delay_s = min(RETRY_MAX_S, RETRY_MIN_S * 2 ** min(operation.tries - 1, 8))
            self._loop.call_later(delay_s, self._send, operation)
            return
        if self._random.random() < way.unanswered:
            self._loop.call_later(way.timeout_s, self._send, operation)
        else:
            self._loop.call_later(self._random.uniform(*way.latency_s), self._answered, operation, reply)

    def _connected_anew(self) -> None:
        """As the product's store does with each connection: is what was acknowledged there?"""
        self._life = self._server.life
        if self._newest is not None and self._server.lacks(self._newest):
            self._newest = None
            self.on_lost((SHARD,))

    def _answered(self, operation: _Operation, reply: Reply) -> None:
        if self.dead:
            return
        request = operation.request
        if reply.status is Status.OK and isinstance(request, LegRequest):
            self._newest = request
        if isinstance(request, _IN_TURN):
            waiting = self._busy[request.leg]
            if waiting:
                self._send(waiting.popleft())
            else:
                del self._busy[request.leg]
        operation.done(request, reply)

    async def ask(self, request: Request) -> Reply:
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self.submit(request, lambda _, reply: answer.done() or answer.set_result(reply))
        self.flush()
        return await answer

    # -- everything else -------------------------------------------------------------------------------------------

    async def reach(self) -> None:
        await asyncio.sleep(self._random.uniform(*self._way.latency_s))
        if self._way.away or self.dead:
            raise StoreUnavailable("the store is away")

    async def account(
        self, shard: Shard, account: AccountId, terms: Terms | None = None, now_ms: int = 0
    ) -> AccountState | None:
        await self.reach()
        return self._server.account(account)

    async def accounts(self, shard: Shard) -> Sequence[AccountState]:
        await self.reach()
        return self._server.accounts()

    async def legs(self, shard: Shard, switch: SwitchId | None = None) -> Sequence[LegState]:
        await self.reach()
        return self._server.legs(switch)

    async def legs_of(self, switch: SwitchId) -> Sequence[LegState]:
        return await self.legs(SHARD, switch)

    async def leg(self, shard: Shard, leg: LegId) -> LegState | None:
        await self.reach()
        return next((state for state in self._server.legs() if state.leg == leg), None)

    async def lead(self, switch: SwitchId, holder: str, ttl_ms: int, above: int = 0) -> int | None:
        if self.cut_off_from_leading:
            raise StoreUnavailable("the lease cannot be reached")
        await self.reach()
        if self._server.refuses:
            raise ResponseError("MISCONF errors writing to the append-only file")
        return self._server.lead(switch, holder, ttl_ms, above)

    async def release(self, switch: SwitchId, holder: str) -> None:
        await self.lead(switch, holder, 0)

    async def time_ms(self) -> int:
        await self.reach()
        return self._server.clock.wall_ms()

    def keys(self, shard: Shard) -> Keys:
        return Keys(PREFIX, shard)

    async def close(self) -> None:
        self.flush()


class Looks:
    """What `rater.charging.witness` asks of a server."""

    def __init__(self, store: SimStore, server: Server) -> None:
        self._store, self._server = store, server

    async def info(self, section: str) -> dict[str, Any]:
        await self._store.reach()
        return {"run_id": str(self._server.life)}

    async def xrevrange(self, key: str, max: bytes | None = None, count: int = 1) -> list[tuple[bytes, Any]]:
        await self._store.reach()
        newest = self._server.newest_entry(max)
        return [] if newest is None else [(newest, {})]

    async def xlen(self, key: str) -> int:
        await self._store.reach()
        return int(self._server.newest_entry(None) is not None)

    async def exists(self, key: str) -> int:
        """The ledger of a world is never archived."""
        await self._store.reach()
        return 0
