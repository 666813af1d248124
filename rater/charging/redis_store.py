"""The charging store in Redis. Scripts decide; here requests become calls and replies become answers.

An operation whose outcome is unknown (the connection broke, no answer in time) is sent again under its own id: the
scripts give a repeat its first answer. What is unanswered is kept in order of submission and sent again in that
order on the next connection.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from rater.charging.connection import PipelinedConnection
from rater.charging.model import AccountState, LegState, Reply, Request, Status
from rater.charging.store import Done
from rater.charging.wire import Keys, from_reply, to_account, to_call, to_leg
from rater.errors import StoreError, StoreUnavailable
from rater.ids import AccountId, LegId, Shard, SwitchId
from rater.verdict import Reason

SCRIPTS = ("reserve", "answer", "extend", "settle", "deny", "post")
ASK_TIMEOUT_S = 10.0
MOST_QUEUED = 100_000
MOST_TRIES = 8
"""For an error that will not pass by itself; one that will is repeated until it has."""
_PASSING = ("LOADING", "NOSCRIPT", "READONLY", "TRYAGAIN", "BUSY ", "MASTERDOWN", "CLUSTERDOWN", "OOM", "MISCONF")
log = structlog.get_logger(__name__)

_LEAD = """
local holder = redis.call('HGET', KEYS[1], 'holder')
if holder and holder ~= ARGV[1] then return 0 end
if not holder then redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'epoch', redis.call('INCR', KEYS[2])) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return tonumber(redis.call('HGET', KEYS[1], 'epoch'))
"""


def load_scripts() -> dict[str, bytes]:
    """Each script with the shared part in front, by name."""
    folder = Path(__file__).parent / "lua"
    library = (folder / "_lib.lua").read_bytes()
    return {name: library + (folder / f"{name}.lua").read_bytes() for name in SCRIPTS}


class _Pending:
    __slots__ = ("done", "request", "script", "sent_s", "tries", "words")

    def __init__(self, request: Request, script: str, words: tuple[bytes | str, ...], done: Done) -> None:
        self.request = request
        self.script = script
        self.words = words
        self.done = done
        self.sent_s = 0.0
        self.tries = 0


class RedisStore:
    """See `ChargingStore`. `on_latency(script, seconds)` and `on_available(bool)` are called as things happen."""

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        prefix: str = "rater",
        shards: int = 1,
        timeout_ms: int = 500,
    ) -> None:
        self.prefix = prefix
        self.shards = shards
        self.on_latency: Callable[[str, float], None] = lambda script, seconds: None
        self.on_available: Callable[[bool], None] = lambda up: None
        self.redis: Any = Redis.from_url(url, password=password)
        self._timeout_s = timeout_ms / 1000
        self._scripts = load_scripts()
        self._digests = {name: hashlib.sha1(body).hexdigest() for name, body in self._scripts.items()}
        self._keys: dict[Shard, Keys] = {}
        self._pending: OrderedDict[int, _Pending] = OrderedDict()
        self._count = 0
        self._unsent: list[int] = []
        self._watch: asyncio.Task[None] | None = None
        self._connection = PipelinedConnection(url, password, on_up=self._up, on_down=self._down)

    # -- life ----------------------------------------------------------------------------------------------------

    @property
    def available(self) -> bool:
        return self._connection.up

    async def start(self) -> None:
        """Connect. Raises StoreUnavailable when the server does not answer."""
        try:
            await self.redis.ping()
        except (RedisError, OSError) as error:
            raise StoreUnavailable(
                f"Redis does not answer: {error}", hint="Is it running? See rater doctor."
            ) from error
        self._connection.start()
        self._watch = asyncio.create_task(self._repeat_late())
        deadline_s = time.monotonic() + ASK_TIMEOUT_S
        while not self._connection.up:
            if time.monotonic() > deadline_s:
                raise StoreUnavailable("Redis answers, but no charging connection could be made")
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._connection.close()
        await self.redis.aclose()

    # -- the hot path --------------------------------------------------------------------------------------------

    def submit(self, request: Request, done: Done) -> None:
        """Queue a request. Raises StoreError when more than MOST_QUEUED are unanswered."""
        if len(self._pending) >= MOST_QUEUED:
            raise StoreError("the charging store does not keep up", hint="Is Redis reachable? See its log.")
        keys = self.keys(request.shard)
        script, names, arguments = to_call(request, keys)
        words = ("EVALSHA", self._digests[script], str(len(names)), *names, *arguments)
        self._count += 1
        self._pending[self._count] = _Pending(request, script, words, done)
        self._unsent.append(self._count)

    def flush(self) -> None:
        """Everything unsent in one write; without a connection it waits for the next."""
        if not self._connection.up:
            return
        unsent, self._unsent = self._unsent, []
        for number in unsent:
            pending = self._pending.get(number)
            if pending is not None:
                pending.sent_s = time.monotonic()
                pending.tries += 1
                self._connection.send(pending.words, partial(self._replied, number))
        self._connection.flush()

    def _replied(self, number: int, reply: Any) -> None:
        pending = self._pending.get(number)
        if pending is None:
            return
        if isinstance(reply, Exception):
            self._failed(number, pending, str(reply))
            return
        del self._pending[number]
        self.on_latency(pending.script, time.monotonic() - pending.sent_s)
        pending.done(pending.request, from_reply(reply))

    def _failed(self, number: int, pending: _Pending, error: str) -> None:
        """An error is no answer: nothing was done, or it cannot be known. The same operation goes out again."""
        log.warning("script failed", script=pending.script, error=error[:200], tries=pending.tries)
        if pending.tries >= MOST_TRIES and not error.startswith(_PASSING):
            del self._pending[number]
            log.error("script given up", script=pending.script, op=pending.request.op)
            pending.done(pending.request, Reply(Status.DENIED, Reason.STORE_UNAVAILABLE))
        elif error.startswith("NOSCRIPT"):
            self._connection.send(("SCRIPT", "LOAD", self._scripts[pending.script]), lambda reply: None)
            self._unsent.append(number)
            self.flush()
        else:
            delay_s = min(2.0, 0.05 * 2 ** min(pending.tries, 6))
            asyncio.get_running_loop().call_later(delay_s, self._again, number)

    def _again(self, number: int) -> None:
        if number in self._pending:
            self._unsent.append(number)
            self.flush()

    def _up(self) -> None:
        for body in self._scripts.values():
            self._connection.send(("SCRIPT", "LOAD", body), lambda reply: None)
        self._unsent = list(self._pending)
        self.flush()
        self.on_available(True)

    def _down(self) -> None:
        self.on_available(False)

    async def _repeat_late(self) -> None:
        """A connection on which an answer is overdue is given up; the new one repeats all that is unanswered."""
        while True:
            await asyncio.sleep(self._timeout_s / 4)
            oldest = next(iter(self._pending.values()), None)
            late = oldest is not None and oldest.sent_s and time.monotonic() - oldest.sent_s > self._timeout_s
            if late and self._connection.up:
                assert oldest is not None
                log.warning("redis is late; the connection is made anew", script=oldest.script)
                oldest.sent_s = time.monotonic()
                self._connection.drop()

    async def ask(self, request: Request) -> Reply:
        """One request, awaited. Raises StoreUnavailable after ASK_TIMEOUT_S; its outcome is then unknown."""
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def done(_: Request, reply: Reply) -> None:
            if not answer.done():
                answer.set_result(reply)

        self.submit(request, done)
        self.flush()
        try:
            return await asyncio.wait_for(answer, ASK_TIMEOUT_S)
        except TimeoutError as error:
            raise StoreUnavailable(
                f"no answer to {request.op} within {ASK_TIMEOUT_S:.0f} s",
                hint="Repeat the command with the same operation id: it is carried out once.",
            ) from error

    # -- everything else -----------------------------------------------------------------------------------------

    def keys(self, shard: Shard) -> Keys:
        keys = self._keys.get(shard)
        if keys is None:
            keys = self._keys[shard] = Keys(self.prefix, shard)
        return keys

    async def account(self, shard: Shard, account: AccountId) -> AccountState | None:
        data = await self.redis.get(self.keys(shard).account(account))
        return None if data is None else to_account(account, data)

    async def accounts_of(self, shard: Shard, accounts: Sequence[AccountId]) -> Sequence[AccountState]:
        """Several at once; those that the store does not know are left out."""
        keys = self.keys(shard)
        found = await self.redis.mget([keys.account(account) for account in accounts]) if accounts else []
        return [to_account(a, data) for a, data in zip(accounts, found, strict=True) if data is not None]

    async def accounts(self, shard: Shard) -> Sequence[AccountState]:
        keys = self.keys(shard)
        found = []
        async for name in self.redis.sscan_iter(keys.accounts, count=500):
            state = await self.account(shard, AccountId(name.decode()))
            if state is not None:
                found.append(state)
        return found

    async def leg(self, shard: Shard, leg: LegId) -> LegState | None:
        data = await self.redis.get(self.keys(shard).leg(leg))
        return None if data is None else to_leg(leg, shard, data)

    async def legs(self, shard: Shard, switch: SwitchId | None = None) -> Sequence[LegState]:
        keys = self.keys(shard)
        indexes = [keys.legs(switch)] if switch is not None else await self._leg_indexes(keys)
        found = []
        for index in indexes:
            for name in await self.redis.zrange(index, 0, -1):
                state = await self.leg(shard, LegId(name.decode()))
                if state is not None:
                    found.append(state)
        return found

    async def _leg_indexes(self, keys: Keys) -> list[str]:
        pattern = keys.legs(SwitchId("*")).replace("{", "[{]").replace("}", "[}]")
        return [name.decode() async for name in self.redis.scan_iter(match=pattern, count=1000)]

    async def lead(self, switch: SwitchId, holder: str, ttl_ms: int) -> int | None:
        """See `ChargingStore.lead`. The token grows with each change of holder and is put into every shard."""
        lease, tokens = f"{self.prefix}:lead:{switch}", f"{self.prefix}:epochs:{switch}"
        epoch = int(await self.redis.eval(_LEAD, 2, lease, tokens, holder, str(ttl_ms)))
        if not epoch:
            return None
        for shard in range(self.shards):
            key = self.keys(Shard(shard)).epoch(switch)
            known = await self.redis.get(key)
            if known is None or int(known) < epoch:
                await self.redis.set(key, epoch)
        return epoch

    async def release(self, switch: SwitchId, holder: str) -> None:
        """Give the leadership up at once, so that a standby need not wait for the lease to run out."""
        lease = f"{self.prefix}:lead:{switch}"
        if await self.redis.hget(lease, "holder") == holder.encode():
            await self.redis.delete(lease)
