"""Faults to be planted into the product, one at a time, to see whether the auditor notices."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import rater.calls.session as session
import rater.catalog.cycles as cycles
import rater.charging.operations as operations
import rater.notify.deliver as deliver
import rater.switch.simulator.dialplan as dialplan
from rater.charging.caps import Broken, LimitBooks
from rater.charging.model import Extend, Settle, Status
from rater.charging.walk import Walk
from rater.events.consumer import OutboxConsumer
from rater.switch.simulator.channel import Channel
from rater.switch.simulator.world import World

from . import daemons, publishing, site
from .servers import SHARD, MemoryServer
from .stores import SimStore
from .troubles import Troubles


def plant(name: str) -> None:
    """Raises KeyError for one that is not known."""
    _PLANTS[name]()


def _duration() -> None:
    """Two seconds too many are charged."""
    true = session.duration_s
    session.duration_s = lambda ms: true(ms) + 2


def _price() -> None:
    """What a settled leg is charged with is not its price."""
    true = operations.charge

    def wrong(*arguments: Any) -> Any:
        done = true(*arguments)
        done.amount_micro = max(0, done.amount_micro - 10_000)
        return done

    operations.charge = wrong


def _timer() -> None:
    """The switch's timer is set ten seconds late, and nobody hangs up in its stead."""
    true = World.set_timeout

    def late(self: World, channel: Channel, seconds: float) -> None:
        true(self, channel, seconds + 10 if seconds else 0)

    session.OVERDUE_MS = 3_600_000
    World.set_timeout = late  # type: ignore[method-assign]


def _lease() -> None:
    """Limits are not looked at."""
    LimitBooks.broken = lambda self, request: Broken()  # type: ignore[method-assign]


def _fence() -> None:
    """A leader that was succeeded goes on writing."""
    operations.Operations._is_stale = lambda self, request: False  # type: ignore[method-assign]


def _event() -> None:
    """Now and then an event is written twice."""
    true = operations.Operations._emit

    def twice(self: Any, kind: bytes, facts: bytes, result: Any) -> None:
        true(self, kind, facts, result)
        if kind == operations.RATED and len(self.outbox) % 7 == 0:
            true(self, kind, facts, result)

    operations.Operations._emit = twice  # type: ignore[method-assign]


def _repeat() -> None:
    """A repeated extension is told something else than the first."""
    true = operations.Operations._once

    def other(self: Any, request: Any) -> Any:
        reply = true(self, request)
        again = isinstance(request, Extend) and reply.repeated and reply.status is Status.OK
        return replace(reply, granted_s=reply.granted_s + 1) if again else reply

    operations.Operations._once = other  # type: ignore[method-assign]


def _floor() -> None:
    """More is reserved than there is."""
    true = Walk._usable_funds

    def richer(self: Walk) -> Any:
        return [(fund, left_micro + 500_000) for fund, left_micro in true(self)]

    Walk._usable_funds = richer  # type: ignore[method-assign]


def _threshold() -> None:
    """Crossings upwards are told as well."""
    true = operations.crossed

    def both(account: Any, threshold: Any, before: Any, after: Any, now_ms: int) -> bool:
        return true(account, threshold, before, after, now_ms) or true(account, threshold, after, before, now_ms)

    operations.crossed = both


def _ledger() -> None:
    """Now and then a change is not written down."""
    true = operations.Operations._note

    def forgetful(self: Any, request: Any, account: Any, lines: Any) -> None:
        if not (isinstance(request, Settle) and len(self.ledger) % 5 == 0):
            true(self, request, account, lines)

    operations.Operations._note = forgetful  # type: ignore[method-assign]


def _refund() -> None:
    """What a leg did not use is not given back."""
    true = operations.charge

    def keeps(account: Any, *rest: Any) -> Any:
        done = true(account, *rest)
        account.reserved_micro += 1
        return done

    operations.charge = keeps


def _loss() -> None:
    """A store that came back without its last writes is not noticed; nothing else befalls these worlds, which might
    have daemons look."""
    Troubles.begin = lambda self: iter([self._again(self._fail_over, 15)])  # type: ignore[method-assign]
    SimStore._connected_anew = lambda self: None  # type: ignore[method-assign]
    daemons.Daemon._take_up_anew = lambda self: None  # type: ignore[method-assign]


def _half() -> None:
    """A settlement that the server refused for want of room has taken its money."""
    true = MemoryServer.execute

    def half(self: MemoryServer, request: Any) -> Any:
        account = self.store._accounts.get((SHARD, getattr(request, "account", "")))
        if self.refuses and isinstance(request, Settle) and account is not None:
            account.balance_micro -= 10_000
        return true(self, request)

    MemoryServer.execute = half  # type: ignore[method-assign]


def _damaged() -> None:
    """A catalogue that is damaged is taken all the same: its prices are wrong."""
    wrong = site.catalog(2).placed(dict.fromkeys(site.catalog(2).accounts, SHARD), 1)
    daemons.from_pieces = lambda pieces: wrong


def _cycle() -> None:
    """Days begin an hour late."""
    true = cycles._midnight_ms
    cycles._midnight_ms = lambda date, zone: true(date, zone) + 3_600_000


def _hours() -> None:
    """Hours are looked at when a slice begins, and not where they end within it."""
    true = Walk._is_open

    def at_once(self: Walk, *arguments: Any) -> bool:
        edge_ms = self.edge_ms
        opened = true(self, *arguments)
        self.edge_ms = edge_ms
        return opened

    Walk._is_open = at_once  # type: ignore[method-assign]


def _acknowledged() -> None:
    """Entries count as delivered before they are."""
    true = OutboxConsumer.read

    async def early(self: OutboxConsumer, *, now_ms: int, block_ms: int) -> Any:
        batch = await true(self, now_ms=now_ms, block_ms=block_ms)
        await self.ack(batch.entries)
        return batch

    OutboxConsumer.read = early  # type: ignore[method-assign]


def _trimmed() -> None:
    """The outbox is trimmed whether it was read or not."""

    async def at_once(redis: Any, *, prefix: str, shard: int, keep_ms: int) -> int:
        now_ms = (await redis.time())[0] * 1000
        return int(await redis.xtrim(publishing.KEY, minid=f"{now_ms - 2000}-0", approximate=False))

    publishing.trim_outbox = at_once


def _told_twice() -> None:
    """Now and then a record that comes again says something else."""
    true = deliver.record_of

    def other(entry: Any) -> Any:
        record = true(entry)
        drifts = hasattr(record, "cause")
        return record.model_copy(update={"cause": next(_NUMBERS)}) if drifts else record

    deliver.record_of = other


def _guard() -> None:
    """Callers are left at the gate for ten seconds when nobody answers."""
    dialplan.GUARD_S = 10


_NUMBERS = itertools.count()
_PLANTS: dict[str, Callable[[], None]] = {
    "": lambda: None, "duration": _duration, "price": _price, "timer": _timer, "lease": _lease, "fence": _fence,
    "event": _event, "repeat": _repeat, "floor": _floor, "threshold": _threshold, "ledger": _ledger,
    "refund": _refund, "loss": _loss, "half": _half, "damaged": _damaged, "cycle": _cycle, "hours": _hours,
    "acknowledged": _acknowledged, "trimmed": _trimmed, "told_twice": _told_twice, "guard": _guard,
}  # fmt: skip
