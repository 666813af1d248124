cimport cython

from rater.calls.session cimport Session
from rater.catalog.lookups cimport Lookups
from rater.charging.terms cimport Share, Terms
from rater.events.facts cimport LegFacts
from rater.live cimport LiveLeg

@cython.locals(session=Session, facts=LegFacts)
cpdef renew(LiveLeg record, Lookups catalog, wall_ms)
@cython.locals(terms=Terms, share=Share)
cpdef with_owner(LiveLeg record, Lookups catalog, wall_ms)
cpdef in_mode(LiveLeg record, terms)
