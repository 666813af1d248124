from rater.calls.session cimport Session
from rater.limits.slots cimport TrunkSlots

cdef class LiveSwitch:
    cdef public object id, port, rules, fails_open, epoch, warn_s, measured_ms
    cdef public TrunkSlots slots
    cdef public dict active, calls

    cpdef note_time(self, at_ms, monotonic_ms)
    cpdef offset_ms(self, clock)

cdef class LiveLeg:
    cdef public Session session
    cdef public LiveSwitch switch
    cdef public object account, shard, quote, terms, leases, exempt, free, next_op, arrived_ns, rates, outside
    cdef public object outside_shard, broken, would, shadow, owner, wake
