# cython: language_level=3
"""The compiled twin of `rater.attributes_reference`: where a slot stands in the object is found out once."""

from cpython.object cimport PyObject, PyObject_TypeCheck, PyTypeObject

cdef extern from "structmember.h":
    ctypedef struct PyMemberDef:
        int type
        Py_ssize_t offset
    ctypedef struct PyMemberDescrObject:
        PyMemberDef* d_member
    PyTypeObject PyMemberDescr_Type
    int T_OBJECT_EX


cdef class Attribute:
    def __init__(self, type owner not None, str name not None):
        member = owner.__dict__.get(name)
        if not PyObject_TypeCheck(member, &PyMemberDescr_Type):
            raise TypeError(f"{owner.__name__} has no slot {name}")
        if (<PyMemberDescrObject*>member).d_member.type != T_OBJECT_EX:
            raise TypeError(f"{owner.__name__} keeps {name} in another way")
        self.owner, self.name = owner, name
        self.offset = (<PyMemberDescrObject*>member).d_member.offset

    cpdef of(self, record):
        cdef PyObject* value
        if type(record) is self.owner:
            value = (<PyObject**>(<char*><PyObject*>record + self.offset))[0]
            if value != NULL:
                return <object>value
        return getattr(record, self.name)
