"""
HTTP/2 in clear -> whether it is gRPC, and whether its first request opens a tunnel.

Only the client's first request is read, whose header block can name nothing of the dynamic table that it did not itself
put there. Names and values are compared as sent, plain or in HPACK's Huffman code, of which only these words matter.

Source: RFC 9113 sections 3.4 and 6; RFC 7541 (HPACK); gRPC over HTTP/2, "Request-Headers".
"""

from __future__ import annotations

from vzflow.flow.terms import TransportBasis
from vzflow.readers.payload.facts import Facts, plaintext, unknown

#: RFC 9113 section 3.4.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS, _PADDED, _PRIORITY = 1, 0x08, 0x20
#: Frames that may come before the first request: settings, priority, window update and ping; others are none of these.
_BEFORE_HEADERS = (2, 4, 6, 8)
#: Static table (RFC 7541 appendix A): the indexes whose name is `:method`, and of `content-type`.
_METHODS, _CONTENT_TYPE = (2, 3), 31
#: RFC 7541 appendix B: the words in Huffman code. "application/grpc" fills its bytes exactly.
_CONTENT_TYPE_NAMES = (b"content-type", bytes.fromhex("21ea496a4ac9f5597f"))
_CONNECT = (b"CONNECT", bytes.fromhex("bdab4e9c17b7ff"))
_GRPC, _GRPC_CODED = b"application/grpc", bytes.fromhex("1d75d0620d263d4c4d6564")


class _Cut(Exception):
    """The bytes end before the header block does."""


def judge_http2(data: bytes) -> Facts:
    """Return what a client's bytes prove that begin with the connection preface."""
    at = len(PREFACE)
    while at + 9 <= len(data):
        kind, flags = data[at + 3], data[at + 4]
        end = at + 9 + (data[at] << 16 | data[at + 1] << 8 | data[at + 2])
        if kind == _HEADERS:
            begin = at + 9
            if flags & _PADDED and begin < len(data):
                end -= data[begin]
                begin += 1
            if flags & _PRIORITY:
                begin += 5
            return _of_request(data[begin:end])
        if kind not in _BEFORE_HEADERS:
            break
        at = end
    return plaintext("http2")


def _of_request(block: bytes) -> Facts:
    try:
        at = 0
        while at < len(block):
            at, name, value = _field(block, at)
            if name == ":method" and value in _CONNECT:
                # What goes through the tunnel may be anything, TLS too.
                return unknown(TransportBasis.UNRECOGNISED, "http2")
            if name == "content-type" and _is_grpc(value):
                return plaintext("grpc")
    except _Cut:
        pass
    return plaintext("http2")


def _is_grpc(value: bytes) -> bool:
    """Whether a content type is gRPC's, perhaps with "+proto" or a parameter; that of gRPC-Web is not."""
    if value.startswith(_GRPC):
        return value[16:17] in (b"", b"+", b";")
    if not value.startswith(_GRPC_CODED):
        return False
    # In code "+" is 11 bits that begin with eight ones, ";" is eight bits.
    return value[11:12] in (b"", b"\xfb") or b"\xff\x60" <= value[11:13] < b"\xff\x80"


def _field(block: bytes, at: int) -> tuple[int, str, bytes]:
    """
    Read a header field (RFC 7541 section 6).

    Returns:
        Where the next one begins; the name if it is one of the two that matter, else empty; the value as sent.

    Raises:
        _Cut: The field is not whole.
    """
    first = block[at]
    if first & 0x80:
        return _integer(block, at, 0x7F)[0], "", b""
    if first & 0xE0 == 0x20:
        return _integer(block, at, 0x1F)[0], "", b""
    at, index = _integer(block, at, 0x3F if first & 0x40 else 0x0F)
    name = ":method" if index in _METHODS else "content-type" if index == _CONTENT_TYPE else ""
    if index == 0:
        at, spelled = _string(block, at)
        name = "content-type" if spelled in _CONTENT_TYPE_NAMES else ""
    at, value = _string(block, at)
    return at, name, value


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """Read an integer whose first bits are those of *mask* (RFC 7541 section 5.1); return the next place and it."""
    if at >= len(block):
        raise _Cut
    value = block[at] & mask
    at += 1
    if value < mask:
        return at, value
    shift = 0
    # More than four bytes are longer than any block.
    while at < len(block) and shift <= 21:
        value += (block[at] & 0x7F) << shift
        at += 1
        if block[at - 1] < 0x80:
            return at, value
        shift += 7
    raise _Cut


def _string(block: bytes, at: int) -> tuple[int, bytes]:
    """Read a string as sent (RFC 7541 section 5.2); return the next place and it."""
    at, length = _integer(block, at, 0x7F)
    if at + length > len(block):
        raise _Cut
    return at + length, block[at : at + length]
