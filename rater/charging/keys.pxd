cdef class Keys:
    cdef readonly str prefix
    cdef readonly object shard
    cdef readonly str tag, outbox, ledger, ledger_checkpoint, ledger_sums, accounts, switches, wake
    cdef readonly str transfers, moves, arrivals
    cdef readonly str lease_prefix, rate_prefix, spend_prefix, account_prefix, leg_prefix, legs_prefix, epoch_prefix
    cdef str _refund, _operation, _homes, _moving

    cpdef str account(self, account)
    cpdef str leg(self, leg)
    cpdef str legs(self, switch)
    cpdef str epoch(self, switch)
    cpdef str operation(self, op)
    cpdef str spend(self, account)
    cpdef str homes(self, account)
    cpdef str lease(self, scope)
