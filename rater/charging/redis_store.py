"""The charging store in Redis. The scripts decide; requests become calls and answers become replies (`turns`).

The hot path is one pipelined `Link` for each node. Whatever is not per call goes over redis-py.

Requests follow accounts that have moved to another shard (`rater.charging.moves`); where one is found to live is
remembered. One that is on its way is waited for, and when nobody seems to move it any more, moved from here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypedDict

import structlog
from redis.exceptions import RedisError

from rater.charging.call import Operation
from rater.charging.cluster import ClusterLinks
from rater.charging.connection import UNKNOWN, Address, Ask, Link
from rater.charging.model import (
    ExpireGrant,
    Post,
    PostGrant,
    Reply,
    Request,
    Status,
)
from rater.charging.moves import AwayState, Homes, Move, finish_move
from rater.charging.places import OfAccount, is_within
from rater.charging.records import LegState
from rater.charging.redis_moves import RedisMoves
from rater.charging.scripts import is_unknown
from rater.charging.turns import Turns
from rater.charging.wire import (
    contents_of,
    from_reply,
    needs_of,
    other_account,
    parse_sequence,
)
from rater.charging.wire_moves import NotHere, OtherHomes
from rater.errors import OutcomeUnknown, StoreError, StoreUnavailable
from rater.ids import Shard
from rater.verdict import Reason

ASK_S = 10.0
CLOSE_S = 2.0
QUEUE_MAX = 100_000
"""Unanswered operations beyond which no new work is taken; what live legs need is always taken."""
RETRY_MIN_S, RETRY_MAX_S = 0.02, 1.0
WAIT_MIN_S, PATIENCE = 0.005, 5
"""How soon an account that moves is asked for again, and after how many times it is moved on from here."""
_PASSING = re.compile(
    "(?:^|-)(NOSCRIPT|LOADING|READONLY|MOVED|ASK|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|BUSY|OOM|MISCONF|NOREPLICAS"
    "|NOAUTH|NOPERM) "
)
"""Errors that say that nothing was done and may pass: the same operation is sent again until it is answered. Inside
a script's error, as older servers give it, the code stands after a dash."""
OOM = "OOM"
log = structlog.get_logger(__name__)


class _Told(TypedDict):
    on_answer: Callable[[Any, Any], None]
    after_read: Callable[[], None]
    on_up: Callable[[bool], None]
    inspect: Callable[[Ask], Awaitable[None]]


class RedisStore(Turns, RedisMoves):
    """See `ChargingStore`. `on_available(bool)` is called as things happen.

    `timeout_ms`: an answer later than that makes the connection anew, and the operation is repeated. `cluster`: the
    URL names a node of a Redis Cluster.
    """

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        prefix: str = "rater",
        shards: int = 1,
        timeout_ms: int = 500,
        queue_max: int = QUEUE_MAX,
        cluster: bool = False,
    ) -> None:
        RedisMoves.__init__(self, url, password=password, prefix=prefix, shards=shards, cluster=cluster)
        Turns.__init__(self, self._shard_keys, queue_max)
        self.on_available: Callable[[bool], None] = lambda up: None
        self.on_lost: Callable[[tuple[Shard, ...]], None] = lambda shards: None
        """Told of shards that lack writes which were acknowledged here, before anything more is asked of them."""
        self._tasks: dict[object, asyncio.Task[None]] = {}
        address = Address.from_url(url, password)
        told: _Told = {
            "on_answer": self._answered, "after_read": self._after_read, "on_up": self._on_up,
            "inspect": self._inspect,
        }  # fmt: skip
        timeout_s = timeout_ms / 1000
        self._link: Link | ClusterLinks = (
            ClusterLinks(self.redis, address, self._forms, shards=shards, timeout_s=timeout_s, **told)
            if cluster
            else Link(address, self._forms, timeout_s=timeout_s, **told)
        )

    # -- life ----------------------------------------------------------------------------------------------------

    @property
    def available(self) -> bool:
        """Whether operations are being carried out, of some shards at least."""
        return self._link.up

    def reaches(self, shard: Shard) -> bool:
        """Whether operations of that shard are."""
        return self._link.reaches(shard)

    @property
    def reading(self) -> bool:
        """Answers are being handed out; `on_answered` is called after the last of them."""
        return self._reading

    async def start(self) -> None:
        """Connect. Raises StoreUnavailable when the server cannot be reached or refuses."""
        await self.check()
        self._link.start()
        for _ in range(int(ASK_S / 0.01)):
            if self._link.whole:
                return
            await asyncio.sleep(0.01)
        await self.close()
        raise StoreUnavailable("Redis answers, but the charging scripts could not be loaded", hint="See the log.")

    async def close(self) -> None:
        """Wait a moment for what is under way, then leave. What stays unanswered was not lost: its leg is there."""
        self.flush()
        for _ in range(int(CLOSE_S / 0.01)):
            if not self._open or not self.available:
                break
            await asyncio.sleep(0.01)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._link.close()
        await super().close()

    def _on_up(self, up: bool) -> None:
        log.info("redis connected" if up else "redis connection lost", unanswered=self._open)
        self.on_available(up)

    async def _inspect(self, ask: Ask) -> None:
        """A server was connected to: is it the one that was, with everything that it acknowledged?"""
        known = self._newest.acknowledged()
        lost = self._newest.missing(known, await ask(self._newest.questions(known))) if known else ()
        if lost:
            log.error("the store has lost its last writes", shards=list(lost), hint="See docs/faults.md.")
            self.on_lost(lost)

    # -- the hot path --------------------------------------------------------------------------------------------

    async def ask(self, request: Request) -> Reply:
        """One request, awaited. Raises StoreUnavailable when it could not be sent within ASK_S (it still will be),
        OutcomeUnknown when it was sent and no answer came: repeat the same operation id."""
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def done(_: Request, reply: Reply) -> None:
            if not answer.done():
                answer.set_result(reply)

        self.submit(request, done)
        self.flush()
        try:
            return await asyncio.wait_for(answer, ASK_S)
        except TimeoutError as error:
            hint = "Repeat it with the same operation id: it is carried out once."
            if not self.reaches(Shard(request.shard)):
                raise StoreUnavailable(f"Redis is away; {request.op} waits", hint=hint) from error
            raise OutcomeUnknown(f"no answer to {request.op} within {ASK_S:.0f} s", hint=hint) from error

    # -- accounts that move --------------------------------------------------------------------------------------

    def _not_here(self, operation: Operation, elsewhere: NotHere) -> None:
        """Go after the account; while it is on its way wait, and lend a hand when that lasts."""
        request, away = operation.routed, elsewhere.away
        assert isinstance(request, OfAccount)
        account = other_account(request, operation.needs) if elsewhere.other else request.account
        if away.state is not AwayState.ELSEWHERE:
            operation.waits += 1
            if operation.waits == PATIENCE:
                move = Move(account, request.shard, away.to, away.number)
                self._in_background((account, away.number), self._lend_a_hand(move))
            delay_s = min(RETRY_MAX_S, WAIT_MIN_S * 2 ** min(operation.waits - 1, 8))
            asyncio.get_running_loop().call_later(delay_s, self._again, operation)
        elif is_within(request):
            self._finish(operation, Reply(Status.MOVED))
        elif operation.alone and elsewhere.other:
            log.error("a leg draws on a group in another shard", op=request.op, owner=account)
            self._finish(operation, Reply(Status.DENIED, Reason.STORE_UNAVAILABLE))
        else:
            self._places.learn(account, away)
            operation.alone = elsewhere.other
            self._queue(operation)

    async def _lend_a_hand(self, move: Move) -> None:
        log.warning("a move is taken up that was left in the middle", account=move.account, to_shard=move.to)
        try:
            await finish_move(self, move)
        except (RedisError, OSError, StoreError) as error:
            log.warning("a move could not be finished", account=move.account, error=str(error))

    def _elsewhere_before(self, operation: Operation, known: OtherHomes) -> None:
        self._in_background(operation, self._ask_homes(operation, known.homes))

    async def _ask_homes(self, operation: Operation, homes: Homes) -> None:
        """Whether a posting was done in a shard that the account lived in before; if not, it is done now. Nothing
        of the account is done there any more, so what is read there stays true."""
        request, refunded_micro = operation.routed, 0
        assert isinstance(request, Post | PostGrant | ExpireGrant)
        event = request.event if isinstance(request, Post) else None
        for shard, _ in homes.before:
            keys = self.keys(shard)
            done = await self._patiently(self.redis.get, keys.operation(request.op))
            if done is not None:
                contents, reply, *of = parse_sequence(done)
                same = contents.decode() == contents_of(request)
                if same or of in ([], [request.account.encode()]):
                    self._finish(operation, from_reply(reply + b"\x01") if same else Reply(Status.CONFLICT))
                    return
            if event is not None:
                refunded_micro += int(await self._patiently(self.redis.get, keys.refund(event)) or 0)
        operation.refunded_micro = refunded_micro
        self._queue(operation)
        self.flush()

    async def _patiently(self, read: Callable[[str], Awaitable[Any]], key: str) -> Any:
        while True:
            try:
                return await read(key)
            except (RedisError, OSError) as error:
                log.warning("a shard where an account lived cannot be asked", key=key, error=str(error))
                await asyncio.sleep(RETRY_MAX_S)

    def _in_background(self, name: object, work: Coroutine[Any, Any, None]) -> None:
        if name in self._tasks:
            work.close()
            return
        task = self._tasks[name] = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._tasks.pop(name, None))

    # -- failures ------------------------------------------------------------------------------------------------

    def _failed(self, operation: Operation, error: str) -> None:
        """The server refused: nothing was done. What may pass is sent again; what may not is given up."""
        operation.tries += 1
        if operation.as_function and self._forms.has_no_functions(error):
            self._queue(operation)
            return
        passing = _PASSING.search(error)
        code = passing.group(1) if passing is not None else UNKNOWN if is_unknown(error) else ""
        if code == OOM and operation.as_function:
            # It was refused unseen, perhaps as the repeat of what was done.
            self._forms.both = True
            self._queue(operation, as_script=True)
            return
        if not code:
            log.error(
                "a charging script failed", script=operation.script, op=operation.request.op, error=error[:300]
            )
            self._finish(operation, Reply(Status.DENIED, Reason.STORE_UNAVAILABLE))
            return
        if operation.tries in (1, 10, 100) or operation.tries % 1000 == 0:
            log.warning("redis refuses for now", script=operation.script, code=code, tries=operation.tries)
        if self._link.refused(operation, code, error, operation.tries):
            return
        delay_s = min(RETRY_MAX_S, RETRY_MIN_S * 2 ** min(operation.tries - 1, 8))
        asyncio.get_running_loop().call_later(delay_s, self._again, operation)

    def _again(self, operation: Operation) -> None:
        self._queue(operation)
        self.flush()

    # -- reading -------------------------------------------------------------------------------------------------

    def know(self, legs: Iterable[LegState]) -> None:
        """What `legs` read spares their next operations a second try."""
        for state in legs:
            self._needs.setdefault(state.leg, needs_of(state.owner, state.leases))
