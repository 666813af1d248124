from rater.calls.signals cimport Attempted, Payer
from rater.events.facts cimport LegFacts

cdef class Admitted:
    cdef readonly object account, line, quote, terms, leases, facts, exempt, free, rates, reseller, outside, broken, shadow
    cdef readonly object would

cdef class Rejected:
    cdef readonly object reason, account, facts, shadow

cdef class _Night:
    cdef readonly object account, line

cdef class _Asked:
    cdef readonly object account, class_limits, leases, line, rates
    cdef readonly _Night night

cdef LegFacts _facts(catalog, Attempted attempt, account, line)
cdef _note_rating(LegFacts facts, rated)
cdef _Asked _asked(account, line, klass, class_limits, _Night night, outbound)
cdef tuple _margin(rated)
