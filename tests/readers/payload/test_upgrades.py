"""Protocols that may change to TLS: what proves that they did not, and what leaves it open."""

import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.payload_support import ber, concluded, cuts, judged, ldap, turned

OK, GO = b"* OK ready\r\n", b"+OK ready\r\n"
INFO = b'INFO {"server_id":"N","version":"2.10","max_payload":1048576} \r\n'
CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"tls_required":false,"lang":"go"}\r\nPING\r\n'
AMQP, AMQP_TLS, AMQP_SASL = b"AMQP\0\1\0\0", b"AMQP\2\1\0\0", b"AMQP\3\1\0\0"
SASL = struct.pack("!IBBH", 12, 2, 1, 0) + b"\0\x53\x41\x45"
BIND = ldap(1, 0x60, b"\2\1\3", ber(4, b"cn=admin,dc=shop"), ber(0x80, b"secret"))
ANONYMOUS = ldap(1, 0x60, b"\2\1\3\4\0\x80\0")
REST = b"\x0a\1\2\x0a\1\0\2\1\0\2\1\0\1\1\0\x87\x0bobjectClass\x30\0"
SEARCH = ldap(2, 0x63, ber(4, b"dc=shop"), REST)
ROOT = ldap(1, 0x63, b"\4\0", REST)
STARTTLS = ldap(3, 0x77, b"\x80\x16" + b"1.3.6.1.4.1.1466.20037")
PG_NAMES = b"application_name\0shop\0user\0u\0\0"
IRC = [("c", b"CAP LS 302\r\nNICK ann\r\nUSER ann 0 * :Ann\r\n"), ("s", b":irc.a CAP * LS :sasl\r\n")]

IN_CLEAR = {
    "imap_login": ([("s", OK), ("c", b"a1 CAPABILITY\r\na2 LOGIN u p\r\n")], "imap"),
    "imap_plain": ([("s", OK), ("c", b"a1 AUTHENTICATE PLAIN AHUAcA==\r\n")], "imap"),
    "pop3_login": ([("s", GO), ("c", b"CAPA\r\nUSER u\r\nPASS p\r\n")], "pop3"),
    "ftp_login": ([("s", b"220 ready\r\n"), ("c", b"USER u\r\n"), ("s", b"331 and?\r\n"), ("c", b"PASS p\r\n")], "ftp"),
    "ftp_that_was_denied_tls": ([("s", b"220 ready\r\n"), ("c", b"AUTH TLS\r\n"), ("s", b"502 no\r\n"),
                                 ("c", b"USER u\r\n")], "ftp"),
    "ldap_bind": ([("c", BIND), ("s", ldap(1, 0x61, b"\x0a\1\0\4\0\4\0"))], "ldap"),
    "ldap_search_after_an_anonymous_bind": ([("c", ANONYMOUS), ("c", SEARCH)], "ldap"),
    "ldap_with_long_lengths": ([("c", b"\x30\x84\0\0\0\x23\2\1\1\x60\x84\0\0\0\x1a\2\1\3" + BIND[10:])], "ldap"),
    "irc_that_was_welcomed": ([*IRC, ("s", b":irc.a 001 ann :Welcome\r\n")], "irc"),
    "nats": ([("s", INFO), ("c", CONNECT), ("s", b"PONG\r\n")], "nats"),
    "nats_client_alone": ([("c", CONNECT)], "nats"),
    "amqp_0_9_1": ([("c", b"AMQP\0\0\x09\x01"), ("s", b"\1\0\0\0\0\1\xf4\0\x0a\0\x0a")], "amqp"),
    "amqp_1_0": ([("c", AMQP), ("s", AMQP)], "amqp"),
    "amqp_1_0_after_sasl": ([("c", AMQP_SASL + SASL + AMQP), ("s", AMQP_SASL + SASL + AMQP)], "amqp"),
    "postgres_any_first_name": ([("c", struct.pack("!II", 8 + len(PG_NAMES), 196_608) + PG_NAMES)], "postgres"),
    "postgres_cancel": ([("c", struct.pack("!IIII", 16, 80_877_102, 7, 9))], "postgres"),
}  # fmt: skip


@pytest.mark.parametrize(("said", "name"), IN_CLEAR.values(), ids=IN_CLEAR.keys())
def test_login_or_work_in_clear_is_proven_whether_or_not_the_capture_goes_on(said, name):
    """Nobody says this who still waits for the change."""
    for conversation in (said, turned(said)):
        assert concluded(judged(*conversation, ended=False)) == ("plaintext", "clear_protocol", name)


OPEN = {
    "imap_that_asked_what_there_is": [("s", OK), ("c", b"a1 CAPABILITY\r\n")],
    "pop3_that_asked_what_there_is": [("s", GO), ("c", b"CAPA\r\n")],
    "pop3_that_asked_for_the_ways_to_log_in": [("s", GO), ("c", b"AUTH\r\n")],
    "ftp_that_asked_what_there_is": [("s", b"220 ready\r\n"), ("c", b"FEAT\r\n")],
    "ldap_bind_of_nobody": [("c", ANONYMOUS)],
    "ldap_look_at_the_root": [("c", ROOT)],
    "irc_that_is_not_yet_welcomed": IRC,
    "nats_greeting": [("s", INFO)],
    "amqp_that_is_logging_in": [("c", AMQP_SASL + SASL)],
}


@pytest.mark.parametrize("said", OPEN.values(), ids=OPEN.keys())
def test_protocol_that_could_still_change_is_plaintext_only_once_it_ended(said):
    """What was said so far is said before the change too."""
    assert judged(*said, ended=False)[:2] == ("unknown", "cut")
    assert judged(*said, ended=True).transport == "plaintext"


UNDECIDED = {
    "imap_that_asked_for_tls": [("s", OK), ("c", b"a1 STARTTLS\r\n"), ("s", b"a1 OK go\r\n")],
    "imap_login_inside_a_security_layer": [("s", OK), ("c", b"a1 AUTHENTICATE GSSAPI\r\n")],
    "imap_without_a_greeting": [("c", b"a1 LOGIN u p\r\n")],
    "imap_that_was_turned_away": [("s", b"* BYE full\r\n"), ("c", b"a1 LOGIN u p\r\n")],
    "pop3_that_asked_for_tls": [("s", GO), ("c", b"STLS\r\n"), ("s", b"+OK go\r\n")],
    "pop3_login_inside_a_security_layer": [("s", GO), ("c", b"AUTH GSSAPI\r\n")],
    "ftp_that_asked_for_tls": [("s", b"220 ready\r\n"), ("c", b"AUTH TLS\r\n"), ("s", b"234 go\r\n")],
    "ftp_under_kerberos": [("s", b"220 ready\r\n"), ("c", b"AUTH GSSAPI\r\n"), ("s", b"334 go\r\n"),
                           ("c", b"ADAT YIIB\r\n")],
    "smtp_login_inside_a_security_layer": [("s", b"220 mx\r\n"), ("c", b"EHLO a\r\nAUTH GSSAPI\r\n")],
    "ldap_that_asked_for_tls": [("c", STARTTLS), ("s", ldap(3, 0x78, b"\x0a\1\0\4\0\4\0"))],
    "ldap_bind_by_sasl": [("c", ldap(1, 0x60, b"\2\1\3\4\0", ber(0xA3, b"\4\6GSSAPI")))],
    "ldap_of_a_version_that_is_none": [("c", BIND.replace(b"\2\1\3\4", b"\2\1\x09\4"))],
    "snmp": [("c", ber(0x30, b"\2\1\1", ber(4, b"public"), ber(0xA0, b"\2\1\1\2\1\0\2\1\0\x30\0")))],
    "irc_that_asked_for_tls": [("c", b"CAP LS\r\nSTARTTLS\r\n"), ("s", b":a CAP * LS :tls\r\n:a 670 * :go\r\n")],
    "irc_client_without_an_answer": [("c", IRC[0][1])],
    "irc_words_to_another_server": [("c", b"NICK ann\r\nUSER ann 0 * :Ann\r\n"), ("s", b"what?\r\n")],
    "nats_that_needs_tls_and_got_something_else": [("s", INFO), ("c", b"\1\2\3\4\5")],
    "nats_client_that_says_it_needs_tls": [("s", INFO), ("c", CONNECT.replace(b"false,\"lang", b"true,\"lang"))],
    "info_of_another_kind": [("s", b'INFO {"hello":1}\r\n'), ("c", CONNECT)],
    "amqp_that_asked_for_tls": [("c", AMQP_TLS), ("s", AMQP_TLS)],
    "amqp_whose_server_demands_tls": [("c", AMQP), ("s", AMQP_TLS)],
    "amqp_of_no_known_version": [("c", b"AMQP\7\1\0\0")],
    "amqp_in_another_case": [("c", b"Amqp\0\0\x09\x01")],
    "postgres_startup_longer_than_any": [("c", b"\0\1\0\0\0\3\0\0" + PG_NAMES)],
    "postgres_startup_of_version_2": [("c", struct.pack("!II", 40, 131_072) + PG_NAMES)],
    "mysql_greeting_with_another_number": [("s", b"\x4a\0\0\1\x0a8.0.28\0" + b"\x5a" * 66)],
}  # fmt: skip


@pytest.mark.parametrize("said", UNDECIDED.values(), ids=UNDECIDED.keys())
def test_change_that_is_not_seen_and_words_that_nearly_fit_prove_nothing(said):
    """Neither plaintext nor TLS, ended or not."""
    assert judged(*said, ended=True).transport == "unknown"
    assert judged(*said, ended=False).transport == "unknown"


@pytest.mark.parametrize("said", [*OPEN.values(), *UNDECIDED.values()], ids=[*OPEN.keys(), *UNDECIDED.keys()])
def test_conversation_cut_anywhere_is_not_called_plaintext(said):
    """A capture that stops early knows less, never more."""
    for kept in cuts(said):
        assert judged(*kept, ended=False).transport == "unknown"


@settings(max_examples=300)
@given(st.sampled_from([*IN_CLEAR.values()]), st.binary(max_size=40), st.booleans())
def test_any_bytes_after_a_beginning_are_judged_without_error(case, tail, late):
    """Everything comes from the network."""
    said = case[0][:1] if late else case[0]
    facts = judged(*said, ("c", tail), ("s", tail), ended=False)
    assert facts.transport in ("plaintext", "unknown")


HOSTILE = [
    b"CONNECT {" + b'"lang":}  ' * 800,
    b"CONNECT " + b"a HTTP/1." * 900,
    b"a1 " * 2_700,
    b"get " + b"a " * 4_000,
    b"\x30\5\2\1\1\x42\0" * 1_100,
    b"GET " + b"/" * 8_000,
    b"\x16\3\3\0\1\1" * 1_300,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" * 900,
]


@pytest.mark.parametrize("said", HOSTILE)
@pytest.mark.parametrize(
    "greeting", [b"", b"220 a\r\n", b"* OK a\r\n", b'INFO {"server_id":"}' + b'"server_id":' * 600]
)
def test_hostile_bytes_cost_no_more_than_their_length(said, greeting):
    """No pattern may take longer than a few passes over the bytes that are kept."""
    begin = time.process_time()
    judged(("s", greeting), ("c", said))
    assert time.process_time() - begin < 0.05
