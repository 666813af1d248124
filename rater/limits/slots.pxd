cdef class TrunkSlots:
    cdef dict _legs, _trunk_of

    cpdef bint take(self, trunk, leg, most, bint forced) except -1
    cpdef free(self, leg)
    cpdef live(self, trunk)
