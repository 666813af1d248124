cdef class Shape:
    cdef readonly tuple names
    cdef readonly str action
    cdef list _pieces
    cdef Py_ssize_t _size, _longest

cdef class Action:
    cdef Shape _shape
    cdef str _prefix
    cdef object _first, _second, _third
    cdef long long _number, _sent_ns

    cdef object _read(self, Py_ssize_t place)

cpdef Shape shape(str action, names)
cpdef Action made(Shape shape, str prefix, long long number, first, second=*, third=*)

cpdef str seconds_of(long long ms)

cdef class Sent:
    cdef dict _numbered, _others
    cdef str _prefix

    cpdef put(self, actions, long long now_ns)
    cdef object _number_in(self, const char* name, Py_ssize_t length)
    cdef bint take(self, const char* name, Py_ssize_t length) except -1
