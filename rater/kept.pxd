cimport cython

@cython.final
cdef class Kept:
    cdef readonly Py_ssize_t most
    cdef dict _of
    cdef object _order, _drop_oldest, _append

    cpdef get(self, key)
    cpdef put(self, key, value)
