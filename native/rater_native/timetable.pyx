# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The compiled twin of `rater.timetable_reference`: a heap of four children a node, in one piece of memory, whose
entries are compared as numbers."""

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.ref cimport Py_DECREF, Py_INCREF

cdef enum:
    CHILDREN = 4

cdef bint _before(Entry* one, Entry* other) noexcept:
    if one.due_ms != other.due_ms:
        return one.due_ms < other.due_ms
    return one.number < other.number


cdef class Timetable:
    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self._count):
            Py_DECREF(<object>self._entries[i].who)
        PyMem_Free(self._entries)

    def __len__(self):
        return self._count

    cpdef put(self, long long due_ms, long long number, str who):
        cdef Entry entry
        cdef Entry* entries
        cdef Py_ssize_t place = self._count, above
        if who is None:
            raise TypeError("somebody is woken")
        if place == self._room:
            entries = <Entry*>PyMem_Realloc(self._entries, (2 * self._room + 64) * sizeof(Entry))
            if entries == NULL:
                raise MemoryError
            self._entries = entries
            self._room = 2 * self._room + 64
        entry.due_ms, entry.number, entry.who = due_ms, number, <void*>who
        Py_INCREF(who)
        self._count += 1
        while place > 0:
            above = (place - 1) // CHILDREN
            if not _before(&entry, &self._entries[above]):
                break
            self._entries[place] = self._entries[above]
            place = above
        self._entries[place] = entry

    cpdef object next_ms(self):
        return self._entries[0].due_ms if self._count else None

    cpdef tuple pop(self, long long now_ms):
        cdef Entry first, last
        cdef Py_ssize_t place = 0, child, best, end
        if self._count == 0 or self._entries[0].due_ms > now_ms:
            return None
        first = self._entries[0]
        self._count -= 1
        last = self._entries[self._count]
        while True:
            child = CHILDREN * place + 1
            if child >= self._count:
                break
            end = min(child + CHILDREN, self._count)
            best = child
            for child in range(child + 1, end):
                if _before(&self._entries[child], &self._entries[best]):
                    best = child
            if not _before(&self._entries[best], &last):
                break
            self._entries[place] = self._entries[best]
            place = best
        self._entries[place] = last
        who = <object>first.who
        Py_DECREF(who)
        return first.due_ms, first.number, who
