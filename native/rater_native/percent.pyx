# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Percent-encoding undone, as `urllib.parse.unquote` does it, and what a gate asks, as `rater.switch.gate` reads it."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memchr, memcmp

cdef enum:
    LINES_AT_MOST = 64

LINES = LINES_AT_MOST
"""More than these are for the twin."""


cdef int _digit(unsigned char c) noexcept:
    """The value of a hexadecimal digit, or -1. Cannot raise."""
    if 48 <= c <= 57:
        return c - 48
    c |= 32
    if 97 <= c <= 102:
        return c - 87
    return -1


def unquote(str text not None):
    cdef bytes data, out
    cdef const unsigned char* at
    cdef unsigned char* to
    cdef Py_ssize_t i = 0, size, written = 0
    cdef int high, low
    if "%" not in text:
        return text
    data = text.encode("utf-8", "surrogatepass")
    size = PyBytes_GET_SIZE(data)
    at = <const unsigned char*>PyBytes_AS_STRING(data)
    out = PyBytes_FromStringAndSize(NULL, size)
    to = <unsigned char*>PyBytes_AS_STRING(out)
    while i < size:
        if at[i] == 37 and i + 2 < size:
            high, low = _digit(at[i + 1]), _digit(at[i + 2])
            if high >= 0 and low >= 0:
                to[written] = <unsigned char>(16 * high + low)
                written += 1
                i += 3
                continue
        to[written] = at[i]
        written += 1
        i += 1
    return PyUnicode_DecodeUTF8(<const char*>to, written, "replace")


cdef struct Key:
    const char* text
    Py_ssize_t length


def arguments(str text not None):
    """The twin's `arguments_of`, for ASCII text of fewer than `LINES` line breaks."""
    cdef bytes data = text.encode("ascii")
    cdef const char* at = PyBytes_AS_STRING(data)
    cdef const char* stop = at + PyBytes_GET_SIZE(data)
    cdef const char* end
    cdef const char* colon
    cdef Key[LINES_AT_MOST] keys
    cdef Py_ssize_t count = 0, length, i
    cdef bint last = False
    cdef list found = []
    while at <= stop:
        end = <const char*>memchr(at, 10, stop - at) if at < stop else NULL
        if end == NULL:
            end = stop
        if end == at:
            at = end + 1
            continue
        colon = <const char*>memchr(at, 58, end - at)
        if colon == NULL or count == LINES_AT_MOST:
            return None
        length = colon - at
        for i in range(count):
            if keys[i].length == length and memcmp(keys[i].text, at, length) == 0:
                return None
        keys[count].text = at
        keys[count].length = length
        count += 1
        if length == 12 and memcmp(at, b"agi_threadid", 12) == 0:
            last = True
        elif length >= 8 and memcmp(at, b"agi_arg_", 8) == 0:
            if not last or (at + 8)[: length - 8] != b"%d" % (len(found) + 1):
                return None
            colon += 1
            if colon < end and colon[0] == 32:
                colon += 1
            found.append(PyUnicode_DecodeUTF8(colon, end - colon, NULL))
        at = end + 1
    return found
