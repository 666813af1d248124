cdef class Rated:
    cdef readonly object quote, number, prefix, destination, destination_class, plan, version, emergency, steps
    cdef readonly object below_margin, margin_enforce

cdef class Refused:
    cdef readonly object reason, number, detail, steps
