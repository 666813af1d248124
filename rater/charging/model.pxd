cdef class OfLeg:
    cdef readonly object op, shard, account, leg, switch, epoch, now_ms

cdef class Reserve(OfLeg):
    cdef readonly object quote, terms, leases, slice, exempt, facts, rates, broken

cdef class Answer(OfLeg):
    cdef readonly object answered_at_ms, facts

cdef class Extend(OfLeg):
    cdef readonly object elapsed_s, terms, slice, seen_at_ms

cdef class Settle(OfLeg):
    cdef readonly object duration_s, terms, emit, facts

cdef class Deny:
    cdef readonly object op, shard, now_ms, facts

cdef class TakeLeases:
    cdef readonly object op, shard, leg, switch, epoch, now_ms, until_ms, leases, forced

cdef class FreeLeases:
    cdef readonly object op, shard, leg, switch, epoch, scopes

cdef class Post:
    cdef readonly object op, shard, account, kind, amount_micro, now_ms, terms, cause, event, charged_micro, other, other_shard, other_terms

cdef class PostGrant:
    cdef readonly object op, shard, account, grant, now_ms, cause

cdef class ExpireGrant:
    cdef readonly object op, shard, account, grant, now_ms, cause

cdef class Reply:
    cdef readonly object status, reason, granted_s, final, amount_micro, balance_micro, reserved_micro, repeated, capped

cpdef long long op_number(str op) except -1
