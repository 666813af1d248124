"""Texts and the values of a call, by turns, put together into bytes in one go. Its twin is `captures.joined`."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cdef enum:
    MOST = 16  # slots that there may be

cdef struct Piece:
    Py_ssize_t text
    int slot


cdef class Template:
    """`texts`: one more than `slots`. Called with a value for each slot that there is, in a list."""

    cdef bytes _text
    cdef Py_ssize_t _pieces
    cdef Piece *_piece

    def __cinit__(self, tuple texts, tuple slots):
        if len(texts) != len(slots) + 1 or not all(0 <= slot < MOST for slot in slots):
            raise ValueError("texts and slots do not come by turns")
        self._text, self._pieces = b"".join(texts), len(slots)
        self._piece = <Piece *> malloc(len(slots) * sizeof(Piece) + 1)
        if self._piece is NULL:
            raise MemoryError
        for place, slot in enumerate(slots):
            self._piece[place] = Piece(len(texts[place]), slot)

    def __dealloc__(self):
        free(self._piece)

    def __call__(self, list values):
        cdef const char *starts[MOST]
        cdef Py_ssize_t sizes[MOST]
        cdef Py_ssize_t count = len(values), place, size = PyBytes_GET_SIZE(self._text)
        cdef bytes value
        if count > MOST:
            raise ValueError("more values than slots")
        for place in range(count):
            value = values[place]
            if value is None:
                raise TypeError("a value is missing")
            starts[place], sizes[place] = PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)
        for place in range(self._pieces):
            if self._piece[place].slot >= count:
                raise IndexError("a slot without a value")
            size += sizes[self._piece[place].slot]
        cdef bytes whole = PyBytes_FromStringAndSize(NULL, size)
        cdef char *to = PyBytes_AS_STRING(whole)
        cdef const char *text = PyBytes_AS_STRING(self._text)
        cdef Piece piece
        for place in range(self._pieces):
            piece = self._piece[place]
            memcpy(to, text, piece.text)
            to += piece.text
            text += piece.text
            memcpy(to, starts[piece.slot], sizes[piece.slot])
            to += sizes[piece.slot]
        memcpy(to, text, PyBytes_AS_STRING(self._text) + PyBytes_GET_SIZE(self._text) - text)
        return whole
