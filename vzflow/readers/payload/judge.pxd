# Types for the compiler alone: what payload.py says in Python, it says here in C.
cimport cython

cdef Py_ssize_t _HANDSHAKE

@cython.locals(one=bytes, other=bytes)
cdef _judge(first, second, bint ended, bint tunnelled)
cdef _begins_with_tls(client, server, bint swapped, bint ended)
cdef _changed(change, client, server, bint swapped, bint ended, bint tunnelled)
cdef bint _is_ssh(bytes data)
@cython.locals(one=bytes, other=bytes)
cdef _middle(first, second)
