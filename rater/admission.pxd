cimport cython

from rater.calls.signals cimport Attempted, Payer
from rater.catalog.lookups cimport Lookups
from rater.catalog.rated cimport Rated, Refused
from rater.events.facts cimport LegFacts
from rater.kept cimport Kept
from rater.limits.rules cimport add_leases
from rater_native.attributes cimport Attribute as Slot

cdef Kept _FREE
cdef Slot _ACCOUNT_ID, _PLAN, _RESELLER, _ENFORCE, _ACCOUNT_ACTIVE, _ACCOUNT_BARRED, _ACCOUNT_LIMITS, _ACCOUNT_OFF_HOURS
cdef Slot _LINE_ID, _LINE_ACCOUNT, _AREA, _LINE_ACTIVE, _LINE_BARRED, _LINE_LIMITS, _LINE_OFF_HOURS
cdef Slot _BOTH, _OUTBOUND, _INBOUND, _PER_SECOND, _LIMITED_CLASSES, _LIMITS_ENFORCE
cdef Slot _BARRED_CLASSES, _BARRED_PREFIXES, _MAX_CALL, _HORIZON, _SEGMENTS, _PRICE, _RULES_PAYER
cdef object _IN, _OUT, _GATE, _SHADOW_MODE, _IN_SHADOW, _OUT_VALUE, _GATE_VALUE, _SHADOW_VALUE, _LINE_LIMIT, _ACCOUNT_LIMIT, _ENDPOINT, _ACCOUNT_CODE, _ALLOWED, _UNKNOWN_PAYER, _EMERGENCY

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

@cython.locals(facts=LegFacts, inbound=bint, emergency=bint, shadow=bint, outbound=bint, leases=tuple, priced=Rated)
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
@cython.locals(facts=LegFacts, known=Rated, refused=Refused, steps=list)
cdef LegFacts _facts(Lookups catalog, Attempted attempt, account, line, rated, wall_ms)
@cython.locals(found=list, scope=str)
cdef tuple _leases(account, line, klass, class_limits, _Night night, bint outbound)
@cython.locals(scope=str)
cdef _add_line(list found, line, klass, off_hours, bint outbound)
cdef _add(list found, str scope, limits, reason, bint outbound)
cdef tuple _rates(account, line, bint outbound)
cdef _nothing(klass)
@cython.locals(priced=Rated)
cdef tuple _margin(rated)
