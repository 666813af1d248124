cimport cython

from rater.calls.commands cimport AnnounceEnd, AnswerGate, ArmTimer, ExtendSlice, Forget, HangUp, PersistAnswer, ReserveSlice, SettleLeg, WakeAt, Warn
from rater.calls.signals cimport Answered, Dialled, Due, Ended, Extended, HangupRequested, Lost, MoneyArrived, Reserved, Seen, Settled
from rater.events.facts cimport LegFacts

cdef object _RESERVING, _HELD, _RINGING, _TALKING, _SETTLING, _DENIED, _DONE
cdef object _GATE, _OBSERVED, _ESTIMATED, _CALLER, _BILLED, _ANSWERED

cdef class Session:
    cdef public LegFacts facts
    cdef public Ended ended
    cdef public object leg, mode, state, answered_at_ms
    cdef public bint gate_waits, final, capped
    cdef public long long paid_from_ms, granted_s, horizon_s, seen_at_ms, decide_by_ms, ahead_ms
    cdef bint _extending, _fails_open
    cdef tuple _told_end, _warn_ms
    cdef long long _warned_ms

    cpdef list begin(self, now_ms)
    cpdef list handle(self, signal, now_ms)
    cdef long long _paid_until(self) except? -1
    cdef list _dialled(self, Dialled signal)
    cdef list _answered(self, Answered signal, long long now_ms)
    cdef list _talk(self, long long now_ms)
    cdef list _arm_billed(self, long long now_ms)
    cdef list _announce_end(self)
    cdef list _ended(self, Ended signal)
    @cython.locals(facts=LegFacts, ended=Ended)
    cdef list _settle(self)
    cdef _note_cut(self, long long ended_at_ms)
    cdef str _cut_reason(self)
    cdef list _seen(self, Seen signal, long long now_ms)
    cdef list _reserved(self, Reserved signal, long long now_ms)
    cdef list _denied(self, reason)
    cdef list _extended(self, Extended signal, long long now_ms)
    cdef list _money_arrived(self, long long now_ms)
    cdef list _lost(self)
    cdef list _due(self, long long now_ms)
    cdef list _undecided(self)
    cdef list _extend(self, long long now_ms)
    @cython.locals(until_ms=cython.longlong, last_ms=cython.longlong, left_ms=cython.longlong, ahead_ms=cython.longlong, at_ms=cython.longlong)
    cdef _wake(self, long long now_ms)
    cdef long long _look_at(self, long long now_ms) except? -1
    cdef list _warn(self, long long now_ms)
    cdef list _arm_caller(self, long long now_ms)
    cdef _wake_ringing(self, long long now_ms)
    cdef list _cut_overdue(self)
