from rater.switch.channels cimport Channel

cdef object _IN

cdef class LegChannels:
    cdef readonly str billed, caller
    cdef readonly bint asking, answered
    cdef readonly object direction
    cdef readonly bint passes

cdef class Leg:
    cdef public str id, call
    cdef public object mode, direction, payer, trunk
    cdef public Channel caller, billed
    cdef public bint asking, open, answered, ended, forgotten

    cpdef LegChannels channels(self)
    cpdef bint is_dialled_by(self, Channel caller) except -1

cdef bint _passes(Leg leg) except -1

cdef str _living(Channel channel)

cpdef object disposition(bint answered, str dial_status, int cause)
