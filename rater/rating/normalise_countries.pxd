cimport cython

from rater.rating.automaton cimport Automaton, Pattern

cdef class Place:
    cdef readonly object number, code, region, kind, fault

cdef class _Region:
    cdef readonly object name
    cdef readonly Pattern leads
    cdef bint _one_pattern
    cdef Automaton _ranges
    cdef list _fitting
    cdef dict _kinds

    @cython.locals(fitting=int, ranges=int)
    cdef str kind(self, str digits, Py_ssize_t start)
    cdef str _kind(self, int ranges)

cdef class _Country:
    cdef readonly str code
    cdef readonly Py_ssize_t start
    cdef list _regions, _possible
    cdef Pattern _prefix

    @cython.locals(start=Py_ssize_t)
    cpdef bint is_plain(self, str digits) except -1
    @cython.locals(region=_Region)
    cpdef Place place(self, str digits)

cdef list _BY_DIGITS

cpdef str country_code(digits)
@cython.locals(place=Py_ssize_t, known=_Country)
cdef _Country _country_of(str digits)
@cython.locals(country=_Country)
cpdef Place place_of(str digits)
cpdef str _fault(digits, code, possible)
