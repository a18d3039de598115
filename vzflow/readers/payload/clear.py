# cython: annotation_typing=False
"""
Protocols that stay as they begin: bytes of one that were seen in clear are proof, whatever follows.

What one direction says is proof alone where nobody else begins like that; else both directions have to fit. Each
protocol is looked for only where its first byte fits, so that a flow of something else costs next to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from vzflow.flow.terms import TransportBasis
from vzflow.readers.payload.facts import Facts, plaintext, unknown
from vzflow.readers.payload.http2 import PREFACE, judge_http2

_HTTP_REQUEST = re.compile(rb"(?!CONNECT )[A-Z]{3,16} [\x21-\x7e]+ HTTP/1\.[01]\r?\n")
#: HTTP/0.9 has one method and no version.
_OLD_REQUEST = re.compile(rb"GET /[\x21-\x7e]*\r?\n")
_HTTP_ANSWER = re.compile(rb"HTTP/1\.[01] [1-5]\d\d[ \r\n]")
#: An HTTP/1 connection that goes on as something else: TLS (RFC 2817), a tunnel, or what the upgrade names (RFC 9110
#: section 7.8). WebSocket (RFC 6455) and h2c stay in clear.
_UPGRADE = re.compile(rb"\nupgrade:([^\r\n]*)")
_TO_TLS = re.compile(rb"\btls/")
_STAYS_CLEAR = re.compile(rb"[ \t]*(?:websocket|h2c)\b")
#: Redis serialization protocol: an array of bulk strings, how every client library sends a command.
_REDIS = re.compile(rb"\*[1-9]\d{0,5}\r\n\$\d{1,9}\r\n")
#: Commands of Redis as a person types them, without those that another protocol of lines has too; and replies.
_REDIS_INLINE = re.compile(
    rb"(?:PING|ECHO|INFO|SELECT|SET|DEL|EXISTS|EXPIRE|TTL|INCR|DECR|KEYS|DBSIZE|CONFIG|COMMAND|HELLO|ROLE|MONITOR"
    rb"|H?GET|HSET|HGETALL|[LR]PUSH|[LR]POP|SUBSCRIBE|PUBLISH)(?: [\x20-\x7e]*)?\r?\n",
    re.IGNORECASE,
)
_REDIS_REPLY = re.compile(rb"(?:\+[\x20-\x7e]*|-[A-Z]{2,} [\x20-\x7e]*|:-?\d{1,19}|[$*](?:-1|\d{1,9})|%\d{1,5})\r\n")
#: Memcached's text protocol (doc/protocol.txt): a command, and an answer of its own.
_MEMCACHED = re.compile(
    rb"(?:gets? [\x21-\x7e]{1,250}(?: [\x21-\x7e]{1,250})*|gats? \d+ [\x21-\x7e]{1,250}|delete [\x21-\x7e]{1,250}"
    rb"|(?:set|add|replace|append|prepend) [\x21-\x7e]{1,250} \d{1,10} -?\d{1,10} \d{1,9}"
    rb"|(?:incr|decr|touch) [\x21-\x7e]{1,250} \d{1,20}|stats(?: [a-z]+)?|version|flush_all)(?: noreply)?\r\n"
)
_MEMCACHED_REPLY = re.compile(
    rb"(?:VALUE [\x21-\x7e]{1,250} \d{1,10} \d{1,9}(?: \d+)?|END|STORED|NOT_STORED|EXISTS|NOT_FOUND|DELETED|TOUCHED"
    rb"|STAT [a-z_:]+ [^\r\n]*|VERSION [\x21-\x7e]+|OK|\d{1,20})\r\n"
)


def judge_clear(first: bytes, second: bytes) -> Facts | None:
    """Return what two directions prove that begin with *first* and *second*; null if no protocol in clear is seen."""
    return _judge_side(first, second) or _judge_side(second, first)


def _judge_side(data: bytes, other: bytes) -> Facts | None:
    """Judge what *data* is, which the *other* side answers or is answered by."""
    size = len(data)
    if size < 4:
        return None
    judges = _BY_FIRST_BYTE.get(data[0])
    if judges is not None:
        for judge in judges:
            found = judge(data, other)
            if found is not None:
                return found
    if size > 20 and data[13] <= 7 and data[14] == 0 and data[15] == 0 and _is_mongodb(data):
        return plaintext("mongodb")
    if size > 18 and is_dns(data, 2, 2 + (data[0] << 8 | data[1])):
        return plaintext("dns")
    return None


def _http(data: bytes, other: bytes) -> Facts | None:
    if not (_HTTP_REQUEST.match(data) or _HTTP_ANSWER.match(data) or _OLD_REQUEST.match(data)):
        return None
    name = "http"
    for message in (data, other):
        became = _became(message)
        if became == "":
            return unknown(TransportBasis.UNRECOGNISED, "http")
        name = became or name
    answers, requests = (data, other) if data.startswith(b"HTTP/1.") else (other, data)
    if name == "http" and _changes_later(requests, answers):
        return unknown(TransportBasis.UNRECOGNISED, "http")
    return plaintext(name)


def _changes_later(requests: bytes, answers: bytes) -> bool:
    """Whether a later request asks for a tunnel or for TLS, or a later answer agrees to another protocol."""
    return (
        answers.find(b"HTTP/1.1 101", 1) > 0
        or requests.find(b"CONNECT ", 1) > 0
        or requests.find(b"TLS/", 1) > 0
        or requests.find(b"tls/", 1) > 0
    )


def _became(message: bytes) -> str | None:
    """
    Return what an HTTP/1 message says the connection goes on as.

    Returns:
        "websocket" once that was agreed; empty if it goes on, or may go on, as something that is not known to stay in
        clear; null if it stays HTTP/1.
    """
    end = message.find(b"\r\n\r\n")
    if end < 0:
        end = message.find(b"\n\n")
    head = (message if end < 0 else message[:end]).lower()
    if head.startswith(b"http/1."):
        # Behind "http/1.1 ": the code and the phrase.
        if head.startswith(b"200 connection established", 9):
            return ""
        if head.startswith(b"101", 9):
            upgrade = _UPGRADE.search(head)
            if upgrade is None or not _STAYS_CLEAR.match(upgrade[1]):
                return ""
            return "websocket" if b"websocket" in upgrade[1] else None
    if b"\nupgrade:" in head and any(_TO_TLS.search(named) for named in _UPGRADE.findall(head)):
        return ""
    return None


def _http2(data: bytes, other: bytes) -> Facts | None:
    return judge_http2(data) if data.startswith(PREFACE) else None


def _redis(data: bytes, other: bytes) -> Facts | None:
    return plaintext("redis") if _REDIS.match(data) else None


def _typed(data: bytes, other: bytes) -> Facts | None:
    """Commands that are lines of text: only the answer tells whose they are."""
    if not other:
        return None
    if _REDIS_REPLY.match(other) and _REDIS_INLINE.match(data):
        return plaintext("redis")
    if _MEMCACHED_REPLY.match(other) and _MEMCACHED.match(data):
        return plaintext("memcached")
    return None


def _elasticsearch(data: bytes, other: bytes) -> Facts | None:
    """Elasticsearch transport: "ES", length, request id, status, version id, which counts in millions."""
    if len(data) < 19 or data[1] != 0x53:
        return None
    length, version = int.from_bytes(data[2:6], "big"), int.from_bytes(data[15:19], "big")
    if 13 <= length < 1 << 31 and data[14] < 16 and 1_000_000 <= version < 100_000_000:
        return plaintext("elasticsearch")
    return None


#: Kafka protocol guide, request header: highest API key and version with room for more; what a client asks first.
_KAFKA_KEYS, _KAFKA_VERSIONS, _KAFKA_FIRST = 128, 32, (3, 17, 18)
_KAFKA_CLIENT = re.compile(rb"[\x21-\x7e][\x20-\x7e]{0,254}")


def _kafka(data: bytes, other: bytes) -> Facts | None:
    """A request of Kafka and its answer, which repeats the number the client chose."""
    if len(data) < 14 or len(other) < 8 or data[4] != 0 or data[6] != 0 or data[8:12] != other[4:8]:
        return None
    size, answer = int.from_bytes(data[:4], "big"), int.from_bytes(other[:4], "big")
    if data[5] >= _KAFKA_KEYS or data[7] >= _KAFKA_VERSIONS or not 10 <= size < 1 << 24 or not 6 <= answer < 1 << 28:
        return None
    named = data[12] << 8 | data[13]
    if named == 0xFFFF:
        # A client without a name; then only what a client begins with counts.
        return plaintext("kafka") if data[5] in _KAFKA_FIRST and size < 4096 else None
    name = data[14 : 14 + named]
    if named + 10 > size or len(name) < named or not _KAFKA_CLIENT.fullmatch(name):
        return None
    return plaintext("kafka")


_MONGODB_QUERY, _MONGODB_MESSAGE = b"\xd4\x07\0\0", b"\xdd\x07\0\0"
#: Of the flags of OP_MSG only these are known: checksum, more to come, exhaust allowed.
_MONGODB_FLAGS = 1 << 0 | 1 << 1 | 1 << 16
_MONGODB_MAX = 48_000_000 + 16_384


def _is_mongodb(data: bytes) -> bool:
    """
    Whether *data* begins with an OP_MSG or OP_QUERY whose lengths agree.

    Source: MongoDB wire protocol, message header and opcodes; BSON 1.1 for the document.
    """
    length, code = int.from_bytes(data[:4], "little"), data[12:16]
    if not 26 <= length <= _MONGODB_MAX:
        return False
    flags = int.from_bytes(data[16:20], "little")
    if code == _MONGODB_MESSAGE:
        # Sections: of kind 0, one document; of kind 1, a sequence of them, which the document may follow.
        if flags & ~_MONGODB_FLAGS or data[20] > 1 or len(data) < 25:
            return False
        section = int.from_bytes(data[21:25], "little")
        return 5 <= section <= length - 21
    if code == _MONGODB_QUERY:
        # "database.collection", two numbers, a document that ends the message, or another for the fields wanted.
        end = data.find(b"\0", 20)
        name = data[20:end]
        if end < 0 or b"." not in name or not name.isascii() or len(data) < end + 13:
            return False
        return flags & ~0xFE == 0 and 5 <= int.from_bytes(data[end + 9 : end + 13], "little") <= length - end - 9
    return False


def is_dns(data: bytes, at: int, end: int) -> bool:
    """Whether a DNS header and one well-formed name, type and class stand in *data* from *at* to *end* (RFC 1035)."""
    end = min(end, len(data))
    if end - at < 17:
        return False
    # Queries, status, notify, update; the bit that is zero in each; counts a message may hold. Multicast DNS asks for
    # dozens of names at once (RFC 6762 section 5.3).
    if data[at + 2] >> 3 & 0xF not in (0, 2, 4, 5) or data[at + 3] & 0x40:
        return False
    questions, answers = data[at + 4] << 8 | data[at + 5], data[at + 6] << 8 | data[at + 7]
    authorities, others = data[at + 8] << 8 | data[at + 9], data[at + 10] << 8 | data[at + 11]
    if questions > 64 or answers > 512 or authorities > 512 or others > 512 or questions + answers == 0:
        return False
    begin = at = at + 12
    while data[at] != 0:
        if data[at] > 63:
            return False
        at += 1 + data[at]
        if at >= end or at - begin > 254:
            return False
    if at + 5 > end or (data[at + 1] | data[at + 2]) == 0:
        return False
    # Classes: Internet, Chaos, Hesiod, none, any. Multicast DNS uses the highest bit.
    return (data[at + 3] & 0x7F) == 0 and data[at + 4] in (1, 3, 4, 254, 255)


_Judge = Callable[[bytes, bytes], Facts | None]


def _by_first_byte(*judges: tuple[bytes, _Judge]) -> dict[int, tuple[_Judge, ...]]:
    firsts = sorted({byte for begins, _ in judges for byte in begins})
    return {byte: tuple(judge for begins, judge in judges if byte in begins) for byte in firsts}


_CAPITALS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: Who may begin with which byte, in the order they are asked.
_BY_FIRST_BYTE = _by_first_byte(
    (b"P", _http2),
    (_CAPITALS, _http),
    (b"E", _elasticsearch),
    (b"*", _redis),
    (_CAPITALS + _CAPITALS.lower(), _typed),
    (b"\0", _kafka),
)
