cdef class LegChannels:
    cdef readonly object billed, caller, asking, answered, direction, passes

