cimport cython

from rater.charging.call cimport Operation
from rater.charging.keys cimport Keys
from rater.charging.model cimport FreeLeases, OfLeg, Reply, Reserve, Settle, TakeLeases
from rater.charging.newest cimport Newest
from rater.charging.pipeline cimport Pipeline
from rater.charging.places cimport Places
from rater.charging.wire_legs cimport from_reply, leg_call, needs_after, reserve_needs
from rater.histogram cimport Latencies
from rater_native.command cimport Command

cdef object _OK, _DENIED, _UNAVAILABLE

cdef class Turns:
    cdef public object on_answered, _link, _forms
    cdef public Latencies latencies
    cdef public dict _busy, _needs
    cdef public Places _places
    cdef public Newest _newest
    cdef public long long refused, _open, _queue_max
    cdef public bint _reading
    cdef public double _read_s
    cdef list _keys_of
    cdef Command _command

    @cython.locals(of_leg=OfLeg, under_way=Operation, shard=cython.long, row=cython.long)
    cpdef submit(self, request, done)
    cpdef flush(self)
    @cython.locals(one=Pipeline)
    cdef _write(self)
    @cython.locals(command=Command, keys=Keys, script=str, words=tuple, one=Pipeline)
    cpdef _queue(self, Operation operation, bint as_script=*)
    @cython.locals(reply=Reply)
    cpdef _answered(self, Operation operation, answer)
    @cython.locals(following=Operation)
    cpdef _finish(self, Operation operation, Reply reply)
    cpdef _after_read(self)
    cpdef Keys keys(self, long shard)
