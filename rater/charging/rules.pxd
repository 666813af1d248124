from rater.charging.model cimport Post, PostGrant
from rater.events.facts cimport reason_of

cdef dict _VALUES

cpdef long long denial_value(bytes facts) except? -1
cpdef validate(request)
