cimport cython

from rater.calls.commands cimport AnnounceEnd, AnswerGate, ArmTimer, Forget, HangUp, Warn
from rater.switch.channels cimport Channel
from rater.switch.legs cimport Leg, LegChannels
from rater.switch.tracker cimport Tracker

cdef object _OUT, _BILLED

cdef class Actions:
    cdef str _prefix
    cdef long long _made

    cdef str _name(self)
    @cython.locals(channels=LegChannels, channel=str)
    cpdef list of(self, object command, Tracker tracker)
    @cython.locals(caller=str, allowed=cython.bint)
    cdef list _answer_gate(self, AnswerGate command, LegChannels channels, Tracker tracker)
    cdef list _answer_too_late(self, AnswerGate command, LegChannels channels, Tracker tracker)
    cdef list _arm(self, str leg, str channel, long long after_ms, Tracker tracker)
    cdef list _hang_up(self, str leg, int cause, LegChannels channels, Tracker tracker)
    @cython.locals(listener=Channel)
    cdef list _warn(self, Warn command, Tracker tracker)
    cdef list _announce_end(self, AnnounceEnd command, LegChannels channels)
    cdef dict _set(self, str channel, str variable, object value)
    cdef dict _timer(self, str channel, long long after_ms)
