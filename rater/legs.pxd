cimport cython

from rater.calls.session cimport Session
from rater.live cimport LiveLeg, LiveSwitch

cdef class LiveLegs:
    cdef object _metrics, _by_account
    cdef dict _legs, _by_call

    cpdef get(self, leg)
    cpdef bint holds(self, LiveLeg record)
    cpdef of_call(self, call)
    @cython.locals(session=Session, switch=LiveSwitch)
    cpdef add(self, LiveLeg record)
    cpdef note_owner(self, LiveLeg record)
    @cython.locals(session=Session, switch=LiveSwitch)
    cpdef drop(self, LiveLeg record)
    cdef _report(self, LiveSwitch switch, direction)

cdef class Wakes:
    cdef object _times
    cdef long long _count

    cpdef set(self, LiveLeg record, due_ms)
    cpdef next_ms(self)
    cpdef pop(self, now_ms)
