"""Protocols that stay in clear: by their bytes, never by a word that something else may say too."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.payload_support import concluded, cuts, datagrams, judged, turned

PING = b"\x10\0\0\0\x10ping\0\1\0\0\0\0"


def bson(name=b"ping"):
    """A document {name: 1} (BSON 1.1)."""
    body = b"\x10" + name + b"\0\1\0\0\0\0"
    return struct.pack("<I", len(body) + 4) + body


def mongo(code, body, length=None):
    """Message header: length, number, number answered, opcode (MongoDB wire protocol)."""
    return struct.pack("<IIII", length or len(body) + 16, 7, 0, code) + body


MESSAGE = mongo(2013, struct.pack("<I", 0) + b"\0" + bson())
QUERY = mongo(2004, struct.pack("<I", 4) + b"admin.$cmd\0" + struct.pack("<ii", 0, -1) + bson(b"isMaster"))


def kafka(key, version, number, client, rest=b""):
    """A request header of version 1 (Kafka protocol guide)."""
    name = b"\xff\xff" if client is None else struct.pack("!H", len(client)) + client
    body = struct.pack("!HHI", key, version, number) + name + rest
    return struct.pack("!I", len(body)) + body


def reply(number, rest=b"\0\0\0\0\0\0"):
    return struct.pack("!II", len(rest) + 4, number) + rest


UPGRADE = b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\r\n"

IN_CLEAR = {
    "mongodb_message": ([("c", MESSAGE)], "mongodb"),
    "mongodb_query": ([("c", QUERY)], "mongodb"),
    "mongodb_answer": ([("s", mongo(2013, struct.pack("<I", 0) + b"\0" + bson(b"ok")))], "mongodb"),
    "kafka_asking_for_versions": ([("c", kafka(18, 3, 1, b"shop-1", b"\0")), ("s", reply(1))], "kafka"),
    "kafka_producer": ([("c", kafka(0, 9, 77_000, b"p", b"x" * 40)), ("s", reply(77_000))], "kafka"),
    "kafka_client_without_a_name": ([("c", kafka(3, 1, 5, None, b"\0\0\0\0")), ("s", reply(5))], "kafka"),
    "redis_typed": ([("c", b"PING\r\n"), ("s", b"+PONG\r\n")], "redis"),
    "redis_typed_with_words": ([("c", b"set a 1\r\n"), ("s", b"-NOAUTH Authentication required.\r\n")], "redis"),
    "memcached_get": ([("c", b"get key\r\n"), ("s", b"VALUE key 0 1\r\na\r\nEND\r\n")], "memcached"),
    "memcached_set": ([("c", b"set key 0 60 1\r\na\r\n"), ("s", b"STORED\r\n")], "memcached"),
    "websocket": ([("c", UPGRADE), ("s", SWITCHED), ("s", b"\x81\2hi")], "websocket"),
    "websocket_answer_alone": ([("s", SWITCHED)], "websocket"),
    "websocket_that_was_denied": ([("c", UPGRADE), ("s", b"HTTP/1.1 403 Forbidden\r\n\r\n")], "http"),
    "http_to_h2c": ([("c", b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n"),
                     ("s", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n")], "http"),
}  # fmt: skip


@pytest.mark.parametrize(("said", "name"), IN_CLEAR.values(), ids=IN_CLEAR.keys())
def test_protocol_in_clear_is_proven(said, name):
    """Whichever direction comes first, whether or not the capture goes on."""
    for conversation in (said, turned(said)):
        assert concluded(judged(*conversation, ended=False)) == ("plaintext", "clear_protocol", name)


NEARLY = {
    "mongodb_length_that_does_not_agree": [("c", mongo(2013, MESSAGE[16:], length=30))],
    "mongodb_flag_that_is_none": [("c", mongo(2013, struct.pack("<I", 8) + b"\0" + bson()))],
    "mongodb_section_that_is_none": [("c", mongo(2013, struct.pack("<I", 0) + b"\2" + bson()))],
    "mongodb_collection_without_a_database": [("c", QUERY.replace(b"admin.$cmd", b"admin_$cmd"))],
    "kafka_request_alone": [("c", kafka(18, 3, 1, b"shop-1"))],
    "kafka_reply_to_another_request": [("c", kafka(18, 3, 1, b"shop-1")), ("s", reply(2))],
    "kafka_key_that_is_none": [("c", kafka(300, 3, 1, b"shop-1")), ("s", reply(1))],
    "kafka_name_longer_than_the_request": [("c", kafka(18, 3, 1, b"shop-1")[:12] + b"\0\x99" + b"s" * 6),
                                           ("s", reply(1))],
    "zookeeper": [("c", struct.pack("!IIQIQI", 44, 0, 0, 30_000, 0, 16) + b"\0" * 16),
                  ("s", struct.pack("!IIIQI", 36, 0, 30_000, 5, 16) + b"p" * 16)],
    "redis_typed_without_an_answer": [("c", b"PING\r\n")],
    "redis_typed_to_something_else": [("c", b"PING\r\n"), ("s", b"what?\r\n")],
    "redis_answer_alone": [("s", b"+PONG\r\n")],
    "memcached_without_an_answer": [("c", b"get key\r\n")],
    "memcached_to_something_else": [("c", b"get key\r\n"), ("s", b"VALUABLE\r\n")],
    "elasticsearch_of_a_version_that_is_none": [("c", b"ES" + struct.pack("!IQBI", 50, 7, 1, 717) + b"\0" * 31)],
    "elasticsearch_with_a_status_that_is_none": [
        ("c", b"ES" + struct.pack("!IQBI", 50, 7, 99, 7_170_099) + b"\0" * 31)],
    "ssh_of_a_version_that_is_none": [("s", b"SSH-3.0-x\r\n")],
    "http_2_in_a_request_line": [("c", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n")],
    "http_method_in_small_letters": [("c", b"get / HTTP/1.1\r\nHost: a\r\n\r\n")],
    "http_answer_with_a_code_that_is_none": [("s", b"HTTP/1.1 999 Odd\r\n\r\n")],
    "array_that_is_none": [("c", b"*2\r\n+OK\r\n")],
    "dns_over_tcp_in_a_shorter_frame": [("c", b"\0\5" + bytes.fromhex("123401000001000000000000") + b"\1a\0\0\1\0\1")],
}  # fmt: skip


@pytest.mark.parametrize("said", NEARLY.values(), ids=NEARLY.keys())
def test_what_nearly_fits_is_unknown(said):
    """One field that contradicts the protocol is enough."""
    for conversation in (said, turned(said)):
        assert judged(*conversation, ended=True).transport == "unknown"


@pytest.mark.parametrize(("said", "name"), IN_CLEAR.values(), ids=IN_CLEAR.keys())
def test_conversation_cut_anywhere_names_nothing_else(said, name):
    """A capture that stops early may not know it yet; it never takes it for TLS."""
    for kept in cuts(said):
        facts = judged(*kept, ended=False)
        assert facts.transport in ("plaintext", "unknown")
        assert facts.app_protocol in (None, "http", name)


@settings(max_examples=2_000)
@given(st.integers(0, 1 << 64), st.integers(0, 200), st.integers(0, 200), st.booleans())
def test_random_bytes_prove_nothing(seed, size, other_size, ended):
    """Encrypted bytes of protocols unknown to us look like this."""
    chosen = random.Random(seed)
    first, second = chosen.randbytes(size), chosen.randbytes(other_size)
    assert judged(("c", first), ("s", second), ended=ended).transport == "unknown"
    assert datagrams(first, second).transport == "unknown"


STARTS = [b"\0\0\0", b"*", b"ES", b"AMQP", b"PRI ", b"GET ", b"\x30\x82", b"220 ", b"+OK ", b"* OK ", b"CONNECT ",
          b"SSH-", b"\x16\3\1", b"\x17\3\3", b"INFO {", b"get ", b"CAP ", b"\0\0\0\x0a"]  # fmt: skip


@settings(max_examples=1_500)
@given(st.sampled_from(STARTS), st.sampled_from(STARTS), st.integers(0, 1 << 64), st.integers(0, 80))
def test_first_bytes_of_a_protocol_before_random_ones_prove_nothing(start, other, seed, size):
    """A first byte only says what to ask next."""
    chosen = random.Random(seed)
    first, second = chosen.randbytes(size), chosen.randbytes(size)
    assert judged(("c", start + first), ("s", other + second), ended=False).transport == "unknown"
