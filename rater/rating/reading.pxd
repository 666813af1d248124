cimport cython

from rater.rating.automaton cimport Automaton, Pattern
from rater.rating.normalise_countries cimport Place, place_of

cdef class Normalised:
    cdef readonly str number
    cdef readonly object destination_class, class_is_final, emergency, is_short, steps

cdef class NumberRefused:
    cdef readonly object reason, number, detail, steps

cdef class Reading:
    cdef public str dialled, number
    cdef public object area, at_ms
    cdef public list steps

    cpdef note(self, rule, text)
    cpdef rewrite(self, rule, number, why)
    cpdef end_open(self, number, suggested_class=*)
    cpdef refuse(self, reason, detail)

cdef class Rule:
    cdef readonly Pattern pattern

    cpdef apply(self, Reading reading)

cdef class _Filling:
    cdef Pattern _pattern
    cdef str _before, _has_group, _after
    cdef Py_ssize_t _start

    @cython.locals(group=str)
    cpdef str of(self, str number)

cdef class _Rewrite(Rule):
    cdef object _name, _why
    cdef _Filling _filling

cdef class _Service(Rule):
    cdef object _name, _class, _what
    cdef bint _is_short
    cdef _Filling _filling

cdef class _Refuse(Rule):
    cdef object _name, _reason, _detail

cdef class _WithArea(Rule):
    cdef object _name, _template, _country

cdef class _International(Rule):
    cdef object _home

    @cython.locals(place=Place)
    cpdef apply(self, Reading reading)

cdef class _When(Rule):
    cdef object _then

cdef class Rules:
    cdef list _rules, _bits
    cdef Automaton _automaton

    @cython.locals(number=str, matching=int, place=Py_ssize_t, rule=Rule, bit=int)
    cpdef read(self, Reading reading)

cdef bint _are_digits(str text) except -1
@cython.locals(place=Place, digits=str)
cpdef checked_place(Reading reading)
