"""Hello messages built from their specification: names, protocols, versions, and what must not be read into them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.payload_support import (
    alpn,
    answer_body,
    extension,
    handshake,
    hello_body,
    judged,
    record,
    server_name,
    versions,
)

from vzflow.readers.payload.tls_hello import alpn_names, read_hello
from vzflow.readers.payload.tls_hello import server_name as name_of

#: RFC 8701: values that stand for nothing.
GREASE = (extension(0x0A0A, b""), extension(0xFAFA, b"\0"))
#: Encrypted Client Hello (RFC 9849): the outer hello names the public server, the inner one is encrypted.
OUTER = extension(0xFE0D, b"\0\0\1\0\1\7\0\x20" + b"k" * 32 + b"\0\x10" + b"e" * 16)
CHOSEN = extension(43, b"\3\4")


def hello(*extensions, legacy=0x0303):
    return handshake(1, hello_body(legacy, *extensions))


def answered(client, *extensions, legacy=0x0303):
    """Facts of a hello, given as records, and a ServerHello with these extensions."""
    return judged(("c", client), ("s", record(22, handshake(2, answer_body(legacy, *extensions)))), ended=False)


def test_grease_is_stepped_over():
    """Browsers scatter it among extensions, versions and protocols."""
    said = hello(GREASE[0], server_name(b"a.shop"), versions(0x3A3A, 0x0304), alpn(b"\x5a\x5a", b"h2"), GREASE[1])
    facts = answered(record(22, said, 0x0301), CHOSEN)
    assert (facts.tls_version, facts.tls_sni, facts.tls_alpn) == ("TLSv1.3", "a.shop", "ZZ,h2")


def test_encrypted_client_hello_shows_the_outer_name():
    """It is all a tap can see."""
    said = hello(server_name(b"public.example"), versions(0x0304), OUTER)
    assert answered(record(22, said, 0x0301), CHOSEN).tls_sni == "public.example"


@pytest.mark.parametrize("size", [6, 10, 41, 90, 200])
def test_hello_in_many_records_is_one_hello(size):
    """RFC 8446 section 5.1: messages may be cut into records anywhere."""
    said = hello(server_name(b"a.shop"), alpn(b"istio"), versions(0x0304))
    records = b"".join(record(22, said[at : at + size], 0x0301) for at in range(0, len(said), size))
    facts = answered(records, CHOSEN)
    assert (facts.tls_version, facts.tls_sni, facts.tls_alpn) == ("TLSv1.3", "a.shop", "istio")


def test_answer_that_chooses_what_was_not_offered_proves_nothing():
    """The two sides are not two ends of one handshake."""
    said = record(22, hello(server_name(b"a.shop"), versions(0x0303)), 0x0301)
    assert answered(said, CHOSEN)[:2] == ("unknown", "unrecognised")
    assert answered(record(22, hello(versions(0x0303, 0x0304)), 0x0301), CHOSEN).transport == "tls"


@pytest.mark.parametrize(("legacy", "name"), [(0x0300, "SSLv3"), (0x0301, "TLSv1"), (0x0302, "TLSv1.1")])
def test_older_versions_are_named(legacy, name):
    """The version field of the ServerHello says it; such a message may end without extensions."""
    plain = answer_body(legacy)[:-2]
    facts = judged(("c", record(22, hello())), ("s", record(22, handshake(2, plain))), ended=False)
    assert facts.tls_version == name


def test_hello_of_ssl_2_is_unknown():
    """RFC 5246 appendix E.2: two bytes of length with the highest bit, no record of TLS."""
    said = b"\x80\x2e\1\3\1\0\x15\0\0\0\x10" + b"\0\0\x2f\0\0\x35\0\0\x0a\1\0\x80\0\0\5\0\0\4\0\0\xff" + b"c" * 16
    facts = judged(("c", said), ("s", b""), ended=False)
    assert (facts.transport, facts.tls_sni) == ("unknown", None)


NEARLY = {
    "message_that_is_no_hello": record(22, handshake(5, hello_body(0x0303))),
    "record_of_version_2": b"\x16\2\0" + record(22, hello())[3:],
    "record_longer_than_any": b"\x16\3\1\x60\0" + hello(),
    "hello_of_version_2": record(22, hello(legacy=0x0200)),
    "record_that_ends_in_the_message_header": record(22, hello()[:3]) + record(22, hello()[3:]),
}


@pytest.mark.parametrize("said", NEARLY.values(), ids=NEARLY.keys())
def test_what_nearly_is_a_hello_is_unknown(said):
    """Alone, and beside a hello's records that go on."""
    assert judged(("c", said), ended=False).transport == "unknown"
    assert judged(("c", said), ("s", record(23, b"x" * 40)), ended=True).transport == "unknown"


def test_of_two_extensions_of_a_kind_the_first_counts():
    """No hello may hold two; a reader must not be led to the second."""
    said = hello(server_name(b"first"), server_name(b"second"), alpn(b"a"), alpn(b"b"), versions(0x0304))
    facts = answered(record(22, said), CHOSEN)
    assert (facts.tls_sni, facts.tls_alpn) == ("first", "a")


@pytest.mark.parametrize("content", [b"", b"\0", b"\0\3\0\0", b"\0\4\0\0\5a", b"\0\x09\0\0\5a", b"\0\4\1\0\1a"])
def test_server_names_that_do_not_fit_are_none(content):
    """Lengths are the sender's word; a name of another kind is no host."""
    assert name_of(content) is None


def test_protocols_that_do_not_fit_their_list_are_left_out():
    """The list ends where its length says."""
    assert alpn_names(b"\0\6\2h2\2h3") == ("h2", "h3")
    assert alpn_names(b"\0\5\2h2\2h3") == ("h2",)
    assert alpn_names(b"\0\x09\2h2\2h3") == ()


BODY = hello_body(0x0303, server_name(b"a.shop"), alpn(b"istio", b"h2"), versions(0x0304, 0x0303), extension(42, b""))


def test_hello_cut_anywhere_says_less_and_nothing_else():
    """What lies behind the cut is not there; a cut extension is no extension."""
    whole = read_hello(BODY, 0, len(BODY), True)
    assert whole.whole
    for end in range(len(BODY)):
        part = read_hello(BODY[:end], 0, len(BODY), True)
        assert not part.whole
        assert part.server_name in (b"", whole.server_name)
        assert part.alpn in (b"", whole.alpn)
        assert part.versions in (b"", whole.versions)


def test_answer_cut_before_its_extensions_names_no_version():
    """TLS 1.3 says its version there; without them the message would be of TLS 1.2."""
    whole = record(22, handshake(2, answer_body(0x0303, CHOSEN)))
    for end in range(len(whole)):
        facts = judged(("c", record(22, hello(versions(0x0304)))), ("s", whole[:end]), ended=False)
        assert facts.tls_version is None


@settings(max_examples=500)
@given(st.binary(max_size=200), st.booleans(), st.booleans(), st.integers(-5, 300))
def test_any_bytes_are_read_without_error(data, client, cookie, end):
    """Hellos come from the network."""
    hello = read_hello(data, 0, end, client, cookie)
    name_of(hello.server_name), alpn_names(hello.alpn), hello.chosen_version(), hello.offers(0x0304)
