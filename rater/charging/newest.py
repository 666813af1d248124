"""The newest operation that each shard acknowledged: what a store that lost writes cannot have. Pure.

A leg keeps the number of its last operation, and keeps it for a day when it is over. Redis carries operations out
one after the other, and what it loses (a power cut, a file cut short, a backup, a replica that was behind) is the
end of that row. So that one number tells all: where the newest acknowledged operation stands, everything that was
acknowledged before it stands too; where it does not, writes are missing. Of two connections nobody knows which
answered first, so the newest of each is kept. They are asked for on every new connection, before anything else is
sent on it; without a new connection there is no other server and no earlier self of it.
Keeping it costs no command and no byte in Redis.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from rater.charging.keys import Keys
from rater.charging.model import LegRequest, op_number
from rater.charging.pipeline import LANES
from rater.charging.wire import parse_sequence
from rater.charging.wire_moves import to_away
from rater.ids import Shard

KEPT_S = 23 * 3600.0
"""A little less than Redis keeps the number of a leg that is over."""
Command = tuple[str, ...]


class Acknowledged:
    """An operation of a shard, and when it was sent, monotonic."""

    __slots__ = ("request", "sent_s", "shard")

    def __init__(self, shard: int, request: LegRequest, sent_s: float) -> None:
        self.shard = shard
        self.request = request
        self.sent_s = sent_s


class Newest:
    """`keys` gives the names of a shard's."""

    def __init__(self, keys: Callable[[Shard], Keys], monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._monotonic_s = monotonic_s
        self._of: dict[int, Acknowledged] = {}

    def note(self, shard: int, lane: int, request: LegRequest, sent_s: float) -> None:
        """It was carried out there, and answered on the connection of that number."""
        key = shard * LANES + lane
        known = self._of.get(key)
        if known is None:
            self._of[key] = Acknowledged(shard, request, sent_s)
        else:
            known.request, known.sent_s = request, sent_s

    def acknowledged(self) -> list[Acknowledged]:
        """What may be asked for now."""
        now_s = self._monotonic_s()
        for key in [key for key, known in self._of.items() if now_s - known.sent_s > KEPT_S]:
            del self._of[key]
        return [Acknowledged(known.shard, known.request, known.sent_s) for known in self._of.values()]

    def questions(self, acknowledged: Sequence[Acknowledged]) -> list[Command]:
        """What to ask a server, for `missing`."""
        asked: list[Command] = []
        for known in acknowledged:
            request, keys = known.request, self._keys(Shard(known.shard))
            asked += [("GET", keys.leg(request.leg)), ("GET", keys.account(request.account))]
        return asked

    def missing(self, acknowledged: Sequence[Acknowledged], answers: Sequence[Any]) -> tuple[Shard, ...]:
        """The shards that lack what they acknowledged; each is told once. An error is of a shard that is served
        elsewhere. An account that has moved away since has taken its legs along."""
        found: set[Shard] = set()
        for known, leg, account in zip(acknowledged, answers[::2], answers[1::2], strict=True):
            if isinstance(leg, Exception) or isinstance(account, Exception):
                continue
            number = op_number(known.request.op)
            stands = leg is not None and int(parse_sequence(leg)[1]) >= number
            has_left = leg is None and account is not None and to_away(account) is not None
            if not stands and not has_left:
                self._forget(known)
                found.add(Shard(known.shard))
        return tuple(sorted(found))

    def _forget(self, lacking: Acknowledged) -> None:
        for key, known in list(self._of.items()):
            if known.request is lacking.request:
                del self._of[key]
