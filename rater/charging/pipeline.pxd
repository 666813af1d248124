cimport cython

from rater.charging.call cimport Call

cdef class Pipeline:
    cdef public bint up
    cdef public double _timeout_s, _patience_s, _heard_s
    cdef public object _on_answer, _after_read, _reading, _transport, _sent, _append, _next
    cdef public list _queue

    cpdef queue(self, Call call)
    @cython.locals(call=Call, queue=list)
    cpdef flush(self)
    @cython.locals(handed=int)
    cpdef answers(self, next_answer)

cdef class Reading:
    cdef Pipeline _pipeline
    cdef object _feed
    cdef readonly object next_answer, greeting

    @cython.locals(pipeline=Pipeline)
    cpdef data_received(self, data)
