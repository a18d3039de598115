# Types for the compiler alone: what upgrades.py says in Python, it says here in C.

cdef dict _CLIENT_BEGINS
cdef dict _SERVER_BEGINS

cpdef judge_upgrades(bytes said, bytes heard, bint ended)
