from rater.charging.terms cimport Lease

cdef object _CLASS_LIMIT

cpdef add_leases(list found, str scope, both, one_way, reason, bint outbound, bint shadow)
