"""AMI bytes in, frames out: the readable twin of `rater_native.amiframe`. Pure; one table test runs over both.

A *frame* is one block of the stream, read as a mapping of its headers. Its first line says what it is:

- ``Event: NAME`` with a NAME in the selection: an `EventFrame`; only the headers that the selection names are kept;
- ``Event: NAME`` otherwise: skipped at once, and counted in `unknown`;
- ``Response: …``: a dictionary, kept whole, whatever it says; but one that says Success to an action that `sent`
  holds by its id is taken out of there, and nobody hears of it;
- the greeting ``Asterisk Call Manager/x.y``: remembered in `banner`;
- anything else is garbage: skipped to the next blank line, and counted.

What the rules are for:

- Lines end in LF, a CR before it is dropped, and an empty line ends the block; so ``\\r\\n\\r\\n`` and
  ``\\r\\n\\n`` are both ends. The state between two reads is the unfinished line and the unfinished frame, so the
  parse is the same however the bytes are split.
- Text is decoded a value at a time, when the line is whole: a bad byte becomes U+FFFD there and harms nothing else.
- A kept header that comes twice, a line without a colon or a NUL inside a kept frame is no accident of the switch:
  a value held a line break. Such a frame carries the key `TAMPERED`, and the first value of each header; whoever
  reads it must not believe it (see the tracker). Headers in `REPEATABLE` may legally repeat; their values are
  joined by line feeds.
- A line over `LINE_LIMIT` or a frame over `FRAME_LIMIT` bytes is dropped, counted in `oversized`, and reading goes
  on behind the next blank line. So never more than that is kept.
- Before Asterisk 14 the output of a command came as bare lines up to ``--END COMMAND--`` behind ``Response:
  Follows``; those become ``Output``, as newer ones call it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rater.switch.stamps import parse_timestamp

Frame = Mapping[str, str]

LINE_LIMIT = 64 * 1024
FRAME_LIMIT = 256 * 1024
TAMPERED = "!tampered"
"""The key of a frame that cannot be believed; its value says why."""
BANNER = b"Asterisk Call Manager/"
END_OF_COMMAND = b"--END COMMAND--"
REPEATABLE = frozenset(("ChanVariable", "DestChanVariable", "Output"))

FIELDS = {
    "Event": "event",
    "Timestamp": "timestamp",
    "ActionID": "action_id",
    "Channel": "channel",
    "ChannelState": "channel_state",
    "CallerIDNum": "caller",
    "AccountCode": "account_code",
    "Exten": "exten",
    "Uniqueid": "uniqueid",
    "Linkedid": "linkedid",
    "ChanVariable": "variables",
    "DestChannel": "dest_channel",
    "DestChannelState": "dest_channel_state",
    "DestAccountCode": "dest_account_code",
    "DestUniqueid": "dest_uniqueid",
    "DestLinkedid": "dest_linkedid",
    "DestChanVariable": "dest_variables",
    "DialString": "dial_string",
    "DialStatus": "dial_status",
    "Forward": "forward",
    "BridgeUniqueid": "bridge",
    "Cause": "cause",
    "Env": "env",
    "Newname": "newname",
    "Result": "result",
    "TransfererUniqueid": "transferer_uniqueid",
    "TransfereeUniqueid": "transferee_uniqueid",
    TAMPERED: "tampered",
}
"""The headers of events that the tracker reads, and the names of an `EventFrame`'s fields for them."""
_HEADER_OF = {field: header for header, field in FIELDS.items()}

_HEAD = ("Event", "Timestamp", "ActionID")
_CHANNEL = (
    "Channel",
    "ChannelState",
    "CallerIDNum",
    "AccountCode",
    "Exten",
    "Uniqueid",
    "Linkedid",
    "ChanVariable",
)
_DEST = ("DestChannel", "DestChannelState", "DestAccountCode", "DestUniqueid", "DestLinkedid", "DestChanVariable")
_ROW = (*_CHANNEL, "Application", "ApplicationData")

SELECTION: Mapping[str, tuple[str, ...]] = {
    name: (*_HEAD, *headers)
    for name, headers in {
        "Newchannel": _CHANNEL,
        "Newstate": _CHANNEL,
        "NewAccountCode": (*_CHANNEL, "OldAccountCode"),
        "Rename": (*_CHANNEL, "Newname"),
        "DialBegin": (*_CHANNEL, *_DEST, "DialString"),
        "DialState": (*_CHANNEL, *_DEST, "DialStatus"),
        "DialEnd": (*_CHANNEL, *_DEST, "Forward", "DialStatus"),
        "BridgeEnter": ("BridgeUniqueid", *_CHANNEL),
        "BlindTransfer": ("Result", "TransfererChannel", "TransfererUniqueid", "TransfererAccountCode",
                          "TransfereeChannel", "TransfereeUniqueid"),
        "HangupRequest": (*_CHANNEL, "Cause"),
        "Hangup": (*_CHANNEL, "Cause"),
        "AsyncAGIStart": (*_CHANNEL, "Env"),
        "AsyncAGIEnd": _CHANNEL,
        "CoreShowChannel": _ROW,
        "CoreShowChannelsComplete": ("EventList", "ListItems"),
        "FullyBooted": ("Uptime", "LastReload", "Status"),
        "Shutdown": ("Shutdown", "Restart"),
    }.items()
}  # fmt: skip
"""What `rater` reads: event → headers, in the order in which Asterisk sends them. An old style header with the
channel in brackets, ``ChanVariable(PJSIP/1-2): NAME=value``, is kept wherever ``ChanVariable`` is."""


class EventFrame(Mapping[str, str]):
    """An event. What the tracker reads of it are fields, None where the header did not come; as a mapping it has
    them and all the others. `stamp_ms`: its timestamp, -1 when it has none that can be read."""

    __slots__ = ("_headers",)

    event: str
    timestamp: str | None
    channel: str | None
    channel_state: str | None
    caller: str | None
    account_code: str | None
    exten: str | None
    uniqueid: str | None
    linkedid: str | None
    variables: str | None
    dest_channel: str | None
    dest_channel_state: str | None
    dest_account_code: str | None
    dest_uniqueid: str | None
    dest_linkedid: str | None
    dest_variables: str | None
    dial_string: str | None
    dial_status: str | None
    forward: str | None
    bridge: str | None
    cause: str | None
    env: str | None
    newname: str | None
    result: str | None
    transferer_uniqueid: str | None
    transferee_uniqueid: str | None
    tampered: str | None

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __getattr__(self, field: str) -> str | None:
        return self._headers.get(_HEADER_OF[field])

    @property
    def stamp_ms(self) -> int:
        stamp_ms = parse_timestamp(self.timestamp or "")
        return -1 if stamp_ms is None else stamp_ms

    def __getitem__(self, key: str) -> str:
        return self._headers[key]

    def __contains__(self, key: object) -> bool:
        return key in self._headers

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)

    def __repr__(self) -> str:
        return repr(dict(self._headers))

    def variables_of(self, channel: str) -> str | None:
        """Those of a channel in the old style, ``ChanVariable(NAME)``."""
        return self._headers.get(f"ChanVariable({channel})")


_START, _KEEP, _ALL, _OUTPUT, _SKIP, _DISCARD = range(6)


class FrameParser:
    """`feed` bytes as they come; it returns the frames that became whole. The counters only grow."""

    def __init__(
        self, selection: Mapping[str, Iterable[str]] = SELECTION, sent: dict[str, Any] | None = None
    ) -> None:
        self.banner = ""
        self._sent: dict[str, Any] = {} if sent is None else sent
        self.frames = 0
        self.unknown = 0
        self.garbage = 0
        self.tampered = 0
        self.oversized = 0
        self.answers = 0
        """Frames handed on that may answer an action: they have its id, or are no events."""
        self._selection = {name.encode(): {h.encode(): h for h in headers} for name, headers in selection.items()}
        self._wanted: dict[bytes, str] = {}
        self._state = _START
        self._frame: dict[str, str] = {}
        self._size = 0
        self._pending = bytearray()
        self._overlong = False

    @property
    def pending_bytes(self) -> int:
        """How much of an unfinished line is kept; never over `LINE_LIMIT`."""
        return len(self._pending)

    def feed(self, data: bytes) -> list[Frame]:
        whole: list[Frame] = []
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            if self._pending or self._overlong:
                self._hold(data[start:end])
                line = bytes(self._pending)
                self._pending.clear()
            else:
                line = data[start:end]
            start = end + 1
            if self._overlong:
                self._overlong = False
            elif len(line) > LINE_LIMIT:
                self._drop_oversized()
            else:
                self._line(line[:-1] if line.endswith(b"\r") else line, len(line) + 1, whole)
        self._hold(data[start:])
        return whole

    def _hold(self, part: bytes) -> None:
        """Keep the beginning of a line, or note that it is longer than any line may be."""
        if self._overlong:
            return
        if len(self._pending) + len(part) > LINE_LIMIT:
            self._overlong = True
            self._pending.clear()
            self._drop_oversized()
        else:
            self._pending += part

    def _drop_oversized(self) -> None:
        if self._state != _DISCARD:
            self.oversized += 1
            self._state = _DISCARD
            self._frame = {}

    def _line(self, line: bytes, size: int, whole: list[Frame]) -> None:
        if self._state == _START:
            if line:
                self._size = size
                self._first(line)
            return
        if not line and self._state != _OUTPUT:
            self._end(whole)
            return
        if self._state in (_SKIP, _DISCARD):
            return
        self._size += size
        if self._size > FRAME_LIMIT:
            self._drop_oversized()
        elif self._state == _OUTPUT:
            self._output(line)
        else:
            self._header(line)

    def _first(self, line: bytes) -> None:
        """The line that says what the frame is."""
        if line.startswith(BANNER):
            self.banner = line[len(BANNER) :].decode(errors="replace").strip()
            return
        key, colon, value = line.partition(b":")
        self._frame = {}
        if colon and key == b"Response":
            self._state = _OUTPUT if value.strip() == b"Follows" else _ALL
        elif colon and key == b"Event":
            wanted = self._selection.get(value.strip())
            if wanted is None:
                self.unknown += 1
                self._state = _SKIP
                return
            self._wanted = wanted
            self._state = _KEEP
        else:
            self.garbage += 1
            self._state = _SKIP
            return
        if b"\0" in line:
            self._mark("a NUL in the first line")
        self._frame[key.decode()] = value.strip().decode(errors="replace")

    def _header(self, line: bytes) -> None:
        raw, colon, value = line.partition(b":")
        if not colon:
            self._mark("a line without a colon")
            return
        if self._state == _ALL:
            key: str | None = raw.decode(errors="replace")
        else:
            key = self._wanted.get(raw)
            if key is None and raw.startswith(b"ChanVariable(") and b"ChanVariable" in self._wanted:
                key = raw.decode(errors="replace")
        if b"\0" in line:
            self._mark("a NUL in a line")
        if key is not None:
            self._keep(key, (value[1:] if value.startswith(b" ") else value).decode(errors="replace"))

    def _keep(self, key: str, value: str) -> None:
        if key not in self._frame:
            self._frame[key] = value
        elif key in REPEATABLE or key.startswith("ChanVariable("):
            self._frame[key] += "\n" + value
        else:
            self._mark("a header comes twice: " + key)

    def _output(self, line: bytes) -> None:
        """One line of a command's answer, as older switches send it."""
        if line.endswith(END_OF_COMMAND):
            self._state = _ALL
            line = line[: -len(END_OF_COMMAND)]
            if not line:
                return
        raw, colon, value = line.partition(b": ")
        if colon and raw in (b"Privilege", b"ActionID", b"Message") and "Output" not in self._frame:
            self._keep(raw.decode(), value.decode(errors="replace"))
        else:
            self._keep("Output", line.decode(errors="replace"))

    def _mark(self, why: str) -> None:
        self._frame.setdefault(TAMPERED, why)

    def _end(self, whole: list[Frame]) -> None:
        if self._state in (_KEEP, _ALL):
            self.frames += 1
            if TAMPERED in self._frame:
                self.tampered += 1
            if self._state == _KEEP:
                whole.append(EventFrame(self._frame))
                self.answers += "ActionID" in self._frame
            elif (
                self._frame["Response"] != "Success"
                or self._sent.pop(self._frame.get("ActionID", ""), None) is None
            ):
                whole.append(self._frame)
                self.answers += 1
        self._frame = {}
        self._state = _START
