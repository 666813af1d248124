from rater.kept cimport Kept

cdef class Keys:
    cdef readonly object prefix, shard, tag, outbox, ledger, ledger_checkpoint, ledger_sums, accounts, switches, wake
    cdef readonly object transfers, moves, arrivals, lease_prefix
    cdef readonly Kept of_needs
    cdef str _refund, _rate, _spend, _account, _leg, _legs, _epoch, _operation, _homes, _moving

    cpdef str account(self, account)
    cpdef str leg(self, leg)
    cpdef str legs(self, switch)
    cpdef str epoch(self, switch)
    cpdef str operation(self, op)
    cpdef str spend(self, account)
    cpdef str rate(self, scope)
    cpdef str homes(self, account)
    cpdef str lease(self, scope)
