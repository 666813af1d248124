cdef class Attribute:
    cdef type owner
    cdef str name
    cdef Py_ssize_t offset

    cpdef of(self, record)
