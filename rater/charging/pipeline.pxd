cimport cython

from rater.charging.call cimport Call

cdef class Pipeline:
    cdef public bint up
    cdef public double _timeout_s, _patience_s, _heard_s
    cdef public object _on_answer, _after_read, _transport, _sent, _append, _next
    cdef public list _queue

    cpdef queue(self, Call call)
    @cython.locals(call=Call, queue=list)
    cpdef flush(self)
    @cython.locals(handed=int)
    cpdef answers(self, reader)
