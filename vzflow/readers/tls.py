"""
First payload bytes of a TLS connection -> version, names, certificates, and what they prove of protection.

Pure functions on bytes. A certificate on the wire is not checked: anybody can send one, and whether its trust domain is
the model's is decided later.

Source: RFC 8446 and RFC 5246; lengths as real Envoys send them.
"""

from __future__ import annotations

from vzflow.flow.terms import ClientCertificate, Transport, TransportBasis
from vzflow.readers.facts import Facts
from vzflow.readers.stream import Stream
from vzflow.readers.tls_certificate import principal
from vzflow.readers.tls_hello import Hello, alpn_names, read_hello, server_name

_CHANGE_CIPHER, _ALERT, _HANDSHAKE, _DATA = 20, 21, 22, 23
_CLIENT_HELLO, _SERVER_HELLO, _CERTIFICATE, _KEY_EXCHANGE = 1, 2, 11, 12
_CERTIFICATE_REQUEST, _HELLO_DONE, _CERTIFICATE_VERIFY = 13, 14, 15
_VERSIONS = {0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
_TLS13 = 0x0304
#: RFC 8446 section 5.2: 2^14 + 256; RFC 5246 section 6.2.3: 2^14 + 2048.
_MAX_RECORD = (1 << 14) + 2048
#: Longest record that may hold nothing but an encrypted alert: two bytes, the content type and the tag make 19; 24 with
#: the explicit nonce some write.
_ALERT_RECORD = 24
#: What only Istio's proxies offer (istio/istio, pilot/pkg/networking/util and pilot/pkg/xds/filters).
ISTIO_ALPN = frozenset({"istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"})
_NO_PRINCIPALS = (None, None)


def _record_length(data: bytes, at: int) -> int:
    """Return the length in the record header at *at*, or 0 where none is; the record itself may be cut."""
    if at + 5 > len(data) or not _CHANGE_CIPHER <= data[at] <= _DATA or data[at + 1] != 3 or data[at + 2] > 4:
        return 0
    length = data[at + 3] << 8 | data[at + 4]
    return length if length <= _MAX_RECORD else 0


def is_client_hello(data: bytes) -> bool:
    """Whether *data* begins with the record and message header of a ClientHello."""
    return _begins(data, _CLIENT_HELLO)


def is_server_hello(data: bytes) -> bool:
    """Whether *data* begins with the record and message header of a ServerHello."""
    return _begins(data, _SERVER_HELLO)


def _begins(data: bytes, message: int) -> bool:
    # A record, then message type, three bytes of length (a hello is under 64 KiB), version 3.x.
    if len(data) < 10 or data[0] != _HANDSHAKE or data[5] != message or data[6] != 0 or data[9] != 3:
        return False
    return _record_length(data, 0) >= 5


def is_record_chain(data: bytes) -> bool:
    """Whether *data* is TLS records and nothing else: each header where the one before says it is, the last cut."""
    at = 0
    while (length := _record_length(data, at)) > 0:
        at += 5 + length
    return at > 0 and _may_be_cut_header(data, at)


def _may_be_cut_header(data: bytes, at: int) -> bool:
    """Whether nothing is left from *at* on, or what may be the beginning of a record header."""
    return at >= len(data) or (len(data) - at < 5 and _CHANGE_CIPHER <= data[at] <= _DATA)


class _Side:
    """What the TLS records of one direction show; the last one may be cut."""

    __slots__ = ("changed", "data", "flight", "flight_before_change", "only_records", "refused")

    def __init__(self) -> None:
        #: The handshake messages in clear, joined; how many of these bytes came before the change to encryption.
        self.flight = b""
        self.flight_before_change = 0
        #: It sent ChangeCipherSpec.
        self.changed = False
        #: It sent a fatal alert in clear.
        self.refused = False
        #: It sent records and nothing else.
        self.only_records = False
        #: (begin, end) of the records of application data.
        self.data: list[tuple[int, int]] = []


def _read_side(data: bytes) -> _Side:
    side = _Side()
    at = 0
    while (length := _record_length(data, at)) > 0:
        kind = data[at]
        begin = at
        at += 5 + length
        if kind == _DATA:
            side.data.append((begin, at))
        elif kind == _HANDSHAKE:
            body = data[begin + 5 : at]
            side.flight = side.flight + body if side.flight else body
            if not side.changed:
                side.flight_before_change = len(side.flight)
        elif kind == _CHANGE_CIPHER:
            side.changed = True
        elif length == 2 and begin + 5 < len(data) and data[begin + 5] == 2:
            side.refused = True
    side.only_records = at > 0 and _may_be_cut_header(data, at)
    return side


def _messages(flight: bytes) -> list[tuple[int, bytes]]:
    """Return (type, body) of handshake messages; the last body may be cut."""
    found = []
    at = 0
    while at + 4 <= len(flight):
        end = at + 4 + (flight[at + 1] << 16 | flight[at + 2] << 8 | flight[at + 3])
        found.append((flight[at], flight[at + 4 : end]))
        at = end
    return found


class _Handshake:
    """What can be seen of a TLS handshake and of what followed it."""

    __slots__ = (
        "accepted",
        "answer",
        "asked",
        "certificate",
        "client",
        "client_principal",
        "client_side",
        "hello",
        "newest",
        "resumed",
        "server",
        "server_principal",
        "server_side",
        "verified",
        "version",
    )

    def __init__(self, client: Stream, server: Stream) -> None:
        self.client = client
        self.server = server
        self.client_side = _read_side(client.data)
        self.server_side = _read_side(server.data)
        self.hello: Hello | None = None
        self.answer: Hello | None = None
        #: The version the server chose; -1 if it is not known.
        self.version = -1
        #: TLS 1.3: what follows the hellos looks like application data, and ChangeCipherSpec means nothing.
        self.newest = False
        self.resumed: bool | None = None
        #: The server asked for a client certificate.
        self.asked: bool | None = None
        self.certificate: ClientCertificate | None = None
        self.verified = False
        #: The server changed to encryption, which up to TLS 1.2 it does last, content with what the client showed.
        self.accepted = False
        self.client_principal: str | None = None
        self.server_principal: str | None = None

    def read(self) -> None:
        """Read the messages of both sides, in the way of the version that the server chose."""
        answered = _messages(self.server_side.flight[: self.server_side.flight_before_change])
        for kind, body in answered:
            if kind == _SERVER_HELLO:
                self.answer = read_hello(body, False)
                self.version = self.answer.chosen_version()
                self.newest = self.version == _TLS13
                break
        if self.newest:
            self._read_client(_messages(self.client_side.flight))
            self._read_resumption(_messages(self.server_side.flight))
        else:
            self._read_client(_messages(self.client_side.flight[: self.client_side.flight_before_change]))
            if self.version >= 0:
                self._read_older_server(answered)

    def _read_client(self, messages: list[tuple[int, bytes]]) -> None:
        for kind, body in messages:
            if kind == _CLIENT_HELLO and self.hello is None:
                self.hello = read_hello(body, True)
            elif kind == _CERTIFICATE and len(body) >= 3:
                self.certificate = ClientCertificate.SEEN if body[:3] != b"\0\0\0" else ClientCertificate.EMPTY
                self.client_principal = principal(body)
            elif kind == _CERTIFICATE_VERIFY:
                self.verified = True

    def _read_resumption(self, messages: list[tuple[int, bytes]]) -> None:
        for kind, body in messages:
            if kind == _SERVER_HELLO:
                final = read_hello(body, False)
                if not final.retry:
                    if final.whole:
                        self.resumed = final.pre_shared_key
                    return

    def _read_older_server(self, messages: list[tuple[int, bytes]]) -> None:
        kinds = [kind for kind, _ in messages]
        self.accepted = self.server_side.changed
        if _CERTIFICATE in kinds or _KEY_EXCHANGE in kinds or _HELLO_DONE in kinds:
            self.resumed = False
        elif self.accepted:
            self.resumed = True
        if _CERTIFICATE_REQUEST in kinds:
            self.asked = True
        elif _HELLO_DONE in kinds:
            self.asked = False
        if _CERTIFICATE in kinds:
            self.server_principal = principal(messages[kinds.index(_CERTIFICATE)][1])

    def flight_end(self) -> int:
        """Return the end of the first encrypted record of a TLS 1.3 client; -1 when that may be early data."""
        if not self.client_side.data or self.hello is None or self.hello.early_data:
            return -1
        return self.client_side.data[0][1]

    def answers(self) -> list[int]:
        """Return the lengths of the encrypted records the server began after the client's second flight (TLS 1.3)."""
        flight = self.flight_end()
        if flight < 0:
            return []
        records = self.server_side.data
        return [end - begin - 5 for begin, end in records if self.server.covers(begin, self.client, flight)]

    def both_ways(self) -> bool:
        """
        Return whether application data went both ways after the handshake.

        In TLS 1.3 the client's first encrypted record is its second flight, so it takes another; and one record of the
        server, after that flight, that is longer than the alert it would have refused the client with.
        """
        if not self.newest:
            return bool(self.client_side.data and self.server_side.data)
        for begin, end in self.client_side.data[1:]:
            if end - begin - 5 > _ALERT_RECORD:
                return max(self.answers(), default=0) > _ALERT_RECORD
        return False

    def failed(self, ended: bool) -> bool:
        """Return whether the handshake was broken off: by an alert, or by an end before it was complete."""
        refused = self.client_side.refused or self.server_side.refused
        if not self.newest:
            return not self.server_side.data and (refused or (ended and not self.accepted))
        if refused or (ended and not self.client_side.data):
            return True
        if self.flight_end() < 0:
            return False
        begin, end = self.client_side.data[0]
        if end - begin - 5 <= _ALERT_RECORD:
            return True
        if not ended:
            return False
        answers = self.answers()
        return len(answers) == 1 and answers[0] <= _ALERT_RECORD


def judge_tls(client: Stream, server: Stream, swapped: bool, ended: bool, app_protocol: str | None = None) -> Facts:
    """
    Return what a connection that begins a TLS handshake shows.

    Args:
        client: What the sender of the ClientHello sent, from there on; *server* the other direction.
        server: See *client*.
        swapped: The client is the second direction of the flow; decides the order of `principals`.
        ended: The connection was closed and all its payload is there.
        app_protocol: Protocol that changed to TLS here.
    """
    seen = _Handshake(client, server)
    seen.read()
    offered: tuple[str, ...] = ()
    name = None
    if seen.hello is not None:
        offered = alpn_names(seen.hello.alpn)
        name = server_name(seen.hello.server_name)
    transport, basis = _conclude(seen, offered, ended)
    principals: tuple[str | None, str | None] = _NO_PRINCIPALS
    if seen.client_principal or seen.server_principal:
        principals = (seen.client_principal, seen.server_principal)
        principals = principals[::-1] if swapped else principals
    return Facts(
        transport,
        basis,
        app_protocol,
        None if seen.version < 0 else _VERSIONS.get(seen.version, f"0x{seen.version:04x}"),
        name,
        ",".join(offered) or None,
        seen.resumed,
        _client_certificate(seen),
        principals,
    )


def _client_certificate(seen: _Handshake) -> ClientCertificate | None:
    if seen.version < 0:
        return None
    if seen.newest or seen.resumed:
        return ClientCertificate.NOT_VISIBLE
    return ClientCertificate.NOT_ASKED if seen.asked is False else seen.certificate


def _conclude(seen: _Handshake, offered: tuple[str, ...], ended: bool) -> tuple[Transport, TransportBasis]:
    """Design section 6 for a connection that began a TLS handshake."""
    if seen.answer is None:
        return Transport.UNKNOWN, _no_answer(seen, ended)
    if seen.failed(ended):
        return Transport.UNKNOWN, TransportBasis.TLS_FAILED
    if not (seen.client_side.only_records and seen.server_side.only_records):
        # Something that is no TLS follows: the handshake does not speak for what came after it.
        return Transport.UNKNOWN, TransportBasis.UNRECOGNISED
    if seen.newest and seen.hello is not None and seen.hello.whole and not seen.hello.offers(_TLS13):
        # The two sides are not two ends of one handshake.
        return Transport.UNKNOWN, TransportBasis.UNRECOGNISED
    older = seen.version >= 0 and not seen.newest
    if older and seen.accepted and (seen.client_side.data or seen.server_side.data):
        if seen.certificate is ClientCertificate.SEEN and seen.asked is True and seen.verified:
            return Transport.MTLS, TransportBasis.CLIENT_CERTIFICATE
        if seen.asked and seen.certificate is ClientCertificate.EMPTY:
            return Transport.TLS, TransportBasis.CERTIFICATE_WITHHELD
    hidden = seen.newest or (older and seen.resumed is True)
    if hidden and not ISTIO_ALPN.isdisjoint(offered) and seen.both_ways():
        return Transport.TLS, TransportBasis.ISTIO_ALPN
    return Transport.TLS, TransportBasis.TLS_RESUMED if seen.resumed else TransportBasis.TLS_HANDSHAKE


def _no_answer(seen: _Handshake, ended: bool) -> TransportBasis:
    """Return why a ClientHello has no ServerHello: turned down, or the answer was not captured."""
    answer = seen.server.data
    if seen.client_side.refused or seen.server_side.refused or (len(answer) >= 5 and not _record_length(answer, 0)):
        return TransportBasis.TLS_FAILED
    if not seen.server.complete:
        return TransportBasis.CUT
    return TransportBasis.TLS_FAILED if ended else TransportBasis.TLS_HANDSHAKE
