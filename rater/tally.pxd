cimport cython

from rater.events.facts cimport LegFacts
from rater.histogram cimport Histogram

cdef class Tally:
    cdef object _metrics, _verdicts, _endings, _charges
    cdef Histogram _decisions

    cpdef verdict(self, mode, reason)
    @cython.locals(now_ns=cython.longlong)
    cpdef decided(self, long long arrived_ns)
    cpdef settled(self, LegFacts facts, currency, amount_micro)
    cpdef cut(self, cause)
    cpdef in_shadow(self, kind, reason)
