from rater.charging.terms cimport Share, Terms

cdef class PackedTerms:
    cdef readonly Terms terms
    cdef readonly bint alone
    cdef readonly bytes counted, share_counted, share_thresholds, thresholds, walk
