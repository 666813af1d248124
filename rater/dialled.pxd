cimport cython

@cython.locals(i=Py_ssize_t)
cpdef bint are_symbols(str text, Py_ssize_t begin) except? -1
@cython.locals(begin=Py_ssize_t)
cpdef bint is_dialled(str text) except? -1
