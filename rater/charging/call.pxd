cdef class Call:
    cdef public object data, sent_s, shard

cdef class Operation(Call):
    cdef public object alone, as_function, done, in_turn, needs, refunded_micro, request, routed, script, tries, waits
