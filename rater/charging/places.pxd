from rater.charging.model cimport Answer, ExpireGrant, Extend, Post, PostGrant, Reserve, Settle

cdef class Places:
    cdef dict _known
    cdef readonly bint any
