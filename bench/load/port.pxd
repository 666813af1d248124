cdef class Calls:
    cpdef bint set_variable(self, bytes channel, bytes name, bytes value) except -1
    cpdef bint agi(self, bytes channel, bytes command) except -1
    cpdef bint decide(self, bytes channel, bytes reason, bytes verdict) except -1
    cpdef bint set_timeout(self, bytes channel, bytes seconds) except -1

cdef class Port:
    cdef public Calls calls
    cdef public object listener, client
    cdef public int number
    cdef public list out
    cdef public bytes unsent
    cdef public bint events_on
    cdef public long long beat_ns, dropped, actions
    cdef bytes _in
    cdef object _now_ns, _started

    cpdef flush(self)
    cpdef readable(self)
    cdef bint _gate(self, tuple found) except -1
    cdef _time_out(self, tuple found)
    cdef _hot(self, bytes action, bytes action_id, bytes channel, bytes variable, bytes value)
    cdef _other(self, bytes frame)
