"""The applications behind and before the sidecars: small, but they speak their protocols over real sockets."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from maker import lab

#: Nobody waits longer than this for an answer.
PATIENCE = 5.0

Handler = Callable[[socket.socket], None]


def serve(host: str, ip: str, port: int, handle: Handler) -> None:
    """Accept TCP connections in *host*'s namespace for as long as the maker runs."""
    with lab.inside(host):
        listening = socket.create_server((ip, port))

    def answer(line: socket.socket) -> None:
        # A peer that hangs up in the middle is part of the play.
        with line, suppress(OSError):
            line.settimeout(PATIENCE)
            handle(line)

    def accept() -> None:
        while True:
            try:
                line, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(line,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def dial(host: str, source: str, ip: str, port: int, patience: float = PATIENCE) -> socket.socket:
    """Open a TCP connection from *host*'s namespace and its address *source*."""
    with lab.inside(host):
        line = socket.socket()
    line.settimeout(patience)
    line.bind((source, 0))
    try:
        line.connect((ip, port))
    except OSError:
        line.close()
        raise
    return line


def http_server(body: object) -> Handler:
    """Answer one request with *body* as JSON, then close."""
    text = json.dumps(body).encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"

    def handle(line: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = line.recv(4096)
            if not piece:
                return
            head += piece
        line.sendall(answer % (len(text), text))

    return handle


def http_get(line: socket.socket, host: str, path: str, agent: str, forwarded_for: str | None = None) -> bytes:
    """Ask one request on *line*, read to the end and close; return what came."""
    head = [f"GET {path} HTTP/1.1", f"host: {host}", f"user-agent: {agent}", "accept: */*", "connection: close"]
    if forwarded_for:
        head.append(f"x-forwarded-for: {forwarded_for}")
    return exchange(line, ("\r\n".join(head) + "\r\n\r\n").encode())


def exchange(line: socket.socket, say: bytes) -> bytes:
    """Send, read until the other side closes or resets, close."""
    heard = b""
    with line, suppress(ConnectionResetError):
        if say:
            line.sendall(say)
        while piece := line.recv(4096):
            heard += piece
    return heard


def over_tls(handle: Handler, chain: str, secret: str, alpn: list[str]) -> Handler:
    """Put one-way TLS, as an application does it itself, before *handle*."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, secret)
    context.set_alpn_protocols(alpn)

    def wrapped(line: socket.socket) -> None:
        with context.wrap_socket(line, server_side=True) as secured:
            handle(secured)

    return wrapped


def tls(line: socket.socket, name: str, root: str, alpn: list[str]) -> ssl.SSLSocket:
    """Begin one-way TLS on *line*, asking for *name*."""
    context = ssl.create_default_context(cafile=root)
    context.set_alpn_protocols(alpn)
    return context.wrap_socket(line, server_hostname=name)


def _mysql_packet(number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number]) + payload


_MYSQL_OK = bytes.fromhex("00000002000000")
#: Protocol::HandshakeV10 of the MySQL client/server protocol: the server speaks first.
_MYSQL_GREETING = (
    b"\x0a8.0.20\0"
    + struct.pack("<I", 11)
    + b"abcdefgh\0"
    + struct.pack("<HBHHB", 0xF7FF, 33, 2, 0x81FF, 21)
    + bytes(10)
    + b"ijklmnopqrst\0"
    + b"mysql_native_password\0"
)
_MYSQL_LOGIN = struct.pack("<IIB", 0x0000A285, 1 << 24, 33) + bytes(23) + b"keycloak\0\x00" + b"mysql_native_password\0"


def mysql_server(line: socket.socket) -> None:
    """Greet, take a login, answer one query, close."""
    line.sendall(_mysql_packet(0, _MYSQL_GREETING))
    line.recv(4096)
    line.sendall(_mysql_packet(2, _MYSQL_OK))
    line.recv(4096)
    line.sendall(_mysql_packet(1, _MYSQL_OK))
    line.recv(4096)


def mysql_session(line: socket.socket) -> bytes:
    """Wait for the greeting, log in, ask one query, quit; return the greeting, empty when none came."""
    with line, suppress(ConnectionResetError):
        greeting = line.recv(4096)
        if greeting:
            line.sendall(_mysql_packet(1, _MYSQL_LOGIN))
            line.recv(4096)
            line.sendall(_mysql_packet(0, b"\x03SELECT 1"))
            line.recv(4096)
            line.sendall(_mysql_packet(0, b"\x01"))
        return greeting
    return b""


#: StartupMessage of the PostgreSQL protocol 3.0, and the ErrorResponse that turns it away.
POSTGRES_STARTUP = struct.pack(">II", 22, 3 << 16) + b"user\0rancher\0\0"
_POSTGRES_ERROR = b'SFATAL\0C28000\0Mrole "rancher" does not exist\0\0'


def postgres_server(line: socket.socket) -> None:
    """Turn a startup message away as a PostgreSQL server does for a user it does not know."""
    line.recv(4096)
    line.sendall(b"E" + struct.pack(">I", 4 + len(_POSTGRES_ERROR)) + _POSTGRES_ERROR)


def transport_server(line: socket.socket) -> None:
    """Answer an Elasticsearch transport handshake."""
    line.recv(4096)
    line.sendall(_transport_message(1, 1))


def transport_hello() -> bytes:
    """Return the handshake request an Elasticsearch node opens with."""
    return _transport_message(1, 0)


def _transport_message(request: int, status: int) -> bytes:
    body = (
        struct.pack(">QBi", request, status | 8, 7060199)
        + b"\x00\x00\x16internal:tcp/handshake\x00\x04\xa7\x9f\x9c\x03"
    )
    return b"ES" + struct.pack(">i", len(body)) + body


def dns_server(host: str, ip: str, answers: dict[str, str]) -> None:
    """Answer A queries for *answers* over UDP from *ip*."""
    with lab.inside(host):
        open_ = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    open_.bind((ip, 53))

    def answer() -> None:
        while True:
            query, asker = open_.recvfrom(512)
            # RFC 1035 section 4: the header of 12 bytes, the question, one A record that points back to its name.
            question = query[12:]
            name = _name_in(question)
            record = b"\xc0\x0c\x00\x01\x00\x01" + struct.pack(">IH", 30, 4) + socket.inet_aton(answers[name])
            open_.sendto(query[:2] + struct.pack(">HHHHH", 0x8580, 1, 1, 0, 0) + question + record, asker)

    threading.Thread(target=answer, daemon=True).start()


def _name_in(question: bytes) -> str:
    labels, at = [], 0
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode())
        at += 1 + question[at]
    return ".".join(labels)


def dns_query(host: str, source: str, server: str, name: str) -> bytes:
    """Ask *server* for the address of *name* over UDP; return the answer."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack(">HHHHHH", 0x2B0F, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
    with lab.inside(host):
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with line:
        line.settimeout(PATIENCE)
        line.bind((source, 0))
        line.sendto(query, (server, 53))
        return line.recv(512)
