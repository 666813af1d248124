cpdef list gate_arguments(str env)
cpdef bint is_ours(list arguments) except -1
cpdef bint is_inbound(list arguments) except -1
