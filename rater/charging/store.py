"""The one door to balances. Two implementations, one contract suite: `memory` (reference) and `redis_store`.

The hot path never awaits: `submit` queues a request, `flush` sends all queued ones in one write, and each `done`
is called with the answer when it arrives, in order of submission. Everything that is not per call awaits `ask`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from rater.charging.model import Reply, Request
from rater.charging.records import AccountState, LegState, PendingTransfer
from rater.charging.terms import Terms
from rater.ids import AccountId, LegId, Shard, SwitchId

Done = Callable[[Request, Reply], None]


class ChargingStore(Protocol):
    def submit(self, request: Request, done: Done) -> None:
        """Queue; `done` is called exactly once. After a lost connection or a time-out the store repeats the same
        operation id by itself until it has the answer."""
        ...

    def flush(self) -> None:
        """Send what is queued."""
        ...

    def expected_wait_s(self, shard: Shard) -> float:
        """How long an operation of the shard would wait for its answer, by what was asked for before it and how
        fast answers came lately; 0 while little waits."""
        ...

    async def ask(self, request: Request) -> Reply:
        """One request, awaited. Raises StoreUnavailable when no answer came within the store's deadline."""
        ...

    async def account(
        self, shard: Shard, account: AccountId, terms: Terms | None = None, now_ms: int = 0
    ) -> AccountState | None:
        """As stored; with `terms` (of all its allowances) as it is at `now_ms`, though nobody has touched it
        since."""
        ...

    async def legs(self, shard: Shard, switch: SwitchId | None = None) -> Sequence[LegState]:
        """Live legs of a shard, of one switch or of all."""
        ...

    async def leg(self, shard: Shard, leg: LegId) -> LegState | None: ...

    async def accounts(self, shard: Shard) -> Sequence[AccountState]:
        """Every account of a shard; for audits, not for the hot path."""
        ...

    async def transfers(self, shard: Shard) -> Sequence[PendingTransfer]:
        """Transfers from this shard to others that wait for their second half."""
        ...

    async def end_transfer(self, pending: PendingTransfer) -> None:
        """Its second half is done, or was undone."""
        ...

    async def lead(self, switch: SwitchId, holder: str, ttl_ms: int, above: int = 0) -> int | None:
        """Take or keep the leadership of a switch: the epoch (fencing token, grows with each change of holder),
        or None while another holds it. Writes the epoch to every shard, where the scripts check it. `above`: an
        epoch that it exceeds, so that what the holder itself asked for under that one is refused from now on."""
        ...

    async def close(self) -> None: ...
