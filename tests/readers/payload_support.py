"""Conversations by their bytes, and the messages that several tests build them from."""

import struct

from readers.tls_support import streams

from vzflow.readers.payload.judge import judge_datagrams, judge_streams
from vzflow.readers.payload.stream import Stream


def judged(*said, ended=True):
    """Facts of a connection in which ("c" or "s", bytes) were said in this order."""
    flights = [("client" if side == "c" else "server", data) for side, data in said]
    return judge_streams(*streams(flights), ended=ended)


def concluded(facts):
    return facts.transport.value, facts.basis.value, facts.app_protocol


def turned(said):
    """The same conversation with the directions swapped."""
    return [("s" if side == "c" else "c", data) for side, data in said]


def cuts(said, dense=200, step=37):
    """*said* as captures that stop early would have it."""
    total = sum(len(data) for _, data in said)
    for end in [*range(0, min(dense, total)), *range(dense, total, step)]:
        kept, left = [], end
        for side, data in said:
            kept.append((side, data[:left]))
            left = max(left - len(data), 0)
        yield kept


def datagrams(first, second=b""):
    return judge_datagrams(Stream(first, started=True), Stream(second, started=True))


def ber(tag, *parts):
    """An element of BER, length in the shortest form."""
    content = b"".join(parts)
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def ldap(number, tag, *parts):
    """An LDAP message (RFC 4511 section 4.1.1)."""
    return ber(0x30, b"\2\1" + bytes([number]), ber(tag, *parts))


def frame(kind, flags, stream, payload):
    """An HTTP/2 frame (RFC 9113 section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def extension(kind, content):
    return struct.pack("!HH", kind, len(content)) + content


def server_name(host):
    """RFC 6066 section 3."""
    return extension(0, struct.pack("!HBH", len(host) + 3, 0, len(host)) + host)


def alpn(*names):
    """RFC 7301 section 3.1."""
    listed = b"".join(bytes([len(name)]) + name for name in names)
    return extension(16, struct.pack("!H", len(listed)) + listed)


def versions(*offered):
    """RFC 8446 section 4.2.1, as a client offers them."""
    listed = b"".join(struct.pack("!H", version) for version in offered)
    return extension(43, bytes([len(listed)]) + listed)


def hello_body(legacy, *extensions, session=b"s" * 32, cookie=None):
    """The body of a ClientHello; *cookie* makes it one of DTLS."""
    cookies = b"" if cookie is None else bytes([len(cookie)]) + cookie
    listed = b"".join(extensions)
    suites = b"\x0a\x0a\x13\x01"
    head = struct.pack("!H", legacy) + b"r" * 32 + bytes([len(session)]) + session + cookies
    return head + struct.pack("!H", len(suites)) + suites + b"\1\0" + struct.pack("!H", len(listed)) + listed


def answer_body(legacy, *extensions, random=b"q" * 32):
    """The body of a ServerHello."""
    listed = b"".join(extensions)
    return struct.pack("!H", legacy) + random + b"\0\x13\x01\0" + struct.pack("!H", len(listed)) + listed


def handshake(kind, body):
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def record(kind, body, version=0x0303):
    return struct.pack("!BHH", kind, version, len(body)) + body
