from rater_native.packing cimport Buffer

cdef class Command:
    cdef Buffer _words
    cdef Buffer _values
    cdef Py_ssize_t _keys, _arguments, _inner

    cpdef int begin(self) except -1
    cpdef int key(self, str prefix, str name) except -1
    cpdef Py_ssize_t keys_in(self, str prefix, bytes texts) except -1
    cpdef int text(self, str value) except -1
    cpdef int number(self, long long value) except -1
    cpdef int digits(self, long long value) except -1
    cpdef int data(self, bytes value) except -1
    cpdef int begin_inner(self) except -1
    cpdef int end_inner(self) except -1
    cpdef int end_argument(self) except -1
    cpdef int argument(self, value) except -1
    cpdef bytes values(self)
    cpdef bytes call(self, tuple words)
