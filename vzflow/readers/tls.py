"""
First payload bytes of both directions -> TLS facts, application protocol, and what they prove about protection.

Pure functions on bytes, plus the small reassembler that puts those bytes in order. Design section 6 rules: absence of
evidence is `unknown`, never `plaintext`; protocols that can change to TLS are judged after the change, and where that
cannot be seen they are `unknown`. Ports prove nothing and are not looked at.

Source: RFC 8446 and RFC 5246 for TLS; RFC 6066 (server name), 7301 (ALPN); what Envoy sends was observed.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from vzflow.flow.terms import ClientCertificate, Transport, TransportBasis

#: Bytes kept of each direction: two hellos of Envoy with a post-quantum key share, and a certificate chain or two.
LIMIT = 8192
#: Bytes kept of the first datagram of each direction.
DATAGRAM_LIMIT = 2048
#: Segments that may wait for an earlier one, and segments whose acknowledgement number is remembered.
_MAX_WAITING, _MAX_ACKS = 64, 1024
_SEQUENCE = 0xFFFFFFFF

#: Names of application protocols that others must know.
WIREGUARD = "wireguard"


@dataclass(frozen=True)
class Facts:
    """What the first payload bytes of a flow say; `principals` are SPIFFE URIs by the order of the two directions."""

    transport: Transport
    basis: TransportBasis
    app_protocol: str | None = None
    tls_version: str | None = None
    tls_sni: str | None = None
    tls_alpn: str | None = None
    tls_resumed: bool | None = None
    client_certificate: ClientCertificate | None = None
    principals: tuple[str | None, str | None] = (None, None)


def unknown(basis: TransportBasis, app_protocol: str | None = None) -> Facts:
    """Return that nothing is proven, and why."""
    return Facts(Transport.UNKNOWN, basis, app_protocol)


def _plaintext(app_protocol: str) -> Facts:
    return Facts(Transport.PLAINTEXT, TransportBasis.CLEAR_PROTOCOL, app_protocol)


class Stream:
    """
    The first bytes one side of a TCP connection sent, in the order of their sequence numbers.

    Segments may come out of order, twice, overlapping or cut by the capture length; what was first captured stays.
    `data` holds what is known without a gap from its beginning.
    """

    __slots__ = ("_acks", "_base", "_waiting", "beyond", "cut", "data", "started")

    def __init__(self) -> None:
        self.data = b""
        #: `data` begins right after the SYN; else wherever the capture began.
        self.started = False
        #: Bytes were sent that the capture or the payload pool does not hold.
        self.cut = False
        #: More was sent than LIMIT.
        self.beyond = False
        self._base: int | None = None
        self._waiting: dict[int, tuple[bytes, int]] = {}
        #: (end in `data`, acknowledgement number) of each segment that brought new bytes.
        self._acks: list[tuple[int, int]] = []

    @property
    def full(self) -> bool:
        """Nothing more will be kept."""
        return len(self.data) >= LIMIT

    @property
    def complete(self) -> bool:
        """Every byte that was captured of this side is in `data`."""
        return not (self.cut or self.beyond or self._waiting)

    def open(self, isn: int) -> None:
        """Note a SYN with the initial sequence number *isn*: payload begins one after it."""
        begin = (isn + 1) & _SEQUENCE
        if self.data:
            self.started |= begin == self._base
            return
        if begin != self._base:
            self._waiting.clear()
        self._base, self.started = begin, True

    def add(self, seq: int, payload: bytes, length: int, ack: int, room: int) -> int:
        """
        Add a segment.

        Args:
            seq: Sequence number of its first payload byte.
            payload: Captured bytes; *length* were sent.
            length: Bytes.
            ack: Its acknowledgement number.
            room: Bytes that may still be kept of all flows together.

        Returns:
            How many more bytes are kept now.
        """
        if self._base is None:
            self._base = seq & _SEQUENCE
        at = (seq - self._base) & _SEQUENCE
        if at > _SEQUENCE >> 1:
            at -= _SEQUENCE + 1
        if at + length <= len(self.data):
            return 0
        if at >= LIMIT or self.full:
            self.beyond = True
            return 0
        if len(payload) > room:
            self.cut = True
            return 0
        before = len(self.data) + self._held()
        if at <= len(self.data):
            self._append(at, payload, length, ack)
            self._join()
        elif not self.cut and len(self._waiting) < _MAX_WAITING and len(payload) == length:
            self._waiting[at] = (payload[: LIMIT - at], ack)
        else:
            self.cut = True
        return len(self.data) + self._held() - before

    def add_datagram(self, payload: bytes, room: int) -> int:
        """Keep the beginning of the first datagram; return how many bytes."""
        if self.data or len(payload) > room:
            return 0
        self.started = True
        self.data = payload[:DATAGRAM_LIMIT]
        return len(self.data)

    def _held(self) -> int:
        return sum(len(payload) for payload, _ in self._waiting.values())

    def _append(self, at: int, payload: bytes, length: int, ack: int) -> None:
        new = payload[len(self.data) - at : LIMIT - at]
        self.cut |= len(payload) < length
        self.beyond |= at + length > LIMIT
        if new:
            self.data += new
            if len(self._acks) < _MAX_ACKS:
                self._acks.append((len(self.data), ack))

    def _join(self) -> None:
        while self._waiting:
            at = min(self._waiting)
            if at > len(self.data):
                return
            payload, ack = self._waiting.pop(at)
            self._append(at, payload, len(payload), ack)

    def covers(self, offset: int, peer: Stream, end: int) -> bool:
        """Whether the segment that brought byte *offset* was sent after *peer*'s bytes before *end* had arrived."""
        index = bisect_right(self._acks, offset, key=lambda known: known[0])
        if index == len(self._acks) or peer._base is None:
            return False
        arrived = (self._acks[index][1] - peer._base) & _SEQUENCE
        return end <= arrived < _SEQUENCE >> 1

    def after(self, count: int) -> Stream:
        """Return the stream without its first *count* bytes, as if it began there."""
        rest = Stream()
        rest.data, rest.started, rest.cut, rest.beyond = self.data[count:], self.started, self.cut, self.beyond
        rest._waiting = self._waiting
        rest._base = None if self._base is None else (self._base + count) & _SEQUENCE
        rest._acks = [(end - count, ack) for end, ack in self._acks if end > count]
        return rest


# --- TLS -------------------------------------------------------------------------------------------------------------

_CHANGE_CIPHER, _ALERT, _HANDSHAKE, _DATA = 20, 21, 22, 23
_CLIENT_HELLO, _SERVER_HELLO, _CERTIFICATE, _KEY_EXCHANGE = 1, 2, 11, 12
_CERTIFICATE_REQUEST, _HELLO_DONE, _CERTIFICATE_VERIFY = 13, 14, 15
_SERVER_NAME, _ALPN, _PRE_SHARED_KEY, _EARLY_DATA, _SUPPORTED_VERSIONS = 0, 16, 41, 42, 43
_VERSIONS = {0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
_TLS13 = 0x0304
#: RFC 8446 section 5.2: 2^14 + 256; RFC 5246 section 6.2.3: 2^14 + 2048.
_MAX_RECORD = (1 << 14) + 2048
#: Longest record that may hold nothing but an encrypted alert: two bytes, the content type and the tag make 19; 24 with
#: the explicit nonce some write.
_ALERT_RECORD = 24
#: SHA-256 of "HelloRetryRequest" (RFC 8446 section 4.1.3).
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
#: What only Istio's proxies offer (istio/istio, pilot/pkg/networking/util and pilot/pkg/xds/filters).
ISTIO_ALPN = {"istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"}


class _Record(NamedTuple):
    kind: int
    start: int
    length: int
    body: bytes

    @property
    def end(self) -> int:
        return self.start + 5 + self.length

    @property
    def fatal(self) -> bool:
        """A fatal alert in clear."""
        return self.kind == _ALERT and self.length == 2 and self.body[:1] == b"\x02"


def _record_at(data: bytes, at: int) -> _Record | None:
    if len(data) < at + 5 or data[at] not in (_CHANGE_CIPHER, _ALERT, _HANDSHAKE, _DATA):
        return None
    length = int.from_bytes(data[at + 3 : at + 5], "big")
    if data[at + 1] != 3 or data[at + 2] > 4 or not 0 < length <= _MAX_RECORD:
        return None
    return _Record(data[at], at, length, data[at + 5 : at + 5 + length])


def _records(data: bytes) -> list[_Record]:
    """Return the TLS records of *data* up to the first bytes that are none; the last may be partial."""
    found = []
    at = 0
    while (record := _record_at(data, at)) is not None:
        found.append(record)
        at = record.end
    return found


def _begins(data: bytes, message: int) -> bool:
    """Whether *data* begins with a handshake record that begins with *message*, of at least the bytes all hellos have."""
    record = _record_at(data, 0)
    return (
        record is not None
        and record.kind == _HANDSHAKE
        and record.body[:1] == bytes([message])
        and record.body[1:2] == b"\0"
        and record.body[4:5] == b"\x03"
    )


def _messages(records: list[_Record], *, past_change: bool) -> Iterator[tuple[int, bytes]]:
    """
    Yield (type, body) of the handshake messages in clear; the last body may be partial.

    Up to TLS 1.2 everything after ChangeCipherSpec is encrypted. In TLS 1.3 that record means nothing, and encrypted
    messages look like application data.
    """
    joined = b""
    for record in records:
        if record.kind == _HANDSHAKE:
            joined += record.body
        elif record.kind == _CHANGE_CIPHER and not past_change:
            break
    at = 0
    while at + 4 <= len(joined):
        length = int.from_bytes(joined[at + 1 : at + 4], "big")
        yield joined[at], joined[at + 4 : at + 4 + length]
        at += 4 + length


class _Short(Exception):
    """The bytes end before the structure does."""


class _Cursor:
    """Reads vectors with a length in front, as TLS and its kin write them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise _Short
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))


@dataclass
class _Hello:
    """A ClientHello or ServerHello, as far as it is there."""

    legacy: int | None = None
    random: bytes = b""
    whole: bool = False
    extensions: dict[int, bytes] = field(default_factory=dict)

    @property
    def version(self) -> int | None:
        """The version a server chose; null when the extension that says it may be missing."""
        chosen = self.extensions.get(_SUPPORTED_VERSIONS)
        if chosen is not None and len(chosen) == 2:
            return int.from_bytes(chosen, "big")
        return self.legacy if self.whole else None

    @property
    def server_name(self) -> str | None:
        try:
            names = _Cursor(_Cursor(self.extensions.get(_SERVER_NAME, b"")).vector(2))
            return _text(names.vector(2)) if names.number(1) == 0 else None
        except _Short:
            return None

    @property
    def alpn(self) -> list[str]:
        offered: list[str] = []
        try:
            names = _Cursor(_Cursor(self.extensions.get(_ALPN, b"")).vector(2))
            while True:
                offered.append(_text(names.vector(1)))
        except _Short:
            return offered


def _text(raw: bytes) -> str:
    """Bytes a peer chose, as printable text without the comma that joins lists."""
    return "".join(chr(b) if 0x20 < b < 0x7F and b not in b",\\" else f"\\x{b:02x}" for b in raw)


def _hello(body: bytes, *, client: bool) -> _Hello:
    hello = _Hello()
    cursor = _Cursor(body)
    try:
        hello.legacy = cursor.number(2)
        hello.random = cursor.take(32)
        cursor.vector(1)
        if client:
            cursor.vector(2)
            cursor.vector(1)
        else:
            cursor.take(3)
    except _Short:
        return hello
    try:
        left = cursor.number(2)
    except _Short:
        # No extensions at all: how TLS 1.2 and older may end.
        hello.whole = True
        return hello
    try:
        while left > 0:
            kind, content = cursor.number(2), cursor.vector(2)
            hello.extensions.setdefault(kind, content)
            left -= 4 + len(content)
    except _Short:
        return hello
    hello.whole = True
    return hello


@dataclass
class _Handshake:
    """What can be seen of a TLS handshake and of what followed it."""

    client: Stream
    server: Stream
    hello: _Hello | None = None
    answer: _Hello | None = None
    version: int | None = None
    resumed: bool | None = None
    asked: bool | None = None
    certificate: ClientCertificate | None = None
    verified: bool = False
    #: The server changed to encryption, which up to TLS 1.2 it does last, content with what the client showed.
    accepted: bool = False
    refused: bool = False
    client_data: list[_Record] = field(default_factory=list)
    server_data: list[_Record] = field(default_factory=list)
    client_principal: str | None = None
    server_principal: str | None = None

    @property
    def flight_end(self) -> int | None:
        """End of the first encrypted record of a TLS 1.3 client; null when that may be early data."""
        if not self.client_data or self.hello is None or _EARLY_DATA in self.hello.extensions:
            return None
        return self.client_data[0].end

    def answers(self) -> list[_Record]:
        """Encrypted records the server began after the client's second flight had arrived (TLS 1.3)."""
        end = self.flight_end
        if end is None:
            return []
        return [r for r in self.server_data if self.server.covers(r.start, self.client, end)]

    @property
    def both_ways(self) -> bool:
        """
        Application data went both ways after the handshake.

        In TLS 1.3 the client's first encrypted record is its second flight, so it takes another; and one record of the
        server, after that flight, that is longer than the alert it would have refused the client with.
        """
        if self.version != _TLS13:
            return bool(self.client_data and self.server_data)
        spoke = any(record.length > _ALERT_RECORD for record in self.client_data[1:])
        return spoke and any(record.length > _ALERT_RECORD for record in self.answers())

    def failed(self, *, ended: bool) -> bool:
        """The handshake was broken off: by an alert, or by an end before it was complete."""
        if self.version != _TLS13:
            return not self.server_data and (self.refused or (ended and not self.accepted))
        if self.refused or (ended and not self.client_data):
            return True
        if self.flight_end is None:
            return False
        answers = self.answers()
        only_alert = ended and len(answers) == 1 and answers[0].length <= _ALERT_RECORD
        return only_alert or self.client_data[0].length <= _ALERT_RECORD


def _read_handshake(client: Stream, server: Stream) -> _Handshake:
    seen = _Handshake(client, server)
    sent, received = _records(client.data), _records(server.data)
    first = next((body for kind, body in _messages(received, past_change=False) if kind == _SERVER_HELLO), None)
    if first is not None:
        seen.answer = _hello(first, client=False)
        seen.version = seen.answer.version
    newest = seen.version == _TLS13
    _read_client(seen, list(_messages(sent, past_change=newest)))
    _read_server(seen, list(_messages(received, past_change=newest)), received)
    seen.client_data = [r for r in sent if r.kind == _DATA]
    seen.server_data = [r for r in received if r.kind == _DATA]
    seen.refused = any(record.fatal for record in (*sent, *received))
    return seen


def _read_client(seen: _Handshake, messages: list[tuple[int, bytes]]) -> None:
    for kind, body in messages:
        if kind == _CLIENT_HELLO and seen.hello is None:
            seen.hello = _hello(body, client=True)
        elif kind == _CERTIFICATE and len(body) >= 3:
            seen.certificate = ClientCertificate.SEEN if body[:3] != b"\0\0\0" else ClientCertificate.EMPTY
            seen.client_principal = _principal(body)
        elif kind == _CERTIFICATE_VERIFY:
            seen.verified = True


def _read_server(seen: _Handshake, messages: list[tuple[int, bytes]], records: list[_Record]) -> None:
    kinds = {kind for kind, _ in messages}
    if seen.version is None:
        return
    if seen.version == _TLS13:
        hellos = [_hello(body, client=False) for kind, body in messages if kind == _SERVER_HELLO]
        final = next((hello for hello in hellos if hello.random != _RETRY), None)
        if final is not None and final.whole:
            seen.resumed = _PRE_SHARED_KEY in final.extensions
        return
    seen.accepted = any(record.kind == _CHANGE_CIPHER for record in records)
    if kinds & {_CERTIFICATE, _KEY_EXCHANGE, _HELLO_DONE}:
        seen.resumed = False
    elif seen.accepted:
        seen.resumed = True
    if _CERTIFICATE_REQUEST in kinds:
        seen.asked = True
    elif _HELLO_DONE in kinds:
        seen.asked = False
    chain = next((body for kind, body in messages if kind == _CERTIFICATE), b"")
    seen.server_principal = _principal(chain)


def _principal(message: bytes) -> str | None:
    """Return the SPIFFE URI of the first certificate of a TLS <= 1.2 Certificate message."""
    cursor = _Cursor(message)
    try:
        cursor.take(3)
        return _spiffe(cursor.vector(3))
    except _Short:
        return None


#: DER of the object identifier 2.5.29.17, subjectAltName (RFC 5280 section 4.2.1.6).
_SUBJECT_ALT_NAME = bytes.fromhex("551d11")
_DER_OID, _DER_EXTENSIONS, _DER_URI = 0x06, 0xA3, 0x86
#: Longest SPIFFE URI (SPIFFE-ID section 2.3).
_MAX_URI = 2048


def _spiffe(certificate: bytes) -> str | None:
    signed = next(iter(_elements(_inside(certificate))), (0, b""))[1]
    extensions = next((body for tag, body in _elements(signed) if tag == _DER_EXTENSIONS), b"")
    for _, extension in _elements(_inside(extensions)):
        parts = list(_elements(extension))
        if len(parts) < 2 or parts[0] != (_DER_OID, _SUBJECT_ALT_NAME):
            continue
        for tag, name in _elements(_inside(parts[-1][1])):
            if tag == _DER_URI and name.startswith(b"spiffe://") and len(name) <= _MAX_URI:
                return _text(name)
    return None


def _inside(der: bytes) -> bytes:
    return next(iter(_elements(der)), (0, b""))[1]


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (tag, content) of the DER elements in *der*, up to the first that is not whole (X.690 section 8.1)."""
    cursor = _Cursor(der)
    try:
        while True:
            tag, length = cursor.number(1), cursor.number(1)
            if length > 0x80:
                length = cursor.number(min(length & 0x7F, 5))
            yield tag, cursor.take(length)
    except _Short:
        return


def _judge_tls(client: Stream, server: Stream, *, swapped: bool, ended: bool, app_protocol: str | None = None) -> Facts:
    seen = _read_handshake(client, server)
    transport, basis = _conclude(seen, ended=ended)
    alpn = seen.hello.alpn if seen.hello else []
    principals = (seen.client_principal, seen.server_principal)
    return Facts(
        transport,
        basis,
        app_protocol,
        tls_version=None if seen.version is None else _VERSIONS.get(seen.version, f"0x{seen.version:04x}"),
        tls_sni=seen.hello.server_name if seen.hello else None,
        tls_alpn=",".join(alpn) or None,
        tls_resumed=seen.resumed,
        client_certificate=_client_certificate(seen),
        principals=principals[::-1] if swapped else principals,
    )


def _client_certificate(seen: _Handshake) -> ClientCertificate | None:
    if seen.version is None:
        return None
    if seen.version == _TLS13 or seen.resumed:
        return ClientCertificate.NOT_VISIBLE
    return ClientCertificate.NOT_ASKED if seen.asked is False else seen.certificate


def _conclude(seen: _Handshake, *, ended: bool) -> tuple[Transport, TransportBasis]:
    """Design section 6 for a connection that began a TLS handshake."""
    if seen.answer is None:
        return Transport.UNKNOWN, _no_answer(seen, ended=ended)
    if seen.failed(ended=ended):
        return Transport.UNKNOWN, TransportBasis.TLS_FAILED
    older = seen.version is not None and seen.version != _TLS13
    certified = seen.certificate is ClientCertificate.SEEN and seen.asked is True and seen.verified
    if older and seen.accepted and (seen.client_data or seen.server_data):
        if certified:
            return Transport.MTLS, TransportBasis.CLIENT_CERTIFICATE
        if seen.asked and seen.certificate is ClientCertificate.EMPTY:
            return Transport.TLS, TransportBasis.CERTIFICATE_WITHHELD
    hidden = seen.version == _TLS13 or (older and seen.resumed is True)
    offered = seen.hello.alpn if seen.hello else []
    if hidden and seen.both_ways and ISTIO_ALPN.intersection(offered):
        return Transport.TLS, TransportBasis.ISTIO_ALPN
    return Transport.TLS, TransportBasis.TLS_RESUMED if seen.resumed else TransportBasis.TLS_HANDSHAKE


def _no_answer(seen: _Handshake, *, ended: bool) -> TransportBasis:
    """A ClientHello without a ServerHello: turned down, or the answer was not captured."""
    if seen.refused or (seen.server.data and not _record_at(seen.server.data, 0) and len(seen.server.data) >= 5):
        return TransportBasis.TLS_FAILED
    if not seen.server.complete:
        return TransportBasis.CUT
    return TransportBasis.TLS_FAILED if ended else TransportBasis.TLS_HANDSHAKE


# --- Protocols in clear ----------------------------------------------------------------------------------------------

_HTTP_REQUEST = re.compile(rb"[A-Z]{3,16} [\x21-\x7e]+ HTTP/1\.[01]\r?\n")
#: HTTP/0.9 has one method and no version.
_OLD_REQUEST = re.compile(rb"GET /[\x21-\x7e]*\r?\n")
_HTTP_ANSWER = re.compile(rb"HTTP/1\.[01] [1-5]\d\d[ \r\n]")
_CONNECT = re.compile(rb"CONNECT [\x21-\x7e]+ HTTP/1\.[01]\r?\n")
_CONNECTED = re.compile(rb"HTTP/1\.[01] 2\d\d[ \r\n]")
#: RFC 2817: an HTTP/1.1 connection that asks to go on as TLS.
_HTTP_TO_TLS = re.compile(rb"\nupgrade:[^\r\n]*\btls/", re.IGNORECASE)
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
#: Sizes of the packet that asks for TLS: protocol 4.1 and older.
_MYSQL_SSL_REQUEST = {32, 5}


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
        if _begins(client.data, _CLIENT_HELLO) or _begins(server.data, _SERVER_HELLO):
            return _judge_tls(client, server, swapped=bool(swapped), ended=ended)
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
            headers = _HEADER_END.search(data)
            if _HTTP_TO_TLS.search(data, 0, headers.end() if headers else len(data)):
                return unknown(TransportBasis.UNRECOGNISED, "http")
            return _plaintext("http")
        if data.startswith(_HTTP2):
            return _plaintext("http2")
        if _REDIS.match(data):
            return _plaintext("redis")
        if _elasticsearch(data):
            return _plaintext("elasticsearch")
        if len(data) > 2 and _dns(data[2 : 2 + int.from_bytes(data[:2], "big")]):
            return _plaintext("dns")
    return None


def _own_encryption(first: Stream, second: Stream) -> Facts | None:
    """SSH introduces itself in clear and then encrypts: neither plaintext nor TLS."""
    if _SSH.match(first.data) or _SSH.match(second.data):
        return unknown(TransportBasis.OTHER_ENCRYPTION, "ssh")
    return None


def _middle(first: Stream, second: Stream) -> Facts:
    """Neither a beginning of TLS nor a protocol in clear: perhaps records from the middle of a TLS connection."""
    spoke = [stream for stream in (first, second) if stream.data]
    if not (first.started or second.started):
        if spoke and all(_is_tls(stream.data) for stream in spoke):
            return Facts(Transport.TLS, TransportBasis.TLS_MIDSTREAM)
        return unknown(TransportBasis.MIDSTREAM)
    if any(stream.cut or not stream.complete and not stream.full for stream in (first, second)):
        return unknown(TransportBasis.CUT)
    return unknown(TransportBasis.UNRECOGNISED)


def _is_tls(data: bytes) -> bool:
    """Whether *data* is a chain of TLS records: each header where the one before says it is."""
    records = _records(data)
    if not records:
        return False
    rest = data[records[-1].end :]
    return len(rest) < 5 and (not rest or rest[0] in (_CHANGE_CIPHER, _ALERT, _HANDSHAKE, _DATA))


def _upgraded(client: Stream, server: Stream, name: str, *, swapped: bool, ended: bool) -> Facts:
    """What follows the point where both sides agreed to go on with TLS."""
    if _begins(client.data, _CLIENT_HELLO):
        return _judge_tls(client, server, swapped=swapped, ended=ended, app_protocol=name)
    if client.data:
        return unknown(TransportBasis.UNRECOGNISED, name)
    return unknown(TransportBasis.TLS_FAILED if ended else TransportBasis.CUT, name)


def _postgres(client: Stream, server: Stream, *, swapped: bool, ended: bool) -> Facts | None:
    asked = answered = 0
    while client.data[asked : asked + 8] in (_PG_TLS, _PG_GSS):
        request = client.data[asked : asked + 8]
        asked += 8
        answer = server.data[answered : answered + 1]
        answered += 1
        if answer == b"S" and request == _PG_TLS:
            return _upgraded(client.after(asked), server.after(answered), "postgres", swapped=swapped, ended=ended)
        if answer != b"N":
            return unknown(TransportBasis.UNRECOGNISED if answer else TransportBasis.CUT, "postgres")
    cursor = _Cursor(client.data[asked:])
    try:
        length, version, word = cursor.number(4), cursor.number(4), cursor.take(5)
    except _Short:
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
    if size not in _MYSQL_SSL_REQUEST:
        return unknown(TransportBasis.UNRECOGNISED, "mysql")
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
    found = _judge(*(inner[::-1] if swapped else inner), ended=ended, tunnelled=True)
    return found if found.app_protocol else replace(found, app_protocol="http")


def _elasticsearch(data: bytes) -> bool:
    """Elasticsearch transport: "ES", length, request id, status, version id, which counts in millions."""
    if len(data) < 19 or data[:2] != b"ES":
        return False
    length, version = int.from_bytes(data[2:6], "big"), int.from_bytes(data[15:19], "big")
    return 13 <= length < 1 << 31 and data[14] < 16 and 1_000_000 <= version < 100_000_000


def _dns(message: bytes) -> bool:
    """Whether *message* begins with a DNS header and one well-formed name, type and class (RFC 1035 section 4)."""
    cursor = _Cursor(message)
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
    except _Short:
        return False
    questions, answers, *_ = counts
    sane = (flags >> 11) & 0xF in (0, 2, 4, 5) and not flags & 0x40 and max(counts) <= 512 and questions <= 16
    return sane and questions + answers > 0 and kind != 0 and group in (1, 3, 4, 254, 255)


# --- Datagrams -------------------------------------------------------------------------------------------------------

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
