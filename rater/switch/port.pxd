cimport cython

from rater.calls.commands cimport AnswerGate, Forget, HangUp
from rater.switch.actions cimport Actions
from rater.switch.exchange cimport Exchange
from rater.switch.tracker cimport Tracker

cdef class Port:
    cdef public object id, _engine, _metrics
    cdef public Tracker tracker
    cdef public Actions _actions
    cdef public bint synced
    cdef public double acts_until_s
    cdef public Exchange _exchange
    cdef public list _outgoing
    cdef public dict _gates, _hang_ups
    cdef public long long _measure_next_ns

    @cython.locals(forget=Forget, gate=AnswerGate, hang_up=HangUp)
    cpdef execute(self, command)
    @cython.locals(actions=list)
    cpdef flush(self)
    cpdef on_frames(self, list frames, long long arrived_ns)
    @cython.locals(passed=list)
    cdef _handle(self, list frames, long long arrived_ns)
