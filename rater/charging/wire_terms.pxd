from rater.charging.terms cimport Share, Terms

cdef class PackedTerms:
    cdef readonly Terms terms
    cdef readonly bint alone
    cdef readonly bytes walk
    cdef readonly tuple settling
