from rater.calls.session cimport Session
from rater.calls.commands cimport AnswerGate, ArmTimer, ExtendSlice, Forget, HangUp, PersistAnswer, ReserveSlice, SettleLeg, WakeAt
from rater.calls.signals cimport Attempted, Dialled, Due, Extended, Lost, Reserved, Settled
from rater.charging.model cimport Answer, Extend, Reply, Reserve, Settle
from rater.events.facts cimport LegFacts
from rater.legs cimport LiveLegs, Wakes
from rater.live cimport LiveLeg, LiveSwitch

cdef class Engine:
    cdef object _store, _clock, _metrics, _policy, _catalog, _outside
    cdef dict _switches
    cdef readonly LiveLegs _legs
    cdef Wakes _wakes
    cdef bint _dirty
    cdef public object on_dirty, on_stale

    cpdef on_signal(self, signal)
    cdef _attempt(self, LiveSwitch switch, attempt)
    cdef _begin(self, LiveSwitch switch, attempt, decision)
    cdef Session _session(self, facts, mode, quote, LiveSwitch switch)
    cdef _take_trunk(self, LiveLeg record, trunk)
    cdef _arm_sent_on(self, LiveLeg record)
    cdef _tell_shadow(self, LiveLeg record, reason, at_s)
    cdef _handle(self, LiveLeg record, signal)
    cdef _run(self, LiveLeg record, list commands)
    cdef _act(self, LiveLeg record, command)
    cdef _limited(self, LiveLeg record, command)
    cdef _request(self, LiveLeg record, command)
    cdef _note_action(self, LiveLeg record, command)
    cdef _submit(self, request)
    cdef _as_signal(self, LiveLeg record, request, reply)
    cdef _note_settled(self, LiveLeg record, reply)
    cdef _set_wake(self, LiveLeg record, at_ms)
    cdef _now_ms(self, LiveSwitch switch)
    cdef _mark_dirty(self)
