"""
A TLS <= 1.2 Certificate message -> the SPIFFE URI of its first certificate.

A certificate on the wire is not checked: anybody can send one, and whether its trust domain is the model's is decided
later. DER is walked by hand, on bytes anybody may send.

Source: RFC 5246 section 7.4.2; RFC 5280 section 4.2.1.6; X.690 section 8.1; the SPIFFE-ID standard, section 2.
"""

from __future__ import annotations

from functools import lru_cache

from vzflow.readers.payload.tls_hello import text

#: DER of the object identifier 2.5.29.17, subjectAltName (RFC 5280 section 4.2.1.6).
_SUBJECT_ALT_NAME = bytes.fromhex("551d11")
_OID, _EXTENSIONS, _URI = 0x06, 0xA3, 0x86
#: Longest SPIFFE URI (SPIFFE-ID section 2.3).
_MAX_URI = 2048


def principal(message: bytes) -> str | None:
    """Return the SPIFFE URI of the first certificate of the body of a Certificate message, null if it is not whole."""
    end = 6 + int.from_bytes(message[3:6], "big")
    return _spiffe(message[6:end]) if 6 < end <= len(message) else None


# A workload shows one certificate in all its connections.
@lru_cache(256)
def _spiffe(certificate: bytes) -> str | None:
    signed = _first(_first(certificate))
    extensions = next((body for tag, body in _elements(signed) if tag == _EXTENSIONS), b"")
    for _, extension in _elements(_first(extensions)):
        parts = _elements(extension)
        if len(parts) < 2 or parts[0] != (_OID, _SUBJECT_ALT_NAME):
            continue
        for tag, name in _elements(_first(parts[-1][1])):
            if tag == _URI and name.startswith(b"spiffe://") and len(name) <= _MAX_URI:
                return text(name)
    return None


def _first(der: bytes) -> bytes:
    """Return the content of the first element."""
    found = _elements(der, only=1)
    return found[0][1] if found else b""


def _elements(der: bytes, only: int = 1 << 16) -> list[tuple[int, bytes]]:
    """Return (tag, content) of the first *only* elements in *der*, up to the first that is not whole."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at + 2 <= len(der) and len(found) < only:
        tag, length = der[at], der[at + 1]
        at += 2
        if length > 0x80:
            # Five bytes of length are more than a stream holds.
            size = min(length & 0x7F, 5)
            if at + size > len(der):
                break
            length = int.from_bytes(der[at : at + size], "big")
            at += size
        if at + length > len(der):
            break
        found.append((tag, der[at : at + length]))
        at += length
    return found
