"""What goes over the connections to a Redis while they are up: one write out, answers in order. Nothing here waits;
see `rater.charging.connection` for how they are made, watched and made anew. Also compiled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

import hiredis
import structlog

from rater.charging.call import ROWS, Call

LANES = 8
BATCH = 16_384
"""Bytes that Redis takes from one connection in a turn of its loop: after each turn it writes its file through
(`appendfsync always`), a millisecond and more in which it does nothing else. With one connection some 15 operations
share a turn, however many wait; so what exceeds a turn goes over further connections, up to `LANES`."""
LOADED, ENOUGH = 64, 8
"""How fast answers come is measured, and told, while at least so many are awaited: of few, several would have come
in the time of one. It takes `ENOUGH`. What is told is being measured, so that a wrong idea of it does not last."""
LOOKED_AT_S, KNOWN_FOR_S, PAUSE_S = 1.0, 2.0, 0.1
"""It is measured over about so long, and forgotten when it was not for so long. Nothing for longer than a pause is
no measure: the server was held up."""
ANSWERS_AT_ONCE = 32
"""So many are handed out before what they lead to is written: of a read with hundreds the first would wait for the
last, some ten milliseconds."""
log = structlog.get_logger(__name__)


class Lane:
    """One of a pipeline's connections. `unanswered`: bytes."""

    def __init__(self, number: int, reading: Reading, transport: asyncio.Transport) -> None:
        self.number = number
        self.reading = reading
        self.heard_s = 0.0
        self.unanswered = 0
        self.sent: deque[Call] = deque()
        self._sent_last, self.first_sent = self.sent.append, self.sent.popleft
        self._transport = transport
        self._unwritten: list[bytes] = []

    def put(self, call: Call) -> None:
        call.lane = self.number
        self._sent_last(call)
        self.unanswered += len(call.data)
        self._unwritten.append(call.data)

    def write(self) -> None:
        """What was put, in one write. A connection that is being closed takes nothing; it is sent on the next."""
        unwritten = self._unwritten
        if unwritten:
            self._unwritten = []
            if not self._transport.is_closing():
                self._transport.write(unwritten[0] if len(unwritten) == 1 else b"".join(unwritten))


class Row:
    """What is under way of a row is all in one lane, in order. `under_way`: how many are unanswered."""

    def __init__(self) -> None:
        self.under_way = 0
        self.lane: Lane | None = None


class Pipeline:
    """`on_answer(call, reply)` gets each answer; an error of the server is a `hiredis.ReplyError`. `after_read` is
    called when the answers of one read are done, and among very many. `up`: calls can be sent."""

    def __init__(
        self, timeout_s: float, on_answer: Callable[[Any, Any], None], after_read: Callable[[], None]
    ) -> None:
        self.up = False
        self.lanes: list[Lane] = []
        """The present connections; others may still have bytes to deliver."""
        self._timeout_s = timeout_s
        self._patience_s = timeout_s
        self._on_answer = on_answer
        self._after_read = after_read
        self._queue: list[Call] = []
        self._since_s = 0.0
        """When the last answer came, or something was sent with nothing under way."""
        self._answered, self._busy_s, self._measured_s = 0.0, 0.0, 0.0
        self._rows = [Row() for _ in range(ROWS)]

    def queue(self, call: Call) -> None:
        self._queue.append(call)

    def flush(self) -> None:
        """Write what is queued; without a connection it stays."""
        if not self._queue or not self.up:
            return
        now_s, queue = monotonic(), self._queue
        self._queue = []
        if not self._awaited():
            self._since_s = now_s
        for call in queue:
            call.sent_s = now_s
            row = self._rows[call.row]
            lane = row.lane
            if lane is None or not row.under_way:
                lane = row.lane = self._roomy()
            row.under_way += 1
            lane.put(call)
        for lane in self.lanes:
            lane.write()

    def _roomy(self) -> Lane:
        """The first lane with room in Redis' next turn, or the one with the least under way."""
        best = self.lanes[0]
        for lane in self.lanes:
            if lane.unanswered < BATCH:
                return lane
            if lane.unanswered < best.unanswered:
                best = lane
        if len(self.lanes) < LANES:
            self.widen()
        return best

    def widen(self) -> None:
        """There is more under way than goes into a turn: see to a further connection."""
        raise NotImplementedError

    def open(self, reading: Reading, transport: asyncio.Transport) -> None:
        """Calls may go over this connection, too, from now on."""
        reading.lane = Lane(len(self.lanes), reading, transport)
        self.lanes.append(reading.lane)

    def shut(self) -> None:
        """Nothing may go over the present connections any more; what they have not answered is queued again."""
        self.up = False
        lanes, self.lanes = self.lanes, []
        unanswered: list[Call] = []
        for lane in lanes:
            lane.reading.lane = None
            unanswered += lane.sent
        self._queue[:0] = unanswered
        self._rows = [Row() for _ in range(ROWS)]

    def answers(self, lane: Lane, next_answer: Callable[[], Any]) -> None:
        """What a present connection has read; `next_answer` gives False when there is no more. Raises
        hiredis.ProtocolError for an answer to nothing."""
        sent, first_sent, on_answer = lane.sent, lane.first_sent, self._on_answer
        answered, awaited = 0, self._awaited()
        try:
            while (reply := next_answer()) is not False:
                if not sent:
                    raise hiredis.ProtocolError("an answer to nothing")
                if answered and answered % ANSWERS_AT_ONCE == 0:
                    self._after_read()
                answered += 1
                call = first_sent()
                lane.unanswered -= len(call.data)
                row = self._rows[call.row]
                row.under_way -= 1
                on_answer(call, reply)
        finally:
            self._patience_s, lane.heard_s = self._timeout_s, monotonic()
            self._measure(awaited, answered, lane.heard_s)
            self._after_read()

    def _awaited(self) -> int:
        """How many are sent and unanswered."""
        awaited = 0
        for lane in self.lanes:
            awaited += len(lane.sent)
        return awaited

    def _measure(self, awaited: int, answered: int, now_s: float) -> None:
        if awaited >= LOADED:
            if now_s - self._measured_s > KNOWN_FOR_S:
                self._answered, self._busy_s = 0.0, 0.0
            self._answered += answered
            self._busy_s += min(now_s - self._since_s, PAUSE_S)
            if self._busy_s > LOOKED_AT_S:
                self._answered, self._busy_s = self._answered / 2, self._busy_s / 2
            self._measured_s = now_s
        self._since_s = now_s

    def expected_wait_s(self, shard: int) -> float:
        """In how long the answer to what is asked for now is to be expected, by what is under way and how fast
        answers came lately; 0 where that is not known."""
        awaited = self._awaited()
        if awaited < LOADED or self._answered < ENOUGH or monotonic() - self._measured_s > KNOWN_FOR_S:
            return 0.0
        return (awaited + len(self._queue)) * self._busy_s / self._answered

    @property
    def late_s(self) -> float:
        """For how long the oldest answer has been awaited on a connection on which nothing was heard meanwhile."""
        now_s = monotonic()
        return max(
            (now_s - max(lane.sent[0].sent_s, lane.heard_s) for lane in self.lanes if lane.sent), default=0.0
        )

    @property
    def idle(self) -> bool:
        """Whether nothing is unanswered."""
        return not self._queue and not any(lane.sent for lane in self.lanes)

    def take_back(self) -> list[Call]:
        """Everything unanswered, of each account in order, so that another may send it. Only while down."""
        assert not self.up
        taken, self._queue = self._queue, []
        return taken


class Reading:
    """What comes over one connection. `greeting`: who waits for an answer before the pipeline uses it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.lane: Lane | None = None
        """While the pipeline uses it."""
        reader = hiredis.Reader()
        self._feed, self.next_answer = reader.feed, reader.gets
        self.greeting: deque[asyncio.Future[Any]] = deque()

    def data_received(self, data: bytes) -> None:
        self._feed(data)
        pipeline = self._pipeline
        try:
            if self.greeting:
                self.greeted()
            elif self.lane is not None:
                pipeline.answers(self.lane, self.next_answer)
        except hiredis.ProtocolError as error:
            log.error("redis sent what is no answer", error=str(error))
            self.abort()

    def greeted(self) -> None:
        """Answers have come for who waits."""
        raise NotImplementedError

    def abort(self) -> None:
        """End the connection."""
        raise NotImplementedError
