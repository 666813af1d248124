cimport cython

from rater.catalog.pricing cimport PricedPlan
from rater.charging.terms cimport Terms

cdef class Lookups:
    cdef readonly object content, decks, version, sharing
    cdef readonly dict accounts, lines, resellers, trunks, switches, plans
    cdef dict _by_endpoint, _by_code
    cdef frozenset _members

    cpdef line_by_endpoint(self, endpoint)
    cpdef line_by_account_code(self, account_code)
    @cython.locals(priced=PricedPlan)
    cpdef rate(self, plan, number, area, at_ms)
    @cython.locals(priced=PricedPlan)
    cpdef class_limits(self, plan, at_ms)
    @cython.locals(priced=PricedPlan)
    cpdef off_hours(self, owner, at_ms)
    cpdef Terms terms(self, account, destination_class, at_ms)
    @cython.locals(priced=PricedPlan)
    cdef Terms _own_terms(self, account, destination_class, at_ms)
