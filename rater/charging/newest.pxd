cimport cython

cdef class Acknowledged:
    cdef public long shard
    cdef public object request
    cdef public double sent_s

cdef class Newest:
    cdef object _keys, _monotonic_s
    cdef dict _of

    @cython.locals(known=Acknowledged)
    cpdef note(self, long shard, long lane, request, double sent_s)
