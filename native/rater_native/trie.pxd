from libc.stdint cimport int32_t, uint16_t, uint64_t


cdef struct Entry:
    int32_t first
    int32_t cover
    uint16_t[12] offset


cdef struct Tree:
    const uint64_t* keys
    const Entry* table
    int shift
    int scale


cdef uint64_t key_of(str number) except? 0

cdef int32_t longest(const Tree* tree, uint64_t key) noexcept nogil

cdef int32_t shorter(const Tree* tree, int32_t place) noexcept nogil


cdef class Trie:
    cdef Tree tree
    cdef object _keys
    cdef object _table
    cdef int32_t count
    cdef readonly Py_ssize_t nbytes

    cdef int length(self, int32_t group) except -1
