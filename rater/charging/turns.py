"""The hot path of the store in Redis: a request becomes a call, an answer a reply. What seldom happens is
`rater.charging.redis_store`'s, which this is the base of.

Operations of one leg are sent one at a time, the next when the one before is answered, so that no failure can turn
their order round; legs do not wait for each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

import structlog

from rater import packing
from rater.charging.call import ROWS, Operation
from rater.charging.keys import Keys
from rater.charging.model import (
    FreeLeases,
    OfLeg,
    Reply,
    Request,
    Reserve,
    Settle,
    Status,
    TakeLeases,
)
from rater.charging.newest import Newest
from rater.charging.pipeline import Pipeline
from rater.charging.places import OfAccount, Places, without_group
from rater.charging.rules import MAX_ID_LENGTH, validate
from rater.charging.scripts import FUNCTION, Forms
from rater.charging.store import Done
from rater.charging.wire import to_call
from rater.charging.wire_legs import OtherNeeds, from_reply, leg_call, needs_after, reserve_needs
from rater.charging.wire_moves import NotHere, OtherHomes
from rater.histogram import Latencies
from rater.ids import LegId, Shard
from rater.verdict import Reason

_OK, _DENIED = Status.OK, Status.DENIED
_UNAVAILABLE = Reason.STORE_UNAVAILABLE
log = structlog.get_logger(__name__)


class Turns:
    """`latencies`: of the scripts, where each answer is counted. `on_answered()` is called when those of one read
    are handed out. `queue_max`: unanswered operations beyond which no new work is taken; what live legs need is
    always taken. `refused`: requests turned away for that."""

    def __init__(self, keys: list[Keys], queue_max: int) -> None:
        self._link: Any = None
        self._forms = Forms()
        self._places = Places()
        self._newest = Newest(self.keys)
        self.latencies = Latencies()
        self.on_answered: Callable[[], None] = lambda: None
        self.refused = 0
        self._queue_max = queue_max
        self._open = 0
        self._busy: dict[LegId, Operation] = {}
        """The operation of each leg that is under way."""
        self._needs: dict[LegId, bytes] = {}
        self._reading = False
        self._read_s = 0.0
        self._keys_of = keys
        self._command = packing.Command()

    def submit(self, request: Request, done: Done) -> None:
        """See `ChargingStore`. New work beyond the queue's bound is answered at once: denied, store unavailable."""
        leg: LegId | None = None
        row = 0
        if isinstance(request, OfLeg):
            of_leg = request
            leg, shard, row = of_leg.leg, of_leg.shard, hash(of_leg.account) % ROWS
            if not 0 < len(of_leg.op) <= MAX_ID_LENGTH:  # all that there is to be said against one
                validate(request)
        else:
            if isinstance(request, TakeLeases | FreeLeases):
                leg = request.leg
            shard = request.shard
            validate(request)
        if self._open >= self._queue_max and (leg is None or isinstance(request, Reserve)):
            self.refused += 1
            done(request, Reply(_DENIED, _UNAVAILABLE))
            return
        self._open += 1
        operation = Operation(request, done, leg, shard, row)
        if leg is not None:
            under_way = self._busy.setdefault(leg, operation)
            if under_way is not operation:
                if under_way.waiting is None:
                    under_way.waiting = deque()
                under_way.waiting.append(operation)
                return
        self._queue(operation)

    def expected_wait_s(self, shard: Shard) -> float:
        """See `ChargingStore`."""
        return float(self._link.expected_wait_s(shard))

    def flush(self) -> None:
        """Everything queued in one write; while answers are being handed out, after the last of them."""
        if not self._reading:
            self._write()

    def _write(self) -> None:
        link = self._link
        if isinstance(link, Pipeline):
            one = link
            one.flush()
        else:
            link.flush()

    def _queue(self, operation: Operation, as_script: bool = False) -> None:
        request = operation.request
        if self._places.any or operation.alone:
            request = self._places.route(request)
            if operation.alone and isinstance(request, OfAccount):
                request = without_group(request)
            operation.routed, operation.shard = request, request.shard
        if isinstance(request, Reserve):
            operation.needs = reserve_needs(request)
        elif operation.leg is not None:
            operation.needs = self._needs.get(operation.leg, b"")
        keys, command, forms = self.keys(operation.shard), self._command, self._forms
        script = leg_call(command, request, keys, operation.needs)
        if not script:
            script, names, arguments = to_call(request, keys, operation.needs, operation.refunded_micro)
            command.begin()
            for name in names:
                command.key(name, "")
            for argument in arguments:
                command.argument(argument)
        words = forms.call(script, as_function=False) if as_script else forms.words[script]
        operation.script, operation.as_function = script, words[0] == FUNCTION
        operation.data = command.call(words)
        link = self._link
        if isinstance(link, Pipeline):
            one = link
            one.queue(operation)
        else:
            link.queue(operation)

    def _answered(self, operation: Operation, answer: Any) -> None:
        if not self._reading:
            self._reading = True
            self._read_s = monotonic()
        if not isinstance(answer, bytes):
            self._failed(operation, str(answer))
            return
        try:
            reply = from_reply(answer)
        except OtherNeeds as other:
            assert operation.leg is not None
            self._needs[operation.leg] = other.needs
            self._queue(operation)
            return
        except NotHere as elsewhere:
            self._not_here(operation, elsewhere)
            return
        except OtherHomes as known:
            self._elsewhere_before(operation, known)
            return
        self.latencies.observe(operation.script, self._read_s - operation.sent_s)
        self._finish(operation, reply)

    def _finish(self, operation: Operation, reply: Reply) -> None:
        self._open -= 1
        request, leg = operation.request, operation.leg
        if leg is not None:
            if reply.status is not _OK or isinstance(request, Settle):
                self._needs.pop(leg, None)
            elif operation.needs:
                # Which leases a leg holds and which group it draws on must be known with each later operation.
                self._needs[leg] = needs_after(operation.routed, operation.needs)
            if reply.status is _OK and isinstance(request, OfLeg):
                self._newest.note(operation.shard, operation.lane, request, operation.sent_s)
            waiting = operation.waiting
            if waiting:
                following = waiting.popleft()
                following.waiting = waiting
                self._busy[leg] = following
                self._queue(following)
            else:
                del self._busy[leg]
        try:
            operation.done(request, reply)
        except Exception:
            log.exception("the answer to a charging operation was not handled", script=operation.script)

    def _after_read(self) -> None:
        self._reading = False
        self._write()
        self.on_answered()

    def keys(self, shard: int) -> Keys:
        known = self._keys_of
        return known[shard] if shard < len(known) else Keys(known[0].prefix, Shard(shard))

    # -- what the whole store does -------------------------------------------------------------------------------

    def _failed(self, operation: Operation, error: str) -> None:
        raise NotImplementedError

    def _not_here(self, operation: Operation, elsewhere: NotHere) -> None:
        raise NotImplementedError

    def _elsewhere_before(self, operation: Operation, known: OtherHomes) -> None:
        raise NotImplementedError
