# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The compiled twin of `rater.switch.ami_parse`, which says what the rules are and why.

A line is looked at where it lies in the buffer of the read; Python objects are made only of what is kept. Most texts
of an event were in those before it, too: the ones met last are given out again, so that they are neither made nor
hashed anew. Of the answer to an action that succeeded nothing is made but its id.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.string cimport memchr, memcmp, memcpy, memset

from rater_native.actionbytes cimport Sent
from rater_native.amievent cimport (
    AT_DEST_VARIABLES, AT_EVENT, AT_TIMESTAMP, AT_VARIABLES, NOWHERE, STAMP_LENGTH, EventFrame, slot_of,
)
from rater_native.amitexts cimport hash_of, is_ascii, is_space, same, stamp_ms_of, text_of

from rater_native.amievent import TAMPERED

cdef extern from "Python.h":
    ctypedef struct PyASCIIObject:
        pass
    str PyUnicode_New(Py_ssize_t length, Py_UCS4 largest)
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

cdef enum:
    LINE_LIMIT_BYTES = 64 * 1024
    FRAME_LIMIT_BYTES = 256 * 1024
    SHORT = 1024

LINE_LIMIT = LINE_LIMIT_BYTES
FRAME_LIMIT = FRAME_LIMIT_BYTES
REPEATABLE = frozenset(("ChanVariable", "DestChanVariable", "Output"))

cdef str _TAMPERED = TAMPERED
cdef frozenset _REPEATABLE = REPEATABLE
cdef bytes _BANNER = b"Asterisk Call Manager/"
cdef bytes _END_OF_COMMAND = b"--END COMMAND--"
cdef str _RESPONSE = "Response"
cdef bytes _SUCCESS = b"Response: Success"


cdef inline Py_ssize_t _place_of_word(const char* text, Py_ssize_t length) noexcept:
    """Length and both ends: they tell the headers of an event from each other, nearly always. Cannot raise."""
    return 8 * length + 6 * <unsigned char>text[0] + 29 * <unsigned char>text[length - 1]


cdef class Words:
    """Some words, found by what stands in a buffer; the empty one never is."""

    def __cinit__(self, words, *rest):
        cdef Py_ssize_t i, place, size = 64
        cdef bytes raw
        self._raw = [(<str?>word).encode() for word in words]
        while size < 4 * len(self._raw):
            size *= 2
        self._mask = size - 1
        self._words = <Word*>PyMem_Malloc((len(self._raw) + 1) * sizeof(Word))
        self._places = <short*>PyMem_Malloc(size * sizeof(short))
        if self._words == NULL or self._places == NULL:
            raise MemoryError
        for place in range(size):
            self._places[place] = -1
        for i, raw in enumerate(self._raw):
            self._words[i].text = PyBytes_AS_STRING(raw)
            self._words[i].length = PyBytes_GET_SIZE(raw)
            self._words[i].slot = NOWHERE
            if raw and _find(self, self._words[i].text, self._words[i].length) < 0:
                place = _place_of_word(self._words[i].text, self._words[i].length) & self._mask
                while self._places[place] >= 0:
                    place = (place + 1) & self._mask
                self._places[place] = <short>i

    def __dealloc__(self):
        PyMem_Free(self._words)
        PyMem_Free(self._places)


cdef inline Py_ssize_t _find(Words words, const char* text, Py_ssize_t length) noexcept:
    """Where it stands among them, or -1. Cannot raise."""
    cdef Py_ssize_t place, i
    if length == 0:
        return -1
    place = _place_of_word(text, length) & words._mask
    while True:
        i = words._places[place]
        if i < 0 or (words._words[i].length == length and memcmp(words._words[i].text, text, length) == 0):
            return i
        place = (place + 1) & words._mask


@cython.final
cdef class Wanted(Words):
    """The headers of one event that are kept. `lines`: the lines of the one that came last."""

    def __init__(self, headers, str event):
        cdef Py_ssize_t i
        memset(self.lines, 0, sizeof(self.lines))
        self.event = event
        self.names = list(headers)
        self.variables = "ChanVariable" in self.names
        for i in range(len(self.names)):
            self._words[i].slot = slot_of(self.names[i])


cdef enum:
    KNOWN = 2048
    KNOWN_SHIFT = 64 - 11
    KNOWN_LENGTH = 48

cdef PyObject* _known[KNOWN]


cdef str _known_text(const char* start, Py_ssize_t length):
    """As `text_of`; one that was met lately is given out again. All that are kept so are compact ASCII."""
    cdef PyObject** place
    cdef PyObject* met
    cdef str text
    if not 0 < length <= KNOWN_LENGTH:
        return text_of(start, length)
    place = &_known[hash_of(start, length) >> KNOWN_SHIFT]
    met = place[0]
    if met != NULL and PyUnicode_GET_LENGTH(<object>met) == length:
        if same(<const char*>met + sizeof(PyASCIIObject), start, length):
            return <str>met
    if not is_ascii(start, length):
        return text_of(start, length)
    if length == 1:
        text = text_of(start, length)
    else:
        text = PyUnicode_New(length, 127)
        memcpy(PyUnicode_DATA(text), start, length)
    Py_INCREF(text)
    place[0] = <PyObject*>text
    Py_XDECREF(met)
    return text


@cython.final
cdef class FrameParser:
    def __init__(self, selection, sent=None):
        self.banner = ""
        self._sent = sent if isinstance(sent, Sent) else Sent(sent)
        self._events = Words(selection)
        self._selection = [Wanted(tuple(headers), name) for name, headers in selection.items()]
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
        self._nul = memchr(at, 0, stop - at) != NULL
        if at < stop and (self._pending or self._overlong):
            end = <const char*>memchr(at, 10, stop - at)
            if end == NULL:
                self._hold(at, stop - at)
                return whole
            self._hold(at, end - at)
            at = end + 1
            if self._overlong:
                self._overlong = False
            else:
                line = bytes(self._pending)
                self._pending.clear()
                self._nul = self._nul or memchr(PyBytes_AS_STRING(line), 0, PyBytes_GET_SIZE(line)) != NULL
                self._line(PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line), whole)
        if at < stop:
            at = self._lines(at, stop, whole)
            if at < stop:
                self._hold(at, stop - at)
        return whole

    cdef const char* _lines(self, const char* at, const char* stop, list whole) except NULL:
        """All lines that are whole. Where the one begins that is not."""
        cdef const char* end
        cdef Py_ssize_t length
        while at < stop:
            if self._state == SKIP or self._state == KEEP:
                end = self._skip(at, stop) if self._state == SKIP else self._headers(at, stop)
                if end != at:
                    at = end
                    continue
            elif self._state == START and at[0] == 82:
                end = self._success(at, stop)
                if end != NULL:
                    at = end
                    continue
            end = <const char*>memchr(at, 10, stop - at)
            if end == NULL:
                break
            length = end - at
            if length > LINE_LIMIT_BYTES:
                self._drop_oversized()
            else:
                self._line(at, length, whole)
            at = end + 1
        return at

    cdef const char* _skip(self, const char* at, const char* stop) noexcept:
        """Behind the lines of a frame that nobody wants, up to one that may end it, or that is too long or not
        whole. Cannot raise."""
        cdef const char* end
        while at < stop:
            end = <const char*>memchr(at, 10, stop - at)
            if end == NULL or end - at <= 1 or end - at > LINE_LIMIT_BYTES:
                break
            at = end + 1
        return at

    cdef const char* _headers(self, const char* at, const char* stop) except NULL:
        """Reads the lines of an event that is kept, and stops where `_skip` does. Its lines are mostly those of the
        last one of its kind, in the same order; so that one is looked at first for what a line is."""
        cdef Wanted wanted = self._wanted
        cdef const char* end
        cdef Py_ssize_t length, size = self._size
        cdef Line* line = &wanted.lines[self._place]
        cdef Line* last = &wanted.lines[LINES - 1]
        if self._nul:
            return at
        while at < stop:
            end = <const char*>memchr(at, 10, stop - at)
            length = end - at
            if end == NULL or length <= 1 or length > LINE_LIMIT_BYTES:
                break
            size += length + 1
            if size > FRAME_LIMIT_BYTES:
                self._drop_oversized()
                return end + 1
            if (end - 1)[0] == 13:
                length -= 1
            if not line.length or length < line.length or not same(at, line.text, line.length):
                self._header(at, length, line)
            elif line.index >= 0:
                self._keep_value(line.index, at + line.length, length - line.length)
            at = end + 1
            if line < last:
                line += 1
        self._size = size
        self._place = line - &wanted.lines[0]
        return at

    cdef const char* _success(self, const char* at, const char* stop) except? NULL:
        """Where the frame ends that begins here, if it is whole and says no more than that an action of ours was
        carried out; then it is done with. NULL when it wants a closer look."""
        cdef Py_ssize_t first = PyBytes_GET_SIZE(_SUCCESS), length, action_length = 0
        cdef const char* line = at
        cdef const char* end
        cdef const char* action = NULL
        cdef bint message = False
        if self._nul or stop - at < first or memcmp(at, PyBytes_AS_STRING(_SUCCESS), first) != 0:
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
        if action == NULL or not self._sent.take(action, action_length):
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
        return self._header(line, length, NULL)

    cdef int _first(self, const char* line, Py_ssize_t length) except -1:
        cdef const char* value
        cdef const char* stop = line + length
        cdef Py_ssize_t banner, index
        cdef bint event = length > 5 and line[5] == 58 and memcmp(line, b"Event", 5) == 0
        banner = PyBytes_GET_SIZE(_BANNER)
        if not event and length >= banner and memcmp(line, PyBytes_AS_STRING(_BANNER), banner) == 0:
            self.banner = text_of(line + banner, length - banner).strip()
            return 0
        self._event = self._answer = None
        if not event and not (length > 8 and line[8] == 58 and memcmp(line, b"Response", 8) == 0):
            self.garbage += 1
            self._state = SKIP
            return 0
        value = line + (6 if event else 9)
        while value < stop and is_space(value[0]):
            value += 1
        while value < stop and is_space((stop - 1)[0]):
            stop -= 1
        if event:
            index = _find(self._events, value, stop - value)
            if index < 0:
                self.unknown += 1
                self._state = SKIP
                return 0
            self._wanted = <Wanted>self._selection[index]
            self._state = KEEP
            self._met = 1u << AT_EVENT
            self._place = 0
            self._event = EventFrame.__new__(EventFrame)
            self._event.event = self._wanted.event
            return 0
        self._state = OUTPUT if stop - value == 7 and memcmp(value, b"Follows", 7) == 0 else ALL
        self._answer = {}
        if self._nul and memchr(line, 0, length) != NULL:
            self._mark("a NUL in the first line")
        self._answer[_RESPONSE] = text_of(value, stop - value)
        return 0

    cdef int _header(self, const char* text, Py_ssize_t length, Line* line) except -1:
        """`line`: where to note what the line is; NULL when it need not be noted."""
        cdef const char* colon = <const char*>memchr(text, 58, length)
        cdef const char* value
        cdef Py_ssize_t index = -1, size
        cdef str key = None
        if colon == NULL:
            return self._mark("a line without a colon")
        size = colon - text
        if self._state == ALL:
            key = text_of(text, size)
        else:
            index = _find(self._wanted, text, size)
            if index < 0 and self._wanted.variables and size > 13 and memcmp(text, b"ChanVariable(", 13) == 0:
                key = text_of(text, size)
        if self._nul and memchr(text, 0, length) != NULL:
            self._mark("a NUL in a line")
        value = colon + 1
        length -= size + 1
        if length and value[0] == 32:
            value += 1
            length -= 1
            if line != NULL and key is None and 2 <= size <= LINE_KEPT - 2:
                memcpy(line.text, text, size + 2)
                line.length = <short>(size + 2)
                line.index = <short>index
        if key is not None:
            return self._keep(key, text_of(value, length))
        return self._keep_value(index, value, length) if index >= 0 else 0

    cdef int _keep_value(self, Py_ssize_t index, const char* value, Py_ssize_t length) except -1:
        cdef int slot = self._wanted._words[index].slot
        cdef unsigned int mark
        cdef str more
        if slot == NOWHERE:
            return self._keep(<str>self._wanted.names[index], text_of(value, length))
        mark = 1u << slot
        if not self._met & mark:
            self._met |= mark
            if slot == AT_TIMESTAMP:
                return self._keep_stamp(value, length)
            return self._event.write(slot, _known_text(value, length))
        if slot == AT_VARIABLES or slot == AT_DEST_VARIABLES:
            more = text_of(value, length)
            return self._event.write(slot, self._event.read(slot) + "\n" + more)
        return self._mark("a header comes twice: " + <str>self._wanted.names[index])

    cdef int _keep_stamp(self, const char* value, Py_ssize_t length) except -1:
        cdef EventFrame event = self._event
        event.stamp_ms = stamp_ms_of(value, length)
        if 0 < length <= STAMP_LENGTH:
            memcpy(event._stamp_text, value, length)
            event._stamp_length = <int>length
        else:
            event._stamp = text_of(value, length)
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
            action = self._answer.get("ActionID", "")
            if self._answer[_RESPONSE] != "Success" or self._sent.pop(action, None) is None:
                self.answers += 1
                whole.append(self._answer)
        self._event = self._answer = None
        self._state = START
        return 0
