cdef class SwitchTime:
    cdef readonly str source
    cdef readonly long long last_ms
    cdef long long _base_ms, _last_ns

    cpdef long long at_ms(self, long long stamp_ms, long long arrived_ns) except? -1
