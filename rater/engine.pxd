cimport cython

from rater.admission cimport Admitted, Rejected, admit
from rater.calls.session cimport Session
from rater.calls.commands cimport AnswerGate, ArmTimer, ExtendSlice, Forget, HangUp, PersistAnswer, ReserveSlice, SettleLeg, WakeAt
from rater.calls.signals cimport Answered, Attempted, Dialled, Due, Ended, Extended, Lost, Reserved, Seen, Settled
from rater.catalog.lookups cimport Lookups
from rater.charging.model cimport Answer, Extend, OfLeg, Reply, Reserve, Settle
from rater.charging.terms cimport SlicePolicy
from rater.clock cimport Clock
from rater.events.facts cimport LegFacts
from rater.leg_terms cimport in_mode, renew, with_owner
from rater.legs cimport LiveLegs, Wakes
from rater.live cimport LiveLeg, LiveSwitch
from rater.requests cimport request_of
from rater.tally cimport Tally

cdef object _GATE, _ESTIMATED, _CALLER, _RESERVING, _HELD, _RINGING, _SETTLING, _DENIED
cdef object _ALLOWED, _TRUNK_LIMIT, _OK, _GONE, _STALE, _ZERO

cdef class Engine:
    cdef object _store, _policy, _outside, _told
    cdef Clock _clock
    cdef Tally _tally
    cdef SlicePolicy _slice
    cdef long _first_s
    cdef Lookups _catalog
    cdef dict _switches
    cdef list _told_switches
    cdef readonly LiveLegs _legs
    cdef Wakes _wakes
    cdef bint _dirty
    cdef public object on_dirty, on_stale

    @cython.locals(switch=LiveSwitch, record=LiveLeg, attempt=Attempted, dialled=Dialled, at_ms=cython.longlong)
    cpdef on_signal(self, signal)
    cdef _attempt(self, LiveSwitch switch, Attempted attempt)
    cdef bint _is_shed(self, LiveSwitch switch, Attempted attempt, Admitted decision) except -1
    @cython.locals(record=LiveLeg)
    cdef _begin(self, LiveSwitch switch, Attempted attempt, Admitted decision)
    cdef Session _session(self, facts, mode, quote, LiveSwitch switch)
    @cython.locals(session=Session)
    cdef _take_trunk(self, LiveLeg record, trunk)
    @cython.locals(session=Session)
    cdef _arm_sent_on(self, LiveLeg record)
    cdef _reserve(self, LiveLeg record)
    cdef _tell_shadow(self, LiveLeg record, reason, at_s)
    cdef _handle(self, LiveLeg record, signal)
    @cython.locals(session=Session, wake=WakeAt)
    cdef _run(self, LiveLeg record, list commands)
    cdef _act(self, LiveLeg record, command)
    cdef _limited(self, LiveLeg record, command)
    @cython.locals(wall_ms=cython.longlong, settle=SettleLeg)
    cdef _request(self, LiveLeg record, command)
    cdef _note_action(self, LiveLeg record, command)
    cdef _submit(self, request)
    @cython.locals(switch=LiveSwitch, record=LiveLeg, of_leg=OfLeg)
    cpdef _replied(self, request, Reply reply)
    @cython.locals(reserve=Reserve)
    cdef _as_signal(self, LiveLeg record, OfLeg request, Reply reply)
    cdef _set_wake(self, LiveLeg record, long long at_ms)
    cdef long long _now_ms(self, LiveSwitch switch) except? -1
    @cython.locals(record=LiveLeg)
    cdef _tell_of_money(self, list records)
    cdef _tell(self, LiveSwitch switch, command)
    @cython.locals(switch=LiveSwitch, told=list)
    cpdef flush(self)
    @cython.locals(record=LiveLeg)
    cpdef tick(self)
    cdef _mark_dirty(self)

@cython.locals(answered=Answered, ended=Ended, dialled=Dialled)
cdef long long _said_at(signal) except? -1
