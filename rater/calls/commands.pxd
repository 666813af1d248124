cdef class AnswerGate:
    cdef readonly object leg, reason, seconds

cdef class ArmTimer:
    cdef readonly object leg, party
    cdef readonly long long after_ms

cdef class HangUp:
    cdef readonly object leg, cause

cdef class Warn:
    cdef readonly object leg, seconds

cdef class AnnounceEnd:
    cdef readonly object leg, cut, at_ms

cdef class Forget:
    cdef readonly str leg

cdef class ReserveSlice:
    cdef readonly str leg

cdef class PersistAnswer:
    cdef readonly object leg, answered_at_ms

cdef class ExtendSlice:
    cdef readonly object leg, elapsed_s, renew_only

cdef class SettleLeg:
    cdef readonly object leg, duration_s, emit

cdef class WakeAt:
    cdef readonly str leg
    cdef readonly long long at_ms

