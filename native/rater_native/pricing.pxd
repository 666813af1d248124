from libc.stdint cimport int32_t, int64_t


cdef struct Segment:
    int64_t from_s
    int64_t step_s
    int64_t num
    int64_t den
    int32_t row


# What stands around the segments of a quote. `max_micro` is -1 for no maximum.
cdef struct Bill:
    int64_t free_s
    int64_t connect_micro
    int64_t min_micro
    int64_t max_micro
    int64_t unit_micro
    int64_t horizon_s
    int rounding


cdef struct Room:
    Segment* items
    Py_ssize_t count
    Py_ssize_t size


cdef int64_t billed(const Segment* segments, Py_ssize_t count, const Bill* bill, int64_t seconds) except? -1 nogil

cdef int64_t charge(const Segment* segments, Py_ssize_t count, const Bill* bill, int64_t seconds) except? -1 nogil

cdef int64_t reach(
    const Segment* segments, Py_ssize_t count, const Bill* bill, int64_t from_s, int64_t budget_micro
) except -1 nogil
