cpdef bytes sequence(values)
cpdef bytes named(bytes head, tuple names, tuple values)
cpdef bytes call(tuple head, names, arguments)
