# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Actions that are plainly good, as bytes. What is not plainly so is left to `rater.switch.frames`, which says what the
rules are, and refuses what breaks them.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_Next
from cpython.ref cimport PyObject
from libc.string cimport memcpy

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    const char* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

cdef enum:
    LINE_LIMIT_BYTES = 1024
    HEADER_LIMIT = 128

LINE_LIMIT = LINE_LIMIT_BYTES
HEADERS = HEADER_LIMIT


cdef bint _is_word(const char* text, Py_ssize_t length) noexcept:
    cdef Py_ssize_t i
    cdef char c
    for i in range(length):
        c = text[i]
        if not (97 <= c <= 122 or 65 <= c <= 90 or 48 <= c <= 57):
            return False
    return length > 0


cdef bint _is_plain(const char* text, Py_ssize_t length) noexcept:
    """Printable ASCII only: from the space to the tilde."""
    cdef Py_ssize_t i
    for i in range(length):
        if not 32 <= text[i] <= 126:
            return False
    return True


cdef Py_ssize_t _size_of(dict action) except -1:
    """How many bytes the action takes; 0 when one of its headers wants a closer look."""
    cdef PyObject* key
    cdef PyObject* value
    cdef Py_ssize_t place = 0, size = 2, count = 0, line
    while PyDict_Next(action, &place, &key, &value):
        if type(<object>key) is not str or type(<object>value) is not str:
            return 0
        if not PyUnicode_IS_COMPACT_ASCII(<object>key) or not PyUnicode_IS_COMPACT_ASCII(<object>value):
            return 0
        if not _is_word(PyUnicode_DATA(<object>key), PyUnicode_GET_LENGTH(<object>key)):
            return 0
        if not _is_plain(PyUnicode_DATA(<object>value), PyUnicode_GET_LENGTH(<object>value)):
            return 0
        line = PyUnicode_GET_LENGTH(<object>key) + PyUnicode_GET_LENGTH(<object>value) + 4
        count += 1
        if line >= LINE_LIMIT_BYTES or count > HEADER_LIMIT:
            return 0
        size += line
    return size if count else 0


cdef char* _write(char* out, dict action) noexcept:
    """Cannot raise."""
    cdef PyObject* key
    cdef PyObject* value
    cdef Py_ssize_t place = 0
    while PyDict_Next(action, &place, &key, &value):
        out = _put(out, <object>key)
        out[0] = 58
        out[1] = 32
        out = _put(out + 2, <object>value)
        out[0] = 13
        out[1] = 10
        out += 2
    out[0] = 13
    out[1] = 10
    return out + 2


def serialize(dict action not None):
    """The action's bytes; None when one of its headers wants a closer look."""
    return serialize_all((action,))


def serialize_all(actions):
    """The bytes of them all, one after the other; None when one of them wants a closer look."""
    cdef Py_ssize_t size = 0, of_one
    cdef char* out
    cdef bytes data
    for action in actions:
        if type(action) is not dict:
            return None
        of_one = _size_of(<dict>action)
        if of_one == 0:
            return None
        size += of_one
    data = PyBytes_FromStringAndSize(NULL, size)
    out = PyBytes_AS_STRING(data)
    for action in actions:
        out = _write(out, <dict>action)
    return data


cdef char* _put(char* out, object text) noexcept:
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text)
    memcpy(out, PyUnicode_DATA(text), length)
    return out + length
