cpdef bytes sequence(values)
cpdef bytes named(bytes head, tuple names, tuple values)
cpdef bytes call(tuple head, names, arguments)
cpdef tuple numbers(bytes data, Py_ssize_t count)
