# cython: annotation_typing=False
"""
Protocols that may change to TLS on the way: judged after the change, and `unknown` where that cannot be seen.

Plaintext is proven only by what nobody says who still waits for the change: a login, a command that works with data.
A connection that has ended without a change cannot change any more.

A judge gets what client and server said and whether the connection ended, and returns null when this is not its
protocol, Facts when the bytes in clear decide, or the Change after which both sides have to be judged.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from vzflow.flow.terms import TransportBasis
from vzflow.readers.payload.facts import Facts, plaintext, unknown
from vzflow.readers.payload.upgrades_text import Change, after_lines, judge_irc, judge_lines

_CUT, _UNRECOGNISED = TransportBasis.CUT, TransportBasis.UNRECOGNISED
_Found = Facts | Change | None


def judge_upgrades(said: bytes, heard: bytes, ended: bool) -> Facts | Change | None:
    """Judge a connection whose client *said* and *heard* this; null if it may not change to TLS."""
    if said:
        for judge in _CLIENT_BEGINS.get(said[0], ()):
            found = judge(said, heard, ended)
            if found is not None:
                return found
    if heard:
        for judge in _SERVER_BEGINS.get(heard[0], ()):
            found = judge(said, heard, ended)
            if found is not None:
                return found
        if len(heard) > 5 and heard[4] == 10 and heard[3] == 0:
            return _mysql(said, heard, ended)
    return None


#: PostgreSQL frontend/backend protocol, section 54.7: SSLRequest, GSSENCRequest; StartupMessage of version 3.x with the
#: name of its first parameter; CancelRequest. A server may answer the first two with one byte or an error.
_PG_TLS, _PG_GSS = bytes.fromhex("0000000804d2162f"), bytes.fromhex("0000000804d21630")
_PG_CANCEL = bytes.fromhex("0000001004d2162e")
_PG_STARTUP = re.compile(rb"\0\0[\0-\x27].\0\x03\0[\0-\x02][A-Za-z_][A-Za-z0-9_.]{1,62}\0", re.DOTALL)


def _postgres(said: bytes, heard: bytes, ended: bool) -> _Found:
    asked = answered = 0
    while said[asked : asked + 8] in (_PG_TLS, _PG_GSS):
        asked += 8
        answer = heard[answered : answered + 1]
        answered += 1
        if answer == b"S" and said[asked - 1] == _PG_TLS[7]:
            return Change("postgres", asked, answered)
        if answer != b"N":
            return unknown(_UNRECOGNISED if answer else _CUT, "postgres")
    rest = said[asked : asked + 80]
    startup = _PG_STARTUP.match(rest)
    if (startup and int.from_bytes(rest[:4], "big") >= startup.end()) or rest.startswith(_PG_CANCEL):
        return plaintext("postgres")
    if not asked:
        return None
    return unknown(_CUT if len(rest) < 13 else _UNRECOGNISED, "postgres")


#: MySQL protocol 10 greeting: length, sequence number 0, protocol, version text, NUL. CLIENT_SSL of the client's flags.
_MYSQL_GREETING = re.compile(rb"..\0\0\x0a\d{1,2}\.\d{1,3}[\x21-\x7e]{0,80}\0", re.DOTALL)
_MYSQL_CLIENT_SSL = 0x08


def _mysql(said: bytes, heard: bytes, ended: bool) -> _Found:
    if not _MYSQL_GREETING.match(heard):
        return None
    if len(said) < 6:
        return plaintext("mysql") if ended and not said else unknown(_CUT, "mysql")
    if said[3] != 1:
        return unknown(_UNRECOGNISED, "mysql")
    if not said[5] & _MYSQL_CLIENT_SSL:
        return plaintext("mysql")
    sizes = [4 + int.from_bytes(side[:3], "little") for side in (said, heard)]
    return Change("mysql", sizes[0], sizes[1])


_LENGTH = rb"([\0-\x7f]|\x81.|\x82..|\x83...|\x84....)"
#: LDAP (RFC 4511 section 4.1.1): a message, its number, the operation's tag; then what begins a request that counts.
_LDAP_HEAD = re.compile(rb"\x30" + _LENGTH + rb"\x02(?:\x01.|\x02..|\x03...|\x04....)(.)" + _LENGTH, re.DOTALL)
_LDAP_BIND = re.compile(rb"\x02\x01[\x02\x03]\x04" + _LENGTH, re.DOTALL)
_LDAP_SEARCH = re.compile(rb"\x04" + _LENGTH, re.DOTALL)
_LDAP_SCOPE = re.compile(rb"\x0a\x01[\0-\x03]\x0a\x01[\0-\x03]")
_LDAP_EXTENDED = re.compile(rb"\x80[\x05-\x40]([0-2]\.[0-9.]+)")
_LDAP_STARTTLS = b"1.3.6.1.4.1.1466.20037"
#: What a request says: it is none; it may come before StartTLS, as a bind without a name and a look at the root do; it
#: is a login or work; a login by SASL, which may bring an encryption of its own; StartTLS.
_NONE, _FIRST, _WORK, _PRIVATE, _STARTTLS = range(5)


def _ldap(said: bytes, heard: bytes, ended: bool) -> _Found:
    at = 0
    while head := _LDAP_HEAD.match(said, at):
        after = head.end(1) + _length(head[1])
        request = _ldap_request(said, head[2], head.end())
        if request == _STARTTLS:
            return Change("ldap", after, _after_ldap(heard))
        if request == _WORK:
            return plaintext("ldap")
        if request == _PRIVATE or (request == _NONE and at):
            return unknown(_UNRECOGNISED, "ldap")
        if request == _NONE:
            return None
        at = after
    if not at:
        return None
    if len(said) - at >= 16:
        return unknown(_UNRECOGNISED, "ldap")
    return plaintext("ldap") if ended and at == len(said) else unknown(_CUT, "ldap")


def _ldap_request(said: bytes, tag: bytes, at: int) -> int:
    """Return what the request with this *tag* and its content at *at* is; what is cut may come first."""
    if tag == b"\x60" and (bind := _LDAP_BIND.match(said, at)):
        end = bind.end() + _length(bind[1])
        # A password, or SASL.
        way = said[end : end + 1]
        if way == b"\x80":
            return _WORK if end > bind.end() else _FIRST
        return _PRIVATE if way == b"\xa3" else _NONE if way else _FIRST
    if tag == b"\x63" and (search := _LDAP_SEARCH.match(said, at)):
        end = search.end() + _length(search[1])
        if len(said) < end + 6:
            return _FIRST
        if not _LDAP_SCOPE.match(said, end):
            return _NONE
        return _WORK if end > search.end() else _FIRST
    if tag == b"\x77" and (named := _LDAP_EXTENDED.match(said, at)):
        return _STARTTLS if named[1] == _LDAP_STARTTLS else _FIRST
    # Unbind and abandon.
    return _FIRST if tag in (b"\x42", b"\x50") else _NONE


def _length(raw: bytes) -> int:
    """Return what a length in BER says (X.690 section 8.1.3)."""
    return int.from_bytes(raw[1:] or raw, "big")


def _after_ldap(heard: bytes) -> int:
    at = 0
    while head := _LDAP_HEAD.match(heard, at):
        at = head.end(1) + _length(head[1])
    return at


#: AMQP 0-8 to 0-10 never change. AMQP 1.0 (part 2.2, part 5.2): AMQP itself, TLS, SASL; each layer by such a header.
_AMQP_OLDER = (b"AMQP\0\0\x09\x01", b"AMQP\x01\x01\x08\0", b"AMQP\x01\x01\0\x09", b"AMQP\x01\x01\0\x0a")
_AMQP_PLAIN, _AMQP_TLS, _AMQP_SASL = b"AMQP\0\1\0\0", b"AMQP\2\1\0\0", b"AMQP\3\1\0\0"


def _amqp(said: bytes, heard: bytes, ended: bool) -> _Found:
    if said.startswith(_AMQP_OLDER):
        return plaintext("amqp")
    if not said.startswith((_AMQP_PLAIN, _AMQP_TLS, _AMQP_SASL)):
        return None
    begin, answer = 0, 0
    if said.startswith(_AMQP_SASL):
        begin, answer = _after_sasl(said), _after_sasl(heard)
    header, answered = said[begin : begin + 8], heard[answer : answer + 8]
    if header == _AMQP_TLS and answered in (_AMQP_TLS, b""):
        return Change("amqp", begin + 8, answer + 8)
    if header == _AMQP_PLAIN and (answered == _AMQP_PLAIN or (not answered and len(said) > begin + 8)):
        return plaintext("amqp")
    if header in (_AMQP_PLAIN, b"") and not answered:
        return plaintext("amqp") if ended else unknown(_CUT, "amqp")
    if len(header) < 8 or len(answered) < 8:
        return unknown(_CUT, "amqp")
    return unknown(_UNRECOGNISED, "amqp")


def _after_sasl(data: bytes) -> int:
    """Return where the frames of AMQP's SASL layer end (part 5.3): size, offset, type 1."""
    at = 8
    while at + 8 <= len(data) and data[at + 5] == 1 and data[at : at + 4] != b"AMQP":
        at += max(int.from_bytes(data[at : at + 4], "big"), 8)
    return at


#: NATS client protocol: the server's INFO and the client's CONNECT, both with JSON; TLS begins between the two.
_NATS_INFO = re.compile(rb'INFO \{[^\r\n]*"(?:server_id|max_payload)":')
_NATS_CONNECT = re.compile(rb'CONNECT \{[^\r\n]*"(?:verbose|pedantic|lang|version|protocol)":')
_NATS_REQUIRED = re.compile(rb'"tls_required": ?true')


def _nats(said: bytes, heard: bytes, ended: bool) -> _Found:
    if heard and not _NATS_INFO.match(heard):
        return None
    if _NATS_CONNECT.match(said):
        line, end, _ = said.partition(b"\r\n")
        if not end:
            return unknown(_CUT, "nats")
        clear = line.rstrip().endswith(b"}") and not _NATS_REQUIRED.search(line)
        return plaintext("nats") if clear else unknown(_UNRECOGNISED, "nats")
    if not heard or said.startswith(b"CONNECT "):
        return unknown(_CUT, "nats") if heard else None
    if said:
        return Change("nats", 0, after_lines(heard))
    return plaintext("nats") if ended else unknown(_CUT, "nats")


_CONNECT = re.compile(rb"CONNECT [\x20-\x7e]+ HTTP/1\.[01]\r?\n")
_CONNECT_AGAIN = re.compile(rb"\nCONNECT [\x20-\x7e]+ HTTP/1\.[01]\r?\n")
_CONNECTED = re.compile(rb"HTTP/1\.[01] 2\d\d[ \r\n]")
_HTTP_ANSWER = re.compile(rb"HTTP/1\.[01] [1-5]\d\d[ \r\n]")
_HEADER_END = re.compile(rb"\r?\n\r?\n")


def _connect(said: bytes, heard: bytes, ended: bool) -> _Found:
    """An HTTP CONNECT opens a tunnel: what goes through it decides."""
    if not _CONNECT.match(said):
        return None
    if not heard:
        return plaintext("http") if ended else unknown(_CUT, "http")
    if not _CONNECTED.match(heard):
        # Turned down; a client that shows a password then asks once more on the same connection.
        again = _CONNECT_AGAIN.search(said)
        return unknown(_UNRECOGNISED, "http") if again or not _HTTP_ANSWER.match(heard) else plaintext("http")
    request, answer = _HEADER_END.search(said), _HEADER_END.search(heard)
    if request is None or answer is None:
        return unknown(_CUT, "http")
    return Change("http", request.end(), answer.end(), tunnel=True)


_Judge = Callable[[bytes, bytes, bool], _Found]
#: By the first byte of the client, and of a server that speaks first: whose protocol it may be.
_CLIENT_BEGINS: dict[int, tuple[_Judge, ...]] = {
    0x00: (_postgres,),
    0x30: (_ldap,),
    ord("A"): (_amqp,),
    ord("C"): (_connect, _nats, judge_irc),
    ord("N"): (judge_irc,),
    ord("P"): (judge_irc,),
    ord("S"): (judge_irc,),
    ord("U"): (judge_irc,),
}
_SERVER_BEGINS: dict[int, tuple[_Judge, ...]] = {
    ord("2"): (judge_lines,),
    ord("*"): (judge_lines,),
    ord("+"): (judge_lines,),
    ord("I"): (_nats,),
}
