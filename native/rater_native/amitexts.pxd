"""What is read in bytes of a switch where they lie. Nothing here keeps anything."""

from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    const char* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)


cdef inline str text_of(const char* start, Py_ssize_t length):
    """A bad byte becomes U+FFFD."""
    return PyUnicode_DecodeUTF8(start, length, "replace")


cdef inline bint is_space(char c) noexcept:
    """As `bytes.strip` takes it. Cannot raise."""
    return c == 32 or 9 <= c <= 13


cdef inline long long stamp_ms_of(const char* text, Py_ssize_t length) noexcept:
    """As `rater.switch.stamps.parse_timestamp`; -1 when it is none. Cannot raise."""
    cdef long long seconds = 0, rest_ms = 0
    cdef Py_ssize_t i = 0, digits
    while i < length and 48 <= text[i] <= 57 and i < 12:
        seconds = seconds * 10 + text[i] - 48
        i += 1
    if not 9 <= i <= 11:
        return -1
    if i < length:
        if text[i] != 46:
            return -1
        digits = 0
        i += 1
        while i < length and 48 <= text[i] <= 57:
            if digits < 3:
                rest_ms = rest_ms * 10 + text[i] - 48
            digits += 1
            i += 1
        if i < length or not 1 <= digits <= 9:
            return -1
        while digits < 3:
            rest_ms *= 10
            digits += 1
    return seconds * 1000 + rest_ms


cdef inline bint same(const char* text, const char* other, Py_ssize_t length) noexcept:
    """As `memcmp` finds out; of short ones most of the time would go into its call. Cannot raise."""
    cdef uint64_t word, others
    cdef uint32_t half, others_half
    if length < 4:
        while length:
            length -= 1
            if text[length] != other[length]:
                return False
        return True
    if length < 8:
        memcpy(&half, text, 4)
        memcpy(&others_half, other, 4)
        if half != others_half:
            return False
        memcpy(&half, text + length - 4, 4)
        memcpy(&others_half, other + length - 4, 4)
        return half == others_half
    while length > 8:
        memcpy(&word, text, 8)
        memcpy(&others, other, 8)
        if word != others:
            return False
        text += 8
        other += 8
        length -= 8
    memcpy(&word, text + length - 8, 8)
    memcpy(&others, other + length - 8, 8)
    return word == others


cdef inline uint64_t _mixed(uint64_t mixed, uint64_t word) noexcept:
    mixed = (mixed ^ word) * <uint64_t>0x9E3779B97F4A7C15
    return mixed ^ (mixed >> 29)


cdef inline uint64_t hash_of(const char* start, Py_ssize_t length) noexcept:
    """A number for a text that is not empty, in whose upper bits all of it tells. What is read twice, where pieces
    overlap, does no harm. Cannot raise."""
    cdef uint64_t mixed = <uint64_t>length, word
    cdef uint32_t half
    cdef const char* last
    if length >= 8:
        last = start + length - 8
        while start < last:
            memcpy(&word, start, 8)
            mixed = _mixed(mixed, word)
            start += 8
        memcpy(&word, last, 8)
    elif length >= 4:
        memcpy(&half, start, 4)
        word = half
        memcpy(&half, start + length - 4, 4)
        word = word << 32 | half
    else:
        word = <unsigned char>start[0] | <unsigned char>start[length >> 1] << 8
        word |= <unsigned char>start[length - 1] << 16
    return _mixed(mixed, word) * <uint64_t>0x9E3779B97F4A7C15


cdef inline bint is_ascii(const char* start, Py_ssize_t length) noexcept:
    """Cannot raise."""
    cdef uint64_t word, all_of_them = 0
    cdef Py_ssize_t i
    while length >= 8:
        memcpy(&word, start, 8)
        all_of_them |= word
        start += 8
        length -= 8
    for i in range(length):
        all_of_them |= <unsigned char>start[i]
    return not all_of_them & <uint64_t>0x8080808080808080
