cimport cython

from rater.dialled cimport is_dialled
from rater.switch.channels cimport Channel
from rater.switch.legs cimport Leg

cdef object _IN, _GATE

@cython.locals(incoming=Channel, leg=Leg, current=Leg)
cpdef begin(object tracker, Leg outbound, long long at_ms)
@cython.locals(incoming=Channel, passing=Leg)
cpdef answered(object tracker, Leg leg, long long at_ms, object grade)
@cython.locals(head=Channel, leg=Leg)
cdef Channel _incoming(object tracker, Channel caller)
cdef bint _names_somebody(object payer) except -1
cdef bint _is_anothers(Leg passing, Leg leg) except -1
