cimport cython

from bench.load.histogram cimport Histogram
from bench.load.port cimport Calls, Port

cdef int CHECK_TIMER, HANG_UP, ASKING, RINGING, TALKING, OVER
cdef long long SOON_NS, GUARD_NS, NEVER_NS
cdef list _MICROS
cdef object _SOON, _RING, _TALK, _USUAL, _POOR, _ANSWERED, _UNANSWERED, _CUT, _DENIED
cdef dict _FATES

cdef class World

cdef class Window:
    cdef public long long begin_ns, end_ns, offered, completed, events, unanswered
    cdef public Histogram verdict, timer, lateness
    cdef public dict fates

    cpdef bint holds(self, long long at_ns) except -1

cdef class Call:
    cdef public long long answered_us, deadline_ns, due_ns, end_ns, talk_ns, timer_due_ns, seconds, serial
    cdef public int line, number, legs, state
    cdef public bint broken, checking, doubtful
    cdef public object kind
    cdef public list names, values
    cdef public bytes reason, verdict
    cdef public Switch switch

cdef class Switch(Calls):
    cdef public int index
    cdef public long long serial
    cdef public Port port
    cdef public dict channels
    cdef World _world

cdef class World:
    cdef public object mix, people, lengths
    cdef public list switches, lost
    cdef public dict reasons
    cdef public Window window
    cdef public int live, asking, unarmed
    cdef public long long now_ns
    cdef readonly object _records
    cdef object _random, _guards
    cdef list _heap, _kinds_at, _lines, _numbers
    cdef long long _serial, _poor, _begin_ns, _until_ns, _wall_us, _stamp_ms
    cdef double _rate
    cdef bint _all_hang_up
    cdef bytes _stamp_begin

    @cython.locals(first_ns=cython.longlong, guard_ns=cython.longlong)
    cdef long long _first_ns(self) except -1
    @cython.locals(now_ns=cython.longlong, due_ns=cython.longlong, next_ns=cython.longlong, call=Call, step=cython.int)
    cpdef run_due(self)
    cdef _later(self, long long at_ns, Call call, int step)
    @cython.locals(call=Call, switch=Switch, window=Window)
    cdef _begin(self, long long due_ns)
    cdef int _caller(self, kind) except -1
    @cython.locals(serial=cython.longlong, seconds=cython.longlong, values=list, line=bytes, other=bytes, number=bytes,
                   name=bytes, of_third=bytes)
    cdef _name(self, Switch switch, Call call)
    @cython.locals(switch=Switch, window=Window)
    cdef _do(self, Call call, int step, long long due_ns)
    @cython.locals(delay_ns=cython.longlong)
    cdef _next_step(self, Call call, long long due_ns, int step)
    @cython.locals(now_ns=cython.longlong, window=Window)
    cdef decided(self, Switch switch, Call call)
    @cython.locals(now_ns=cython.longlong)
    cdef armed(self, Call call, long long after_ns)
    @cython.locals(window=Window)
    cdef _reacted(self, Call call, long long now_ns)
    cdef _check_timer(self, Switch switch, Call call)
    cdef interrupt(self, Switch switch, Call call)
    cdef _cut(self, Switch switch, Call call, fate)
    cdef _guard(self, Switch switch, Call call)
    @cython.locals(now_ns=cython.longlong, window=Window, values=list)
    cdef _send(self, Switch switch, Call call, burst)
    @cython.locals(at_ms=cython.longlong)
    cdef bytes _stamp(self, long long at_us)
    @cython.locals(now_ns=cython.longlong, window=Window, channels=dict)
    cdef _finish(self, Switch switch, Call call, fate)
