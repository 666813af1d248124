cdef class Call:
    cdef public bytes data
    cdef public double sent_s
    cdef public long shard, row, lane

cdef class Operation(Call):
    cdef public object done, leg, refunded_micro, request, routed, waiting
    cdef public str script
    cdef public bytes needs
    cdef public bint alone, as_function
    cdef public long tries, waits
