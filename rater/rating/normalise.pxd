cimport cython

from rater.rating.reading cimport Normalised, NumberRefused, Reading, Rule, Rules

cdef class DialPlan:
    cdef readonly object name, area
    cdef readonly Rules own, preset
    cdef readonly object emergency

    @cython.locals(reading=Reading)
    cpdef read(self, str dialled, area, at_ms)
    cpdef _emergency(self, Reading reading)

cdef class _Own(Rule):
    cdef object _rule, _name

@cython.locals(length=Py_ssize_t, start=Py_ssize_t, i=Py_ssize_t)
cdef bint _is_allowed(str number) except -1
