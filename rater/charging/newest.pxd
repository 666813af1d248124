cdef class Newest:
    cdef object _keys, _monotonic_s
    cdef dict _of

    cpdef note(self, shard, request, sent_s)
