"""What goes over an AMI connection while it is up: bytes in, batches of frames out; actions in, one write out.
Nothing here waits; log-in, pings and reconnecting are `rater.switch.ami`'s part. Also compiled.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from rater.switch.ami_parse import EventFrame as Event
from rater.switch.ami_parse import Frame
from rater.switch.frames import Action, frame_parser, sent_actions, serialize, serialize_all

BATCH = 64
"""Frames handled before the socket is looked at again."""
ROW = "CoreShowChannel"
"""The event of which lists are made."""
BACKLOG_LIMIT = 100_000
WRITE_LIMIT = 1 << 20
"""Bytes that may wait for a switch that does not read."""
log = structlog.get_logger(__name__)


class Recorder(Protocol):
    def write(self, data: bytes) -> object: ...


class Exchange:
    """`on_frames(frames, arrived_ns)`: events in order, never more than `BATCH` at once. `up`: logged in, so that
    actions can be sent."""

    def __init__(
        self, switch: str, on_frames: Callable[[list[Frame], int], None], recorder: Recorder | None
    ) -> None:
        self._switch = switch
        self._on_frames = on_frames
        self._recorder = recorder
        self._recording = False
        self._transport: asyncio.Transport | None = None
        self._sent = sent_actions()
        """Those of the hot path that are not answered."""
        self._parser = frame_parser(sent=self._sent)
        self._lists: dict[str, list[Frame]] = {}
        """What came of lists that were asked for, by the action's id."""
        self._backlog: deque[tuple[list[Frame], int]] = deque()
        self._working = False
        self.up = False
        self.backlog_frames = 0
        self.refused_actions = 0
        """Actions that the switch answered with an error; mostly their channel was gone."""

    def send(self, actions: Sequence[Action]) -> bool:
        """Write them all at once, in order; False when the connection is not up, and then nothing was sent.

        An action that cannot be written safely is left out and logged; the others go.
        """
        transport = self._transport
        if transport is None or not self.up or transport.is_closing():
            return False
        data = serialize_all(actions)
        if data is None:
            actions, data = self._fit(actions)
        now_ns = time.monotonic_ns()
        self._sent.put(actions, now_ns)
        if data:
            transport.write(data)
            if transport.get_write_buffer_size() > WRITE_LIMIT:
                self.abort("the switch does not read what it is sent")
        return True

    def _fit(self, actions: Sequence[Action]) -> tuple[Sequence[Action], bytes]:
        """Those that can be written, and how they are."""
        fit, parts = [], []
        for action in actions:
            try:
                parts.append(serialize(action))
                fit.append(action)
            except ValueError as error:
                log.error("an action was not sent", switch=self._switch, error=str(error))
        return fit, b"".join(parts)

    def abort(self, why: str) -> None:
        """Drop the connection; whoever keeps it makes a new one."""
        if self._transport is not None:
            log.warning("dropping the connection", switch=self._switch, why=why)
            self._transport.abort()

    def answered(self, frame: Frame) -> bool:
        """Whether the frame answers an action, and nobody else has to see it."""
        if "Response" not in frame or "Event" in frame:
            return False
        sent = self._sent.pop(frame.get("ActionID", ""), None)
        if sent is not None:  # success is the parser's part
            self.refused_actions += 1
            log.debug("refused", switch=self._switch, action=sent[1], message=frame.get("Message", ""))
        return True

    # -- reading -------------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes of the present connection."""
        arrived_ns = time.monotonic_ns()
        if self._recording and self._recorder is not None:
            self._recorder.write(data)
        parser = self._parser
        answers = parser.answers
        frames = parser.feed(data)
        if parser.answers != answers:
            frames = [frame for frame in frames if not self._is_answer(frame)]
        if not frames:
            return
        if len(frames) <= BATCH and not self._backlog and not self._working:
            self._handle(frames, arrived_ns)
        else:
            self._put_by(frames, arrived_ns)

    def _is_answer(self, frame: Frame) -> bool:
        """Rows of a list are only put by: there are thousands."""
        if isinstance(frame, dict):
            return self.answered(frame)
        event: Event = frame  # type: ignore[assignment]  # a `cast` would be called
        if event.action_id is None:
            return False
        rows = self._lists.get(event.action_id)
        if rows is not None and event.event == ROW:
            rows.append(frame)
            return True
        return self.answered(frame)

    def _put_by(self, frames: list[Frame], arrived_ns: int) -> None:
        """More than one batch is there, or one is being handled."""
        idle = not self._backlog and not self._working
        for start in range(0, len(frames), BATCH):
            self._backlog.append((frames[start : start + BATCH], arrived_ns))
        self.backlog_frames += len(frames)
        if self.backlog_frames > BACKLOG_LIMIT:
            self.abort(f"{self.backlog_frames} frames wait")
        elif idle:
            self._work()

    def _work(self) -> None:
        """One batch; the next one after the socket was looked at."""
        if not self._backlog:
            return
        frames, arrived_ns = self._backlog.popleft()
        self.backlog_frames -= len(frames)
        self._handle(frames, arrived_ns)

    def _handle(self, frames: list[Frame], arrived_ns: int) -> None:
        self._working = True
        try:
            self._on_frames(frames, arrived_ns)
        except Exception:
            # Events were lost to a fault of ours: only a resync tells what is true now.
            log.exception("a frame could not be handled", switch=self._switch)
            self.abort("a fault in handling frames")
            return
        finally:
            self._working = False
        if self._backlog:
            asyncio.get_running_loop().call_soon(self._work)

    def waits_since_ns(self) -> int:
        """When the oldest of the frames came that wait to be handled; now, when none does."""
        return self._backlog[0][1] if self._backlog else time.monotonic_ns()

    def forget(self) -> None:
        """What was under way is lost with the connection; nothing of it is ever sent again."""
        self._sent.clear()
        self._backlog.clear()
        self.backlog_frames = 0
