cimport cython

cdef int _WIDTH, _STATES, _NOWHERE, _NOT_YET

cdef class Automaton:
    cdef list _follow, _ends, _reach
    cdef dict _numbers
    cdef tuple _symbols
    cdef object _nullable
    cdef tuple _tables
    cdef int[::1] _next, _accepts

    @cython.locals(i=Py_ssize_t, state=int, place=int)
    cpdef int whole(self, str text, Py_ssize_t start=*) except -2
    @cython.locals(i=Py_ssize_t, state=int, place=int, found=int)
    cpdef int beginning(self, str text, Py_ssize_t start=*) except -2
    @cython.locals(to=int)
    cdef int _after(self, int state, int place) except -3
    cdef int _step(self, int state, int place) except -2
    @cython.locals(number=int)
    cdef int _number(self, positions) except -2

cdef class Pattern:
    cdef readonly str text
    cdef readonly bint plain
    cdef object _compiled
    cdef Automaton _automaton

    @cython.locals(found=int)
    cpdef bint whole(self, str text, Py_ssize_t start=*) except -1
    @cython.locals(found=int)
    cpdef bint begins(self, str text, Py_ssize_t start=*) except -1

@cython.locals(code=int)
cdef int _place(Py_UCS4 symbol) except -2
