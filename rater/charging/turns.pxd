cimport cython

from rater.charging.call cimport Operation
from rater.charging.keys cimport Keys
from rater.charging.model cimport Answer, Extend, FreeLeases, Reply, Reserve, Settle, TakeLeases
from rater.charging.newest cimport Newest
from rater.charging.places cimport Places
from rater.charging.wire_legs cimport from_reply, leg_call, needs_after, reserve_needs

cdef object _OK, _DENIED, _UNAVAILABLE, _write

cdef class Turns:
    cdef public object on_latency, on_answered, _link, _forms
    cdef public dict _busy, _needs
    cdef public Places _places
    cdef public Newest _newest
    cdef public long long refused, _open, _queue_max
    cdef public bint _reading
    cdef list _keys_of

    cpdef submit(self, request, done)
    cpdef flush(self)
    @cython.locals(called=tuple)
    cpdef _queue(self, Operation operation, bint as_script=*)
    @cython.locals(reply=Reply)
    cpdef _answered(self, Operation operation, answer)
    cpdef _finish(self, Operation operation, Reply reply)
    cpdef _after_read(self)
    cpdef Keys keys(self, shard)
