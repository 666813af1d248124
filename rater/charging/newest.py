"""The newest operation that each shard acknowledged: what a store that lost writes cannot have. Pure.

A leg keeps the number of its last operation, and keeps it for a day when it is over. Redis carries operations out
one after the other, and what it loses (a power cut, a file cut short, a backup, a replica that was behind) is the
end of that row. So that one number tells all: where the newest acknowledged operation stands, everything that was
acknowledged before it stands too; where it does not, writes are missing. It is asked for on every new connection,
before anything else is sent on it; without a new connection there is no other server and no earlier self of it.
Keeping it costs no command and no byte in Redis.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from rater.charging.keys import Keys
from rater.charging.model import LegRequest, op_number
from rater.charging.wire import parse_sequence
from rater.charging.wire_moves import to_away
from rater.ids import Shard

KEPT_S = 23 * 3600.0
"""A little less than Redis keeps the number of a leg that is over."""
Command = tuple[str, ...]


class Acknowledged:
    """An operation, and when it was sent, monotonic."""

    __slots__ = ("request", "sent_s")

    def __init__(self, request: LegRequest, sent_s: float) -> None:
        self.request = request
        self.sent_s = sent_s


class Newest:
    """`keys` gives the names of a shard's."""

    def __init__(self, keys: Callable[[Shard], Keys], monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._monotonic_s = monotonic_s
        self._of: dict[int, Acknowledged] = {}

    def note(self, shard: int, request: LegRequest, sent_s: float) -> None:
        """It was carried out there."""
        known = self._of.get(shard)
        if known is None:
            self._of[shard] = Acknowledged(request, sent_s)
        else:
            known.request, known.sent_s = request, sent_s

    def questions(self) -> list[Command]:
        """What to ask a server, for `missing`; nothing when nothing was acknowledged."""
        now_s = self._monotonic_s()
        for shard in [shard for shard, known in self._of.items() if now_s - known.sent_s > KEPT_S]:
            del self._of[shard]
        asked: list[Command] = []
        for shard, known in self._of.items():
            request, keys = known.request, self._keys(Shard(shard))
            asked += [("GET", keys.leg(request.leg)), ("GET", keys.account(request.account))]
        return asked

    def missing(self, answers: Sequence[Any]) -> tuple[Shard, ...]:
        """The shards that lack what they acknowledged; each is told once. An error is of a shard that is served
        elsewhere. An account that has moved away since has taken its legs along."""
        found = []
        for shard, leg, account in zip(list(self._of), answers[::2], answers[1::2], strict=True):
            if isinstance(leg, Exception) or isinstance(account, Exception):
                continue
            number = op_number(self._of[shard].request.op)
            stands = leg is not None and int(parse_sequence(leg)[1]) >= number
            has_left = leg is None and account is not None and to_away(account) is not None
            if not stands and not has_left:
                found.append(Shard(shard))
                del self._of[shard]
        return tuple(found)
