cimport cython

cdef bytes _HEAD, _REASON
cdef tuple _KEYS

cdef class LegFacts:
    cdef public object id, call, switch, mode, direction, account, line, trunk, caller, dialled, number, prefix
    cdef public object destination, destination_class, plan, catalog_version, steps, emergency, attempted_at_ms
    cdef public object rated_at_ms, channel_id, caller_channel_id, dialled_at_ms, answered_at_ms, ended_at_ms
    cdef public object disposition, cause, grade, answer_grade, unanswered_at_ms, cut, reason, detail, reseller
    cdef public object shadow, shadow_at_s, longest_s

    cpdef bytes pack(self)

@cython.locals(at=Py_ssize_t, begin=Py_ssize_t, size=Py_ssize_t)
cpdef str reason_of(bytes data)
