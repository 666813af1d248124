# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The compiled twin of `rater.switch.ami_parse`, which says what the rules are and why.

A line is looked at where it lies in the buffer of the read; Python objects are made only of what is kept. Headers come
in a fixed order, so the search for the next one begins behind the last one found. Most texts of an event were in those
before it, too: the ones met last are given out again, so that they are neither made nor hashed anew. A timestamp
becomes a text only when somebody asks for it, and of the answer to an action that succeeded nothing is made but its id.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy

from collections.abc import Mapping

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    const char* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

cdef enum:
    LINE_LIMIT_BYTES = 64 * 1024
    FRAME_LIMIT_BYTES = 256 * 1024
    SHORT = 1024

LINE_LIMIT = LINE_LIMIT_BYTES
FRAME_LIMIT = FRAME_LIMIT_BYTES
TAMPERED = "!tampered"
REPEATABLE = frozenset(("ChanVariable", "DestChanVariable", "Output"))

cdef str _TAMPERED = TAMPERED
cdef frozenset _REPEATABLE = REPEATABLE
cdef bytes _BANNER = b"Asterisk Call Manager/"
cdef bytes _END_OF_COMMAND = b"--END COMMAND--"
cdef str _RESPONSE = "Response"
cdef bytes _SUCCESS = b"Response: Success"


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

cdef enum Slot:
    NOWHERE = -1
    AT_EVENT, AT_TIMESTAMP, AT_ACTION_ID, AT_CHANNEL, AT_CHANNEL_STATE, AT_CALLER, AT_ACCOUNT_CODE, AT_EXTEN,
    AT_UNIQUEID, AT_LINKEDID, AT_VARIABLES, AT_DEST_CHANNEL, AT_DEST_CHANNEL_STATE, AT_DEST_ACCOUNT_CODE,
    AT_DEST_UNIQUEID, AT_DEST_LINKEDID, AT_DEST_VARIABLES, AT_DIAL_STRING, AT_DIAL_STATUS, AT_FORWARD,
    AT_BRIDGE, AT_CAUSE, AT_ENV, AT_NEWNAME, AT_RESULT, AT_TRANSFERER_UNIQUEID, AT_TRANSFEREE_UNIQUEID,
    AT_TAMPERED,
    SLOTS

cdef dict _SLOT_OF = {name: slot for slot, name in enumerate(FIELDS)}
cdef tuple _HEADERS = tuple(FIELDS)


cdef class EventFrame:
    """One event; see the twin."""

    def __cinit__(self):
        self.stamp_ms = -1

    def __init__(self, headers):
        cdef str key
        for key, value in headers.items():
            slot = _SLOT_OF.get(key)
            if slot is None:
                if self._rest is None:
                    self._rest = {}
                self._rest[key] = value
            else:
                self._write(slot, value)
        if self._stamp is not None:
            stamp = (<str?>self._stamp).encode("utf-8", "replace")
            self.stamp_ms = _stamp_ms(PyBytes_AS_STRING(stamp), PyBytes_GET_SIZE(stamp))

    @property
    def timestamp(self):
        if self._stamp is None and self._stamp_length:
            self._stamp = _text(self._stamp_text, self._stamp_length)
        return self._stamp

    cdef object _read(self, int slot):
        if slot == AT_EVENT:
            return self.event
        elif slot == AT_TIMESTAMP:
            return self.timestamp
        elif slot == AT_ACTION_ID:
            return self.action_id
        elif slot == AT_CHANNEL:
            return self.channel
        elif slot == AT_CHANNEL_STATE:
            return self.channel_state
        elif slot == AT_CALLER:
            return self.caller
        elif slot == AT_ACCOUNT_CODE:
            return self.account_code
        elif slot == AT_EXTEN:
            return self.exten
        elif slot == AT_UNIQUEID:
            return self.uniqueid
        elif slot == AT_LINKEDID:
            return self.linkedid
        elif slot == AT_VARIABLES:
            return self.variables
        elif slot == AT_DEST_CHANNEL:
            return self.dest_channel
        elif slot == AT_DEST_CHANNEL_STATE:
            return self.dest_channel_state
        elif slot == AT_DEST_ACCOUNT_CODE:
            return self.dest_account_code
        elif slot == AT_DEST_UNIQUEID:
            return self.dest_uniqueid
        elif slot == AT_DEST_LINKEDID:
            return self.dest_linkedid
        elif slot == AT_DEST_VARIABLES:
            return self.dest_variables
        elif slot == AT_DIAL_STRING:
            return self.dial_string
        elif slot == AT_DIAL_STATUS:
            return self.dial_status
        elif slot == AT_FORWARD:
            return self.forward
        elif slot == AT_BRIDGE:
            return self.bridge
        elif slot == AT_CAUSE:
            return self.cause
        elif slot == AT_ENV:
            return self.env
        elif slot == AT_NEWNAME:
            return self.newname
        elif slot == AT_RESULT:
            return self.result
        elif slot == AT_TRANSFERER_UNIQUEID:
            return self.transferer_uniqueid
        elif slot == AT_TRANSFEREE_UNIQUEID:
            return self.transferee_uniqueid
        elif slot == AT_TAMPERED:
            return self.tampered
        return None

    cdef int _write(self, int slot, object value) except -1:
        if slot == AT_EVENT:
            self.event = value
        elif slot == AT_TIMESTAMP:
            self._stamp = value
        elif slot == AT_ACTION_ID:
            self.action_id = value
        elif slot == AT_CHANNEL:
            self.channel = value
        elif slot == AT_CHANNEL_STATE:
            self.channel_state = value
        elif slot == AT_CALLER:
            self.caller = value
        elif slot == AT_ACCOUNT_CODE:
            self.account_code = value
        elif slot == AT_EXTEN:
            self.exten = value
        elif slot == AT_UNIQUEID:
            self.uniqueid = value
        elif slot == AT_LINKEDID:
            self.linkedid = value
        elif slot == AT_VARIABLES:
            self.variables = value
        elif slot == AT_DEST_CHANNEL:
            self.dest_channel = value
        elif slot == AT_DEST_CHANNEL_STATE:
            self.dest_channel_state = value
        elif slot == AT_DEST_ACCOUNT_CODE:
            self.dest_account_code = value
        elif slot == AT_DEST_UNIQUEID:
            self.dest_uniqueid = value
        elif slot == AT_DEST_LINKEDID:
            self.dest_linkedid = value
        elif slot == AT_DEST_VARIABLES:
            self.dest_variables = value
        elif slot == AT_DIAL_STRING:
            self.dial_string = value
        elif slot == AT_DIAL_STATUS:
            self.dial_status = value
        elif slot == AT_FORWARD:
            self.forward = value
        elif slot == AT_BRIDGE:
            self.bridge = value
        elif slot == AT_CAUSE:
            self.cause = value
        elif slot == AT_ENV:
            self.env = value
        elif slot == AT_NEWNAME:
            self.newname = value
        elif slot == AT_RESULT:
            self.result = value
        elif slot == AT_TRANSFERER_UNIQUEID:
            self.transferer_uniqueid = value
        elif slot == AT_TRANSFEREE_UNIQUEID:
            self.transferee_uniqueid = value
        elif slot == AT_TAMPERED:
            self.tampered = value
        return 0

    cdef object _find(self, key):
        slot = _SLOT_OF.get(key)
        if slot is not None:
            return self._read(slot)
        return self._rest.get(key) if self._rest is not None else None

    cpdef object variables_of(self, str channel):
        return self._rest.get(f"ChanVariable({channel})") if self._rest is not None else None

    def get(self, key, default=None, /):
        found = self._find(key)
        return default if found is None else found

    def __getitem__(self, key):
        found = self._find(key)
        if found is None:
            raise KeyError(key)
        return found

    def __contains__(self, key):
        return self._find(key) is not None

    def keys(self):
        cdef int slot
        found = [_HEADERS[slot] for slot in range(SLOTS) if self._read(slot) is not None]
        return found + list(self._rest) if self._rest is not None else found

    def items(self):
        return [(key, self._find(key)) for key in self.keys()]

    def values(self):
        return [self._find(key) for key in self.keys()]

    def __iter__(self):
        return iter(self.keys())

    def __len__(self):
        return len(self.keys())

    def __eq__(self, other):
        return dict(self.items()) == dict(other.items()) if isinstance(other, Mapping) else NotImplemented

    __hash__ = None

    def __repr__(self):
        return repr(dict(self.items()))


Mapping.register(EventFrame)


cdef long long _stamp_ms(const char* text, Py_ssize_t length) noexcept:
    """As `parse_timestamp` of the twin; -1 when it is none. Cannot raise."""
    cdef long long seconds = 0, rest_ms = 0
    cdef Py_ssize_t i = 0, digits
    while i < length and 48 <= text[i] <= 57 and i < 12:
        seconds = seconds * 10 + text[i] - 48
        i += 1
    if not 9 <= i <= 11:
        return -1
    if i < length:
        if text[i] != 46:
            return -1
        digits = 0
        i += 1
        while i < length and 48 <= text[i] <= 57:
            if digits < 3:
                rest_ms = rest_ms * 10 + text[i] - 48
            digits += 1
            i += 1
        if i < length or not 1 <= digits <= 9:
            return -1
        while digits < 3:
            rest_ms *= 10
            digits += 1
    return seconds * 1000 + rest_ms


cdef class Wanted:
    """The headers of one event that are kept."""

    def __cinit__(self, str event, headers):
        cdef Py_ssize_t i
        self.event = event
        self.names = list(headers)
        self.raw = [name.encode() for name in self.names]
        self.variables = "ChanVariable" in self.names
        self.count = len(self.raw)
        self.keys = <Key*>PyMem_Malloc(max(1, self.count) * sizeof(Key))
        if self.keys == NULL:
            raise MemoryError
        for i in range(self.count):
            self.keys[i].text = PyBytes_AS_STRING(self.raw[i])
            self.keys[i].length = PyBytes_GET_SIZE(self.raw[i])
            self.keys[i].slot = _SLOT_OF.get(self.names[i], NOWHERE)

    def __dealloc__(self):
        PyMem_Free(self.keys)

    cdef Py_ssize_t find(self, const char* key, Py_ssize_t length, Py_ssize_t hint) noexcept:
        """Where the key stands among the wanted ones, or -1. Cannot raise."""
        cdef Py_ssize_t step, i = hint
        for step in range(self.count):
            if i >= self.count:
                i = 0
            if self.keys[i].length == length and memcmp(self.keys[i].text, key, length) == 0:
                return i
            i += 1
        return -1


cdef str _text(const char* start, Py_ssize_t length):
    return PyUnicode_DecodeUTF8(start, length, "replace")


cdef enum:
    KNOWN = 2048
    KNOWN_LENGTH = 48

cdef PyObject* _known[KNOWN]


cdef Py_ssize_t _place_of(const char* start, Py_ssize_t length) noexcept:
    """Cannot raise."""
    cdef uint64_t mixed = <uint64_t>length, word
    while length >= 8:
        memcpy(&word, start, 8)
        mixed = (mixed ^ word) * <uint64_t>0x9E3779B97F4A7C15
        mixed ^= mixed >> 29
        start += 8
        length -= 8
    if length:
        word = 0
        memcpy(&word, start, length)
        mixed = (mixed ^ word) * <uint64_t>0x9E3779B97F4A7C15
        mixed ^= mixed >> 29
    return <Py_ssize_t>((mixed * <uint64_t>0x9E3779B97F4A7C15) >> 53)


cdef str _known_text(const char* start, Py_ssize_t length):
    """As `_text`; one that was met lately is given out again."""
    cdef Py_ssize_t place
    cdef PyObject* met
    cdef str text
    if not 0 < length <= KNOWN_LENGTH:
        return _text(start, length)
    place = _place_of(start, length)
    met = _known[place]
    if met != NULL and PyUnicode_GET_LENGTH(<object>met) == length:
        if memcmp(PyUnicode_DATA(<object>met), start, length) == 0:
            return <str>met
    text = _text(start, length)
    if PyUnicode_IS_COMPACT_ASCII(text):
        Py_INCREF(text)
        _known[place] = <PyObject*>text
        if met != NULL:
            Py_DECREF(<object>met)
    return text


cdef bint _is_space(char c) noexcept:
    return c == 32 or 9 <= c <= 13


cdef bytes _stripped(const char* start, Py_ssize_t length):
    while length and _is_space(start[0]):
        start += 1
        length -= 1
    while length and _is_space(start[length - 1]):
        length -= 1
    return PyBytes_FromStringAndSize(start, length)


cdef class FrameParser:
    def __init__(self, selection, sent=None):
        self.banner = ""
        self._sent = {} if sent is None else sent
        self._selection = {name.encode(): Wanted(name, headers) for name, headers in selection.items()}
        self._wanted = None
        self._state = START
        self._pending = bytearray()

    @property
    def pending_bytes(self):
        return len(self._pending)

    cpdef list feed(self, bytes data):
        cdef list whole = []
        cdef const char* at
        cdef const char* stop
        cdef const char* end
        cdef bytes line
        if data is None:
            raise TypeError("bytes are parsed")
        at = PyBytes_AS_STRING(data)
        stop = at + PyBytes_GET_SIZE(data)
        while at < stop:
            if self._state == START and at[0] == 82 and not self._pending and not self._overlong:
                end = self._success(at, stop)
                if end != NULL:
                    at = end
                    continue
            end = <const char*>memchr(at, 10, stop - at)
            if end == NULL:
                break
            if self._state == SKIP and end - at > 1 and end - at <= LINE_LIMIT_BYTES and not self._overlong:
                if not self._pending:
                    at = end + 1
                    continue
            if self._overlong:
                self._overlong = False
            elif self._pending:
                self._hold(at, end - at)
                if self._overlong:
                    self._overlong = False
                else:
                    line = bytes(self._pending)
                    self._pending.clear()
                    self._line(PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line), whole)
            elif end - at > LINE_LIMIT_BYTES:
                self._drop_oversized()
            else:
                self._line(at, end - at, whole)
            at = end + 1
        if at < stop:
            self._hold(at, stop - at)
        return whole

    cdef const char* _success(self, const char* at, const char* stop) except? NULL:
        """Where the frame ends that begins here, if it is whole and says no more than that an action of ours was
        carried out; then it is done with. NULL when it wants a closer look."""
        cdef Py_ssize_t first = PyBytes_GET_SIZE(_SUCCESS), length, action_length = 0
        cdef const char* line = at
        cdef const char* end
        cdef const char* action = NULL
        cdef bint message = False
        if stop - at < first or memcmp(at, PyBytes_AS_STRING(_SUCCESS), first) != 0:
            return NULL
        if stop - at > SHORT:
            stop = at + SHORT
        while True:
            end = <const char*>memchr(line, 10, stop - line)
            if end == NULL:
                return NULL
            length = end - line
            if length and line[length - 1] == 13:
                length -= 1
            if line == at:
                if length != first:
                    return NULL
            elif length == 0:
                break
            elif length >= 10 and memcmp(line, b"ActionID: ", 10) == 0 and action == NULL:
                action = line + 10
                action_length = length - 10
            elif length >= 9 and memcmp(line, b"Message: ", 9) == 0 and not message:
                message = True
            else:
                return NULL
            line = end + 1
        if action == NULL or memchr(at, 0, line - at) != NULL:
            return NULL
        if self._sent.pop(_text(action, action_length), None) is None:
            return NULL
        self.frames += 1
        return end + 1

    cdef int _hold(self, const char* start, Py_ssize_t length) except -1:
        if self._overlong:
            return 0
        if len(self._pending) + length > LINE_LIMIT_BYTES:
            self._overlong = True
            self._pending.clear()
            self._drop_oversized()
        else:
            self._pending += PyBytes_FromStringAndSize(start, length)
        return 0

    cdef int _drop_oversized(self) except -1:
        if self._state != DISCARD:
            self.oversized += 1
            self._state = DISCARD
            self._event = self._answer = None
        return 0

    cdef int _line(self, const char* line, Py_ssize_t length, list whole) except -1:
        cdef Py_ssize_t size = length + 1
        if length and line[length - 1] == 13:
            length -= 1
        if self._state == START:
            if length:
                self._size = size
                self._first(line, length)
            return 0
        if length == 0 and self._state != OUTPUT:
            return self._end(whole)
        if self._state == SKIP or self._state == DISCARD:
            return 0
        self._size += size
        if self._size > FRAME_LIMIT_BYTES:
            return self._drop_oversized()
        if self._state == OUTPUT:
            return self._output(line, length)
        return self._header(line, length)

    cdef int _first(self, const char* line, Py_ssize_t length) except -1:
        cdef const char* colon
        cdef bytes value
        cdef str name
        cdef Py_ssize_t banner = PyBytes_GET_SIZE(_BANNER)
        if length >= banner and memcmp(line, PyBytes_AS_STRING(_BANNER), banner) == 0:
            self.banner = _text(line + banner, length - banner).strip()
            return 0
        self._event = self._answer = None
        colon = <const char*>memchr(line, 58, length)
        if colon != NULL and colon - line == 5 and memcmp(line, b"Event", 5) == 0:
            value = _stripped(colon + 1, line + length - colon - 1)
            self._wanted = self._selection.get(value)
            if self._wanted is None:
                self.unknown += 1
                self._state = SKIP
                return 0
            self._state = KEEP
            self._hint = 0
            self._event = EventFrame.__new__(EventFrame)
            self._event.event = self._wanted.event
            return 0
        if colon != NULL and colon - line == 8 and memcmp(line, b"Response", 8) == 0:
            value = _stripped(colon + 1, line + length - colon - 1)
            self._state = OUTPUT if value == b"Follows" else ALL
            self._answer = {}
            if memchr(line, 0, length) != NULL:
                self._mark("a NUL in the first line")
            self._answer[_RESPONSE] = value.decode("utf-8", "replace")
            return 0
        self.garbage += 1
        self._state = SKIP
        return 0

    cdef int _header(self, const char* line, Py_ssize_t length) except -1:
        cdef const char* colon = <const char*>memchr(line, 58, length)
        cdef const char* value
        cdef Py_ssize_t index, size
        cdef int slot = NOWHERE
        cdef str key = None
        if colon == NULL:
            return self._mark("a line without a colon")
        size = colon - line
        if self._state == ALL:
            key = _text(line, size)
        else:
            index = self._wanted.find(line, size, self._hint)
            if index >= 0:
                self._hint = index + 1
                slot = self._wanted.keys[index].slot
                key = <str>self._wanted.names[index]
            elif self._wanted.variables and size > 13 and memcmp(line, b"ChanVariable(", 13) == 0:
                key = _text(line, size)
        if memchr(line, 0, length) != NULL:
            self._mark("a NUL in a line")
        if key is None:
            return 0
        value = colon + 1
        length -= size + 1
        if length and value[0] == 32:
            value += 1
            length -= 1
        if slot == NOWHERE:
            return self._keep(key, _text(value, length))
        return self._keep_field(slot, key, value, length)

    cdef int _keep_field(self, int slot, str key, const char* value, Py_ssize_t length) except -1:
        cdef object before
        if slot == AT_TIMESTAMP:
            return self._keep_stamp(key, value, length)
        before = self._event._read(slot)
        if before is None:
            return self._event._write(slot, _known_text(value, length))
        if slot == AT_VARIABLES or slot == AT_DEST_VARIABLES:
            return self._event._write(slot, <str>before + "\n" + _text(value, length))
        return self._mark("a header comes twice: " + key)

    cdef int _keep_stamp(self, str key, const char* value, Py_ssize_t length) except -1:
        cdef EventFrame event = self._event
        if event._stamp_length or event._stamp is not None:
            return self._mark("a header comes twice: " + key)
        event.stamp_ms = _stamp_ms(value, length)
        if 0 < length <= STAMP_LENGTH:
            memcpy(event._stamp_text, value, length)
            event._stamp_length = length
        else:
            event._stamp = _text(value, length)
        return 0

    cdef int _keep(self, str key, str value) except -1:
        """What has no field of its own: all of an answer, little of an event."""
        cdef dict kept = self._answer
        if kept is None:
            if self._event._rest is None:
                self._event._rest = {}
            kept = self._event._rest
        if key not in kept:
            kept[key] = value
        elif key in _REPEATABLE or key.startswith("ChanVariable("):
            kept[key] = <str>kept[key] + "\n" + value
        else:
            self._mark("a header comes twice: " + key)
        return 0

    cdef int _output(self, const char* line, Py_ssize_t length) except -1:
        cdef bytes text = PyBytes_FromStringAndSize(line, length)
        if text.endswith(_END_OF_COMMAND):
            self._state = ALL
            text = text[: -len(_END_OF_COMMAND)]
            if not text:
                return 0
        raw, colon, value = text.partition(b": ")
        if colon and raw in (b"Privilege", b"ActionID", b"Message") and "Output" not in self._answer:
            self._keep(raw.decode(), value.decode("utf-8", "replace"))
        else:
            self._keep("Output", text.decode("utf-8", "replace"))
        return 0

    cdef int _mark(self, str why) except -1:
        if self._answer is not None:
            self._answer.setdefault(_TAMPERED, why)
        elif self._event.tampered is None:
            self._event.tampered = why
        return 0

    cdef int _end(self, list whole) except -1:
        if self._event is not None:
            self.frames += 1
            self.tampered += self._event.tampered is not None
            self.answers += self._event.action_id is not None
            whole.append(self._event)
        elif self._answer is not None:
            self.frames += 1
            self.tampered += _TAMPERED in self._answer
            if self._answer[_RESPONSE] != "Success" or self._sent.pop(self._answer.get("ActionID", ""), None) is None:
                self.answers += 1
                whole.append(self._answer)
        self._event = self._answer = None
        self._state = START
        return 0
