"""Protocols by their bytes: what is proven clear, what changes to TLS, and what proves nothing."""

import ssl
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.packet_support import BEGIN, CLIENT, SERVER, Talk, ethernet, ipv4, only, udp
from readers.payload_support import concluded, cuts, datagrams, judged, ldap, turned
from readers.tls_support import SNI, Connection, context, streams

from vzflow.readers.payload.judge import judge_streams
from vzflow.readers.payload.stream import Stream

CAPABILITIES = 0xFFFFFFFF & ~0x0800
GREETING = b"\x4a\0\0\0\x0a8.0.28\0" + b"\x5a" * 66
LOGIN = struct.pack("<I", 40)[:3] + b"\1" + struct.pack("<I", CAPABILITIES & 0xA685) + b"x" * 36
SSL_REQUEST = b"\x20\0\0\1" + struct.pack("<I", 0xAE85) + b"\0" * 28
PG_STARTUP = struct.pack("!II", 24, 196_608) + b"user\0shop\0\0\0\0\0\0\0"
PG_SSL, PG_GSS = struct.pack("!II", 8, 80_877_103), struct.pack("!II", 8, 80_877_104)
QUERY = bytes.fromhex("123401000001000000000000") + b"\6orders\4shop\0\0\1\0\1"
TRANSPORT = b"ES" + struct.pack("!IQBI", 50, 7, 1, 7_170_099) + b"\0" * 31


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
    assert concluded(judged(*turned(said))) == ("plaintext", "clear_protocol", name)


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


STARTTLS = ldap(1, 0x77, b"\x80\x16" + b"1.3.6.1.4.1.1466.20037")
INFO = b'INFO {"server_id":"N","version":"2.10","max_payload":1048576,"tls_required":true} \r\n'
AMQP, AMQP_TLS, AMQP_SASL = b"AMQP\0\1\0\0", b"AMQP\2\1\0\0", b"AMQP\3\1\0\0"
SASL_FRAME = struct.pack("!IBBH", 12, 2, 1, 0) + b"\0\x53\x41\x45"
#: The part in clear of connections that change to TLS.
PREFACES = {
    "mysql": [("s", GREETING), ("c", SSL_REQUEST)],
    "postgres": [("c", PG_SSL), ("s", b"S")],
    "postgres after gss": [("c", PG_GSS), ("s", b"N"), ("c", PG_SSL), ("s", b"S")],
    "smtp": [("s", b"220 mx\r\n"), ("c", b"EHLO a\r\n"), ("s", b"250-mx\r\n250 STARTTLS\r\n"), ("c", b"STARTTLS\r\n"),
             ("s", b"220 go ahead\r\n")],
    "http": [("c", b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"), ("s", b"HTTP/1.1 200 OK\r\n\r\n")],
    # RFC 9051 section 6.2.1
    "imap": [("s", b"* OK [CAPABILITY IMAP4rev2 STARTTLS] ready\r\n"), ("c", b"a1 CAPABILITY\r\n"),
             ("s", b"* CAPABILITY IMAP4rev2 STARTTLS\r\na1 OK done\r\n"), ("c", b"a2 STARTTLS\r\n"),
             ("s", b"a2 OK begin\r\n")],
    # RFC 2595 section 4
    "pop3": [("s", b"+OK ready\r\n"), ("c", b"CAPA\r\n"), ("s", b"+OK\r\nSTLS\r\n.\r\n"), ("c", b"STLS\r\n"),
             ("s", b"+OK begin\r\n")],
    # RFC 4217 section 12
    "ftp": [("s", b"220 ready\r\n"), ("c", b"AUTH TLS\r\n"), ("s", b"234 go\r\n")],
    # RFC 4511 section 4.14; a look at the root before it
    "ldap": [("c", STARTTLS), ("s", ldap(1, 0x78, b"\x0a\1\0\4\0\4\0"))],
    "ldap after a look at the root": [
        ("c", ldap(1, 0x63, b"\4\0\x0a\1\0\x0a\1\0\2\1\0\2\1\0\1\1\0\x87\x0bobjectClass\x30\0")),
        ("s", ldap(1, 0x64, b"\4\0\x30\0") + ldap(1, 0x65, b"\x0a\1\0\4\0\4\0")),
        ("c", STARTTLS.replace(b"\2\1\1", b"\2\1\2")), ("s", ldap(2, 0x78, b"\x0a\1\0\4\0\4\0"))],
    # IRCv3 tls
    "irc": [("c", b"CAP LS 302\r\n"), ("s", b":irc.a CAP * LS :tls\r\n"), ("c", b"STARTTLS\r\n"),
            ("s", b":irc.a 670 * :STARTTLS successful, proceed with TLS handshake\r\n")],
    "nats": [("s", INFO)],
    # AMQP 1.0 part 5.2; after SASL
    "amqp": [("c", AMQP_TLS), ("s", AMQP_TLS)],
    "amqp after sasl": [("c", AMQP_SASL + SASL_FRAME), ("s", AMQP_SASL + SASL_FRAME), ("c", AMQP_TLS), ("s", AMQP_TLS)],
}  # fmt: skip


@pytest.mark.parametrize(("name", "preface"), PREFACES.items(), ids=PREFACES.keys())
def test_connection_that_changed_to_tls_is_judged_after_the_change(name, preface, shaken):
    """The part in clear asks for protection; what matters went under it."""
    facts = judged(*preface, *shaken)
    assert concluded(facts) == ("tls", "tls_handshake", name.split()[0])
    assert (facts.tls_version, facts.tls_sni, facts.client_certificate) == ("TLSv1.2", SNI, "not_asked")


@pytest.mark.parametrize("name", PREFACES)
def test_change_to_tls_cut_anywhere_is_never_plaintext(name, shaken):
    """Wherever the capture of an upgraded connection stops, its payload was not shown to be in clear."""
    for kept in cuts([*PREFACES[name], *shaken]):
        assert judged(*kept, ended=False).transport != "plaintext"


def test_dns_over_udp_is_plaintext_by_its_bytes():
    """On any port; a header alone is not enough."""
    assert concluded(datagrams(QUERY)) == ("plaintext", "clear_protocol", "dns")
    row = only([(BEGIN, ethernet(ipv4(udp(40_000, 5_300, QUERY), protocol=17)))])
    assert (row["transport_seen"], row["app_protocol"], row["connection_state"]) == ("plaintext", "dns", None)
    assert concluded(datagrams(QUERY[:12])) == ("unknown", "datagram", None)
    for broken in (QUERY[:2] + b"\x7f" + QUERY[3:], QUERY[:3] + b"\x40" + QUERY[4:], QUERY[:-1] + b"\x09"):
        assert concluded(datagrams(broken)) == ("unknown", "datagram", None)


def test_multicast_dns_asks_for_dozens_of_names_at_once():
    """A device that wakes up looks for every service it knows (RFC 6762 section 5.3); a thousand is no query."""
    question = b"\x0b_afpovertcp\x04_tcp\x05local\0\0\x0c\x80\x01"
    assert concluded(datagrams(b"\0\0\0\0\0\x17\0\0\0\x0b\0\x01" + question)) == (
        "plaintext", "clear_protocol", "dns")  # fmt: skip
    assert concluded(datagrams(b"\0\0\0\0\4\x17\0\0\0\x0b\0\x01" + question)) == ("unknown", "datagram", None)


@settings(max_examples=500)
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
    assert concluded(facts) == ("tls", "tls_handshake", name.split()[0])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)
def test_clear_bytes_after_tls_take_back_what_the_handshake_proved(version, tmp_path):
    """The handshake does not speak for what came after it on the same connection."""
    said = [*mutual(tmp_path, version), ("c", b"GET / HTTP/1.1\r\n\r\n"), ("s", b"HTTP/1.1 200 OK\r\n\r\n")]
    facts = judged(*said)
    assert (facts.transport, facts.basis) == ("unknown", "unrecognised")
