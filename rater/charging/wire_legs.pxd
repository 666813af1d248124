cimport cython

from rater.charging.keys cimport Keys
from rater.charging.model cimport Answer, Extend, FreeLeases, Post, Reply, Reserve, Settle, TakeLeases, op_number
from rater.charging.terms cimport CallRate, Lease, Share, SlicePolicy, Terms
from rater.charging.wire_terms cimport PackedTerms
from rater.kept cimport Kept

cdef Kept _QUOTES, _TERMS

cpdef tuple leg_call(request, Keys keys, bytes needs)
@cython.locals(terms=Terms, share=Share, lease=Lease)
cpdef bytes reserve_needs(Reserve request)
cpdef bytes needs_after(request, bytes needs)
@cython.locals(status=int, reason=int, final=int, repeated=int)
cpdef from_reply(bytes data)

@cython.locals(terms=Terms, share=Share, lease=Lease, rate=CallRate, slices=SlicePolicy)
cdef tuple _reserve(Reserve r, Keys keys, bytes needs)
cdef tuple _answer(Answer r, Keys keys, bytes needs)
@cython.locals(slices=SlicePolicy)
cdef tuple _extend(Extend r, Keys keys, bytes needs)
@cython.locals(share=Share, terms=Terms, packed=PackedTerms)
cdef tuple _settle(Settle r, Keys keys, bytes needs)
@cython.locals(lease=Lease)
cdef tuple _take_leases(TakeLeases r, Keys keys)
cdef tuple _leases(Keys keys, bytes needs)
cdef str _owner(bytes needs)
@cython.locals(known=tuple)
cdef bytes _quote(quote)
@cython.locals(known=PackedTerms, packed=PackedTerms)
cdef PackedTerms _packed(terms)
cdef int _signed(reason, bint shadow) except? -1
