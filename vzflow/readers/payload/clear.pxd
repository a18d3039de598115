# Types for the compiler alone: what clear.py says in Python, it says here in C.
cimport cython

cdef dict _BY_FIRST_BYTE

cpdef judge_clear(bytes first, bytes second)

@cython.locals(size=Py_ssize_t)
cdef _judge_side(bytes data, bytes other)

@cython.locals(end=Py_ssize_t, head=bytes)
cdef _became(bytes message)

@cython.locals(begin=Py_ssize_t, questions=Py_ssize_t, answers=Py_ssize_t, authorities=Py_ssize_t, others=Py_ssize_t)
cpdef bint is_dns(bytes data, Py_ssize_t at, Py_ssize_t end)
