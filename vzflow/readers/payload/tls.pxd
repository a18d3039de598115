# Types for the compiler alone: what tls.py says in Python, it says here in C.
cimport cython

cdef Py_ssize_t _CHANGE_CIPHER, _ALERT, _HANDSHAKE, _DATA
cdef Py_ssize_t _CLIENT_HELLO, _SERVER_HELLO, _CERTIFICATE, _KEY_EXCHANGE
cdef Py_ssize_t _CERTIFICATE_REQUEST, _HELLO_DONE, _CERTIFICATE_VERIFY
cdef Py_ssize_t _TLS13, _MAX_RECORD, _ALERT_RECORD
cdef dict _VERSIONS
cdef tuple _NO_PRINCIPALS
cdef object _NOT_VISIBLE
cdef tuple _FAILED, _CUT, _UNANSWERED, _UNRECOGNISED, _MUTUAL, _WITHHELD, _ISTIO, _RESUMED, _ENCRYPTED

@cython.locals(length=Py_ssize_t)
cdef Py_ssize_t _record_length(bytes data, Py_ssize_t at) except -1

cpdef bint is_client_hello(bytes data)
cpdef bint is_server_hello(bytes data)
cdef bint _begins(bytes data, Py_ssize_t message)

@cython.locals(at=Py_ssize_t, length=Py_ssize_t)
cpdef bint is_record_chain(bytes data)
cdef bint _may_be_cut_header(bytes data, Py_ssize_t at)

cdef class _Side:
    cdef bytes flight
    cdef Py_ssize_t flight_before_change
    cdef bint changed
    cdef bint refused
    cdef bint only_records
    cdef Py_ssize_t data_begin
    cdef Py_ssize_t data_end
    cdef bint goes_on

@cython.locals(side=_Side, at=Py_ssize_t, length=Py_ssize_t, kind=Py_ssize_t, begin=Py_ssize_t, body=bytes)
cdef _Side _read_side(bytes data)

@cython.locals(found=list, at=Py_ssize_t, begin=Py_ssize_t)
cdef list _messages(bytes flight, Py_ssize_t end)

cdef class _Handshake:
    cdef object client
    cdef object server
    cdef _Side client_side
    cdef _Side server_side
    cdef object hello
    cdef object answer
    cdef Py_ssize_t version
    cdef bint newest
    cdef object resumed
    cdef object asked
    cdef object certificate
    cdef bint verified
    cdef bint accepted
    cdef Py_ssize_t answers
    cdef Py_ssize_t longest_answer
    cdef object client_principal
    cdef object server_principal

    @cython.locals(answered=list, flight=bytes, kind=Py_ssize_t, begin=Py_ssize_t, end=Py_ssize_t)
    cdef read(self)
    @cython.locals(flight=bytes, kind=Py_ssize_t, begin=Py_ssize_t, end=Py_ssize_t)
    cdef _read_client(self, Py_ssize_t until)
    @cython.locals(flight=bytes, kind=Py_ssize_t, begin=Py_ssize_t, end=Py_ssize_t)
    cdef _read_resumption(self)
    @cython.locals(kinds=list, begin=Py_ssize_t, end=Py_ssize_t)
    cdef _read_older_server(self, list messages)
    cdef Py_ssize_t flight_length(self)
    @cython.locals(first=Py_ssize_t, last=Py_ssize_t, data=bytes, at=Py_ssize_t, length=Py_ssize_t)
    cdef _read_answers(self)
    cdef bint both_ways(self)
    @cython.locals(refused=bint, flight=Py_ssize_t)
    cdef bint failed(self, bint ended)

@cython.locals(seen=_Handshake, istio=bint, principals=tuple)
cpdef judge_tls(client, server, bint swapped, bint ended, app_protocol=*)
cdef _client_certificate(_Handshake seen)
@cython.locals(older=bint, hidden=bint)
cdef tuple _conclude(_Handshake seen, bint istio, bint ended)
@cython.locals(answer=bytes)
cdef tuple _no_answer(_Handshake seen, bint ended)
