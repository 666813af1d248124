"""Leases outside the account's shard: a reseller's, in a shard of its own.

They are taken before the leg is reserved, renewed with each slice, and freed after it is settled or denied.
Whatever is lost on the way frees itself: a lease lasts for what is paid ahead and `LEASE_MARGIN_MS` more.
"""

from __future__ import annotations

from collections.abc import Callable

from rater.charging.model import FreeLeases, Reply, Request, TakeLeases
from rater.charging.rules import lease_expiry_ms
from rater.charging.store import ChargingStore
from rater.ids import OpId
from rater.live import LiveLeg


class OutsideLeases:
    def __init__(self, store: ChargingStore) -> None:
        self._store = store

    def take(self, record: LiveLeg, now_ms: int, paid_s: int, then: Callable[[Reply], None]) -> None:
        """Ask for them; `then` gets the answer. What may not be limited takes them whatever the limit."""
        self._submit(record, now_ms, paid_s, lambda _, reply: then(reply), forced=record.exempt)

    def renew(self, record: LiveLeg, now_ms: int, paid_s: int) -> None:
        if record.outside:
            self._submit(record, now_ms, paid_s, _ignore, forced=True)

    def free(self, record: LiveLeg) -> None:
        """`record`: one that has some."""
        leg, switch = record.session.leg, record.switch
        scopes = tuple(lease.scope for lease in record.outside)
        op = OpId(f"{leg}:outside")
        self._store.submit(FreeLeases(op, record.outside_shard, leg, switch.id, switch.epoch, scopes), _ignore)

    def _submit(
        self, record: LiveLeg, now_ms: int, paid_s: int, done: Callable[[Request, Reply], None], *, forced: bool
    ) -> None:
        leg, switch = record.session.leg, record.switch
        until_ms = lease_expiry_ms(now_ms, paid_s)
        op = OpId(f"{leg}:outside")
        take = TakeLeases(
            op, record.outside_shard, leg, switch.id, switch.epoch, now_ms, until_ms, record.outside, forced
        )
        self._store.submit(take, done)


def _ignore(request: Request, reply: Reply) -> None:
    """A renewal or release that comes to nothing is made up for by the lease's expiry."""
