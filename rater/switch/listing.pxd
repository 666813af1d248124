cimport cython

from rater_native.amievent cimport EventFrame

from rater.switch.channels cimport Channel, ChannelTable
from rater.switch.legs cimport Leg
from rater.switch.tracker cimport Tracker, event_of

cdef object _OUTGOING, _OBSERVED, _RECONCILED

cdef class Row:
    cdef readonly Channel channel
    cdef readonly EventFrame frame

    @cython.locals(channel=Channel, application=str)
    cpdef bint is_stranger(self) except -1

cdef class Listing:
    cdef readonly dict rows
    cdef readonly list doubtful
    cdef readonly long long visits, at_ms
    cdef Tracker _tracker
    cdef long long _asked_ns
    cdef dict _calls

    cpdef take(self, list frames)
    @cython.locals(channels=ChannelTable, channel=Channel, row=Row, others=list, uniqueid=str, name=str)
    cdef _take(self, EventFrame frame)
    @cython.locals(channel=Channel)
    cdef _note_question(self, Row row)
    @cython.locals(channels=ChannelTable, first=Channel, linkedid=str, code=str)
    cdef _update(self, Channel channel, EventFrame frame)
    cpdef bint is_told(self, Channel channel) except -1
    @cython.locals(row=Row)
    cpdef list strangers(self, list rows)
    @cython.locals(found=list)
    cpdef list of_call(self, str linkedid)
    @cython.locals(leg=Leg)
    cpdef look_at(self, list legs)
    @cython.locals(billed=Channel, row=Row)
    cdef _look_at(self, Leg leg)
    cpdef answer(self, Leg leg, Channel billed, object grade)
    @cython.locals(channel=Channel)
    cpdef bury_unlisted(self, list channels)
    @cython.locals(row=Row)
    cpdef bint release(self, long long count) except -1
    @cython.locals(row=Row)
    cpdef Row dialler(self, Channel called)

cpdef bint names(str destination, Channel called) except -1
cpdef str number_dialled(Row dialler, Channel called)
