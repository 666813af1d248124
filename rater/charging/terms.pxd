cdef class Lease:
    cdef readonly object scope, limit, reason, shadow

cdef class CallRate:
    cdef readonly object scope, calls, reason, shadow

cdef class SpendCap:
    cdef readonly object window, limit_micro, from_ms, shadow

cdef class PastCycle:
    cdef readonly object valid_from_ms, seconds, ended_at_ms, rolled_until_ms

cdef class Rollover:
    cdef readonly object max_s, min_s, past

cdef class AllowanceTerm:
    cdef readonly object grant, seconds, cadence, valid_from_ms, valid_until_ms, tier, priority, next_until_ms, rollover, hours

cdef class GrantSpec:
    cdef readonly object id, resource, amount, valid_from_ms, valid_until_ms, priority, source, classes, also, cadence, blocks, hours

cdef class Threshold:
    cdef readonly object id, kind, value, grant, once_from_ms

cdef class Terms:
    cdef readonly object floor_micro, use_money, allowances, thresholds, currency, spend, shadow, seconds_order, money_order, share, bands

cdef class Quota:
    cdef readonly object amount, valid_from_ms, valid_until_ms, next_until_ms

cdef class Share:
    cdef readonly object owner, terms, first, quota_s, quota_micro, valid_until_ms

cdef class SlicePolicy:
    cdef readonly object first_s, long_s, short_s

