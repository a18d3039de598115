# Types for the compiler alone: what stream.py says in Python, it says here in C.
cimport cython

cdef Py_ssize_t _SEQUENCE

cdef class Stream:
    cdef public bytes data
    cdef public bint started
    cdef public bint cut
    cdef public bint beyond
    cdef public bint waiting
    cdef public object base
    cdef public tuple acks

    @cython.locals(known=Py_ssize_t, until=Py_ssize_t, ack=Py_ssize_t, base=Py_ssize_t)
    cpdef tuple replies(self, Stream peer, Py_ssize_t end)
