cimport cython

cdef class Clock:
    cpdef long long wall_ms(self) except? -1
    cpdef long long monotonic_ms(self) except? -1

cdef class SystemClock(Clock):
    @cython.locals(now_ns=cython.longlong)
    cpdef long long wall_ms(self) except? -1
    @cython.locals(now_ns=cython.longlong)
    cpdef long long monotonic_ms(self) except? -1

cdef class ManualClock(Clock):
    cdef long long _wall_ms, _monotonic_ms

    cpdef long long wall_ms(self) except? -1
    cpdef long long monotonic_ms(self) except? -1
