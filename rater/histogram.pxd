cimport cython

cdef tuple _BOUNDS_S

cdef class Histogram:
    cdef readonly list counts
    cdef readonly double sum_s

    @cython.locals(place=Py_ssize_t, bound_s=double)
    cpdef observe(self, double value_s)

cdef class Latencies:
    cdef readonly dict of

    @cython.locals(known=Histogram)
    cpdef observe(self, str kind, double latency_s)
