"""
First payload bytes of both directions -> application protocol, and what they prove of protection.

Design section 6 rules: absence of evidence is `unknown`, never `plaintext`. Protocols that can change to TLS are judged
after the change; where that cannot be seen they are `unknown`. Ports prove nothing and are not looked at.
"""

from __future__ import annotations

import re
from dataclasses import replace

from vzflow.flow.terms import Transport, TransportBasis
from vzflow.readers.reassembly import Stream
from vzflow.readers.tls import (
    Cursor,
    Facts,
    Short,
    is_client_hello,
    is_record_chain,
    is_server_hello,
    judge_tls,
    unknown,
)

#: The name of a tunnel that only its payload tells.
WIREGUARD = "wireguard"

_HTTP_REQUEST = re.compile(rb"(?!CONNECT )[A-Z]{3,16} [\x21-\x7e]+ HTTP/1\.[01]\r?\n")
#: HTTP/0.9 has one method and no version.
_OLD_REQUEST = re.compile(rb"GET /[\x21-\x7e]*\r?\n")
_HTTP_ANSWER = re.compile(rb"HTTP/1\.[01] [1-5]\d\d[ \r\n]")
_CONNECT = re.compile(rb"CONNECT [\x20-\x7e]+ HTTP/1\.[01]\r?\n")
_CONNECTED = re.compile(rb"HTTP/1\.[01] 2\d\d[ \r\n]")
#: An HTTP/1 connection that goes on as something else: TLS (RFC 2817), a tunnel, or what the upgrade names. WebSocket
#: and h2c stay in clear.
_HTTP_TO_TLS = re.compile(rb"\nupgrade:[^\r\n]*\btls/", re.IGNORECASE)
_HTTP_TUNNEL = re.compile(rb"HTTP/1\.[01] 200 connection established", re.IGNORECASE)
_HTTP_SWITCHED = re.compile(rb"HTTP/1\.1 101[ \r\n]")
_HTTP_STAYS_CLEAR = re.compile(rb"\nupgrade:[ \t]*(?:websocket|h2c)\b", re.IGNORECASE)
_HEADER_END = re.compile(rb"\r?\n\r?\n")
#: RFC 9113 section 3.4.
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: Redis serialization protocol: an array of bulk strings, how every client library sends a command.
_REDIS = re.compile(rb"\*[1-9]\d{0,5}\r\n\$\d{1,9}\r\n")
_SSH = re.compile(rb"SSH-(?:1\.|2\.0-)")
_SMTP_HELLO = re.compile(rb"(?:EHLO|HELO|LHLO) [^\r\n]*\r?\n", re.IGNORECASE)
_SMTP_STARTTLS = re.compile(rb"^STARTTLS[ \t]*\r?\n", re.IGNORECASE | re.MULTILINE)
_SMTP_WORK = re.compile(rb"^(?:MAIL FROM:|AUTH |VRFY |RCPT TO:|DATA\r?\n)", re.IGNORECASE | re.MULTILINE)
_SMTP_REPLIES = re.compile(rb"(?:\d{3}[ -][^\r\n]*\r?\n)*")
#: PostgreSQL frontend/backend protocol: StartupMessage version 3, SSLRequest, GSSENCRequest.
_PG_STARTUP = 196608
_PG_TLS, _PG_GSS = bytes.fromhex("0000000804d2162f"), bytes.fromhex("0000000804d21630")
#: MySQL protocol 10 greeting: sequence number 0, protocol, version text, NUL. CLIENT_SSL of the capability flags.
_MYSQL_GREETING = re.compile(rb"...\0\x0a\d{1,2}\.\d{1,3}[\x21-\x7e]{0,80}\0", re.DOTALL)
_MYSQL_CLIENT_SSL = 0x0800


def _plaintext(app_protocol: str) -> Facts:
    return Facts(Transport.PLAINTEXT, TransportBasis.CLEAR_PROTOCOL, app_protocol)


def judge_streams(first: Stream, second: Stream, *, ended: bool) -> Facts:
    """
    Return what the first bytes of a TCP connection's two directions prove.

    Args:
        first: One direction, second the other; who opened does not matter.
        second: See *first*.
        ended: The connection was closed, and no payload is known to be missing: nothing can follow.
    """
    ended = ended and first.complete and second.complete
    return _judge(first, second, ended=ended, tunnelled=False)


def _judge(first: Stream, second: Stream, *, ended: bool, tunnelled: bool) -> Facts:
    for swapped, (client, server) in enumerate(((first, second), (second, first))):
        if is_client_hello(client.data) or is_server_hello(server.data):
            return judge_tls(client, server, swapped=bool(swapped), ended=ended)
        found = (
            _postgres(client, server, swapped=bool(swapped), ended=ended)
            or _mysql(client, server, swapped=bool(swapped), ended=ended)
            or _smtp(client, server, swapped=bool(swapped), ended=ended)
        )
        if found is None and not tunnelled:
            found = _connect(client, server, swapped=bool(swapped), ended=ended)
        if found is not None:
            return found
    return _clear(first, second) or _own_encryption(first, second) or _middle(first, second)


def _clear(first: Stream, second: Stream) -> Facts | None:
    """Protocols that stay as they begin: one direction in clear is proof."""
    for stream in (first, second):
        data = stream.data
        if _HTTP_REQUEST.match(data) or _OLD_REQUEST.match(data) or _HTTP_ANSWER.match(data):
            changed = any(_changes(other.data) for other in (first, second))
            return unknown(TransportBasis.UNRECOGNISED, "http") if changed else _plaintext("http")
        if data.startswith(_HTTP2):
            return _plaintext("http2")
        if _REDIS.match(data):
            return _plaintext("redis")
        if _elasticsearch(data):
            return _plaintext("elasticsearch")
        if len(data) > 2 and _dns(data[2 : 2 + int.from_bytes(data[:2], "big")]):
            return _plaintext("dns")
    return None


def _changes(data: bytes) -> bool:
    """Whether an HTTP/1 message says that the connection goes on, or may go on, as something that is not HTTP/1."""
    end = _HEADER_END.search(data)
    head = data[: end.start()] if end else data
    if _HTTP_TO_TLS.search(head) or _HTTP_TUNNEL.match(head):
        return True
    return _HTTP_SWITCHED.match(head) is not None and _HTTP_STAYS_CLEAR.search(head) is None


def _own_encryption(first: Stream, second: Stream) -> Facts | None:
    """SSH introduces itself in clear and then encrypts: neither plaintext nor TLS."""
    if _SSH.match(first.data) or _SSH.match(second.data):
        return unknown(TransportBasis.OTHER_ENCRYPTION, "ssh")
    return None


def _middle(first: Stream, second: Stream) -> Facts:
    """Neither a beginning of TLS nor a protocol in clear: perhaps records from the middle of a TLS connection."""
    spoke = [stream for stream in (first, second) if stream.data]
    if not (first.started or second.started):
        if spoke and all(is_record_chain(stream.data) for stream in spoke):
            return Facts(Transport.TLS, TransportBasis.TLS_MIDSTREAM)
        return unknown(TransportBasis.MIDSTREAM)
    if any(stream.cut or not (stream.complete or stream.full) for stream in (first, second)):
        return unknown(TransportBasis.CUT)
    return unknown(TransportBasis.UNRECOGNISED)


def _upgraded(client: Stream, server: Stream, name: str, *, swapped: bool, ended: bool) -> Facts:
    """What follows the point where both sides agreed to go on with TLS."""
    if is_client_hello(client.data):
        return _of_the_app(judge_tls(client, server, swapped=swapped, ended=ended, app_protocol=name))
    if client.data:
        return unknown(TransportBasis.UNRECOGNISED, name)
    return unknown(TransportBasis.TLS_FAILED if ended else TransportBasis.CUT, name)


def _postgres(client: Stream, server: Stream, *, swapped: bool, ended: bool) -> Facts | None:
    asked = answered = 0
    while client.data[asked : asked + 8] in (_PG_TLS, _PG_GSS):
        asked += 8
        answer = server.data[answered : answered + 1]
        answered += 1
        if answer == b"S":
            return _upgraded(client.after(asked), server.after(answered), "postgres", swapped=swapped, ended=ended)
        if answer != b"N":
            return unknown(TransportBasis.UNRECOGNISED if answer else TransportBasis.CUT, "postgres")
    cursor = Cursor(client.data[asked:])
    try:
        length, version, word = cursor.number(4), cursor.number(4), cursor.take(5)
    except Short:
        return unknown(TransportBasis.CUT, "postgres") if asked else None
    if version == _PG_STARTUP and 13 <= length <= 10_000 and word in (b"user\0", b"datab", b"appli", b"clien"):
        return _plaintext("postgres")
    return unknown(TransportBasis.UNRECOGNISED, "postgres") if asked else None


def _mysql(client: Stream, server: Stream, *, swapped: bool, ended: bool) -> Facts | None:
    if not _MYSQL_GREETING.match(server.data):
        return None
    greeting = 4 + int.from_bytes(server.data[:3], "little")
    size, sequence = int.from_bytes(client.data[:3], "little"), client.data[3:4]
    if len(client.data) < 6:
        return _plaintext("mysql") if ended and not client.data else unknown(TransportBasis.CUT, "mysql")
    if sequence != b"\x01":
        return unknown(TransportBasis.UNRECOGNISED, "mysql")
    if not int.from_bytes(client.data[4:6], "little") & _MYSQL_CLIENT_SSL:
        return _plaintext("mysql")
    return _upgraded(client.after(4 + size), server.after(greeting), "mysql", swapped=swapped, ended=ended)


def _smtp(client: Stream, server: Stream, *, swapped: bool, ended: bool) -> Facts | None:
    if not server.data.startswith(b"220") or not _SMTP_HELLO.match(client.data):
        return None
    upgrade = _SMTP_STARTTLS.search(client.data)
    work = _SMTP_WORK.search(client.data)
    if upgrade is not None and (work is None or upgrade.start() < work.start()):
        rest = client.data[upgrade.end() :]
        if _SMTP_WORK.match(rest):
            return _plaintext("smtp")
        replies = _SMTP_REPLIES.match(server.data)
        told = server.after(replies.end() if replies else 0)
        return _upgraded(client.after(upgrade.end()), told, "smtp", swapped=swapped, ended=ended)
    return _plaintext("smtp") if work is not None or ended else unknown(TransportBasis.CUT, "smtp")


def _connect(client: Stream, server: Stream, *, swapped: bool, ended: bool) -> Facts | None:
    """An HTTP CONNECT opens a tunnel: what goes through it decides."""
    if not _CONNECT.match(client.data):
        return None
    request, answer = _HEADER_END.search(client.data), _HEADER_END.search(server.data)
    if not server.data:
        return _plaintext("http") if ended else unknown(TransportBasis.CUT, "http")
    if not _CONNECTED.match(server.data):
        return _plaintext("http") if _HTTP_ANSWER.match(server.data) else unknown(TransportBasis.UNRECOGNISED, "http")
    if request is None or answer is None:
        return unknown(TransportBasis.CUT, "http")
    inner = (client.after(request.end()), server.after(answer.end()))
    if not any(stream.data for stream in inner):
        return unknown(TransportBasis.CUT, "http")
    found = _of_the_app(_judge(*(inner[::-1] if swapped else inner), ended=ended, tunnelled=True))
    return found if found.app_protocol else replace(found, app_protocol="http")


def _of_the_app(facts: Facts) -> Facts:
    """
    What TLS proves that began after bytes in clear: encryption, and no more.

    A sidecar's TLS begins with the first byte, so whoever ended this one is no sidecar, whatever the hello offers.
    """
    if facts.basis in (TransportBasis.ISTIO_ALPN, TransportBasis.CLIENT_CERTIFICATE):
        return replace(facts, transport=Transport.TLS, basis=TransportBasis.TLS_HANDSHAKE)
    return facts


def _elasticsearch(data: bytes) -> bool:
    """Elasticsearch transport: "ES", length, request id, status, version id, which counts in millions."""
    if len(data) < 19 or data[:2] != b"ES":
        return False
    length, version = int.from_bytes(data[2:6], "big"), int.from_bytes(data[15:19], "big")
    return 13 <= length < 1 << 31 and data[14] < 16 and 1_000_000 <= version < 100_000_000


def _dns(message: bytes) -> bool:
    """Whether *message* begins with a DNS header and one well-formed name, type and class (RFC 1035 section 4)."""
    cursor = Cursor(message)
    try:
        cursor.take(2)
        flags, *counts = (cursor.number(2) for _ in range(5))
        labels = 0
        while (size := cursor.number(1)) != 0:
            labels += 1 + size
            if size > 63 or labels > 254:
                return False
            cursor.take(size)
        kind, group = cursor.number(2), cursor.number(2) & 0x7FFF
    except Short:
        return False
    questions, answers, *_ = counts
    sane = (flags >> 11) & 0xF in (0, 2, 4, 5) and not flags & 0x40 and max(counts) <= 512 and questions <= 16
    return sane and questions + answers > 0 and kind != 0 and group in (1, 3, 4, 254, 255)


#: QUIC versions 1 and 2 (RFC 9000, 9369), and the IETF drafts before them.
_QUIC_VERSIONS = {0x00000001, 0x6B3343CF}
#: WireGuard messages that begin a session: initiation, response, cookie (whitepaper section 5.4), by size.
_WIREGUARD_SIZES = {1: 148, 2: 92, 3: 64}


def judge_datagrams(first: Stream, second: Stream) -> Facts:
    """Return what the first datagrams of the two directions prove."""
    spoke = [stream.data for stream in (first, second) if stream.data]
    if spoke and all(_quic(data) for data in spoke):
        # A lone packet opens nothing: without an answer no payload was protected.
        return Facts(Transport.TLS if len(spoke) == 2 else Transport.UNKNOWN, TransportBasis.QUIC, "quic")
    if any(_dns(data) for data in spoke):
        return _plaintext("dns")
    if any(_wireguard(data) for data in spoke):
        return unknown(TransportBasis.TUNNEL, WIREGUARD)
    return unknown(TransportBasis.DATAGRAM)


def _quic(data: bytes) -> bool:
    """A long header with the fixed bit, a version in use, and connection ids that fit (RFC 9000 section 17.2)."""
    if len(data) < 7 or data[0] & 0xC0 != 0xC0:
        return False
    version = int.from_bytes(data[1:5], "big")
    if version not in _QUIC_VERSIONS and version >> 8 != 0xFF0000:
        return False
    size = data[5]
    return size <= 20 and len(data) > 6 + size and data[6 + size] <= 20


def _wireguard(data: bytes) -> bool:
    if len(data) < 32 or data[1:4] != b"\0\0\0":
        return False
    return _WIREGUARD_SIZES.get(data[0]) == len(data) or (data[0] == 4 and len(data) % 16 == 0)
