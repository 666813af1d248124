cpdef long long question_hash(str stamp, str env) except? -1
