cimport cython

from rater.rating.normalise_countries cimport Place

cdef class Normalised:
    cdef readonly object number, destination_class, class_is_final, emergency, is_short, steps

cdef class NumberRefused:
    cdef readonly object reason, number, detail, steps

cdef class Reading:
    cdef public object dialled, number, area, at_ms, steps

    cpdef note(self, rule, text)
    cpdef rewrite(self, rule, number, why)
    cpdef end_open(self, number, suggested_class=*)
    cpdef refuse(self, reason, detail)

cdef class DialPlan:
    cdef readonly object name, own, preset, emergency, area

    @cython.locals(reading=Reading)
    cpdef read(self, dialled, area, at_ms)

@cython.locals(place=Place)
cpdef checked_place(Reading reading)
cdef bint _is_allowed(number) except -1
