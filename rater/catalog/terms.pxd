cimport cython

from rater.charging.terms cimport Terms
from rater.kept cimport Kept

cdef object _PREPAID, _POSTPAID, _POSTPAID_WHEN_EXHAUSTED, _CREDIT_WHEN_EXHAUSTED

cdef class _Cycle:
    cdef readonly object from_ms, until_ms, since_ms, allowances, thresholds, bands
    cdef readonly Kept terms

cdef class PlanTerms:
    cdef object _plan, _zone, _hours, _hour_ms, _day_ms, _when_exhausted
    cdef Kept _cycles, _rules
    cdef dict _spend_ms
    cdef bint _watches

    @cython.locals(cycle=_Cycle, terms=Terms)
    cpdef Terms terms(self, account, destination_class, at_ms)
    @cython.locals(cycle=_Cycle)
    cdef _Cycle _kept(self, destination_class, since_ms, own, at_ms)
    cdef tuple _told(self, own)
    cdef tuple _spend(self, caps, rules, at_ms)
    cdef _Cycle _cycle(self, destination_class, since_ms, rules, at_ms)

cpdef tuple floor(account, when_exhausted)
