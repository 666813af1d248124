cimport cython

from rater.calls.commands cimport ExtendSlice, PersistAnswer, ReserveSlice, SettleLeg
from rater.calls.session cimport Session
from rater.charging.model cimport Answer, Extend, Reserve, Settle
from rater.charging.terms cimport SlicePolicy
from rater.events.facts cimport LegFacts
from rater.live cimport LiveLeg, LiveSwitch

@cython.locals(
    session=Session, switch=LiveSwitch, facts=LegFacts, answer=PersistAnswer, extend=ExtendSlice, settle=SettleLeg
)
cpdef request_of(LiveLeg record, command, SlicePolicy policy, wall_ms)
cdef SlicePolicy _slices(LiveLeg record, SlicePolicy policy)
