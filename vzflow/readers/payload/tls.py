# cython: annotation_typing=False
"""
First payload bytes of a TLS connection -> version, names, certificates, and what they prove of protection.

Pure functions on bytes. A certificate on the wire is not checked: anybody can send one, and whether its trust domain is
the model's is decided later.

Source: RFC 8446 and RFC 5246; lengths as real Envoys send them.
"""

from __future__ import annotations

from functools import lru_cache

from vzflow.flow.terms import ClientCertificate, Transport, TransportBasis
from vzflow.readers.payload.facts import Facts
from vzflow.readers.payload.stream import Stream
from vzflow.readers.payload.tls_certificate import principal
from vzflow.readers.payload.tls_hello import Hello, alpn_names, read_hello, server_name

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
_NOT_VISIBLE = ClientCertificate.NOT_VISIBLE


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

    __slots__ = (
        "changed",
        "data_begin",
        "data_end",
        "flight",
        "flight_before_change",
        "goes_on",
        "only_records",
        "refused",
    )

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
        #: Begin and end of its first record of application data; -1 if there is none.
        self.data_begin = -1
        self.data_end = -1
        #: It sent another one after that, longer than an alert.
        self.goes_on = False


def _read_side(data: bytes) -> _Side:
    side = _Side()
    at = 0
    while (length := _record_length(data, at)) > 0:
        kind = data[at]
        begin = at
        at += 5 + length
        if kind == _DATA:
            if side.data_begin < 0:
                side.data_begin, side.data_end = begin, at
            elif length > _ALERT_RECORD:
                side.goes_on = True
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


def _messages(flight: bytes, end: int) -> list[tuple[int, int, int]]:
    """Return (type, begin and end of the body) of the messages that begin before *end*; the last may end behind it."""
    found = []
    at = 0
    while at + 4 <= end:
        begin = at + 4
        at = begin + (flight[at + 1] << 16 | flight[at + 2] << 8 | flight[at + 3])
        found.append((flight[begin - 4], begin, at))
    return found


class _Handshake:
    """What can be seen of a TLS handshake and of what followed it."""

    __slots__ = (
        "accepted",
        "answer",
        "answers",
        "asked",
        "certificate",
        "client",
        "client_principal",
        "client_side",
        "hello",
        "longest_answer",
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
        #: TLS 1.3: encrypted records the server began after the client's second flight, and the longest one's length.
        self.answers = 0
        self.longest_answer = 0
        self.client_principal: str | None = None
        self.server_principal: str | None = None

    def read(self) -> None:
        """Read the messages of both sides, in the way of the version that the server chose."""
        flight = self.server_side.flight
        answered = _messages(flight, self.server_side.flight_before_change)
        for kind, begin, end in answered:
            if kind == _SERVER_HELLO:
                self.answer = read_hello(flight, begin, end, False)
                self.version = self.answer.chosen_version()
                self.newest = self.version == _TLS13
                break
        if self.newest:
            self._read_client(len(self.client_side.flight))
            self._read_resumption()
            self._read_answers()
        else:
            self._read_client(self.client_side.flight_before_change)
            if self.version >= 0:
                self._read_older_server(answered)

    def _read_client(self, until: int) -> None:
        flight = self.client_side.flight
        for kind, begin, end in _messages(flight, until):
            if kind == _CLIENT_HELLO and self.hello is None:
                self.hello = read_hello(flight, begin, end, True)
            elif kind == _CERTIFICATE and begin + 3 <= len(flight):
                # The length of the list of certificates.
                given = flight[begin : begin + 3] != b"\0\0\0"
                self.certificate = ClientCertificate.SEEN if given else ClientCertificate.EMPTY
                self.client_principal = principal(flight[begin:end])
            elif kind == _CERTIFICATE_VERIFY:
                self.verified = True

    def _read_resumption(self) -> None:
        """Note whether the ServerHello that counts, which is not a HelloRetryRequest, takes up a session."""
        final = self.answer
        if final is not None and final.retry:
            final = None
            flight = self.server_side.flight
            for kind, begin, end in _messages(flight, len(flight))[1:]:
                if kind == _SERVER_HELLO:
                    final = read_hello(flight, begin, end, False)
                    break
        if final is not None and final.whole and not final.retry:
            self.resumed = final.pre_shared_key

    def _read_older_server(self, messages: list[tuple[int, int, int]]) -> None:
        kinds = [kind for kind, _, _ in messages]
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
            _, begin, end = messages[kinds.index(_CERTIFICATE)]
            self.server_principal = principal(self.server_side.flight[begin:end])

    def flight_length(self) -> int:
        """Return the length of the first encrypted record of a TLS 1.3 client; -1 if none, or perhaps early data."""
        if self.client_side.data_begin < 0 or self.hello is None or self.hello.early_data:
            return -1
        return self.client_side.data_end - self.client_side.data_begin - 5

    def _read_answers(self) -> None:
        """Count the encrypted records that the server began after the client's second flight (TLS 1.3)."""
        if self.server_side.data_begin < 0 or self.flight_length() < 0:
            return
        first, last = self.server.replies(self.client, self.client_side.data_end)
        data, at = self.server.data, self.server_side.data_begin
        while at < last and (length := _record_length(data, at)) > 0:
            if at >= first and data[at] == _DATA:
                self.answers += 1
                self.longest_answer = max(self.longest_answer, length)
            at += 5 + length

    def both_ways(self) -> bool:
        """
        Return whether application data went both ways after the handshake.

        In TLS 1.3 the client's first encrypted record is its second flight, so it takes another; and one record of the
        server, after that flight, that is longer than the alert it would have refused the client with.
        """
        if not self.newest:
            return self.client_side.data_begin >= 0 and self.server_side.data_begin >= 0
        return self.client_side.goes_on and self.longest_answer > _ALERT_RECORD

    def failed(self, ended: bool) -> bool:
        """Return whether the handshake was broken off: by an alert, or by an end before it was complete."""
        refused = self.client_side.refused or self.server_side.refused
        if not self.newest:
            return self.server_side.data_begin < 0 and (refused or (ended and not self.accepted))
        if refused or (ended and self.client_side.data_begin < 0):
            return True
        flight = self.flight_length()
        if flight < 0:
            return False
        if flight <= _ALERT_RECORD:
            return True
        return ended and self.answers == 1 and self.longest_answer <= _ALERT_RECORD


@lru_cache(256)
def _offer(extension: bytes) -> tuple[str | None, bool]:
    """Return the protocols that a client offers, as one text, and whether an Istio proxy's are among them."""
    names = alpn_names(extension)
    return ",".join(names) or None, not ISTIO_ALPN.isdisjoint(names)


_FAILED = (Transport.UNKNOWN, TransportBasis.TLS_FAILED)
_CUT = (Transport.UNKNOWN, TransportBasis.CUT)
_UNANSWERED = (Transport.UNKNOWN, TransportBasis.TLS_HANDSHAKE)
_UNRECOGNISED = (Transport.UNKNOWN, TransportBasis.UNRECOGNISED)
_MUTUAL = (Transport.MTLS, TransportBasis.CLIENT_CERTIFICATE)
_WITHHELD = (Transport.TLS, TransportBasis.CERTIFICATE_WITHHELD)
_ISTIO = (Transport.TLS, TransportBasis.ISTIO_ALPN)
_RESUMED = (Transport.TLS, TransportBasis.TLS_RESUMED)
_ENCRYPTED = (Transport.TLS, TransportBasis.TLS_HANDSHAKE)


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
    name, protocols, istio = None, None, False
    if seen.hello is not None:
        name = server_name(seen.hello.server_name)
        protocols, istio = _offer(seen.hello.alpn)
    transport, basis = _conclude(seen, istio, ended)
    principals: tuple[str | None, str | None] = _NO_PRINCIPALS
    if seen.client_principal or seen.server_principal:
        principals = (seen.client_principal, seen.server_principal)
        principals = principals[::-1] if swapped else principals
    return Facts(
        transport,
        basis,
        app_protocol,
        None if seen.version < 0 else _VERSIONS.get(seen.version) or f"0x{seen.version:04x}",
        name,
        protocols,
        seen.resumed,
        _client_certificate(seen),
        principals,
    )


def _client_certificate(seen: _Handshake) -> ClientCertificate | None:
    if seen.version < 0:
        return None
    if seen.newest or seen.resumed:
        return _NOT_VISIBLE
    return ClientCertificate.NOT_ASKED if seen.asked is False else seen.certificate


def _conclude(seen: _Handshake, istio: bool, ended: bool) -> tuple[Transport, TransportBasis]:
    """Design section 6 for a connection that began a TLS handshake."""
    if seen.answer is None:
        return _no_answer(seen, ended)
    if seen.failed(ended):
        return _FAILED
    if not seen.client.data:
        # What it answers was sent, and not captured.
        return _CUT
    if not (seen.client_side.only_records and seen.server_side.only_records):
        # Something that is no TLS follows: the handshake does not speak for what came after it.
        return _UNRECOGNISED
    if seen.newest and seen.hello is not None and seen.hello.whole and not seen.hello.offers(_TLS13):
        # The two sides are not two ends of one handshake.
        return _UNRECOGNISED
    older = seen.version >= 0 and not seen.newest
    if older and seen.accepted and (seen.client_side.data_begin >= 0 or seen.server_side.data_begin >= 0):
        if seen.certificate is ClientCertificate.SEEN and seen.asked is True and seen.verified:
            return _MUTUAL
        if seen.asked and seen.certificate is ClientCertificate.EMPTY:
            return _WITHHELD
    hidden = seen.newest or (older and seen.resumed is True)
    if hidden and istio and seen.both_ways():
        return _ISTIO
    return _RESUMED if seen.resumed else _ENCRYPTED


def _no_answer(seen: _Handshake, ended: bool) -> tuple[Transport, TransportBasis]:
    """Return why a ClientHello has no ServerHello: turned down, or the answer was not captured."""
    answer = seen.server.data
    if seen.client_side.refused or seen.server_side.refused or (len(answer) >= 5 and not _record_length(answer, 0)):
        return _FAILED
    if not seen.server.complete:
        return _CUT
    return _FAILED if ended else _UNANSWERED
