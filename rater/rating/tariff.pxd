cdef class Found:
    cdef readonly object quote, prefix, destination, destination_class, row

cdef class NoRate:
    cdef readonly object detail
