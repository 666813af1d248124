cimport cython

from rater.dialled cimport is_dialled

@cython.locals(begin=Py_ssize_t, end=Py_ssize_t, instance=Py_ssize_t)
cpdef str endpoint_of(str name)
@cython.locals(text=str, begin=Py_ssize_t, end=Py_ssize_t, mark=Py_ssize_t)
cpdef str number_of(str dialled)
@cython.locals(begin=Py_ssize_t, end=Py_ssize_t, equals=Py_ssize_t)
cpdef str variable_of(str lines, str name)

cdef class Trunks:
    cdef list _patterns

    cpdef object of(self, str name)

cdef class Channel:
    cdef public str uniqueid, name
    cdef public object trunk
    cdef public bint is_local
    cdef public str linkedid, account_code, own_account_code, born_state, exten, caller, variable, variables
    cdef public long long told_ns
    cdef public object up_at_ms, let_go_at_ms, hung_at_ms
    cdef public int cause
    cdef public bint dialled
    cdef public Channel dialler
    cdef public str dial_status, bridge, moved_by
    cdef public object sent_by, forwarded_by
    cdef public str handed_down
    cdef public object forwarder, leg, gate, gate_in, asked
    cdef public bint unheard
    cdef public int legs_named

    cpdef let_go_of_legs(self)

cdef class ChannelTable:
    cdef public Trunks trunks
    cdef readonly dict live
    cdef readonly dict gone
    cdef object _gone_in_order
    cdef dict _by_name

    cpdef Channel find(self, str uniqueid)
    cpdef Channel named(self, str name)
    @cython.locals(channel=Channel)
    cpdef Channel once_named(self, str name)
    cpdef Channel add(self, str uniqueid, str name, long long told_ns)
    cpdef rename(self, Channel channel, str name)
    @cython.locals(oldest=Channel)
    cpdef bury(self, Channel channel)
    cpdef Channel other_half(self, Channel channel)
    @cython.locals(other=Channel, mate=Channel)
    cpdef Channel upstream(self, Channel channel)
    @cython.locals(above=Channel)
    cpdef Channel origin(self, Channel channel)
    cdef _unname(self, Channel channel)
