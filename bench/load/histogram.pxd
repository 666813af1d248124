cdef class Histogram:
    cdef public list counts
    cdef public long long largest_ns

    cpdef record(self, long long value_ns)
