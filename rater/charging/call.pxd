cdef class Call:
    cdef public object data, sent_s, shard

cdef class Operation(Call):
    cdef public object done, leg, refunded_micro, request, routed, script
    cdef public bytes needs
    cdef public bint alone, as_function
    cdef public long tries, waits
