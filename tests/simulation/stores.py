"""The charging store as the simulated daemons reach it: one server, with everything that can happen on the way.

The server is the product's own: the reference store, or the Lua scripts in a real Redis. What is simulated is the
way there: operations that are late, lost before or after they were done, and a server that is away.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import redis

from rater.charging.keys import Keys
from rater.charging.memory import MemoryStore
from rater.charging.model import FreeLeases, LegRequest, Reply, Request, Reserve, TakeLeases
from rater.charging.records import AccountState, LegState
from rater.charging.rules import validate
from rater.charging.scripts import Forms, script
from rater.charging.store import Done
from rater.charging.terms import Terms
from rater.charging.wire import (
    OtherNeeds,
    from_reply,
    needs_after,
    reserve_needs,
    to_account,
    to_call,
    to_ledger_entry,
    to_leg,
)
from rater.errors import StoreUnavailable
from rater.events.stream import decode_entry
from rater.ids import AccountId, LegId, Shard, SwitchId

from .virtual import VirtualLoop, VirtualTime

SHARD = Shard(0)
_IN_TURN = LegRequest | TakeLeases | FreeLeases
"""What belongs to a leg goes one after the other."""
Entries = list[tuple[str, dict[str, Any], dict[str, Any]]]


class Server(Protocol):
    """What the auditor reads of a server, and how an operation is carried out by it, at once."""

    clock: VirtualTime
    on_wake: Callable[[AccountId], None]

    def execute(self, request: Request) -> Reply: ...
    def lead(self, switch: SwitchId, holder: str, ttl_ms: int, above: int = 0) -> int | None: ...
    def account(self, name: AccountId) -> AccountState | None: ...
    def accounts(self) -> list[AccountState]: ...
    def legs(self, switch: SwitchId | None = None) -> list[LegState]: ...
    def live_leases(self, scope: str, now_ms: int) -> int: ...
    def outbox(self) -> Entries: ...
    def ledger(self) -> list[Any]: ...


def _now(coroutine: Any) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the reference store waited")


class MemoryServer:
    def __init__(self, clock: VirtualTime) -> None:
        self.clock = clock
        self.store = MemoryStore(clock)

    @property
    def on_wake(self) -> Callable[[AccountId], None]:
        return self.store.on_wake

    @on_wake.setter
    def on_wake(self, wake: Callable[[AccountId], None]) -> None:
        self.store.on_wake = wake

    def execute(self, request: Request) -> Reply:
        return self.store.execute(request)

    def lead(self, switch: SwitchId, holder: str, ttl_ms: int, above: int = 0) -> int | None:
        epoch: int | None = _now(self.store.lead(switch, holder, ttl_ms, above))
        return epoch

    def account(self, name: AccountId) -> AccountState | None:
        state: AccountState | None = _now(self.store.account(SHARD, name))
        return state

    def accounts(self) -> list[AccountState]:
        return list(_now(self.store.accounts(SHARD)))

    def legs(self, switch: SwitchId | None = None) -> list[LegState]:
        return list(_now(self.store.legs(SHARD, switch)))

    def live_leases(self, scope: str, now_ms: int) -> int:
        return self.store.live_leases(SHARD, scope, now_ms)

    def outbox(self) -> Entries:
        return [(kind, dict(facts), dict(result)) for kind, facts, result in self.store.outbox]

    def ledger(self) -> list[Any]:
        return list(self.store.ledger)


class RedisServer:
    """The scripts in a real Redis. The leadership's lease runs by virtual time, so it is kept here; the fencing is
    the scripts' own. `port`: of a server on this machine; everything is kept under `prefix`."""

    def __init__(self, clock: VirtualTime, port: int, prefix: str) -> None:
        self.on_wake: Callable[[AccountId], None] = lambda account: None
        self.clock = clock
        self._client: Any = redis.Redis(port=port)
        self._keys = Keys(prefix, SHARD)
        self._forms = Forms()
        self._load()
        self._fence = script("fence")
        self._needs: dict[LegId, bytes] = {}
        self._leaders: dict[SwitchId, tuple[str, int, int]] = {}
        self._channel = self._client.pubsub()
        self._channel.subscribe(self._keys.wake)
        self._channel.get_message(timeout=5)

    def _load(self) -> None:
        """As functions, or as scripts where the server has none."""
        for command in self._forms.loading():
            try:
                self._client.execute_command(*command)
            except redis.ResponseError as refusal:
                if self._forms.functions and self._forms.has_no_functions(str(refusal)):
                    self._load()
                elif not self._forms.forgives(str(refusal)):
                    raise

    def execute(self, request: Request) -> Reply:
        while True:
            if isinstance(request, Reserve):
                needs = reserve_needs(request)
            else:
                needs = self._needs.get(request.leg, b"") if isinstance(request, LegRequest) else b""
            name, keys, arguments = to_call(request, self._keys, needs)
            answer = self._client.execute_command(*self._forms.call(name), len(keys), *keys, *arguments)
            try:
                reply = from_reply(answer)
            except OtherNeeds as other:
                assert isinstance(request, LegRequest)
                self._needs[request.leg] = other.needs
                continue
            if needs and isinstance(request, LegRequest):
                self._needs[request.leg] = needs_after(request, needs)
            self._hear()
            return reply

    def _hear(self) -> None:
        """Deliver the wake-ups that the scripts published: all that came before the pong."""
        self._channel.ping()
        while (message := self._channel.get_message(timeout=5)) is not None and message["type"] != "pong":
            if message["type"] == "message":
                self.on_wake(AccountId(message["data"].decode()))

    def lead(self, switch: SwitchId, holder: str, ttl_ms: int, above: int = 0) -> int | None:
        now_ms = self.clock.wall_ms()
        known = self._leaders.get(switch)
        if known is not None and known[0] != holder and known[2] > now_ms:
            return None
        epoch = max(1 if known is None else known[1] + (known[0] != holder), above + 1)
        self._leaders[switch] = (holder, epoch, now_ms + ttl_ms)
        self._client.eval(self._fence, 2, self._keys.epoch(switch), self._keys.switches, epoch, switch)
        return epoch

    def account(self, name: AccountId) -> AccountState | None:
        data = self._client.get(self._keys.account(name))
        return to_account(name, data) if data else None

    def accounts(self) -> list[AccountState]:
        names = sorted(name.decode() for name in self._client.smembers(self._keys.accounts))
        return [state for name in names if (state := self.account(AccountId(name))) is not None]

    def legs(self, switch: SwitchId | None = None) -> list[LegState]:
        switches = sorted(s.decode() for s in self._client.smembers(self._keys.switches))
        found = []
        for each in switches if switch is None else [switch]:
            for name in sorted(n.decode() for n in self._client.smembers(self._keys.legs(SwitchId(each)))):
                data = self._client.get(self._keys.leg(LegId(name)))
                state = to_leg(LegId(name), SHARD, data) if data else None
                if state is not None:
                    found.append(state)
        return found

    def live_leases(self, scope: str, now_ms: int) -> int:
        return int(self._client.zcount(self._keys.lease(scope), now_ms + 1, "+inf"))

    def outbox(self) -> Entries:
        decoded = [decode_entry(SHARD, name, fields) for name, fields in self._client.xrange(self._keys.outbox)]
        return [(entry.kind, dict(entry.facts), dict(entry.result)) for entry in decoded]

    def ledger(self) -> list[Any]:
        return [to_ledger_entry(fields) for _, fields in self._client.xrange(self._keys.ledger)]


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


class SimStore:
    """A daemon's end: as `rater.charging.store.ChargingStore` and the leader's. `cut_off_from_leading`: the lease
    cannot be reached, everything else can."""

    def __init__(
        self, loop: VirtualLoop, random: Random, way: Way, execute: Callable[[Request], Reply], server: Server
    ) -> None:
        self.dead = False
        self.cut_off_from_leading = False
        self._loop, self._random, self._way, self._execute, self._server = loop, random, way, execute, server
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

    def flush(self) -> None:
        if self.dead:
            return
        queue, self._queue = self._queue, []
        for operation in queue:
            self._send(operation)

    def _send(self, operation: _Operation) -> None:
        if not self.dead:
            self._loop.call_later(self._random.uniform(*self._way.latency_s), self._arrived, operation)

    def _arrived(self, operation: _Operation) -> None:
        """At the server. What a daemon sent before it died arrives all the same."""
        way = self._way
        if way.away or self._random.random() < way.lost:
            self._loop.call_later(way.timeout_s, self._send, operation)
            return
        reply = self._execute(operation.request)
        if self._random.random() < way.unanswered:
            self._loop.call_later(way.timeout_s, self._send, operation)
        else:
            self._loop.call_later(self._random.uniform(*way.latency_s), self._answered, operation, reply)

    def _answered(self, operation: _Operation, reply: Reply) -> None:
        if self.dead:
            return
        request = operation.request
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

    async def _reach(self) -> None:
        await asyncio.sleep(self._random.uniform(*self._way.latency_s))
        if self._way.away or self.dead:
            raise StoreUnavailable("the store is away")

    async def account(
        self, shard: Shard, account: AccountId, terms: Terms | None = None, now_ms: int = 0
    ) -> AccountState | None:
        await self._reach()
        return self._server.account(account)

    async def accounts(self, shard: Shard) -> Sequence[AccountState]:
        await self._reach()
        return self._server.accounts()

    async def legs(self, shard: Shard, switch: SwitchId | None = None) -> Sequence[LegState]:
        await self._reach()
        return self._server.legs(switch)

    async def legs_of(self, switch: SwitchId) -> Sequence[LegState]:
        return await self.legs(SHARD, switch)

    async def leg(self, shard: Shard, leg: LegId) -> LegState | None:
        await self._reach()
        return next((state for state in self._server.legs() if state.leg == leg), None)

    async def lead(self, switch: SwitchId, holder: str, ttl_ms: int, above: int = 0) -> int | None:
        if self.cut_off_from_leading:
            raise StoreUnavailable("the lease cannot be reached")
        await self._reach()
        return self._server.lead(switch, holder, ttl_ms, above)

    async def release(self, switch: SwitchId, holder: str) -> None:
        await self.lead(switch, holder, 0)

    async def time_ms(self) -> int:
        await self._reach()
        return self._server.clock.wall_ms()

    async def close(self) -> None:
        self.flush()
