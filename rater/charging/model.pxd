from rater.charging.terms cimport SlicePolicy, Terms
from rater_native.packing cimport trailing_number

cdef class OfLeg:
    cdef readonly str op
    cdef readonly long shard
    cdef readonly str account, leg, switch
    cdef readonly long long epoch, now_ms

cdef class Reserve(OfLeg):
    cdef readonly object quote
    cdef readonly Terms terms
    cdef readonly tuple leases
    cdef readonly SlicePolicy slice
    cdef readonly bint exempt
    cdef readonly bytes facts
    cdef readonly tuple rates
    cdef readonly object broken

cdef class Answer(OfLeg):
    cdef readonly long long answered_at_ms
    cdef readonly bytes facts

cdef class Extend(OfLeg):
    cdef readonly long long elapsed_s
    cdef readonly Terms terms
    cdef readonly SlicePolicy slice
    cdef readonly long long seen_at_ms

cdef class Settle(OfLeg):
    cdef readonly object duration_s
    cdef readonly Terms terms
    cdef readonly bint emit
    cdef readonly bytes facts

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
