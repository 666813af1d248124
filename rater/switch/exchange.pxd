cimport cython

from rater_native.actionbytes cimport Sent
from rater_native.amievent cimport EventFrame
from rater_native.amiframe cimport FrameParser

cdef class Exchange:
    cdef public object _switch, _on_frames, _recorder, _transport, _backlog
    cdef public Sent _sent
    cdef public dict _lists
    cdef public FrameParser _parser
    cdef public bint _recording, _working, up
    cdef public long long backlog_frames, refused_actions

    @cython.locals(now_ns=cython.longlong, data=bytes)
    cpdef bint send(self, actions) except -1
    @cython.locals(arrived_ns=cython.longlong, parser=FrameParser, answers=cython.longlong, frames=list)
    cpdef received(self, bytes data)
    @cython.locals(event=EventFrame, rows=list)
    cdef bint _is_answer(self, frame) except -1
    cdef _put_by(self, list frames, long long arrived_ns)
    cdef _handle(self, list frames, long long arrived_ns)
