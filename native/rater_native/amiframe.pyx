# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The compiled twin of `rater.switch.ami_parse`, which says what the rules are and why.

A line is looked at where it lies in the buffer of the read; Python objects are made only of what is kept. Headers come
in a fixed order, so the search for the next one begins behind the last one found.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memchr, memcmp

cdef enum:
    LINE_LIMIT_BYTES = 64 * 1024
    FRAME_LIMIT_BYTES = 256 * 1024

LINE_LIMIT = LINE_LIMIT_BYTES
FRAME_LIMIT = FRAME_LIMIT_BYTES
TAMPERED = "!tampered"
REPEATABLE = frozenset(("ChanVariable", "DestChanVariable", "Output"))

cdef str _TAMPERED = TAMPERED
cdef frozenset _REPEATABLE = REPEATABLE
cdef bytes _BANNER = b"Asterisk Call Manager/"
cdef bytes _END_OF_COMMAND = b"--END COMMAND--"
cdef str _EVENT = "Event"
cdef str _RESPONSE = "Response"

cdef enum State:
    START, KEEP, ALL, OUTPUT, SKIP, DISCARD


cdef struct Key:
    const char* text
    Py_ssize_t length


cdef class Wanted:
    """The headers of one event that are kept."""

    cdef Key* keys
    cdef Py_ssize_t count
    cdef list raw
    cdef list names
    cdef str event
    cdef bint variables

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
    cdef readonly str banner
    cdef readonly Py_ssize_t frames, unknown, garbage, tampered, oversized
    cdef dict _selection
    cdef Wanted _wanted
    cdef Py_ssize_t _hint, _size
    cdef State _state
    cdef dict _frame
    cdef bytearray _pending
    cdef bint _overlong

    def __init__(self, selection):
        self.banner = ""
        self._selection = {name.encode(): Wanted(name, headers) for name, headers in selection.items()}
        self._wanted = None
        self._state = START
        self._frame = {}
        self._pending = bytearray()

    @property
    def pending_bytes(self):
        return len(self._pending)

    def feed(self, bytes data not None):
        cdef list whole = []
        cdef const char* at = PyBytes_AS_STRING(data)
        cdef const char* stop = at + PyBytes_GET_SIZE(data)
        cdef const char* end
        cdef bytes line
        while at < stop:
            end = <const char*>memchr(at, 10, stop - at)
            if end == NULL:
                break
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
            self._frame = {}
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
        self._frame = {}
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
            self._frame[_EVENT] = self._wanted.event
            return 0
        if colon != NULL and colon - line == 8 and memcmp(line, b"Response", 8) == 0:
            value = _stripped(colon + 1, line + length - colon - 1)
            self._state = OUTPUT if value == b"Follows" else ALL
            if memchr(line, 0, length) != NULL:
                self._mark("a NUL in the first line")
            self._frame[_RESPONSE] = value.decode("utf-8", "replace")
            return 0
        self.garbage += 1
        self._state = SKIP
        return 0

    cdef int _header(self, const char* line, Py_ssize_t length) except -1:
        cdef const char* colon = <const char*>memchr(line, 58, length)
        cdef const char* value
        cdef Py_ssize_t index, size
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
                key = <str>self._wanted.names[index]
            elif self._wanted.variables and size > 13 and memcmp(line, b"ChanVariable(", 13) == 0:
                key = _text(line, size)
        if memchr(line, 0, length) != NULL:
            self._mark("a NUL in a line")
        if key is not None:
            value = colon + 1
            length -= size + 1
            if length and value[0] == 32:
                value += 1
                length -= 1
            self._keep(key, _text(value, length))
        return 0

    cdef int _keep(self, str key, str value) except -1:
        if key not in self._frame:
            self._frame[key] = value
        elif key in _REPEATABLE or key.startswith("ChanVariable("):
            self._frame[key] = <str>self._frame[key] + "\n" + value
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
        if colon and raw in (b"Privilege", b"ActionID", b"Message") and "Output" not in self._frame:
            self._keep(raw.decode(), value.decode("utf-8", "replace"))
        else:
            self._keep("Output", text.decode("utf-8", "replace"))
        return 0

    cdef int _mark(self, str why) except -1:
        if _TAMPERED not in self._frame:
            self._frame[_TAMPERED] = why
        return 0

    cdef int _end(self, list whole) except -1:
        if self._state == KEEP or self._state == ALL:
            self.frames += 1
            if _TAMPERED in self._frame:
                self.tampered += 1
            whole.append(self._frame)
        self._frame = {}
        self._state = START
        return 0
