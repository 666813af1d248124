"""What goes over a connection to Redis while it is up: one write out, answers in order. Nothing here waits; see
`rater.charging.connection` for how the connection is made, watched and made anew. Also compiled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

import hiredis
import structlog

from rater.charging.call import Call

ANSWERS_AT_ONCE = 32
"""So many are handed out before what they lead to is written: of a read with hundreds the first would wait for the
last, some ten milliseconds."""
log = structlog.get_logger(__name__)


class Pipeline:
    """`on_answer(call, reply)` gets each answer; an error of the server is a `hiredis.ReplyError`. `after_read` is
    called when the answers of one read are done, and among very many. `up`: calls can be sent."""

    def __init__(
        self, timeout_s: float, on_answer: Callable[[Any, Any], None], after_read: Callable[[], None]
    ) -> None:
        self.up = False
        self._timeout_s = timeout_s
        self._patience_s = timeout_s
        self._heard_s = 0.0
        self._on_answer = on_answer
        self._after_read = after_read
        self._reading: Reading | None = None
        """The present connection; others may still have bytes to deliver."""
        self._transport: asyncio.Transport | None = None
        self._queue: list[Call] = []
        self._sent: deque[Call] = deque()
        self._append, self._next = self._sent.append, self._sent.popleft

    def queue(self, call: Call) -> None:
        self._queue.append(call)

    def flush(self) -> None:
        """Write what is queued; without a connection, or with one that is being closed, it stays."""
        if not self._queue or not self.up:
            return
        assert self._transport is not None
        if self._transport.is_closing():
            return
        now_s, queue = monotonic(), self._queue
        self._queue = []
        for call in queue:
            call.sent_s = now_s
            self._append(call)
        self._transport.write(call.data if len(queue) == 1 else b"".join([call.data for call in queue]))

    def answers(self, next_answer: Callable[[], Any]) -> None:
        """What the present connection has read; `next_answer` gives False when there is no more. Raises
        hiredis.ProtocolError for an answer to nothing."""
        sent, next_sent, on_answer = self._sent, self._next, self._on_answer
        handed = 0
        try:
            while (reply := next_answer()) is not False:
                if not sent:
                    raise hiredis.ProtocolError("an answer to nothing")
                if handed == ANSWERS_AT_ONCE:
                    handed = 0
                    self._after_read()
                handed += 1
                on_answer(next_sent(), reply)
        finally:
            self._patience_s, self._heard_s = self._timeout_s, monotonic()
            self._after_read()

    @property
    def idle(self) -> bool:
        """Whether nothing is unanswered."""
        return not self._sent and not self._queue

    def take_back(self) -> list[Call]:
        """Everything unanswered, in order, so that another may send it. Only while down."""
        assert not self.up
        taken = [*self._sent, *self._queue]
        self._sent.clear()
        self._queue.clear()
        return taken


class Reading:
    """What comes over one connection. `greeting`: who waits for an answer before the pipeline uses it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        reader = hiredis.Reader()
        self._feed, self.next_answer = reader.feed, reader.gets
        self.greeting: deque[asyncio.Future[Any]] = deque()

    def data_received(self, data: bytes) -> None:
        self._feed(data)
        pipeline = self._pipeline
        try:
            if self.greeting:
                self.greeted()
            elif pipeline._reading is self:
                pipeline.answers(self.next_answer)
        except hiredis.ProtocolError as error:
            log.error("redis sent what is no answer", error=str(error))
            self.abort()

    def greeted(self) -> None:
        """Answers have come for who waits."""
        raise NotImplementedError

    def abort(self) -> None:
        """End the connection."""
        raise NotImplementedError
