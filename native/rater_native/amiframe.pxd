cdef enum:
    STAMP_LENGTH = 24

cdef class EventFrame:
    cdef readonly object event, action_id, channel, channel_state, caller, account_code, exten, uniqueid
    cdef readonly object linkedid, variables, dest_channel, dest_channel_state, dest_account_code, dest_uniqueid
    cdef readonly object dest_linkedid, dest_variables, dial_string, dial_status, forward, bridge, cause, env, newname
    cdef readonly object result, transferer_uniqueid, transferee_uniqueid, tampered
    cdef readonly long long stamp_ms
    cdef dict _rest
    cdef object _stamp
    cdef char[STAMP_LENGTH] _stamp_text
    cdef int _stamp_length

    cdef object _read(self, int slot)
    cdef int _write(self, int slot, object value) except -1
    cdef object _find(self, key)
    cpdef object variables_of(self, str channel)

cdef enum State:
    START, KEEP, ALL, OUTPUT, SKIP, DISCARD

cdef struct Key:
    const char* text
    Py_ssize_t length
    int slot

cdef class Wanted:
    cdef Key* keys
    cdef Py_ssize_t count
    cdef list raw
    cdef list names
    cdef str event
    cdef bint variables

    cdef Py_ssize_t find(self, const char* key, Py_ssize_t length, Py_ssize_t hint) noexcept

cdef class FrameParser:
    cdef readonly str banner
    cdef readonly Py_ssize_t frames, unknown, garbage, tampered, oversized, answers
    cdef dict _selection, _sent
    cdef Wanted _wanted
    cdef Py_ssize_t _hint, _size
    cdef State _state
    cdef EventFrame _event
    cdef dict _answer
    cdef bytearray _pending
    cdef bint _overlong

    cpdef list feed(self, bytes data)
    cdef const char* _success(self, const char* at, const char* stop) except? NULL
    cdef int _hold(self, const char* start, Py_ssize_t length) except -1
    cdef int _drop_oversized(self) except -1
    cdef int _line(self, const char* line, Py_ssize_t length, list whole) except -1
    cdef int _first(self, const char* line, Py_ssize_t length) except -1
    cdef int _header(self, const char* line, Py_ssize_t length) except -1
    cdef int _keep_field(self, int slot, str key, const char* value, Py_ssize_t length) except -1
    cdef int _keep_stamp(self, str key, const char* value, Py_ssize_t length) except -1
    cdef int _keep(self, str key, str value) except -1
    cdef int _output(self, const char* line, Py_ssize_t length) except -1
    cdef int _mark(self, str why) except -1
    cdef int _end(self, list whole) except -1
