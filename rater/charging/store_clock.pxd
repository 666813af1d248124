from rater.clock cimport Clock

cdef class StoreClock(Clock):
    cdef Clock _own
    cdef long long _offset_ms

    cpdef long long wall_ms(self) except? -1
    cpdef long long monotonic_ms(self) except? -1
