"""The reference store: the whole contract in plain Python, for tests, replay and simulation.

What the operations mean stands in `operations.py`. Answers come synchronously, in `flush`, in the order of
submission.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from copy import deepcopy

from rater.charging.books import Leg
from rater.charging.memory_moves import MemoryMoves
from rater.charging.model import Reply, Request
from rater.charging.records import AccountState, LegState, PendingTransfer
from rater.charging.rules import validate
from rater.charging.states import account_state, as_of
from rater.charging.store import Done
from rater.charging.terms import Terms
from rater.clock import Clock, SystemClock
from rater.ids import AccountId, LegId, Shard, SwitchId


class MemoryStore(MemoryMoves):
    """A `ChargingStore` over `Operations`, and a `MovingStore`."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock or SystemClock())
        self._queue: deque[tuple[Request, Done]] = deque()
        self._flushing = False

    # -- the door ------------------------------------------------------------------------------------------------

    def submit(self, request: Request, done: Done) -> None:
        validate(request)
        self._queue.append((request, done))

    def flush(self) -> None:
        if self._flushing:
            return
        self._flushing = True
        try:
            while self._queue:
                request, done = self._queue.popleft()
                done(request, self.execute(request))
        finally:
            self._flushing = False

    def expected_wait_s(self, shard: Shard) -> float:
        return 0.0

    async def ask(self, request: Request) -> Reply:
        validate(request)
        return self.execute(request)

    async def account(
        self, shard: Shard, account: AccountId, terms: Terms | None = None, now_ms: int = 0
    ) -> AccountState | None:
        held = await self._held(shard, account)
        if held is None:
            return None
        return account_state(held if terms is None else as_of(deepcopy(held), terms, now_ms))

    async def accounts(self, shard: Shard) -> Sequence[AccountState]:
        return [account_state(held) for (where, _), held in self._accounts.items() if where == shard]

    async def legs(self, shard: Shard, switch: SwitchId | None = None) -> Sequence[LegState]:
        return [
            _leg_state(leg)
            for (where, _), leg in self._legs.items()
            if where == shard and switch in (None, leg.switch)
        ]

    async def leg(self, shard: Shard, leg: LegId) -> LegState | None:
        held = self._legs.get((shard, leg))
        return _leg_state(held) if held is not None else None

    async def transfers(self, shard: Shard) -> Sequence[PendingTransfer]:
        return [pending for (where, _), pending in self._transfers.items() if where == shard]

    async def end_transfer(self, pending: PendingTransfer) -> None:
        self._transfers.pop((pending.shard, pending.op), None)

    async def lead(self, switch: SwitchId, holder: str, ttl_ms: int, above: int = 0) -> int | None:
        now_ms = self._clock.wall_ms()
        known = self._leaders.get(switch)
        if known is not None and known[0] != holder and known[2] > now_ms:
            return None
        renewed = known is not None and known[0] == holder
        epoch = (known[1] if known is not None else 0) + (not renewed)
        shards = [where for where in self._epochs if where[1] == switch]
        written = max((self._epochs[where] for where in shards), default=0)
        stale = epoch < written or (epoch == written and not renewed)
        epoch = max(written + 1 if stale else epoch, above + 1)
        self._leaders[switch] = (holder, epoch, now_ms + ttl_ms)
        for where in shards:
            self._epochs[where] = epoch
        return epoch

    async def close(self) -> None:
        self.flush()

    def live_leases(self, shard: Shard, scope: str, now_ms: int) -> int:
        """How many slots of a limit are taken."""
        return self._limits.live(shard, scope, now_ms)


def _leg_state(leg: Leg) -> LegState:
    return LegState(
        leg.id, leg.account, leg.shard, leg.switch, leg.quote, tuple(paid.piece for paid in leg.pieces),
        leg.granted_s, leg.final, leg.last_op + 1, leg.reserved_at_ms, leg.answered_at_ms, leg.seen_at_ms,
        leg.exempt, leg.facts, leg.leases, leg.owner,
    )  # fmt: skip
