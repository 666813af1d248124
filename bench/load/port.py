"""The manager port of one switch of the load: log-in, actions, answers; bytes in, bytes out, nothing awaited.

Like a real one it drops a client that does not read what it is sent.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterable

BANNER = b"Asterisk Call Manager/11.0.0\r\n"
MAX_UNSENT_BYTES = 8 << 20
BEAT_GOOD_NS = 3_000_000_000
_READ = memoryview(bytearray(1 << 18))
"""What is read goes there first: to ask the system for so much room each time costs more than the reading."""
_TIMEOUT = re.compile(
    rb"Action: AbsoluteTimeout\r\nActionID: ([^\r]*)\r\nChannel: ([^\r]*)\r\nTimeout: ([^\r]*)\r\n\r\n"
)
DECIDED = b"ARRAY(RATER_REASON,RATER_SECONDS,RATER_VERDICT)"
"""What a verdict is set by."""
_GATE = re.compile(
    rb"Action: Setvar\r\nActionID: ([^\r]*)\r\nChannel: ([^\r]*)\r\n"
    rb"Variable: " + re.escape(DECIDED) + rb"\r\nValue: ([^\r,]*),[^\r,]*,([^\r,]*)\r\n\r\n"
    rb"Action: AGI\r\nActionID: ([^\r]*)\r\nChannel: \2\r\nCommand: ASYNCAGI BREAK\r\n\r\n"
    rb"Action: AbsoluteTimeout\r\nActionID: ([^\r]*)\r\nChannel: \2\r\nTimeout: [^\r]*\r\n\r\n"
)
"""The three actions that answer a gate, as they mostly come: together. Looked for as one; each of them is
understood alone, too."""
_HOT = re.compile(
    rb"Action: (Setvar|AGI|AbsoluteTimeout)\r\nActionID: ([^\r]*)\r\nChannel: ([^\r]*)\r\n"
    rb"(?:Variable: ([^\r]*)\r\nValue|Command|Timeout): ([^\r]*)\r\n\r\n"
)
_DONE = {
    b"Setvar": b"Response: Success\r\nActionID: %b\r\nMessage: Variable Set\r\n\r\n",
    b"AGI": b"Response: Success\r\nActionID: %b\r\nMessage: Added AGI command to queue\r\n\r\n",
    b"AbsoluteTimeout": b"Response: Success\r\nActionID: %b\r\nMessage: Timeout Set\r\n\r\n",
}
_GATE_DONE = _DONE[b"Setvar"] + _DONE[b"AGI"] + _DONE[b"AbsoluteTimeout"]
_TIMED_BEGIN, _, _TIMED = _DONE[b"AbsoluteTimeout"].partition(b"%b")
_NO_CHANNEL = b"Response: Error\r\nActionID: %b\r\nMessage: No such channel\r\n\r\n"


class Calls:
    """What a port needs of the calls behind it. Each answers whether there is such a channel."""

    def set_variable(self, channel: bytes, name: bytes, value: bytes) -> bool:
        raise NotImplementedError

    def agi(self, channel: bytes, command: bytes) -> bool:
        raise NotImplementedError

    def decide(self, channel: bytes, reason: bytes, verdict: bytes) -> bool:
        """All of a gate's answer; false as well when the channel does not wait for one."""
        raise NotImplementedError

    def set_timeout(self, channel: bytes, seconds: bytes) -> bool:
        raise NotImplementedError

    def hang_up(self, channel: bytes) -> bool:
        raise NotImplementedError

    def listing(self) -> Iterable[bytes]:
        raise NotImplementedError

    def connection_lost(self) -> None:
        raise NotImplementedError


class Port:
    """`calls`: those behind it. `started_s`: when the switch was started, local time."""

    def __init__(self, now_ns: Callable[[], int], calls: Calls) -> None:
        self.calls = calls
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4)
        self.listener.setblocking(False)
        self.number = int(self.listener.getsockname()[1])
        self.client: socket.socket | None = None
        self.out: list[bytes] = []
        self.unsent = b""
        self.events_on = False
        self.beat_ns = -BEAT_GOOD_NS
        self.dropped = 0
        self.actions = 0
        self._in = b""
        self._now_ns = now_ns
        self._started = time.strftime("%Y-%m-%d\r\nCoreStartupTime: %H:%M:%S", time.localtime(time.time() - 5))

    @property
    def attended(self) -> bool:
        """Whether the daemon's heartbeat is fresh, so that the dialplan asks at all."""
        return self._now_ns() - self.beat_ns <= BEAT_GOOD_NS

    def accept(self) -> socket.socket | None:
        """The new client; an older one is dropped."""
        try:
            client, _ = self.listener.accept()
        except BlockingIOError:
            return None
        self.drop()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client = client
        self.out.append(BANNER)
        return client

    def drop(self) -> None:
        """The connection breaks, with what was not sent yet."""
        if self.client is not None:
            self.client.close()
            self.client = None
            self.calls.connection_lost()
        self.out.clear()
        self.unsent = self._in = b""
        self.events_on = False

    def flush(self) -> None:
        """One write of what has gathered."""
        client = self.client
        if client is None:
            self.out.clear()
            return
        data = self.unsent + b"".join(self.out) if self.unsent else b"".join(self.out)
        self.out.clear()
        try:
            sent = client.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.drop()
            return
        self.unsent = data[sent:] if sent < len(data) else b""
        if len(self.unsent) > MAX_UNSENT_BYTES:
            self.dropped += 1
            self.drop()

    def readable(self) -> None:
        """What the daemon sent."""
        assert self.client is not None
        try:
            size = self.client.recv_into(_READ)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self.drop()
            return
        data = self._in + _READ[:size] if self._in else bytes(_READ[:size])
        at = 0
        while True:
            found = _TIMEOUT.match(data, at)
            if found is not None:
                at = found.end()
                self._time_out(found.groups())
                continue
            found = _GATE.match(data, at)
            if found is not None and self._gate(found.groups()):
                at = found.end()
                continue
            found = _HOT.match(data, at)
            if found is not None:
                at = found.end()
                action, action_id, channel, variable, value = found.groups()
                self._hot(action, action_id, channel, variable, value)
                continue
            end = data.find(b"\r\n\r\n", at)
            if end < 0:
                break
            self._other(data[at:end])
            if self.client is None:
                return
            at = end + 4
        self._in = data[at:]

    def _gate(self, found: tuple[bytes, ...]) -> bool:
        """Whether there is a channel that waited for this. The answers go out before what it sets off."""
        first, channel, reason, verdict, second, third = found
        place = len(self.out)
        if not self.calls.decide(channel, reason, verdict):
            return False
        self.actions += 3
        self.out.insert(place, _GATE_DONE % (first, second, third))
        return True

    def _time_out(self, found: tuple[bytes, ...]) -> None:
        """The answer goes out before what it sets off."""
        action_id, channel, seconds = found
        self.actions += 1
        place = len(self.out)
        if self.calls.set_timeout(channel, seconds):
            self.out.insert(place, _TIMED_BEGIN + action_id + _TIMED)
        else:
            self.out.append(_NO_CHANNEL % action_id)

    def _hot(self, action: bytes, action_id: bytes, channel: bytes, variable: bytes | None, value: bytes) -> None:
        self.actions += 1
        if variable is not None:
            good = self.calls.set_variable(channel, variable, value)
        elif action == b"AGI":
            good = self.calls.agi(channel, value)
        else:
            # The answer goes out before what it sets off.
            place = len(self.out)
            good = self.calls.set_timeout(channel, value)
            self.out.insert(place, (_DONE[action] if good else _NO_CHANNEL) % action_id)
            return
        self.out.append((_DONE[action] if good else _NO_CHANNEL) % action_id)

    def _other(self, frame: bytes) -> None:
        headers = dict(line.split(b": ", 1) for line in frame.split(b"\r\n") if b": " in line)
        action = headers.get(b"Action", b"").lower()
        tag = b"ActionID: " + headers.get(b"ActionID", b"") + b"\r\n"
        self.actions += 1
        if action == b"setvar":
            if b"Channel" in headers:
                self._hot(b"Setvar", headers.get(b"ActionID", b""), headers[b"Channel"], headers[b"Variable"],
                          headers[b"Value"])  # fmt: skip
                return
            if headers.get(b"Variable") == b"RATER_BEAT":
                self.beat_ns = self._now_ns()
            self._respond(tag, b"Message: Variable Set")
        elif action == b"ping":
            micro = time.time_ns() // 1000
            self._respond(tag, b"Ping: Pong", b"Timestamp: %d.%06d" % divmod(micro, 1_000_000))
        elif action == b"coreshowchannels":
            self._list(tag)
        elif action == b"hangup":
            good = self.calls.hang_up(headers.get(b"Channel", b""))
            if good:
                self._respond(tag, b"Message: Channel Hungup")
            else:
                self.out.append(b"Response: Error\r\n" + tag + b"Message: No such channel\r\n\r\n")
        elif action == b"originate":
            self._respond(tag, b"Message: Originate successfully queued")
        else:
            self._log_in(action, tag, headers)

    def _log_in(self, action: bytes, tag: bytes, headers: dict[bytes, bytes]) -> None:
        """Whoever comes is let in: secrets are tried elsewhere."""
        if action == b"challenge":
            self._respond(tag, b"Challenge: 123456789")
        elif action == b"login":
            self._respond(tag, b"Message: Authentication accepted")
        elif action == b"events":
            self.events_on = headers.get(b"EventMask", b"") != b"off"
            self._respond(tag, b"Events: On" if self.events_on else b"Events: Off")
        elif action == b"corestatus":
            self._respond(tag, b"CoreStartupDate: " + self._started.encode(), b"CoreCurrentCalls: 0")
        elif action == b"logoff":
            self.out.append(b"Response: Goodbye\r\n" + tag + b"Message: Thanks for all the fish.\r\n\r\n")
        else:
            self.out.append(b"Response: Error\r\n" + tag + b"Message: Invalid/unknown command\r\n\r\n")

    def _respond(self, tag: bytes, *lines: bytes) -> None:
        self.out.append(b"Response: Success\r\n" + tag + b"\r\n".join(lines) + b"\r\n\r\n")

    def _list(self, tag: bytes) -> None:
        self._respond(tag, b"EventList: start", b"Message: Channels will follow")
        head, count = b"Event: CoreShowChannel\r\n" + tag, 0
        for lines in self.calls.listing():
            self.out.append(head + lines)
            count += 1
        self.out.append(
            b"Event: CoreShowChannelsComplete\r\n" + tag + b"EventList: Complete\r\nListItems: %d\r\n\r\n" % count
        )
