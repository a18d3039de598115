"""
First payload bytes of a TLS connection -> version, names, certificates, and what they prove of protection.

Pure functions on bytes. A certificate on the wire is not checked: anybody can send one, and whether its trust domain is
the model's is decided later.

Source: RFC 8446 and RFC 5246; RFC 6066 (server name), RFC 7301 (ALPN); lengths as real Envoys send them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from vzflow.flow.terms import ClientCertificate, Transport, TransportBasis
from vzflow.readers.reassembly import Stream


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


_RECORDS = _CHANGE_CIPHER, _ALERT, _HANDSHAKE, _DATA = 20, 21, 22, 23
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
    if len(data) < at + 5 or data[at] not in _RECORDS:
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


def is_client_hello(data: bytes) -> bool:
    """Whether *data* begins with the record and message header of a ClientHello."""
    return _begins(data, _CLIENT_HELLO)


def is_server_hello(data: bytes) -> bool:
    """Whether *data* begins with the record and message header of a ServerHello."""
    return _begins(data, _SERVER_HELLO)


def is_record_chain(data: bytes) -> bool:
    """Whether *data* is TLS records and nothing else: each header where the one before says it is, the last cut."""
    records = _records(data)
    rest = data[records[-1].end :] if records else data
    return bool(records) and len(rest) < 5 and (not rest or rest[0] in _RECORDS)


def _begins(data: bytes, message: int) -> bool:
    record = _record_at(data, 0)
    if record is None or record.kind != _HANDSHAKE:
        return False
    # Message type, three bytes of length (a hello is under 64 KiB), version 3.x.
    return record.body[:2] == bytes([message, 0]) and record.body[4:5] == b"\x03"


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


class Short(Exception):
    """The bytes end before the structure does."""


class Cursor:
    """Reads vectors with a length in front, as TLS and its kin write them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise Short
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
            names = Cursor(Cursor(self.extensions.get(_SERVER_NAME, b"")).vector(2))
            return _text(names.vector(2)) if names.number(1) == 0 else None
        except Short:
            return None

    @property
    def alpn(self) -> list[str]:
        offered: list[str] = []
        try:
            names = Cursor(Cursor(self.extensions.get(_ALPN, b"")).vector(2))
            while True:
                offered.append(_text(names.vector(1)))
        except Short:
            return offered


def _text(raw: bytes) -> str:
    """Bytes a peer chose, as printable text without the comma that joins lists."""
    return "".join(chr(b) if 0x20 < b < 0x7F and b not in b",\\" else f"\\x{b:02x}" for b in raw)


def _hello(body: bytes, *, client: bool) -> _Hello:
    hello = _Hello()
    cursor = Cursor(body)
    try:
        hello.legacy = cursor.number(2)
        hello.random = cursor.take(32)
        cursor.vector(1)
        if client:
            cursor.vector(2)
            cursor.vector(1)
        else:
            cursor.take(3)
    except Short:
        return hello
    try:
        left = cursor.number(2)
    except Short:
        # No extensions at all: how TLS 1.2 and older may end.
        hello.whole = True
        return hello
    try:
        while left > 0:
            kind, content = cursor.number(2), cursor.vector(2)
            hello.extensions.setdefault(kind, content)
            left -= 4 + len(content)
    except Short:
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
    cursor = Cursor(message)
    try:
        cursor.take(3)
        return _spiffe(cursor.vector(3))
    except Short:
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
    cursor = Cursor(der)
    try:
        while True:
            tag, length = cursor.number(1), cursor.number(1)
            if length > 0x80:
                length = cursor.number(min(length & 0x7F, 5))
            yield tag, cursor.take(length)
    except Short:
        return


def judge_tls(client: Stream, server: Stream, *, swapped: bool, ended: bool, app_protocol: str | None = None) -> Facts:
    """
    Return what a connection that begins a TLS handshake shows.

    Args:
        client: What the sender of the ClientHello sent, from there on; *server* the other direction.
        server: See *client*.
        swapped: The client is the second direction of the flow; decides the order of `principals`.
        ended: The connection was closed and all its payload is there.
        app_protocol: Protocol that changed to TLS here.
    """
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
    if not all(is_record_chain(stream.data) for stream in (seen.client, seen.server)):
        # Something that is no TLS follows: the handshake does not speak for what came after it.
        return Transport.UNKNOWN, TransportBasis.UNRECOGNISED
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
