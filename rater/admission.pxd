cimport cython

from rater.calls.signals cimport Attempted, Payer
from rater.catalog.lookups cimport Lookups
from rater.catalog.rated cimport Rated, Refused
from rater.events.facts cimport LegFacts
from rater.kept cimport Kept

cdef Kept _ASKED
cdef object _IN, _OUT, _SHADOW_MODE, _IN_SHADOW, _ENDPOINT, _ACCOUNT_CODE, _ALLOWED, _UNKNOWN_PAYER, _EMERGENCY

cdef class Admitted:
    cdef readonly object account, line, quote, terms, leases
    cdef readonly LegFacts facts
    cdef readonly object exempt, free, rates, reseller, outside, broken, shadow, would

cdef class Rejected:
    cdef readonly object reason, account
    cdef readonly LegFacts facts
    cdef readonly object shadow

cdef class _Night:
    cdef readonly object account, line

cdef _Night _NONE_HOLDS

cdef class _Asked:
    cdef readonly object account, class_limits, leases, line, rates
    cdef readonly _Night night

@cython.locals(facts=LegFacts, emergency=bint, shadow=bint, outbound=bint, asked=_Asked)
cpdef admit(Lookups catalog, Attempted attempt, rules, wall_ms)
@cython.locals(payer=Payer)
cpdef tuple find_payer(Lookups catalog, Attempted attempt, rules)
cpdef first(one, other)
cpdef bint is_free(quote) except -1
@cython.locals(priced=Rated)
cdef _quote(account, line, rated, LegFacts facts, bint shadow)
cdef _rate(Lookups catalog, Attempted attempt, account, line, wall_ms)
cdef tuple _denial(account, line, rated, bint emergency, _Night night)
cdef str _barred(account, line, rated, _Night night)
cdef str _bars(barred, rated)
cdef _Night _night(Lookups catalog, account, line, at_ms)
cdef LegFacts _facts(Lookups catalog, Attempted attempt, account, line)
@cython.locals(known=Rated)
cdef _note_rating(LegFacts facts, rated)
@cython.locals(known=_Asked)
cdef _Asked _asked(account, line, klass, class_limits, _Night night, bint outbound)
cdef tuple _margin(rated)
