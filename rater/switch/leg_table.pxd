cimport cython

from rater.dialled cimport is_dialled
from rater.switch.channels cimport Channel, ChannelTable
from rater.switch.legs cimport Leg, LegChannels, disposition
from rater.switch.passage cimport answered as answer_passing

cdef class LegTable:
    cdef readonly object switch
    cdef readonly str boot
    cdef readonly ChannelTable channels
    cdef readonly dict legs
    cdef readonly object _dial_mode
    cdef readonly list _out
    cdef readonly dict _put_off
    cdef readonly list passed

    cpdef Leg attempt(
        self, Channel named_after, Channel caller, object payer, object direction, str number, object trunk,
        long long at_ms, long long arrived_ns, object mode=*,
    )
    cpdef str name_leg(self, Channel channel)
    cpdef own(self, Leg leg, Channel billed, object trunk, long long at_ms)
    cpdef answered(self, Leg leg, long long at_ms, object grade=*)
    cpdef end(self, Leg leg, long long at_ms, int cause, str status, object grade=*)
    cpdef emit(self, Leg leg, object signal)
    cpdef list take_signals(self)
    @cython.locals(found=Leg)
    cpdef LegChannels channels_of(self, str leg)
    @cython.locals(found=Leg, other=Leg)
    cpdef bint is_alone(self, str leg) except -1
    @cython.locals(found=Leg)
    cpdef gate_decided(self, str leg, bint allowed)
    @cython.locals(channel=Channel)
    cpdef bint puts_off(self, str leg, str name) except -1
    cpdef gate_passed(self, Channel channel, long long at_ms)
    @cython.locals(found=Leg)
    cpdef forget(self, str leg)
