cdef class Newest:
    cdef object _keys, _monotonic_s
    cdef dict _of

    cpdef note(self, long shard, request, double sent_s)
