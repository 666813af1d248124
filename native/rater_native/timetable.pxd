cdef struct Entry:
    long long due_ms
    long long number
    void* who

cdef class Timetable:
    cdef Entry* _entries
    cdef Py_ssize_t _count, _room

    cpdef put(self, long long due_ms, long long number, str who)
    cpdef object next_ms(self)
    cpdef tuple pop(self, long long now_ms)
