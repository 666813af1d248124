# Where values are written, and the short ones among them; what is longer is `packing.pyx`'s.

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    /* A text as UTF-8, without a call for what is ASCII. Raises TypeError for what is no text. */
    static CYTHON_INLINE const char* rater_utf8_of(PyObject* text, Py_ssize_t* size) {
        if (PyUnicode_Check(text) && PyUnicode_IS_COMPACT_ASCII(text)) {
            *size = PyUnicode_GET_LENGTH(text);
            return (const char*)PyUnicode_1BYTE_DATA(text);
        }
        return PyUnicode_AsUTF8AndSize(text, size);
    }

    /* A number as it is stored, its highest byte first. */
    static CYTHON_INLINE uint64_t rater_highest_first(uint64_t number) {
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        return number;
    #else
        return __builtin_bswap64(number);
    #endif
    }
    """
    uint64_t highest_first "rater_highest_first" (uint64_t number) noexcept
    const char* utf8_of "rater_utf8_of" (object text, Py_ssize_t* size) except NULL

cdef enum:
    ROOM = 4096
    KEPT = 65536

cdef struct Buffer:
    char* data
    Py_ssize_t size
    Py_ssize_t room
    bint old  # texts as msgpack had them before it knew bytes, and bytes as texts: so Redis' library writes, too

cdef int grow(Buffer* out, Py_ssize_t more) except -1
cdef int add_long_text(Buffer* out, const char* data, Py_ssize_t size) except -1
cdef int add_large(Buffer* out, int64_t number) except -1
cdef Py_ssize_t text_at(const unsigned char** at, const unsigned char* end) except -1


cdef inline char* reserve(Buffer* out, Py_ssize_t more) except NULL:
    """Where so many bytes more can be written."""
    if out.size + more > out.room:
        grow(out, more)
    return out.data + out.size


cdef inline int add(Buffer* out, const char* data, Py_ssize_t size) except -1:
    memcpy(reserve(out, size), data, size)
    out.size += size
    return 0


cdef inline int add_code(Buffer* out, unsigned char code) except -1:
    reserve(out, 1)[0] = <char>code
    out.size += 1
    return 0


cdef inline int add_text(Buffer* out, const char* data, Py_ssize_t size) except -1:
    cdef char* at
    if size >= 32:
        return add_long_text(out, data, size)
    at = reserve(out, 32)
    at[0] = <char>(0xA0 | size)
    memcpy(at + 1, data, size)
    out.size += size + 1
    return 0


cdef inline int add_number(Buffer* out, int64_t number) except -1:
    if -32 <= number < 0x80:
        return add_code(out, <unsigned char>(number & 0xFF))
    return add_large(out, number)


cpdef bytes sequence(values)
cpdef bytes named(bytes head, tuple names, tuple values)
cpdef tuple numbers(bytes data, Py_ssize_t count)
cpdef str first_text(bytes data)
cpdef long long trailing_number(str text) except? -1
