cimport cython

from rater_native.timetable cimport Timetable as Times

from rater.calls.session cimport Session
from rater.charging.terms cimport Share
from rater.live cimport LiveLeg, LiveSwitch

cdef class LiveLegs:
    cdef dict _legs, _by_account, _by_call

    cpdef LiveLeg get(self, leg)
    cpdef bint holds(self, LiveLeg record) except -1
    @cython.locals(record=LiveLeg)
    cpdef list waiting(self)
    cpdef list paid_by(self, account)
    cpdef list of_call(self, call)
    cpdef bint is_alone(self, LiveLeg record) except -1
    @cython.locals(session=Session, switch=LiveSwitch)
    cpdef add(self, LiveLeg record)
    @cython.locals(share=Share)
    cpdef note_owner(self, LiveLeg record)
    @cython.locals(session=Session, switch=LiveSwitch)
    cpdef drop(self, LiveLeg record)
    cdef bint _has_call(self, LiveSwitch switch, call) except -1

cdef list _all_of(dict kept, name)
cdef _put(dict kept, name, LiveLeg record)
cdef _take(dict kept, name, LiveLeg record)

cdef class Wakes:
    cdef Times _times
    cdef long long _count

    cpdef set(self, LiveLeg record, due_ms)
    cpdef next_ms(self)
    cpdef tuple pop(self, now_ms)
