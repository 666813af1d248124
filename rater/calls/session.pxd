cdef class Session:
    cdef public object leg, facts, mode, state, answered_at_ms, paid_from_ms, ended
    cdef public bint gate_waits, final, capped
    cdef public long long granted_s, horizon_s, seen_at_ms, decide_by_ms, ahead_ms
    cdef bint _extending, _fails_open
    cdef tuple _told_end, _warn_ms
    cdef long long _warned_ms

    cdef list _dialled(self, signal)
    cdef list _answered(self, signal, long long now_ms)
    cdef list _talk(self, long long now_ms)
    cdef list _arm_billed(self, long long now_ms)
    cdef list _announce_end(self)
    cdef list _ended(self, signal)
    cdef list _settle(self)
    cdef _note_cut(self, long long ended_at_ms)
    cdef str _cut_reason(self)
    cdef list _seen(self, signal, long long now_ms)
    cdef list _reserved(self, signal, long long now_ms)
    cdef list _denied(self, reason)
    cdef list _extended(self, signal, long long now_ms)
    cdef list _money_arrived(self, long long now_ms)
    cdef list _lost(self)
    cdef list _due(self, long long now_ms)
    cdef list _undecided(self)
    cdef list _extend(self, long long now_ms)
    cdef _wake(self, long long now_ms)
    cdef long long _look_at(self, long long now_ms) except? -1
    cdef list _warn(self, long long now_ms)
    cdef list _arm_caller(self, long long now_ms)
    cdef _wake_ringing(self, long long now_ms)
    cdef list _cut_overdue(self)
