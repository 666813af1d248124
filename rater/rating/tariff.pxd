cimport cython

from rater.dialled cimport are_symbols
from rater.kept cimport Kept

cdef class Found:
    cdef readonly object quote, prefix, destination, destination_class, row

cdef class NoRate:
    cdef readonly object detail

cdef class _Made:
    cdef readonly object quote, destination, destination_class, row
    cdef readonly Py_ssize_t length

cdef class PlanTariff:
    cdef readonly object plan, currency, rounding, zone, bands, deck, max_call_s, unit_micro, timeline
    cdef public object pricer
    cdef readonly Kept _made

    @cython.locals(made=_Made)
    cpdef quote(self, str number, at_ms, horizon_s=*)
    cdef _Made _make(self, str number, at_ms, horizon_s)
