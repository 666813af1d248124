cimport cython

from rater.charging.call cimport Call

cdef class Lane:
    cdef readonly long number
    cdef readonly Reading reading
    cdef public double heard_s
    cdef public long unanswered
    cdef readonly object sent, first_sent
    cdef object _transport, _sent_last
    cdef list _unwritten

    cdef put(self, Call call)
    @cython.locals(unwritten=list)
    cdef write(self)

cdef class Row:
    cdef long under_way
    cdef Lane lane

cdef class Pipeline:
    cdef public bint up
    cdef public list lanes
    cdef public double _timeout_s, _patience_s
    cdef public object _on_answer, _after_read
    cdef public list _queue
    cdef list _rows
    cdef double _since_s, _answered, _busy_s, _measured_s

    cpdef queue(self, Call call)
    @cython.locals(call=Call, queue=list, row=Row, lane=Lane)
    cpdef flush(self)
    @cython.locals(lane=Lane, best=Lane)
    cdef Lane _roomy(self)
    @cython.locals(answered=long, awaited=long, call=Call, row=Row)
    cpdef answers(self, Lane lane, next_answer)
    @cython.locals(lane=Lane, awaited=long)
    cdef long _awaited(self) except -1
    cdef _measure(self, long awaited, long answered, double now_s)
    @cython.locals(awaited=long)
    cpdef double expected_wait_s(self, long shard) except? -1.0

cdef class Reading:
    cdef Pipeline _pipeline
    cdef public Lane lane
    cdef object _feed
    cdef readonly object next_answer, greeting

    @cython.locals(pipeline=Pipeline)
    cpdef data_received(self, data)
