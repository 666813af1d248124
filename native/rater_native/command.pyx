# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The compiled twin of `rater.packing_reference.Command`: a call of a script, written where it goes out from.

Keys and arguments are written one after the other as words of Redis' protocol, without an object for any of them. How
many there are is known at the end, so what stands in front of them is written then.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memcpy, memmove

from rater_native.digits cimport DIGITS, put_digits
from rater_native.packing cimport KEPT, ROOM, Buffer, add, add_number, add_text, reserve, text_at, utf8_of


cdef inline int add_line(Buffer* out, char kind, Py_ssize_t number) except -1:
    """A line with a kind and a number, as in ``$12``."""
    cdef char* at = reserve(out, DIGITS + 3)
    cdef Py_ssize_t size
    at[0] = kind
    if 10 <= number < 100:  # most words are that long
        at[1] = <char>(c"0" + number // 10)
        at[2] = <char>(c"0" + number % 10)
        size = 2
    else:
        size = put_digits(at + 1, number)
    at[size + 1], at[size + 2] = c"\r", c"\n"
    out.size += size + 3
    return 0


cdef inline int add_word(Buffer* out, const char* first, Py_ssize_t first_size,
                         const char* second, Py_ssize_t second_size) except -1:
    """A word of two parts."""
    cdef Py_ssize_t size = first_size + second_size
    cdef char* at
    add_line(out, c"$", size)
    at = reserve(out, size + 2)
    memcpy(at, first, first_size)
    memcpy(at + first_size, second, second_size)
    at[size], at[size + 1] = c"\r", c"\n"
    out.size += size + 2
    return 0


cdef int add_object(Buffer* out, object word) except -1:
    cdef Py_ssize_t size = 0
    cdef const char* data
    if PyBytes_Check(word):
        return add_word(out, PyBytes_AS_STRING(word), PyBytes_GET_SIZE(word), b"", 0)
    data = utf8_of(word, &size)
    return add_word(out, data, size, b"", 0)


cdef int empty(Buffer* out) except -1:
    """Nothing is in it; one that had to grow large is made anew."""
    out.size = 0
    if out.data != NULL and out.room <= KEPT:
        return 0
    PyMem_Free(out.data)
    out.room = 0
    out.data = <char*>PyMem_Malloc(ROOM)
    if out.data == NULL:
        raise MemoryError
    out.room = ROOM
    return 0


@cython.final
cdef class Command:
    """See the twin."""

    def __cinit__(self):
        self._words.old = self._values.old = True
        self.begin()

    def __dealloc__(self):
        PyMem_Free(self._words.data)
        PyMem_Free(self._values.data)

    cpdef int begin(self) except -1:
        empty(&self._words)
        empty(&self._values)
        self._keys = self._arguments = 0
        self._inner = -1
        return 0

    cpdef int key(self, str prefix, str name) except -1:
        cdef Py_ssize_t first_size = 0, second_size = 0
        cdef const char* first = utf8_of(prefix, &first_size)
        cdef const char* second = utf8_of(name, &second_size)
        if self._arguments:
            raise ValueError("keys stand before arguments")
        add_word(&self._words, first, first_size, second, second_size)
        self._keys += 1
        return 0

    cpdef Py_ssize_t keys_in(self, str prefix, bytes texts) except -1:
        cdef const unsigned char* at
        cdef const unsigned char* end
        cdef Py_ssize_t prefix_size = 0, size, i, count = 0
        cdef const char* head = utf8_of(prefix, &prefix_size)
        cdef unsigned char high
        if texts is None:
            raise TypeError("None is no bytes")
        if self._arguments:
            raise ValueError("keys stand before arguments")
        at = <const unsigned char*>PyBytes_AS_STRING(texts)
        end = at + PyBytes_GET_SIZE(texts)
        if at != end:
            at += text_at(&at, end)
        while at != end:
            size = text_at(&at, end)
            high = 0
            for i in range(size):
                high |= at[i]
            if high & 0x80:
                PyUnicode_DecodeUTF8(<const char*>at, size, NULL)  # raises when it is none
            add_word(&self._words, head, prefix_size, <const char*>at, size)
            at += size
            count += 1
        self._keys += count
        return count

    cpdef int text(self, str value) except -1:
        cdef Py_ssize_t size = 0
        cdef const char* data = utf8_of(value, &size)
        return add_text(&self._values, data, size)

    cpdef int number(self, long long value) except -1:
        return add_number(&self._values, value)

    cpdef int digits(self, long long value) except -1:
        cdef char[DIGITS] digits
        return add_text(&self._values, digits, put_digits(digits, value))

    cpdef int data(self, bytes value) except -1:
        if value is None:
            raise TypeError("None is no bytes")
        return add_text(&self._values, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))

    cpdef int begin_inner(self) except -1:
        if self._inner >= 0:
            raise ValueError("values within values within values")
        self._inner = self._values.size
        return 0

    cpdef int end_inner(self) except -1:
        cdef Py_ssize_t begun = self._inner, size, head, place
        cdef char* at
        if begun < 0:
            raise ValueError("no values were begun within others")
        size = self._values.size - begun
        head = 1 if size < 32 else 3 if size < 0x10000 else 5
        at = reserve(&self._values, head) - size
        memmove(at + head, at, size)
        self._values.size = begun
        if head == 1:
            at[0] = <char>(0xA0 | size)
        else:
            at[0] = <char>(0xDA if head == 3 else 0xDB)
            for place in range(head - 1):
                at[head - 1 - place] = <char>(size >> 8 * place)
        self._values.size = begun + head + size
        self._inner = -1
        return 0

    cpdef int end_argument(self) except -1:
        if self._inner >= 0:
            raise ValueError("values within others were not ended")
        add_word(&self._words, self._values.data, self._values.size, b"", 0)
        self._values.size = 0
        self._arguments += 1
        return 0

    cpdef int argument(self, value) except -1:
        add_object(&self._words, value)
        self._arguments += 1
        return 0

    cpdef bytes values(self):
        cdef bytes values = PyBytes_FromStringAndSize(self._values.data, self._values.size)
        if self._inner >= 0:
            raise ValueError("values within others were not ended")
        self._values.size = 0
        return values

    cpdef bytes call(self, tuple words):
        cdef Buffer* head = &self._values
        cdef char[DIGITS] digits
        cdef bytes call
        cdef char* at
        if head.size or self._inner >= 0:
            raise ValueError("an argument was not ended")
        add_line(head, c"*", len(words) + 1 + self._keys + self._arguments)
        for word in words:
            add_object(head, word)
        add_word(head, digits, put_digits(digits, self._keys), b"", 0)
        call = PyBytes_FromStringAndSize(NULL, head.size + self._words.size)
        at = PyBytes_AS_STRING(call)
        memcpy(at, head.data, head.size)
        memcpy(at + head.size, self._words.data, self._words.size)
        head.size = 0
        return call

    def parts(self):
        cdef const char* at = self._words.data
        cdef list words = []
        cdef Py_ssize_t size, i
        for i in range(self._keys + self._arguments):
            size = 0
            at += 1
            while at[0] != c"\r":
                size = size * 10 + at[0] - c"0"
                at += 1
            at += 2
            words.append(PyBytes_FromStringAndSize(at, size))
            at += size + 2
        return tuple([word.decode() for word in words[: self._keys]]), tuple(words[self._keys :])
