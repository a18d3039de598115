"""
What the flows of a generated capture say first: the scripts of their conversations, byte by byte.

A byte is either fixed or free; the maker of a capture leaves random bytes where it is free, so that two ClientHellos
differ where real ones do. All layouts are our own writing of the cited documents.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

#: Largest payload of a scripted packet: Ethernet's 1500 less IPv6, TCP with timestamps, and VXLAN (RFC 7348) around it.
SEGMENT = 1378
#: Instead of a message's number: no message of a script, and data that begins with the header of a TLS record.
NO_MESSAGE, TLS_DATA = -1, -2
#: Names that hellos, requests and queries ask for.
SERVICES = tuple(f"{app}.{space}" for space in ("shop", "billing", "search") for app in (
    "orders", "cart", "catalog", "users", "ledger", "stock", "images", "mail",
))  # fmt: skip
_DOMAIN = "svc.cluster.local"


class Side(IntEnum):
    """Who sends."""

    CLIENT = 0
    SERVER = 1


class Protocol(IntEnum):
    """IANA protocol numbers; ICMP stands for ICMPv6 too."""

    ICMP = 1
    TCP = 6
    UDP = 17


@dataclass(frozen=True)
class Message:
    """Payload of one packet; *known* holds 1 for each fixed byte and 0 for each free one."""

    data: bytes
    known: bytes

    def __add__(self, other: Message) -> Message:
        return Message(self.data + other.data, self.known + other.known)

    def __len__(self) -> int:
        return len(self.data)

    def cut(self, size: int) -> list[Message]:
        """The message in packets of at most *size* bytes."""
        return [Message(self.data[i : i + size], self.known[i : i + size]) for i in range(0, len(self), size)]


class Step(NamedTuple):
    side: Side
    message: Message


class Script(NamedTuple):
    """
    One kind of flow.

    Args:
        share: Of all flows.
        ports: Of the server; a service always has the same one of them.
        steps: What is said first, in order, for a service's name.
        tls: Data that follows the script comes as TLS records.
    """

    name: str
    protocol: Protocol
    share: float
    ports: tuple[int, ...]
    steps: Callable[[str], list[Step]]
    tls: bool = False


def fixed(data: bytes) -> Message:
    return Message(data, b"\1" * len(data))


def free(size: int) -> Message:
    return Message(bytes(size), bytes(size))


def client(*messages: Message) -> list[Step]:
    return [Step(Side.CLIENT, part) for message in messages for part in message.cut(SEGMENT)]


def server(*messages: Message) -> list[Step]:
    return [Step(Side.SERVER, part) for message in messages for part in message.cut(SEGMENT)]


def _sized(code: str, body: Message) -> Message:
    return fixed(struct.pack(code, len(body))) + body


def _record(content: int, body: Message, version: int = 0x0303) -> Message:
    """A TLS record (RFC 8446 section 5.1)."""
    return fixed(struct.pack(">BH", content, version)) + _sized(">H", body)


def _handshake(kind: int, body: Message) -> Message:
    """A handshake message in a record of its own (RFC 8446 section 4)."""
    version = 0x0301 if kind == 1 else 0x0303
    return _record(22, fixed(struct.pack(">BBH", kind, len(body) >> 16, len(body) & 0xFFFF)) + body, version)


def _extension(number: int, body: Message) -> Message:
    return fixed(struct.pack(">H", number)) + _sized(">H", body)


def client_hello(name: str, *, post_quantum: bool) -> Message:
    """
    ClientHello of TLS 1.3 as a mesh's sidecar sends it: SNI `outbound_...`, an Istio ALPN.

    About 520 bytes with padding (RFC 7685); about 1750, thus two segments, with a key share of X25519MLKEM768.
    Source: RFC 8446 section 4.1.2, RFC 6066 section 3, RFC 7301; draft-ietf-tls-ecdhe-mlkem for the share's size.
    """
    sni = fixed(f"outbound_.8080_._.{name}.{_DOMAIN}".encode())
    alpn = b"".join(bytes([len(p)]) + p for p in (b"istio-http/1.1", b"istio", b"http/1.1"))
    shares = fixed(b"\x00\x1d\x00\x20") + free(32)
    if post_quantum:
        shares = fixed(b"\x11\xec\x04\xc0") + free(1216) + shares
    extensions = (
        _extension(0, _sized(">H", fixed(b"\0") + _sized(">H", sni)))
        + _extension(16, _sized(">H", fixed(alpn)))
        + _extension(10, fixed(bytes.fromhex("000611ec001d0017")))  # supported groups
        + _extension(13, fixed(bytes.fromhex("0008040308040401 0805")))  # signature algorithms
        + _extension(43, fixed(bytes.fromhex("020304")))  # TLS 1.3
        + _extension(45, fixed(bytes.fromhex("0101")))  # key exchange modes
        + _extension(51, _sized(">H", shares))
    )
    if not post_quantum:
        extensions += _extension(21, fixed(bytes(max(0, 420 - len(extensions)))))
    suites = fixed(bytes.fromhex("0006130113021303"))
    body = fixed(b"\x03\x03") + free(32) + fixed(b"\x20") + free(32) + suites + fixed(b"\x01\x00")
    return _handshake(1, body + _sized(">H", extensions))


def _tls(name: str, *, post_quantum: bool) -> list[Step]:
    """Handshake of TLS 1.3 with a client certificate (RFC 8446 section 2): after ServerHello all is encrypted."""
    shared = fixed(b"\x11\xec\x04\x60") + free(1120) if post_quantum else fixed(b"\x00\x1d\x00\x20") + free(32)
    chosen = _extension(43, fixed(b"\x03\x04")) + _extension(51, shared)
    hello = fixed(b"\x03\x03") + free(32) + fixed(b"\x20") + free(32) + fixed(b"\x13\x01\x00") + _sized(">H", chosen)
    change = _record(20, fixed(b"\1"))
    return [
        *client(client_hello(name, post_quantum=post_quantum)),
        *server(_handshake(2, hello) + change + _record(23, free(1500))),  # certificate request, certificate, finished
        *client(change + _record(23, free(1100))),  # certificate, finished
        *client(_record(23, free(420))),
        *server(_record(23, free(610))),
    ]


def _http(name: str) -> list[Step]:
    """A request and its answer (RFC 9112)."""
    body = b'{"items":[' + b",".join(b'{"id":%d,"price":"12.50"}' % i for i in range(30)) + b"]}"
    return [
        *client(fixed(f"GET /api/v1/items?page=1 HTTP/1.1\r\nHost: {name}:8080\r\nUser-Agent: Go-http-client/1.1\r\n"
                      "Accept-Encoding: gzip\r\n\r\n".encode())),
        *server(fixed(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
                      + body)),
    ]  # fmt: skip


def _postgres(name: str) -> list[Step]:
    """Startup in clear and a query (PostgreSQL 16, "Frontend/Backend Protocol")."""
    words = b"user\0app\0database\0" + name.encode() + b"\0\0"
    query = b"SELECT id, total FROM orders WHERE customer = 4711\0"
    return [
        *client(fixed(struct.pack(">II", 8 + len(words), 196608) + words)),
        *server(fixed(b"R\0\0\0\x08\0\0\0\0S\0\0\0\x18server_version\x0016.3\0\0Z\0\0\0\5I")),
        *client(fixed(b"Q" + struct.pack(">I", 4 + len(query)) + query)),
        *server(fixed(b"D") + _grown(free(240))),
    ]


def _grown(body: Message) -> Message:
    """A length that counts itself, then *body*."""
    return fixed(struct.pack(">I", 4 + len(body))) + body


def _mysql(name: str) -> list[Step]:
    """Greeting of the server, answer of a client without TLS, a query (MySQL 8.0, "Connection Phase")."""
    greeting = (
        fixed(b"\x0a8.0.36\0\x07\0\0\0") + free(8) + fixed(b"\0\xff\xf7\xff\x02\0\xff\xdf\x15" + bytes(10)) + free(12)
        + fixed(b"\0caching_sha2_password\0")
    )  # fmt: skip
    answer = fixed(struct.pack("<IIB", 0x0008A28D, 1 << 24, 255) + bytes(23) + b"app\0\x20") + free(32)
    return [
        *server(_numbered(0, greeting)),
        *client(_numbered(1, answer + fixed(name.encode() + b"\0caching_sha2_password\0"))),
        *server(_numbered(2, fixed(b"\0\0\0\2\0\0\0"))),
        *client(_numbered(0, fixed(b"\x03SELECT 1"))),
    ]


def _numbered(sequence: int, body: Message) -> Message:
    return fixed(struct.pack("<I", len(body) | sequence << 24)) + body


def _redis(name: str) -> list[Step]:
    """A command and its answer (RESP2)."""
    key = f"session:{name}".encode()
    return [
        *client(fixed(b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key))),
        *server(fixed(b"$11\r\nhello world\r\n")),
    ]


def _opaque(_name: str) -> list[Step]:
    """Bytes that no protocol begins with on both sides."""
    return [*client(fixed(b"\xf7\x01") + free(200)), *server(fixed(b"\xf7\x02") + free(300))]


def _dns(name: str, *, both: bool) -> list[Step]:
    """Queries for A, and AAAA where *both*, and answers (RFC 1035 section 4); two bytes are left to the query's id."""
    labels = b"".join(bytes([len(p)]) + p.encode() for p in f"{name}.{_DOMAIN}".split(".")) + b"\0"
    address = b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\x0a\x60\0\x0a"
    queries, answers = [], []
    for kind, records in ((b"\0\1", [address]), (b"\0\x1c", []))[: 1 + both]:
        question = labels + kind + b"\0\1"
        queries += client(free(2) + fixed(struct.pack(">5H", 0x0100, 1, 0, 0, 0) + question))
        found = struct.pack(">5H", 0x8580, 1, len(records), 0, 0) + question + b"".join(records)
        answers += server(free(2) + fixed(found))
    return queries + answers


SCRIPTS = (
    Script("tls", Protocol.TCP, 0.28, (8443, 443, 9090), lambda name: _tls(name, post_quantum=False), tls=True),
    Script("tls_pq", Protocol.TCP, 0.17, (8443, 443, 9090), lambda name: _tls(name, post_quantum=True), tls=True),
    Script("http", Protocol.TCP, 0.16, (8080, 80, 9080), _http),
    Script("postgres", Protocol.TCP, 0.05, (5432,), _postgres),
    Script("mysql", Protocol.TCP, 0.03, (3306,), _mysql),
    Script("redis", Protocol.TCP, 0.05, (6379,), _redis),
    Script("opaque", Protocol.TCP, 0.08, (7000, 9092), _opaque),
    Script("dns", Protocol.UDP, 0.09, (53,), lambda name: _dns(name, both=False)),
    Script("dns_both", Protocol.UDP, 0.08, (53,), lambda name: _dns(name, both=True)),
    Script("ping", Protocol.ICMP, 0.01, (0,), lambda _name: []),
)
