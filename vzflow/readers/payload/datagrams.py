"""
First datagrams of both directions -> DNS, QUIC, DTLS, WireGuard, and what they prove of protection.

A lone packet opens nothing: TLS is concluded only where both sides took part in a handshake or sent protected records.
"""

from __future__ import annotations

from vzflow.flow.terms import ClientCertificate, Transport, TransportBasis
from vzflow.readers.payload.clear import is_dns
from vzflow.readers.payload.facts import Facts, plaintext, unknown
from vzflow.readers.payload.stream import Stream
from vzflow.readers.payload.tls_hello import Hello, alpn_names, read_hello, server_name

#: The name of a tunnel that only its payload tells.
WIREGUARD = "wireguard"

_QUIC = Facts(Transport.TLS, TransportBasis.QUIC, "quic")
_QUIC_UNANSWERED = unknown(TransportBasis.QUIC, "quic")
_DTLS_MIDSTREAM = Facts(Transport.TLS, TransportBasis.TLS_MIDSTREAM)


def judge_datagrams(first: Stream, second: Stream) -> Facts:
    """Return what the first datagrams of the two directions prove."""
    one, other = first.data, second.data
    if is_dns(one, 0, len(one)) or is_dns(other, 0, len(other)):
        return plaintext("dns")
    spoke = one or other
    if len(spoke) < 7:
        return unknown(TransportBasis.DATAGRAM)
    if spoke[0] & 0x80:
        return _judge_quic(one, other)
    if _CHANGE_CIPHER <= spoke[0] <= _DATA:
        return _judge_dtls(one, other)
    if _is_wireguard(one) or _is_wireguard(other):
        return unknown(TransportBasis.TUNNEL, WIREGUARD)
    return unknown(TransportBasis.DATAGRAM)


#: What a datagram is to QUIC or DTLS: absent; foreign; made before a handshake; a part of it (who asks, who answers,
#: what comes later); a refusal.
_ABSENT, _FOREIGN, _BEFORE, _ASKS, _ANSWERS, _LATER, _REFUSES = range(7)

#: RFC 9000 and RFC 9369 (QUIC versions 1 and 2, whose packet types differ); the IETF drafts have those of version 1.
_QUIC_1, _QUIC_2, _QUIC_DRAFTS = 0x00000001, 0x6B3343CF, 0xFF0000
_MAX_ID = 20


def _judge_quic(one: bytes, other: bytes) -> Facts:
    kinds = (_quic_kind(one), _quic_kind(other))
    if _FOREIGN in kinds:
        return unknown(TransportBasis.DATAGRAM)
    # Without an answer that is part of a handshake no payload was protected.
    return _QUIC if kinds == (_ANSWERS, _ANSWERS) else _QUIC_UNANSWERED


def _quic_kind(data: bytes) -> int:
    """
    Return what a datagram is that should begin with a QUIC long header; a peer's Initial counts as an answer.

    The long header has the fixed bit, a version in use, and connection ids that fit (RFC 9000 section 17.2). Retry, and
    negotiating versions, only prepare a handshake. A packet that follows another in the datagram is of the same
    connection (section 12.2). A fixed bit that was greased (RFC 9287) leaves too little to recognise.
    """
    if not data:
        return _ABSENT
    if len(data) < 7 or not data[0] & 0x80 or data[5] > _MAX_ID:
        return _FOREIGN
    version = int.from_bytes(data[1:5], "big")
    peer = 6 + data[5]
    if peer >= len(data) or data[peer] > _MAX_ID:
        return _FOREIGN
    begin = peer + 1 + data[peer]
    if version == 0:
        # The versions the server knows fill the rest (section 17.2.1).
        return _BEFORE if begin < len(data) and (len(data) - begin) % 4 == 0 else _FOREIGN
    if not data[0] & 0x40 or not (version in (_QUIC_1, _QUIC_2) or version >> 8 == _QUIC_DRAFTS):
        return _FOREIGN
    # Initial, 0-RTT, Handshake, Retry; version 2 moved each by one.
    kind = data[0] >> 4 & 3
    kind = (kind - 1) & 3 if version == _QUIC_2 else kind
    if kind == 3:
        return _BEFORE
    if kind == 0:
        begin, token = _variable(data, begin)
        begin += token
    begin, length = _variable(data, begin)
    follows = data[begin + length :]
    if follows and follows[0] & 0x80 and follows[1:peer] != data[1:peer]:
        return _FOREIGN
    return _ANSWERS


def _variable(data: bytes, at: int) -> tuple[int, int]:
    """Return the place behind a number of variable length, and the number (RFC 9000 section 16)."""
    if at >= len(data):
        return at, 0
    size = 1 << (data[at] >> 6)
    return at + size, int.from_bytes(data[at : at + size], "big") & ((1 << (8 * size - 2)) - 1)


#: RFC 6347 and RFC 9147: records of DTLS, and the messages in them.
_CHANGE_CIPHER, _ALERT, _HANDSHAKE, _DATA = 20, 21, 22, 23
_CLIENT_HELLO, _SERVER_HELLO, _VERIFY_REQUEST = 1, 2, 3
_RECORD, _MESSAGE, _MAX_RECORD = 13, 12, (1 << 14) + 2048
_DTLS_VERSIONS = {0xFEFF: "DTLSv1", 0xFEFD: "DTLSv1.2", 0xFEFC: "DTLSv1.3"}
_DTLS13 = 0xFEFC


def _judge_dtls(one: bytes, other: bytes) -> Facts:
    kinds = (_dtls_kind(one), _dtls_kind(other))
    if _FOREIGN in kinds or (_ABSENT in kinds and _LATER in kinds):
        return unknown(TransportBasis.DATAGRAM)
    if kinds == (_LATER, _LATER):
        return _DTLS_MIDSTREAM
    transport, basis = Transport.UNKNOWN, TransportBasis.TLS_HANDSHAKE
    if _REFUSES in kinds:
        basis = TransportBasis.TLS_FAILED
    elif _ABSENT not in kinds and _BEFORE not in kinds and kinds[0] != kinds[1]:
        transport = Transport.TLS
    asked = _dtls_hello(one if kinds[0] == _ASKS else other if kinds[1] == _ASKS else b"", True)
    answered = _dtls_hello(one if kinds[0] == _ANSWERS else other if kinds[1] == _ANSWERS else b"", False)
    version = answered.chosen_version()
    newest = version == _DTLS13
    return Facts(
        transport,
        basis,
        None,
        None if version < 0 else _DTLS_VERSIONS.get(version, f"0x{version:04x}"),
        server_name(asked.server_name),
        ",".join(alpn_names(asked.alpn)) or None,
        answered.pre_shared_key if newest and answered.whole else None,
        ClientCertificate.NOT_VISIBLE if newest else None,
    )


def _dtls_kind(data: bytes) -> int:
    """
    Return what a datagram is that should hold DTLS records and nothing else.

    A HelloVerifyRequest, and the HelloRetryRequest that took its place, only let the client prove its address.
    """
    at = 0
    while at < len(data):
        length = _dtls_length(data, at)
        if length <= 0:
            return _FOREIGN
        at += _RECORD + length
    if not data:
        return _ABSENT
    if data[3] or data[4]:
        return _LATER
    if data[0] == _HANDSHAKE and len(data) > _RECORD:
        if data[_RECORD] == _CLIENT_HELLO:
            return _ASKS
        if data[_RECORD] == _SERVER_HELLO:
            return _BEFORE if _dtls_hello(data, False).retry else _ANSWERS
        return _BEFORE if data[_RECORD] == _VERIFY_REQUEST else _LATER
    if data[0] == _ALERT:
        return _REFUSES if data[_RECORD : _RECORD + 1] == b"\x02" else _BEFORE
    return _LATER if data[0] == _CHANGE_CIPHER else _FOREIGN


def _dtls_length(data: bytes, at: int) -> int:
    """Return the length in the record header at *at*, or 0 where none is; the record itself may be cut."""
    if at + _RECORD > len(data) or not _CHANGE_CIPHER <= data[at] <= _DATA:
        return 0
    if data[at + 1] != 0xFE or data[at + 2] not in (0xFF, 0xFD):
        return 0
    length = data[at + 11] << 8 | data[at + 12]
    return length if length <= _MAX_RECORD else 0


def _dtls_hello(data: bytes, client: bool) -> Hello:
    """Return the hello that a datagram begins with, or an empty one where it is a fragment."""
    # Behind type and length: the message's number, the fragment's offset and its length.
    begin = _RECORD + _MESSAGE
    whole = len(data) > begin and data[_RECORD + 1 : _RECORD + 4] == data[begin - 3 : begin]
    end = _RECORD + _dtls_length(data, 0)
    return read_hello(data, begin if whole else end, end, client, client)


#: WireGuard messages that begin a session: initiation, response, cookie (whitepaper section 5.4), by size.
_WIREGUARD_SIZES = {1: 148, 2: 92, 3: 64}


def _is_wireguard(data: bytes) -> bool:
    if len(data) < 32 or data[1:4] != b"\0\0\0":
        return False
    return _WIREGUARD_SIZES.get(data[0]) == len(data) or (data[0] == 4 and len(data) % 16 == 0)
