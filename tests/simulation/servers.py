"""The server behind the simulated stores: the reference store, or the Lua scripts in a real Redis.

What is simulated of it besides its operations: that it refuses to write (a full disk), and that it comes back as an
earlier self (a replica that was behind takes over).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol

import msgpack
import redis

from rater.charging.books import op_number
from rater.charging.keys import Keys
from rater.charging.memory import MemoryStore
from rater.charging.model import LegRequest, Reply, Request, Reserve
from rater.charging.newest import Newest
from rater.charging.records import AccountState, LegState
from rater.charging.scripts import Forms, script
from rater.charging.wire import (
    OtherNeeds,
    from_reply,
    needs_after,
    reserve_needs,
    to_call,
)
from rater.charging.wire_states import to_account, to_ledger_entry, to_leg
from rater.events.stream import decode_entry
from rater.ids import AccountId, LegId, Shard, SwitchId

from .virtual import VirtualTime

SHARD = Shard(0)
Entries = list[tuple[str, dict[str, Any], dict[str, Any]]]


class Refused(Exception):
    """The server takes no writes; nothing was done."""


class Server(Protocol):
    """What the auditor reads of a server, and how an operation is carried out by it, at once. `life`: tells one
    process that serves the data from the next. `refuses`: it takes no writes."""

    clock: VirtualTime
    on_wake: Callable[[AccountId], None]
    life: int
    refuses: bool

    def execute(self, request: Request) -> Reply:
        """Raises Refused."""
        ...

    def copy(self) -> Any:
        """All that it holds, as a replica would have it now."""
        ...

    def become(self, copied: Any) -> None:
        """A replica takes over: what was written since it was last heard of is lost."""
        ...

    def newest_entry(self, up_to: bytes | None) -> bytes | None:
        """The id of the ledger's newest entry, or of the newest not after one."""
        ...

    def new_outbox(self) -> list[dict[bytes, bytes]]:
        """The raw entries that were appended to the outbox since it was asked last."""
        ...

    def lacks(self, request: LegRequest) -> bool:
        """Whether an operation that it acknowledged is not there."""
        ...

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


_NOT_DATA = {"on_wake", "_clock", "_queue", "_flushing"}
_OF_RECORDS = {"outbox", "ledger", "_tombs", "_epochs", "_operations", "_leaders", "_refunds", "_transfers"}
"""Lists and tables of what is never changed; the rest is copied in depth."""


class MemoryServer:
    def __init__(self, clock: VirtualTime) -> None:
        self.clock = clock
        self.store = MemoryStore(clock)
        self.life = 1
        self.refuses = False
        self._entries: list[tuple[int, int]] = []
        """The ids of the ledger's entries."""
        self._told = 0

    @property
    def on_wake(self) -> Callable[[AccountId], None]:
        return self.store.on_wake

    @on_wake.setter
    def on_wake(self, wake: Callable[[AccountId], None]) -> None:
        self.store.on_wake = wake

    def execute(self, request: Request) -> Reply:
        if self.refuses:
            raise Refused
        reply = self.store.execute(request)
        while len(self._entries) < len(self.store.ledger):
            self._entries.append((self.clock.wall_ms(), len(self._entries)))
        return reply

    def copy(self) -> Any:
        held = {name: value for name, value in vars(self.store).items() if name not in _NOT_DATA}
        return {name: copy.copy(v) if name in _OF_RECORDS else copy.deepcopy(v) for name, v in held.items()}

    def become(self, copied: Any) -> None:
        vars(self.store).update(copied)
        del self._entries[len(self.store.ledger) :]
        self._told = len(self.store.outbox)
        self.life += 1

    def new_outbox(self) -> list[dict[bytes, bytes]]:
        fresh = self.store.outbox[self._told :]
        self._told = len(self.store.outbox)
        return [
            {b"k": kind.encode(), b"f": msgpack.packb(dict(facts)), b"r": msgpack.packb(dict(result))}
            for kind, facts, result in fresh
        ]

    def newest_entry(self, up_to: bytes | None) -> bytes | None:
        last = None if up_to is None else tuple(map(int, up_to.decode().split("-")))
        known = self._entries if last is None else [entry for entry in self._entries if entry <= last]
        return "{}-{}".format(*known[-1]).encode() if known else None

    def lacks(self, request: LegRequest) -> bool:
        where = (request.shard, request.leg)
        leg, tomb = self.store._legs.get(where), self.store._tombs.get(where)
        stands = leg.last_op if leg is not None else tomb[0] if tomb is not None else 0
        return stands < op_number(request.op)

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
        self.life = 1
        self.refuses = False
        self._prefix = prefix
        self._told = ""
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
            call = (*self._forms.call(name), len(keys), *keys, *arguments)
            answer = self._refusing(call) if self.refuses else self._client.execute_command(*call)
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

    def _refusing(self, call: tuple[Any, ...]) -> Any:
        """The answer of a server that takes no writes: as with a full disk, it stops a script at its first one.
        Nobody else is to notice, so it refuses for this call only."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.config_set("min-replicas-to-write", 1)
            pipe.execute_command(*call)
            pipe.config_set("min-replicas-to-write", 0)
            _, answer, _ = pipe.execute(raise_on_error=False)
        if not isinstance(answer, Exception):
            return answer
        if "NOREPLICAS" not in str(answer):
            raise answer
        raise Refused

    def copy(self) -> Any:
        names = sorted(self._client.scan_iter(f"{self._prefix}:*", count=10_000))
        held = {name: (self._client.dump(name), max(0, self._client.pttl(name))) for name in names}
        return held, dict(self._leaders)

    def become(self, copied: Any) -> None:
        held, self._leaders = copied
        names = list(self._client.scan_iter(f"{self._prefix}:*", count=10_000))
        if names:
            self._client.delete(*names)
        for name, (dump, ttl_ms) in held.items():
            self._client.restore(name, ttl_ms, dump)
        last = self._client.xrevrange(self._keys.outbox, count=1)
        self._told = last[0][0].decode() if last else ""
        self.life += 1

    def new_outbox(self) -> list[dict[bytes, bytes]]:
        fresh = self._client.xrange(self._keys.outbox, min=f"({self._told}" if self._told else "-")
        if fresh:
            self._told = fresh[-1][0].decode()
        return [fields for _, fields in fresh]

    def newest_entry(self, up_to: bytes | None) -> bytes | None:
        found = self._client.xrevrange(self._keys.ledger, max=up_to or "+", count=1)
        return bytes(found[0][0]) if found else None

    def _hear(self) -> None:
        """Deliver the wake-ups that the scripts published: all that came before the pong."""
        self._channel.ping()
        while (message := self._channel.get_message(timeout=5)) is not None and message["type"] != "pong":
            if message["type"] == "message":
                self.on_wake(AccountId(message["data"].decode()))

    def lacks(self, request: LegRequest) -> bool:
        """Asked and judged by the product."""
        newest = Newest(lambda shard: self._keys, self.clock.monotonic)
        newest.note(SHARD, 0, request, self.clock.monotonic())
        known = newest.acknowledged()
        return bool(newest.missing(known, [self._client.get(key) for _, key in newest.questions(known)]))

    def lead(self, switch: SwitchId, holder: str, ttl_ms: int, above: int = 0) -> int | None:
        now_ms = self.clock.wall_ms()
        known = self._leaders.get(switch)
        if known is not None and known[0] != holder and known[2] > now_ms:
            return None
        epoch = max(1 if known is None else known[1] + (known[0] != holder), above + 1)
        written = self._client.eval(self._fence, 2, self._keys.epoch(switch), self._keys.switches, epoch, switch)
        renewed = known is not None and known[0] == holder
        if int(written) > epoch or (int(written) == epoch and not renewed):
            epoch = int(written) + 1
            self._client.eval(self._fence, 2, self._keys.epoch(switch), self._keys.switches, epoch, switch)
        self._leaders[switch] = (holder, epoch, now_ms + ttl_ms)
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
