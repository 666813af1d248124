from rater.charging.model cimport Post, PostGrant

cpdef validate(request)
