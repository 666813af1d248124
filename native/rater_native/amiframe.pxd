from rater_native.actionbytes cimport Sent
from rater_native.amievent cimport EventFrame

cdef enum State:
    START, KEEP, ALL, OUTPUT, SKIP, DISCARD

cdef struct Word:
    const char* text
    Py_ssize_t length
    int slot

cdef enum:
    LINES = 64
    LINE_KEPT = 28

cdef struct Line:
    char[LINE_KEPT] text
    short length
    short index

cdef class Words:
    cdef Word* _words
    cdef short* _places
    cdef Py_ssize_t _mask
    cdef list _raw

cdef class Wanted(Words):
    cdef list names
    cdef str event
    cdef bint variables
    cdef Line[LINES] lines

cdef class FrameParser:
    cdef readonly str banner
    cdef readonly Py_ssize_t frames, unknown, garbage, tampered, oversized, answers
    cdef Words _events
    cdef list _selection
    cdef Sent _sent
    cdef Wanted _wanted
    cdef Py_ssize_t _size, _place
    cdef State _state
    cdef EventFrame _event
    cdef dict _answer
    cdef bytearray _pending
    cdef bint _overlong, _nul
    cdef unsigned int _met

    cpdef list feed(self, bytes data)
    cdef const char* _lines(self, const char* at, const char* stop, list whole) except NULL
    cdef const char* _skip(self, const char* at, const char* stop) noexcept
    cdef const char* _headers(self, const char* at, const char* stop) except NULL
    cdef const char* _success(self, const char* at, const char* stop) except? NULL
    cdef int _hold(self, const char* start, Py_ssize_t length) except -1
    cdef int _drop_oversized(self) except -1
    cdef int _line(self, const char* line, Py_ssize_t length, list whole) except -1
    cdef int _first(self, const char* line, Py_ssize_t length) except -1
    cdef int _header(self, const char* text, Py_ssize_t length, Line* line) except -1
    cdef int _keep_value(self, Py_ssize_t index, const char* value, Py_ssize_t length) except -1
    cdef int _keep_stamp(self, const char* value, Py_ssize_t length) except -1
    cdef int _keep(self, str key, str value) except -1
    cdef int _output(self, const char* line, Py_ssize_t length) except -1
    cdef int _mark(self, str why) except -1
    cdef int _end(self, list whole) except -1
