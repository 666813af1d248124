cdef class Payer:
    cdef readonly object account_code, endpoint, variable

cdef class Attempted:
    cdef readonly object leg, call, switch, mode, direction, payer, number, trunk, caller, at_ms, arrived_ns, caller_channel_id

cdef class Dialled:
    cdef readonly object leg, trunk, channel_id, at_ms

cdef class Answered:
    cdef readonly object leg, at_ms, grade

cdef class Ended:
    cdef readonly object leg, at_ms, cause, disposition, grade

cdef class Seen:
    cdef readonly object leg, at_ms

cdef class Reserved:
    cdef readonly object leg, reason, granted_s, final, capped

cdef class Extended:
    cdef readonly object leg, granted_s, final, capped

cdef class Settled:
    cdef readonly object leg, amount_micro

cdef class Lost:
    cdef readonly str leg

cdef class Due:
    cdef readonly str leg

cdef class MoneyArrived:
    cdef readonly str leg

cdef class HangupRequested:
    cdef readonly str leg

cdef class KnownLeg:
    cdef readonly object leg, call, channel_id, caller_channel_id, answered, direction, seen_at_ms, dialled

