"""Protocols by their bytes: what is proven clear, what changes to TLS, and what proves nothing."""

import ssl
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.packet_support import BEGIN, CLIENT, SERVER, Talk, ethernet, ipv4, only, udp
from readers.tls_support import SNI, Connection, context, streams

from vzflow.readers.payload import judge_datagrams, judge_streams
from vzflow.readers.stream import Stream

CAPABILITIES = 0xFFFFFFFF & ~0x0800
GREETING = b"\x4a\0\0\0\x0a8.0.28\0" + b"\x5a" * 66
LOGIN = struct.pack("<I", 40)[:3] + b"\1" + struct.pack("<I", CAPABILITIES & 0xA685) + b"x" * 36
SSL_REQUEST = b"\x20\0\0\1" + struct.pack("<I", 0xAE85) + b"\0" * 28
PG_STARTUP = struct.pack("!II", 24, 196_608) + b"user\0shop\0\0\0\0\0\0\0"
PG_SSL, PG_GSS = struct.pack("!II", 8, 80_877_103), struct.pack("!II", 8, 80_877_104)
QUERY = bytes.fromhex("123401000001000000000000") + b"\6orders\4shop\0\0\1\0\1"
TRANSPORT = b"ES" + struct.pack("!IQBI", 50, 7, 1, 7_170_099) + b"\0" * 31


def judged(*said, ended=True):
    """Facts of a connection in which ("c" or "s", bytes) were said in this order."""
    flights = [("client" if side == "c" else "server", data) for side, data in said]
    return judge_streams(*streams(flights), ended=ended)


def concluded(facts):
    return facts.transport.value, facts.basis.value, facts.app_protocol


HTTP = ("c", b"GET /orders HTTP/1.1\r\nHost: orders\r\n\r\n")
CLEAR = {
    "http_request": ([HTTP], "http"),
    "http_answer": ([("s", b"HTTP/1.1 200 OK\r\n\r\n")], "http"),
    "http_with_bare_line_ends": ([("c", b"POST / HTTP/1.0\nHost: a\n\n")], "http"),
    "http_0_9": ([("c", b"GET /index.html\r\n")], "http"),
    "websocket": ([("c", b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"),
                   ("s", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")], "websocket"),
    "http2": ([("c", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")], "http2"),
    "redis": ([("c", b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"), ("s", b"$-1\r\n")], "redis"),
    "elasticsearch_transport": ([("c", TRANSPORT)], "elasticsearch"),
    "dns_over_tcp": ([("c", len(QUERY).to_bytes(2, "big") + QUERY)], "dns"),
    "mysql": ([("s", GREETING), ("c", LOGIN)], "mysql"),
    "postgres": ([("c", PG_STARTUP)], "postgres"),
    "postgres_that_was_denied_tls": ([("c", PG_SSL), ("s", b"N"), ("c", PG_STARTUP)], "postgres"),
    "postgres_that_was_denied_both": (
        [("c", PG_GSS), ("s", b"N"), ("c", PG_SSL), ("s", b"N"), ("c", PG_STARTUP)], "postgres"),
    "smtp_that_got_to_work": ([("s", b"220 mx ESMTP\r\n"), ("c", b"EHLO a\r\n"), ("s", b"250 mx\r\n"),
                               ("c", b"MAIL FROM:<a@b>\r\n")], "smtp"),
    "smtp_that_was_denied_tls": ([("s", b"220 mx\r\n"), ("c", b"EHLO a\r\n"), ("s", b"250 mx\r\n"),
                                  ("c", b"STARTTLS\r\n"), ("s", b"454 no\r\n"), ("c", b"MAIL FROM:<a@b>\r\n")], "smtp"),
    "refused_connect": ([("c", b"CONNECT a:443 HTTP/1.1\r\n\r\n"), ("s", b"HTTP/1.1 403 Forbidden\r\n\r\n")], "http"),
    "connect_to_something_clear": ([("c", b"CONNECT a:80 HTTP/1.1\r\n\r\n"), ("s", b"HTTP/1.1 200 OK\r\n\r\n"),
                                    ("c", b"*1\r\n$4\r\nPING\r\n")], "redis"),
}  # fmt: skip


@pytest.mark.parametrize(("said", "name"), CLEAR.values(), ids=CLEAR.keys())
def test_payload_in_clear_is_proven(said, name):
    """Bytes that parse as a clear protocol prove it, whichever direction comes first, whatever the port."""
    assert concluded(judged(*said)) == ("plaintext", "clear_protocol", name)
    turned = [("s" if side == "c" else "c", data) for side, data in said]
    assert concluded(judged(*turned)) == ("plaintext", "clear_protocol", name)


UNDECIDED = {
    "nothing_known": [("c", b"\0\1\2\3hello")],
    "text_of_no_protocol": [("c", b"hello there, general\r\n")],
    "http_method_only": [("c", b"GET /orders")],
    "http_word_in_a_body": [("c", b"\0\0GET / HTTP/1.1\r\n\r\n")],
    "half_an_http2_preface": [("c", b"PRI * HTTP/2.0\r\n")],
    "http_that_upgrades_to_tls": [("c", b"GET / HTTP/1.1\r\nUpgrade: TLS/1.0\r\n\r\n")],
    "http_that_switched_to_something": [HTTP, ("s", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tcp\r\n\r\n")],
    "answer_that_opens_a_tunnel": [("s", b"HTTP/1.1 200 Connection established\r\n\r\n")],
    "connect_to_something_unknown": [
        ("c", b"CONNECT a:443 HTTP/1.1\r\n\r\n"), ("s", b"HTTP/1.1 200 OK\r\n\r\n"), ("c", b"\x99\x98")],
    "mysql_that_asked_for_tls": [("s", GREETING), ("c", SSL_REQUEST)],
    "mysql_with_tls_flag_in_a_login": [
        ("s", GREETING), ("c", b"\x28\0\0\1" + struct.pack("<I", 0xAE85) + b"x" * 36)],
    "postgres_that_was_granted_tls": [("c", PG_SSL), ("s", b"S")],
    "postgres_that_was_granted_tls_and_said_something_else": [("c", PG_SSL), ("s", b"S"), ("c", PG_STARTUP)],
    "postgres_that_was_granted_gss": [("c", PG_GSS), ("s", b"G"), ("c", b"\0\0\0\5x")],
    "postgres_under_gss_whatever_it_says": [("c", PG_GSS), ("s", b"G"), ("c", PG_STARTUP)],
    "postgres_whose_answer_was_not_seen": [("c", PG_SSL + PG_STARTUP)],
    "postgres_that_only_asked": [("c", PG_SSL)],
    "smtp_that_asked_for_tls": [("s", b"220 mx\r\n"), ("c", b"EHLO a\r\nSTARTTLS\r\n"), ("s", b"220 go\r\n")],
    "ftp_greeting": [("s", b"220 ftp ready\r\n"), ("c", b"AUTH TLS\r\n")],
    "ssh": [("s", b"SSH-2.0-OpenSSH_9.6\r\n"), ("c", b"SSH-2.0-Go\r\n")],
}  # fmt: skip


@pytest.mark.parametrize("said", UNDECIDED.values(), ids=UNDECIDED.keys())
def test_payload_that_proves_nothing_is_unknown(said):
    """Absence of evidence is never plaintext; neither is the beginning of a protocol that may encrypt itself."""
    assert judged(*said).transport == "unknown"


def test_ssh_is_named_and_is_neither_tls_nor_plaintext():
    """It encrypts in its own way, which no TLS rule asks for."""
    assert concluded(judged(("s", b"SSH-2.0-OpenSSH_9.6\r\n"))) == ("unknown", "other_encryption", "ssh")


def test_http_request_to_an_ssh_server_went_in_clear():
    """What the initiator sent is proven, whatever answered."""
    assert concluded(judged(HTTP, ("s", b"SSH-2.0-OpenSSH_9.6\r\n"))) == ("plaintext", "clear_protocol", "http")


OPEN_ENDED = {
    "mysql_greeting_alone": [("s", GREETING)],
    "smtp_greeting_and_hello": [("s", b"220 mx\r\n"), ("c", b"EHLO a\r\n")],
    "connect_without_an_answer": [("c", b"CONNECT a:443 HTTP/1.1\r\n\r\n")],
}


@pytest.mark.parametrize("said", OPEN_ENDED.values(), ids=OPEN_ENDED.keys())
def test_protocol_that_could_still_change_to_tls_is_plaintext_only_once_it_ended(said):
    """A capture that stops before the change must not call it plaintext; a closed connection cannot change any more."""
    assert judged(*said, ended=False).transport == "unknown"
    assert judged(*said, ended=True).transport == "plaintext"


def test_closed_connection_with_a_hole_proves_no_clear_login():
    """What the client said in the hole may have been the request for TLS."""
    client, server = Stream(started=True, waiting=True, base=1), streams([("server", GREETING)])[1]
    assert concluded(judge_streams(client, server, ended=True)) == ("unknown", "cut", "mysql")


@pytest.fixture
def shaken(tmp_path):
    """The flights of a whole TLS 1.2 connection."""
    version = ssl.TLSVersion.TLSv1_2
    sides = (
        context(tmp_path, "client", version, certificate=False),
        context(tmp_path, "server", version, verify=ssl.CERT_NONE),
    )
    connection = Connection(*sides).shake().say("client", b"secret").say("server", b"answer")
    return [("c" if side == "client" else "s", data) for side, data in connection.flights]


PREFACES = {
    "mysql": [("s", GREETING), ("c", SSL_REQUEST)],
    "postgres": [("c", PG_SSL), ("s", b"S")],
    "smtp": [("s", b"220 mx\r\n"), ("c", b"EHLO a\r\n"), ("s", b"250-mx\r\n250 STARTTLS\r\n"), ("c", b"STARTTLS\r\n"),
             ("s", b"220 go ahead\r\n")],
    "http": [("c", b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"), ("s", b"HTTP/1.1 200 OK\r\n\r\n")],
}  # fmt: skip


@pytest.mark.parametrize(("name", "preface"), PREFACES.items(), ids=PREFACES.keys())
def test_connection_that_changed_to_tls_is_judged_after_the_change(name, preface, shaken):
    """The part in clear asks for protection; what matters went under it."""
    facts = judged(*preface, *shaken)
    assert concluded(facts) == ("tls", "tls_handshake", name)
    assert (facts.tls_version, facts.tls_sni, facts.client_certificate) == ("TLSv1.2", SNI, "not_asked")


@pytest.mark.parametrize("name", PREFACES)
def test_change_to_tls_cut_anywhere_is_never_plaintext(name, shaken):
    """Wherever the capture of an upgraded connection stops, its payload was not shown to be in clear."""
    said = [*PREFACES[name], *shaken]
    total = sum(len(data) for _, data in said)
    for end in [*range(0, 200), *range(200, total, 37)]:
        kept, left = [], end
        for side, data in said:
            kept.append((side, data[:left]))
            left = max(left - len(data), 0)
        assert judged(*kept, ended=False).transport != "plaintext"


def datagrams(first, second=b""):
    return concluded(judge_datagrams(Stream(first, started=True), Stream(second, started=True)))


def test_dns_over_udp_is_plaintext_by_its_bytes():
    """On any port; a header alone is not enough."""
    assert datagrams(QUERY) == ("plaintext", "clear_protocol", "dns")
    row = only([(BEGIN, ethernet(ipv4(udp(40_000, 5_300, QUERY), protocol=17)))])
    assert (row["transport_seen"], row["app_protocol"], row["connection_state"]) == ("plaintext", "dns", None)
    assert datagrams(QUERY[:12]) == ("unknown", "datagram", None)
    for broken in (QUERY[:2] + b"\x7f" + QUERY[3:], QUERY[:3] + b"\x40" + QUERY[4:], QUERY[:-1] + b"\x09"):
        assert datagrams(broken) == ("unknown", "datagram", None)


QUIC = b"\xc3\0\0\0\1\x08" + b"d" * 8 + b"\0" + b"\x5a" * 1_180


def test_quic_is_tls_once_it_was_answered():
    """A long header of a version in use; a first packet that nobody answered protected nothing."""
    assert datagrams(QUIC, QUIC) == ("tls", "quic", "quic")
    assert datagrams(QUIC) == ("unknown", "quic", "quic")
    assert datagrams(b"\xc3\x11\x22\x33\x44" + QUIC[5:]) == ("unknown", "datagram", None)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_random_payload_is_not_called_plaintext_or_tls(first, second):
    """Encrypted bytes of protocols unknown to us look like this."""
    assert judged(("c", b"\x80" + first), ("s", b"\x81" + second)).transport == "unknown"


def test_request_in_clear_that_was_reset_is_still_plaintext():
    """It was on the wire before the responder refused it."""
    talk = Talk().open().say(HTTP[1]).out(4, back=True)
    row = only(talk)
    assert (row["transport_seen"], row["connection_state"]) == ("plaintext", "refused")


def test_middle_of_a_connection_proves_only_what_its_bytes_do():
    """HTTP is HTTP wherever it is seen; anything else from the middle stays unknown."""
    talk = Talk().open()
    talk.frames.clear()
    row = only(talk.say(HTTP[1]))
    assert (row["transport_seen"], row["connection_state"]) == ("plaintext", "midstream")
    talk.frames.clear()
    row = only(talk.say(b"\1\2\3\4"))
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("unknown", "midstream")


def test_facts_reach_the_row(shaken):
    """From packets to columns: the whole way once."""
    talk = Talk().open()
    for side, data in shaken:
        for at in range(0, len(data), 1_400):
            (talk.say if side == "c" else talk.answer)(data[at : at + 1_400])
    row = only(talk.close())
    assert (row["initiator_ip"], row["responder_ip"]) == (CLIENT, SERVER)
    assert (row["tls_version"], row["tls_sni"], row["tls_resumed"]) == ("TLSv1.2", SNI, False)
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("tls", "tls_handshake")
    assert (row["client_certificate"], row["responder_principal"]) == (
        "not_asked",
        "spiffe://cluster.local/ns/shop/sa/orders",
    )


def mutual(tmp_path, version, alpn=("istio",)):
    """The flights of a whole connection with a client certificate and Istio's ALPN."""
    sides = (context(tmp_path, "client", version, alpn=alpn), context(tmp_path, "server", version, alpn=alpn))
    connection = Connection(*sides).shake().say("client", b"x" * 200).say("server", b"y" * 200)
    return [("c" if side == "client" else "s", data) for side, data in connection.flights]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)
@pytest.mark.parametrize("name", PREFACES)
def test_tls_that_begins_after_clear_bytes_is_no_mesh_mtls(name, version, tmp_path):
    """A sidecar's TLS begins with the first byte: whoever ended this one is another program."""
    alone = judged(*mutual(tmp_path, version))
    assert alone.basis in ("client_certificate", "istio_alpn")
    facts = judged(*PREFACES[name], *mutual(tmp_path, version))
    assert concluded(facts) == ("tls", "tls_handshake", name)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)
def test_clear_bytes_after_tls_take_back_what_the_handshake_proved(version, tmp_path):
    """The handshake does not speak for what came after it on the same connection."""
    said = [*mutual(tmp_path, version), ("c", b"GET / HTTP/1.1\r\n\r\n"), ("s", b"HTTP/1.1 200 OK\r\n\r\n")]
    facts = judged(*said)
    assert (facts.transport, facts.basis) == ("unknown", "unrecognised")
