# Types for the compiler alone: what tls_hello.py says in Python, it says here in C.
cimport cython

cdef Py_ssize_t _SERVER_NAME, _ALPN, _PRE_SHARED_KEY, _EARLY_DATA, _SUPPORTED_VERSIONS
cdef bytes _RETRY, _PRINTABLE

cdef class Hello:
    cdef public Py_ssize_t legacy
    cdef public bint retry
    cdef public bint whole
    cdef public bint early_data
    cdef public bint pre_shared_key
    cdef public bytes server_name
    cdef public bytes alpn
    cdef public bytes versions

    @cython.locals(at=Py_ssize_t)
    cpdef bint offers(self, Py_ssize_t version)

    cpdef Py_ssize_t chosen_version(self)

@cython.locals(hello=Hello, ends=bint)
cpdef Hello read_hello(bytes data, Py_ssize_t at, Py_ssize_t end, bint client, bint cookie=*)

@cython.locals(kind=Py_ssize_t, begin=Py_ssize_t)
cdef _read_extensions(Hello hello, bytes data, Py_ssize_t at, Py_ssize_t until, Py_ssize_t end)
