cimport cython

from rater.charging.keys cimport Keys
from rater.charging.model cimport Answer, Extend, FreeLeases, OfLeg, Post, Reply, Reserve, Settle, TakeLeases, op_number
from rater.charging.terms cimport CallRate, Lease, Share, SlicePolicy, Terms
from rater.charging.wire_terms cimport PackedTerms
from rater.kept cimport Kept
from rater_native.command cimport Command
from rater_native.packing cimport first_text, numbers, sequence

cdef Kept _QUOTES, _TERMS
cdef Command _VALUES
cdef tuple _STATUSES
cdef dict _REASONS
cdef int _OTHER_NEEDS, _NO_TEXT

cpdef str leg_call(Command command, request, Keys keys, bytes needs)
@cython.locals(values=Command, share=Share, lease=Lease)
cpdef bytes reserve_needs(Reserve request)
cpdef bytes needs_after(request, bytes needs)
@cython.locals(status=Py_ssize_t, final=int, repeated=int, kind=int)
cpdef Reply from_reply(bytes data)

cdef int _begin(Command to, Keys keys, str leg, str switch) except -1
cdef int _number(Command to, OfLeg r) except -1
cdef int _second(Command to, Keys keys, str account, str other) except -1
@cython.locals(
    terms=Terms, share=Share, lease=Lease, rate=CallRate, slices=SlicePolicy, packed=PackedTerms, shadow=cython.bint
)
cdef str _reserve(Command to, Reserve r, Keys keys, bytes needs)
cdef str _answer(Command to, Answer r, Keys keys, bytes needs)
@cython.locals(slices=SlicePolicy, packed=PackedTerms, leases=Py_ssize_t)
cdef str _extend(Command to, Extend r, Keys keys, bytes needs)
@cython.locals(share=Share, packed=PackedTerms, leases=Py_ssize_t)
cdef str _settle(Command to, Settle r, Keys keys, bytes needs)
@cython.locals(lease=Lease)
cdef str _take_leases(Command to, TakeLeases r, Keys keys)
@cython.locals(scope=str)
cdef str _free_leases(Command to, FreeLeases r, Keys keys)
cdef str _owner(bytes needs)
@cython.locals(known=tuple)
cdef bytes _quote(quote)
@cython.locals(known=PackedTerms, packed=PackedTerms)
cdef PackedTerms _packed(Terms terms)
cdef long long _signed(reason, bint shadow) except? -1
