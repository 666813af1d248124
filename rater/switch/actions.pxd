cimport cython

from rater_native.actionbytes cimport Action as Made
from rater_native.actionbytes cimport Shape, made, seconds_of, shape

from rater.calls.commands cimport AnnounceEnd, AnswerGate, ArmTimer, Forget, HangUp, Warn
from rater.switch.channels cimport Channel
from rater.switch.legs cimport Leg, LegChannels
from rater.switch.tracker cimport Tracker

cdef object _OUT, _BILLED
cdef Shape _SET, _SET_GLOBAL, _LEAVE_GATE, _LIMIT, _HANG_UP, _HANG_UP_WITH_CAUSE

cdef class Actions:
    cdef str _prefix
    cdef long long _made

    cdef long long _number(self)
    @cython.locals(channels=LegChannels, timer=ArmTimer)
    cpdef list of(self, object command, Tracker tracker)
    @cython.locals(channel=str)
    cdef list _arm_timer(self, ArmTimer command, LegChannels channels, Tracker tracker)
    @cython.locals(caller=str, allowed=cython.bint)
    cdef list _answer_gate(self, AnswerGate command, LegChannels channels, Tracker tracker)
    cdef list _answer_too_late(self, AnswerGate command, LegChannels channels, Tracker tracker)
    cdef list _arm(self, str leg, str channel, long long after_ms, Tracker tracker)
    cdef list _hang_up(self, str leg, int cause, LegChannels channels, Tracker tracker)
    @cython.locals(listener=Channel)
    cdef list _warn(self, Warn command, Tracker tracker)
    cdef list _announce_end(self, AnnounceEnd command, LegChannels channels)
    cdef Made _hang_up_one(self, str channel, int cause)
    cdef Made _set(self, str channel, str variable, object value)
    cdef Made _timer(self, str channel, long long after_ms)
