"""QUIC and DTLS by their first datagrams: TLS only where both sides took part."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.payload_support import (
    alpn,
    answer_body,
    concluded,
    datagrams,
    extension,
    hello_body,
    server_name,
    versions,
)

NAME, OTHER_NAME = b"d" * 8, b"e" * 8


def long_header(kind, version=1, *, to=NAME, own=b"s" * 4, token=b"", size=60, fixed=0x40):
    """A packet with a long header (RFC 9000 section 17.2): Initial 0, 0-RTT 1, Handshake 2; Retry 3 has no length."""
    first = 0x80 | fixed | (kind + (version == 0x6B3343CF)) % 4 << 4
    head = bytes([first]) + struct.pack("!I", version) + bytes([len(to)]) + to + bytes([len(own)]) + own
    if kind == 3:
        return head + b"token" + b"i" * 16
    if kind == 0:
        head += bytes([len(token)]) + token
    return head + struct.pack("!H", 0x4000 | size) + b"\x5a" * size


INITIAL, ANSWER = long_header(0, size=1_100), long_header(0) + long_header(2)
NEGOTIATION = b"\x9a\0\0\0\0\4ssss\x08" + NAME + struct.pack("!II", 1, 0x6B3343CF)

QUIC = {
    "initial_and_initial": (INITIAL, ANSWER, "tls"),
    "initial_with_a_token": (long_header(0, token=b"t" * 40), ANSWER, "tls"),
    "version_2": (long_header(0, 0x6B3343CF), long_header(0, 0x6B3343CF), "tls"),
    "draft_29": (long_header(0, 0xFF00001D), long_header(0, 0xFF00001D), "tls"),
    "no_ids": (long_header(0, to=b"", own=b""), long_header(2, to=b"", own=b""), "tls"),
    "initial_and_early_data_together": (long_header(0) + long_header(1), ANSWER, "tls"),
    "short_header_behind_a_long_one": (INITIAL, long_header(2) + b"\x41" + NAME, "tls"),
    "cut_by_the_capture_length": (INITIAL[:60], ANSWER[:60], "tls"),
    "unanswered": (INITIAL, b"", "unknown"),
    "answered_by_a_retry": (INITIAL, long_header(3), "unknown"),
    "answered_by_a_retry_of_version_2": (long_header(0, 0x6B3343CF), long_header(3, 0x6B3343CF), "unknown"),
    "answered_by_a_negotiation": (INITIAL, NEGOTIATION, "unknown"),
}


@pytest.mark.parametrize(("first", "second", "transport"), QUIC.values(), ids=QUIC.keys())
def test_quic_is_tls_once_both_sides_took_part(first, second, transport):
    """A Retry or a negotiation of versions only prepares; a first packet that nobody answered protected nothing."""
    for pair in ((first, second), (second, first)):
        assert concluded(datagrams(*pair)) == (transport, "quic", "quic")


NO_QUIC = {
    "greased_fixed_bit": long_header(0, fixed=0),
    "version_not_in_use": long_header(0, 0x11223344),
    "id_longer_than_any": b"\xc0\0\0\0\1\x15" + b"d" * 0x15 + b"\0\0\x40\x20" + b"x" * 32,
    "id_longer_than_the_datagram": b"\xc0\0\0\0\1\x14ddd",
    "another_connection_behind": long_header(0) + long_header(2, to=OTHER_NAME),
    "another_version_behind": long_header(0) + long_header(2, 0x6B3343CF),
    "negotiation_without_versions": NEGOTIATION[:-8],
    "negotiation_with_half_a_version": NEGOTIATION[:-2],
    "short_header": b"\x41" + NAME + b"x" * 30,
}


@pytest.mark.parametrize("data", NO_QUIC.values(), ids=NO_QUIC.keys())
def test_what_nearly_is_quic_is_unknown(data):
    """Alone, and beside a datagram that is QUIC."""
    assert concluded(datagrams(data)) == ("unknown", "datagram", None)
    assert datagrams(data, ANSWER)[:2] == ("unknown", "datagram")


def dtls(kind, body, version=0xFEFD, epoch=0):
    """A DTLS record (RFC 6347 section 4.1)."""
    return struct.pack("!BHHHIH", kind, version, epoch, 0, 5, len(body)) + body


def message(kind, body, offset=0, total=None):
    """A handshake message, perhaps a fragment (RFC 6347 section 4.2.2)."""
    size = (len(body) if total is None else total).to_bytes(3, "big")
    return bytes([kind]) + size + b"\0\0" + offset.to_bytes(3, "big") + len(body).to_bytes(3, "big") + body


OFFERED = (server_name(b"sip.shop"), alpn(b"webrtc", b"c-webrtc"))
HELLO = dtls(22, message(1, hello_body(0xFEFD, *OFFERED, cookie=b"c" * 20)), 0xFEFF)
HELLO13 = dtls(22, message(1, hello_body(0xFEFD, *OFFERED, versions(0xFEFC, 0xFEFD), cookie=b"")))
SERVER = dtls(22, message(2, answer_body(0xFEFD))) + dtls(22, message(11, b"\0\0\0"))
CHOSEN = extension(43, b"\xfe\xfc")
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
VERIFY = dtls(22, message(3, b"\xfe\xff\x14" + b"c" * 20), 0xFEFF)
LATER = dtls(23, b"x" * 40, epoch=1)

DTLS = {
    "version_1": (HELLO, dtls(22, message(2, answer_body(0xFEFF)), 0xFEFF), "tls", "tls_handshake", "DTLSv1"),
    "version_1_2": (HELLO, SERVER, "tls", "tls_handshake", "DTLSv1.2"),
    "version_1_3": (HELLO13, dtls(22, message(2, answer_body(0xFEFD, CHOSEN))), "tls", "tls_handshake", "DTLSv1.3"),
    "answer_not_captured": (HELLO, LATER, "tls", "tls_handshake", None),
    "unanswered": (HELLO, b"", "unknown", "tls_handshake", None),
    "asked_for_a_cookie": (HELLO, VERIFY, "unknown", "tls_handshake", None),
    "asked_for_a_cookie_1_3": (HELLO13, dtls(22, message(2, answer_body(0xFEFD, CHOSEN, random=RETRY))),
                               "unknown", "tls_handshake", None),
    "refused": (HELLO, dtls(21, b"\2\x28"), "unknown", "tls_failed", None),
}  # fmt: skip


@pytest.mark.parametrize(("asks", "answers", "transport", "basis", "version"), DTLS.values(), ids=DTLS.keys())
def test_dtls_is_tls_once_both_sides_took_part(asks, answers, transport, basis, version):
    """A request for a cookie only lets the client prove its address."""
    for pair in ((asks, answers), (answers, asks)):
        facts = datagrams(*pair)
        assert concluded(facts) == (transport, basis, None)
        assert (facts.tls_version, facts.tls_sni, facts.tls_alpn) == (version, "sip.shop", "webrtc,c-webrtc")


def test_dtls_1_3_says_whether_a_session_was_resumed_and_hides_certificates():
    """As TLS 1.3 does."""
    facts = datagrams(HELLO13, dtls(22, message(2, answer_body(0xFEFD, CHOSEN, extension(41, b"\0\0")))))
    assert (facts.tls_resumed, facts.client_certificate) == (True, "not_visible")
    assert datagrams(HELLO, SERVER).client_certificate is None


def test_fragment_of_a_hello_names_nothing():
    """A ClientHello that did not fit its datagram is not there to its end."""
    body = hello_body(0xFEFD, *OFFERED, cookie=b"")
    facts = datagrams(dtls(22, message(1, body[:80], total=len(body))), SERVER)
    assert (facts.transport, facts.tls_sni, facts.tls_alpn) == ("tls", None, None)


def test_protected_records_both_ways_are_weak_tls():
    """Without a hello nothing says who authenticated; one way alone proves no exchange."""
    assert datagrams(LATER, LATER)[:2] == ("tls", "tls_midstream")
    assert datagrams(LATER)[:2] == ("unknown", "datagram")


NO_DTLS = {
    "length_beyond_what_follows": HELLO[:-1] + b"xx",
    "something_behind_the_record": HELLO + b"GET /",
    "record_of_tls": b"\x16\3\3" + HELLO[3:],
    "version_that_is_none": dtls(22, HELLO[13:], 0xFEFE),
    "data_that_is_not_protected": dtls(23, b"x" * 40),
    "empty_record": dtls(22, b""),
}


@pytest.mark.parametrize("data", NO_DTLS.values(), ids=NO_DTLS.keys())
def test_what_nearly_is_dtls_is_unknown(data):
    """Alone, and beside a datagram that is DTLS."""
    assert concluded(datagrams(data, SERVER)) == ("unknown", "datagram", None)


def test_two_who_ask_or_two_who_answer_prove_nothing():
    """They are not the two ends of one handshake."""
    assert datagrams(HELLO, HELLO).transport == "unknown"
    assert datagrams(SERVER, SERVER).transport == "unknown"


@pytest.mark.parametrize("pair", [(HELLO, SERVER), (INITIAL[:200], ANSWER), (LATER, LATER), (HELLO, VERIFY)])
def test_datagrams_cut_anywhere_are_never_plaintext_and_never_more_than_the_whole(pair):
    """A capture length cuts datagrams; what is left says less."""
    whole = datagrams(*pair)
    for first in range(len(pair[0])):
        for second in (0, 1, 12, 40, len(pair[1])):
            facts = datagrams(pair[0][:first], pair[1][:second])
            assert facts.transport in ("unknown", whole.transport)
            assert facts.tls_sni in (None, whole.tls_sni)


@settings(max_examples=1_000)
@given(
    st.sampled_from([b"", b"\xc3\0\0\0\1\x08", b"\x16\xfe\xfd\0\0", b"\x17\xfe\xfd\0\1", b"\1\0\0\0"]),
    st.integers(0, 1 << 64),
    st.integers(0, 100),
)
def test_random_datagrams_are_judged_without_error_and_prove_nothing_in_clear(head, seed, size):
    """Datagrams come from the network."""
    chosen = random.Random(seed)
    facts = datagrams(head + chosen.randbytes(size), chosen.randbytes(size))
    assert facts.transport == "unknown"


@pytest.mark.parametrize("data", [b"\1\0\0\0" + b"x" * 144, b"\2\0\0\0" + b"x" * 88, b"\4\0\0\0" + b"x" * 60])
def test_wireguard_is_a_tunnel_by_its_types_and_sizes(data):
    """WireGuard's whitepaper, section 5.4; one byte more is something else."""
    assert concluded(datagrams(data)) == ("unknown", "tunnel", "wireguard")
    assert concluded(datagrams(data + b"x")) == ("unknown", "datagram", None)
    assert concluded(datagrams(data[:1] + b"\1" + data[2:])) == ("unknown", "datagram", None)
