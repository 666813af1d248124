cimport cython

from rater.dialled cimport is_dialled
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
