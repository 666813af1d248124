cimport cython

from rater.charging.terms cimport Terms
from rater.kept cimport Kept
from rater_native.attributes cimport Attribute as Slot

cdef object _PREPAID, _POSTPAID, _POSTPAID_WHEN_EXHAUSTED, _CREDIT_WHEN_EXHAUSTED
cdef Slot _OWN_THRESHOLDS, _SINCE, _CAPS, _OFF_HOURS, _MODALITY, _CREDIT_LIMIT, _HOUR_CAP, _DAY_CAP

cdef class _Cycle:
    cdef readonly long long from_ms, until_ms, since_ms
    cdef readonly object allowances, thresholds, bands
    cdef public Terms prepaid
    cdef readonly Kept terms

cdef class PlanTerms:
    cdef object _plan, _zone, _hours, _hour_ms, _day_ms, _when_exhausted
    cdef Kept _cycles, _rules
    cdef dict _spend_ms
    cdef bint _watches

    @cython.locals(cycle=_Cycle, since_ms=cython.longlong)
    cpdef Terms terms(self, account, destination_class, at_ms)
    @cython.locals(terms=Terms)
    cdef Terms _of(self, _Cycle cycle, key, floor_micro, bint use_money, tuple spend)
    @cython.locals(cycle=_Cycle, now_ms=cython.longlong)
    cdef _Cycle _kept(self, destination_class, long long since_ms, own, at_ms)
    cdef tuple _told(self, own)
    cdef tuple _spend(self, caps, rules, at_ms)
    cdef _Cycle _cycle(self, destination_class, since_ms, rules, at_ms)

cpdef tuple floor(account, when_exhausted)
