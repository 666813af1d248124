cimport cython

from rater_native.amievent cimport EventFrame, differ
from rater_native.percent cimport question_hash

from rater.dialled cimport is_dialled
from rater.switch.channels cimport Channel, ChannelTable, Trunks, endpoint_of, number_of, variable_of
from rater.switch.gate cimport gate_arguments, is_inbound, is_ours
from rater.switch.leg_table cimport LegTable
from rater.switch.legs cimport Leg
from rater.switch.passage cimport begin as begin_passing
from rater.switch.payer cimport doubt_own_code, line_payer, payer_of
from rater.switch.switch_time cimport SwitchTime

cdef int _NEWCHANNEL, _NEWSTATE, _NEW_ACCOUNT_CODE, _DIAL_BEGIN, _DIAL_END, _HANGUP, _GATE_ASKS, _GATE_OVER
cdef int _BRIDGE_ENTER, _HANGUP_REQUEST, _DIAL_STATE, _RENAME, _BLIND_TRANSFER
cdef dict _KINDS, _CAUSES
cdef frozenset _TELL_THE_ANSWER
cdef object _OUT, _IN, _GATE, _SHADOW, _OBSERVED, _RECONCILED, _ESTIMATED

cdef class Tracker(LegTable):
    cdef public object rules
    cdef readonly SwitchTime time
    cdef readonly set internal
    cdef public set strangers
    cdef public long long internal_calls, unknown_hangups, tampered_frames, foreign_questions

    cpdef feed_all(self, frames, long long arrived_ns, on_signal)
    @cython.locals(kind=cython.int, at_ms=cython.longlong)
    cdef _take(self, EventFrame frame, long long arrived_ns)
    cdef _take_rare(self, int kind, EventFrame frame, long long at_ms, long long arrived_ns)
    @cython.locals(caller=str)
    cdef Channel _channel(self, EventFrame frame, long long at_ms, long long arrived_ns)
    cdef Channel _destination(self, EventFrame frame, long long at_ms, long long arrived_ns)
    cdef Channel _begin(self, str uniqueid, str name, str account_code, long long arrived_ns)
    @cython.locals(first=Channel, lines=str)
    cdef _keep(self, Channel channel, str linkedid, str account_code, str variables, EventFrame frame)
    cdef _show_up(self, Channel channel, EventFrame frame, long long at_ms)
    @cython.locals(mover=Channel, name=str)
    cpdef note_variables(self, Channel channel, str lines)
    cdef _bridge_enter(self, EventFrame frame, long long at_ms, long long arrived_ns)
    cdef _let_go(self, EventFrame frame, long long at_ms, long long arrived_ns)
    @cython.locals(channel=Channel)
    cdef _rename(self, EventFrame frame, long long arrived_ns)
    @cython.locals(leg=Leg)
    cdef _up(self, Channel channel, long long at_ms, object grade)
    @cython.locals(channel=Channel, leg=Leg, gate=Leg)
    cdef _hangup(self, EventFrame frame, long long at_ms)
    @cython.locals(dialler=Channel, called=Channel)
    cdef _dial_begin(self, EventFrame frame, long long at_ms, long long arrived_ns)
    @cython.locals(dialler=Channel, called=Channel)
    cdef _dial_end(self, EventFrame frame, long long at_ms, long long arrived_ns)
    @cython.locals(origin=Channel, number=str, dialled=str)
    cdef _dial(self, Channel dialler, Channel called, EventFrame frame, long long at_ms, long long arrived_ns)
    @cython.locals(leg=Leg)
    cdef _outbound(
        self, Channel dialler, Channel called, object trunk, str number, long long at_ms, long long arrived_ns
    )
    @cython.locals(leg=Leg)
    cdef _inbound(
        self, Channel dialler, Channel origin, Channel called, str number, long long at_ms, long long arrived_ns
    )
    @cython.locals(channel=Channel, gate=Leg, direct=cython.bint)
    cdef Leg _take_over(self, Channel dialler, object payer)
    @cython.locals(called=Channel, dialler=Channel, leg=Leg)
    cdef _tampered_dial(self, EventFrame frame, long long at_ms, long long arrived_ns)
    @cython.locals(sent=Channel)
    cdef _blind_transfer(self, EventFrame frame)
    cdef _sent(self, Channel channel, Channel sender)
    @cython.locals(channel=Channel, gate=Leg, arguments=list, env=str, stamp=str, asked=cython.longlong)
    cdef _gate_asks(self, EventFrame frame, long long at_ms, long long arrived_ns)
    @cython.locals(gate=Leg, leg=Leg, inbound=cython.bint, number=str)
    cpdef ask(self, Channel channel, list arguments, long long at_ms, long long arrived_ns)
    @cython.locals(channel=Channel)
    cdef _gate_over(self, EventFrame frame, long long at_ms, long long arrived_ns)

cpdef EventFrame event_of(object frame)

@cython.locals(cause=cython.longlong)
cdef long long _cause_of(str text) except? -1
