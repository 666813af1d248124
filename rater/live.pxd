cimport cython

from rater.calls.session cimport Session
from rater.charging.terms cimport Terms
from rater.clock cimport Clock
from rater.limits.slots cimport TrunkSlots

cdef long long CLOCK_SET_MS, UNMEASURED_MS

# Of a dataclass the order here is that of its arguments.
cdef class LiveSwitch:
    cdef public object id, port, rules
    cdef public bint fails_open
    cdef public object epoch, warn_s
    cdef public long long measured_ms
    cdef public dict active
    cdef public long calls
    cdef public TrunkSlots slots
    cdef public bint told

    @cython.locals(sample_ms=cython.longlong)
    cpdef note_time(self, long long at_ms, long long monotonic_ms)
    cpdef long long offset_ms(self, Clock clock) except? -1

cdef class LiveLeg:
    cdef public Session session
    cdef public LiveSwitch switch
    cdef public object account
    cdef public long shard
    cdef public object quote
    cdef public Terms terms
    cdef public object leases
    cdef public bint exempt, free
    cdef public long next_op
    cdef public long long arrived_ns
    cdef public object rates, outside
    cdef public long outside_shard
    cdef public object broken, would
    cdef public bint shadow
    cdef public object owner
    cdef public long long wake

    @cython.locals(session=Session)
    cpdef bint take_slot(self, trunk, known) except -1
