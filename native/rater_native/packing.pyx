# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The compiled twin of `rater.packing_reference`: values as msgpack, words as a command of Redis' protocol."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Check
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.list cimport PyList_Check
from cpython.long cimport PyLong_Check, PyLong_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.ref cimport Py_INCREF, PyObject
from cpython.tuple cimport PyTuple_Check, PyTuple_New, PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_Check, PyUnicode_DecodeUTF8
from libc.stdint cimport int16_t, int32_t, int64_t, uint64_t
from libc.string cimport memcpy

from msgpack import unpackb

cdef extern from "Python.h":
    PyObject* PyTuple_GET_ITEM(object values, Py_ssize_t place)
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1
    unsigned long long PyLong_AsUnsignedLongLong(object value) except? 0xFFFFFFFFFFFFFFFF

cdef enum:
    DEPTH = 32


cdef class Packed:
    """A list of texts that is packed already; it takes a third of the room."""

    cdef bytes data

    def __init__(self, texts):
        cdef Buffer out
        begin(&out, ROOM, False)
        try:
            add_value(&out, list(texts), 0)
            self.data = PyBytes_FromStringAndSize(out.data, out.size)
        finally:
            end(&out)

    def __iter__(self):
        return iter(unpackb(self.data))

    def __eq__(self, other):
        return list(self) == list(other) if isinstance(other, (Packed, list)) else NotImplemented

    def __reduce__(self):
        return Packed, (list(self),)


cdef int grow(Buffer* out, Py_ssize_t more) except -1:
    cdef Py_ssize_t room = max(2 * out.room, out.size + more)
    cdef char* grown = <char*>PyMem_Realloc(out.data, room)
    if grown == NULL:
        raise MemoryError
    out.data = grown
    out.room = room
    return 0


cdef inline int add_head(Buffer* out, unsigned char code, uint64_t value, int width) except -1:
    """A type's byte and a number of that many bytes, the highest first."""
    cdef char* at = reserve(out, 9)
    cdef uint64_t bits = 0
    if width:
        bits = highest_first(value << (64 - 8 * width))
    at[0] = <char>code
    memcpy(at + 1, &bits, 8)  # what is too much of them is written over
    out.size += width + 1
    return 0


cdef int add_int(Buffer* out, object value) except -1:
    cdef int overflow = 0
    cdef int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow:
        return add_head(out, 0xCF, PyLong_AsUnsignedLongLong(value), 8)
    return add_number(out, number)


cdef int add_large(Buffer* out, int64_t number) except -1:
    """One that is no byte by itself."""
    if number >= 0:
        if number < 0x100:
            return add_head(out, 0xCC, number, 1)
        if number < 0x10000:
            return add_head(out, 0xCD, number, 2)
        if number <= 0xFFFFFFFFLL:
            return add_head(out, 0xCE, number, 4)
        return add_head(out, 0xCF, number, 8)
    if number >= -0x80:
        return add_head(out, 0xD0, <uint64_t>number, 1)
    if number >= -0x8000:
        return add_head(out, 0xD1, <uint64_t>number, 2)
    if number >= -0x80000000LL:
        return add_head(out, 0xD2, <uint64_t>number, 4)
    return add_head(out, 0xD3, <uint64_t>number, 8)


cdef int add_long_text(Buffer* out, const char* data, Py_ssize_t size) except -1:
    """One of 32 bytes at least."""
    if size < 0x100 and not out.old:
        add_head(out, 0xD9, size, 1)
    elif size < 0x10000:
        add_head(out, 0xDA, size, 2)
    elif size <= 0xFFFFFFFFLL:
        add_head(out, 0xDB, size, 4)
    else:
        raise ValueError("a text is too long")
    return add(out, data, size)


cdef int add_bytes(Buffer* out, const char* data, Py_ssize_t size) except -1:
    if out.old:
        return add_text(out, data, size)
    if size < 0x100:
        add_head(out, 0xC4, size, 1)
    elif size < 0x10000:
        add_head(out, 0xC5, size, 2)
    elif size <= 0xFFFFFFFFLL:
        add_head(out, 0xC6, size, 4)
    else:
        raise ValueError("these are too many bytes")
    return add(out, data, size)


cdef int add_count(Buffer* out, unsigned char fixed, unsigned char wide, Py_ssize_t count) except -1:
    """The head of an array or a map."""
    if count < 16:
        add_head(out, <unsigned char>(fixed | count), 0, 0)
    elif count < 0x10000:
        add_head(out, wide, count, 2)
    else:
        add_head(out, wide + 1, count, 4)
    return 0


cdef inline int add_value(Buffer* out, object value, int depth) except -1:
    """The three that are most frequent first."""
    cdef Py_ssize_t size = 0
    cdef const char* data
    if PyUnicode_Check(value):
        data = utf8_of(value, &size)
        return add_text(out, data, size)
    if value is None:
        return add_code(out, 0xC0)
    if PyLong_CheckExact(value):
        return add_int(out, value)
    return add_other(out, value, depth)


cdef int add_other(Buffer* out, object value, int depth) except -1:
    """What is neither a text nor None nor just a number."""
    cdef uint64_t bits
    cdef double number
    if depth > DEPTH:
        raise ValueError("values within values without end")
    if value is True:
        add_code(out, 0xC3)
    elif value is False:
        add_code(out, 0xC2)
    elif PyLong_Check(value):
        add_int(out, value)
    elif PyBytes_Check(value):
        add_bytes(out, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    elif PyTuple_Check(value):
        add_count(out, 0x90, 0xDC, len(<tuple>value))
        for each in <tuple>value:
            add_value(out, each, depth + 1)
    elif PyList_Check(value):
        add_count(out, 0x90, 0xDC, len(<list>value))
        for each in <list>value:
            add_value(out, each, depth + 1)
    elif PyDict_Check(value):
        add_count(out, 0x80, 0xDE, len(<dict>value))
        for key, each in (<dict>value).items():
            add_value(out, key, depth + 1)
            add_value(out, each, depth + 1)
    elif isinstance(value, Packed):
        if out.old:
            raise TypeError("it is packed in another form")
        add(out, PyBytes_AS_STRING((<Packed>value).data), PyBytes_GET_SIZE((<Packed>value).data))
    elif PyFloat_Check(value):
        number = PyFloat_AS_DOUBLE(value)
        memcpy(&bits, &number, 8)
        add_head(out, 0xCB, bits, 8)
    else:
        raise TypeError(f"a {type(value).__name__} cannot be packed")
    return 0


cdef char* spare = NULL  # what was written into last, for the next to write into: nearly all are short
cdef Py_ssize_t spare_room = 0


cdef inline int begin(Buffer* out, Py_ssize_t room, bint old) except -1:
    global spare
    out.old = old
    out.size = 0
    if spare != NULL:
        out.data, out.room = spare, spare_room
        spare = NULL
        return 0
    out.room = room
    out.data = <char*>PyMem_Malloc(room)
    if out.data == NULL:
        raise MemoryError
    return 0


cdef inline void end(Buffer* out) noexcept:
    global spare, spare_room
    if spare == NULL and out.room <= KEPT:
        spare, spare_room = out.data, out.room
    else:
        PyMem_Free(out.data)


cdef inline const unsigned char* taken(const unsigned char** at, const unsigned char* end, int width) except NULL:
    """The next so many bytes; moves on behind them."""
    cdef const unsigned char* here = at[0]
    if end - here < width:
        raise ValueError("the values end too soon")
    at[0] = here + width
    return here


cdef inline int64_t number_at(const unsigned char** at, const unsigned char* end) except? -1:
    cdef unsigned char code
    if at[0] != end and at[0][0] < 0x80:  # most are their own byte
        code = at[0][0]
        at[0] += 1
        return code
    return longer_number_at(at, end)


cdef int64_t longer_number_at(const unsigned char** at, const unsigned char* end) except? -1:
    cdef unsigned char code = taken(at, end, 1)[0]
    cdef const unsigned char* digits
    cdef uint64_t bits = 0
    cdef double real
    cdef int width, i
    if code >= 0xE0:
        return <int64_t>code - 0x100
    if not 0xCB <= code <= 0xD3:
        raise ValueError("that is no number")
    width = 8 if code == 0xCB else 1 << ((code - 0xCC) & 3)
    digits = taken(at, end, width)
    for i in range(width):
        bits = bits << 8 | digits[i]
    if code == 0xCB:
        memcpy(&real, &bits, 8)
        if not -9e18 < real < 9e18 or real != <double><int64_t>real:
            raise ValueError("that is no whole number")
        return <int64_t>real
    if code == 0xCF and bits >> 63:
        raise ValueError("that number is too large")
    if code == 0xD0:
        return <signed char>bits
    if code == 0xD1:
        return <int16_t>bits
    if code == 0xD2:
        return <int32_t>bits
    return <int64_t>bits


cpdef tuple numbers(bytes data, Py_ssize_t count):
    """So many whole numbers, packed one after the other. Raises ValueError for anything else."""
    cdef const unsigned char* at = <const unsigned char*>PyBytes_AS_STRING(data)
    cdef const unsigned char* end = at + PyBytes_GET_SIZE(data)
    cdef tuple found = PyTuple_New(count)
    cdef Py_ssize_t i
    cdef object number
    for i in range(count):
        number = number_at(&at, end)
        Py_INCREF(number)
        PyTuple_SET_ITEM(found, i, number)
    if at != end:
        raise ValueError("more values than expected")
    return found


cdef Py_ssize_t text_at(const unsigned char** at, const unsigned char* end) except -1:
    """How long the next text is; moves on to where it begins. Bytes are taken for texts."""
    cdef unsigned char code = taken(at, end, 1)[0]
    cdef const unsigned char* digits
    cdef Py_ssize_t size = 0
    cdef int width, i
    if 0xA0 <= code < 0xC0:
        size = code & 0x1F
    else:
        if 0xD9 <= code <= 0xDB:
            width = 1 << (code - 0xD9)
        elif 0xC4 <= code <= 0xC6:
            width = 1 << (code - 0xC4)
        else:
            raise ValueError("that is no text")
        digits = taken(at, end, width)
        for i in range(width):
            size = size << 8 | digits[i]
    if end - at[0] < size:
        raise ValueError("the values end too soon")
    return size


cpdef str first_text(bytes data):
    """The first of values packed one after the other. Raises ValueError when it is no text."""
    cdef const unsigned char* at = <const unsigned char*>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = text_at(&at, at + PyBytes_GET_SIZE(data))
    return PyUnicode_DecodeUTF8(<const char*>at, size, NULL)


cpdef long long trailing_number(str text) except? -1:
    """What stands behind the last colon. Raises ValueError when it is no number."""
    cdef Py_ssize_t size = 0
    cdef const char* data = utf8_of(text, &size)
    cdef Py_ssize_t at = size
    cdef long long number = 0, unit = 1
    while at > 0 and size - at < 18 and c"0" <= data[at - 1] <= c"9":
        at -= 1
        number += unit * (data[at] - c"0")
        unit *= 10
    if at < size and (at == 0 or data[at - 1] == c":"):
        return number
    return int(text[text.rfind(":") + 1 :])


cpdef bytes sequence(values):
    """The values packed one after the other, bytes as texts."""
    cdef Buffer out
    begin(&out, ROOM, True)
    try:
        if PyTuple_Check(values):
            for each in <tuple>values:
                add_value(&out, each, 0)
        else:
            for each in values:
                add_value(&out, each, 0)
        return PyBytes_FromStringAndSize(out.data, out.size)
    finally:
        end(&out)


cpdef bytes named(bytes head, tuple names, tuple values):
    """A map. `head`: its own, packed; `names`: its keys, each packed; `values`: as they come."""
    cdef Buffer out
    cdef Py_ssize_t i
    cdef PyObject* name  # borrowed, as are the values: the tuples hold them
    if len(names) != len(values):
        raise ValueError("each value has one name")
    begin(&out, ROOM, False)
    try:
        add(&out, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
        for i in range(len(names)):
            name = PyTuple_GET_ITEM(names, i)
            if not PyBytes_Check(<object>name):
                raise TypeError("a name is packed")
            add(&out, PyBytes_AS_STRING(<object>name), PyBytes_GET_SIZE(<object>name))
            add_value(&out, <object>PyTuple_GET_ITEM(values, i), 0)
        return PyBytes_FromStringAndSize(out.data, out.size)
    finally:
        end(&out)
