# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""What a gate asks, read where it lies percent-encoded. What is not plainly good is left to `rater.switch.gate`, which says
what the rules are."""

from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp

from rater_native.amitexts cimport (
    PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_IS_COMPACT_ASCII, hash_of, same, text_of
)

cdef enum:
    LINES_AT_MOST = 64
    VALUE_AT_MOST = 128
    KEYS_SHIFT = 64 - 6

LINES = LINES_AT_MOST
"""More than these are for the twin."""

cdef struct Key:
    const char* text
    Py_ssize_t length

cdef struct Question:
    Key[LINES_AT_MOST] keys
    Py_ssize_t count
    uint64_t met
    bint last


cdef int _digit(unsigned char c) noexcept:
    """The value of a hexadecimal digit, or -1. Cannot raise."""
    if 48 <= c <= 57:
        return c - 48
    c |= 32
    if 97 <= c <= 102:
        return c - 87
    return -1


cdef inline int _escaped(const char* at) noexcept:
    """What the percent sign there stands for, with two characters behind it; -1 when only for itself. Cannot raise."""
    cdef int high = _digit(at[1]), low = _digit(at[2])
    return -1 if high < 0 or low < 0 else 16 * high + low


cdef bint _is_new(Question* question, const char* key, Py_ssize_t length) noexcept:
    """Takes down a key, not an empty one; False when it was there, or there is no room. Cannot raise."""
    cdef uint64_t mark = <uint64_t>1 << (hash_of(key, length) >> KEYS_SHIFT)
    cdef Py_ssize_t i
    if question.count == LINES_AT_MOST:
        return False
    if question.met & mark:
        for i in range(question.count):
            if question.keys[i].length == length and same(question.keys[i].text, key, length):
                return False
    question.met |= mark
    question.keys[question.count].text = key
    question.keys[question.count].length = length
    question.count += 1
    return True


cdef str _value(const char* at, const char* stop):
    """Decoded, without the space that it begins with; None when it is long, or not ASCII."""
    cdef char[VALUE_AT_MOST] out
    cdef Py_ssize_t length = 0, begin
    cdef int c
    while at < stop:
        if length == VALUE_AT_MOST:
            return None
        c = at[0]
        if c == 37:
            c = _escaped(at)
            at += 2
        if not 0 <= c < 128:
            return None
        out[length] = <char>c
        length += 1
        at += 1
    begin = length > 0 and out[0] == 32
    return text_of(out + begin, length - begin)


cpdef long long question_hash(str stamp, str env) except? -1:
    """As the twin in `rater.switch.gate`: the same in one process for the same texts, hardly ever for others."""
    cdef uint64_t mixed
    if not stamp or not env or not PyUnicode_IS_COMPACT_ASCII(stamp) or not PyUnicode_IS_COMPACT_ASCII(env):
        return hash(stamp + env)
    mixed = hash_of(PyUnicode_DATA(stamp), PyUnicode_GET_LENGTH(stamp))
    return <long long>(3 * mixed + hash_of(PyUnicode_DATA(env), PyUnicode_GET_LENGTH(env)))


def plain_arguments(str env not None):
    """The twin's `gate_arguments`; None also when it wants a closer look."""
    cdef const char* at
    cdef const char* stop
    cdef const char* end
    cdef const char* line
    cdef const char* colon = NULL
    cdef Question question
    cdef Py_ssize_t length
    cdef int c
    cdef str value
    cdef list found = []
    if not PyUnicode_IS_COMPACT_ASCII(env):
        return None
    line = at = PyUnicode_DATA(env)
    stop = at + PyUnicode_GET_LENGTH(env)
    if memchr(at, 10, stop - at) != NULL or memchr(at, 58, stop - at) != NULL:
        return None
    question.count = question.met = 0
    question.last = False
    while line < stop:
        end = <const char*>memchr(at, 37, stop - at)
        if end == NULL:
            end = stop
            c = 10
        else:
            c = _escaped(end) if stop - end > 2 else -1
            at = end + 3
            if c == 58 and colon == NULL:
                colon = end
            if c < 0 or colon == NULL and c != 10:
                return None
        if c != 10:
            continue
        if end > line:
            if colon == NULL or colon == line or not _is_new(&question, line, colon - line):
                return None
            length = colon - line
            if length == 12 and memcmp(line, b"agi_threadid", 12) == 0:
                question.last = True
            elif length >= 8 and memcmp(line, b"agi_arg_", 8) == 0:
                if not question.last or length != 9 or line[8] - 48 != len(found) + 1:
                    return None
                value = _value(colon + 3, end)
                if value is None:
                    return None
                found.append(value)
        line = at if end < stop else stop
        colon = NULL
    return found
