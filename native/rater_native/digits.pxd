"""Numbers in decimal digits, written where they go out from."""

from libc.string cimport memcpy

cdef enum:
    DIGITS = 20  # of the longest: nineteen, and a sign


cdef inline Py_ssize_t put_digits(char* at, long long value) noexcept:
    """Into so many bytes as `DIGITS`; how many they are. Cannot raise."""
    cdef char[DIGITS] digits
    cdef Py_ssize_t place = DIGITS
    cdef unsigned long long rest = <unsigned long long>value
    if value < 0:
        rest = 0 - rest
    while True:
        place -= 1
        digits[place] = <char>(c"0" + rest % 10)
        rest //= 10
        if rest == 0:
            break
    if value < 0:
        place -= 1
        digits[place] = c"-"
    memcpy(at, digits + place, DIGITS - place)
    return DIGITS - place
