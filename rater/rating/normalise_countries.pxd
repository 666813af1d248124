cimport cython

cdef class Place:
    cdef readonly object number, code, region, kind, fault

cdef class _Range:
    cdef readonly object lengths, match
    cdef readonly object kind

    cdef bint holds(self, national) except -1

cdef class _Region:
    cdef readonly object name, leads
    cdef _Range general, mobile
    cdef bint one_pattern
    cdef list ranges

    @cython.locals(each=_Range)
    cpdef str kind(self, national)

cpdef str country_code(digits)
cpdef bint _is_plain(code, national) except -1
@cython.locals(region=_Region)
cpdef tuple _region_and_kind(code, national)
cpdef str _fault(digits, code, possible)
