cimport cython

from rater.catalog.rated cimport Rated, Refused
from rater.catalog.terms cimport PlanTerms
from rater.rating.normalise cimport DialPlan
from rater.rating.reading cimport Normalised, NumberRefused
from rater.rating.tariff cimport Found, NoRate, PlanTariff

cdef class Priced:
    cdef readonly Normalised read
    cdef readonly object quote
    cdef readonly Found found
    cdef readonly object steps, below_margin

cdef class PricedPlan:
    cdef public DialPlan dial_plan
    cdef public object plan, id, key, zone, class_limits, class_rows, _free
    cdef public object margin_enforce, margin_percent, blocked_classes, blocked_prefixes
    cdef public tuple _later
    cdef public PlanTariff tariff
    cdef readonly PlanTerms terms

    cpdef PricedPlan at(self, at_ms)
    @cython.locals(found=Found, read=Normalised, priced=Priced)
    cpdef rate(self, number, area, at_ms, version)
    @cython.locals(version=PricedPlan, steps=list, read=Normalised, found=Found)
    cpdef price(self, number, area, at_ms)
    cdef str _below_margin(self, Found found, at_ms)
    cpdef barred(self, Normalised read)
    @cython.locals(missing=NoRate)
    cdef _find(self, Normalised read, at_ms, list steps)
    cdef _by_prefix(self, Normalised read, at_ms, list steps)
