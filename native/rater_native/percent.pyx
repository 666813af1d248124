# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Percent-encoding undone, as `urllib.parse.unquote` does it."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8


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
