"""TLS as real stacks speak it: what was shown, what can be concluded from it, and nothing more."""

import random
import ssl
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers.payload_support import cuts
from readers.tls_support import CLIENT_URI, ISTIO, SERVER_URI, SNI, Connection, context, leaf, streams

from vzflow.readers.payload.judge import judge_streams
from vzflow.readers.payload.stream import Stream

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
REQUEST, ANSWER = b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nsome body"


@pytest.fixture
def connect(tmp_path):
    """Make a connection of one TLS version; `shown`: the client has a certificate; `asks`: the server's verify mode."""

    def made(version, *, shown=True, asks=ssl.CERT_REQUIRED, alpn=ISTIO, data=True, session_of=None, curve=None):
        if session_of is None:
            client = context(tmp_path, "client", version, certificate=shown, alpn=alpn)
            server = context(tmp_path, "server", version, verify=asks, alpn=("http/1.1",))
            if curve:
                server.set_ecdh_curve(curve)
            session = None
        else:
            client, server = session_of.contexts
            session = session_of.ends["client"].session
        connection = Connection(client, server, session).shake()
        connection.contexts = client, server
        if data and not connection.failed:
            connection.say("client", REQUEST).say("server", ANSWER)
        return connection

    return made


def judged(connection, ended=True, size=1_400):
    return judge_streams(*streams(connection.flights, size), ended=ended)


def concluded(facts):
    return facts.transport.value, facts.basis.value


def test_tls12_with_a_client_certificate_and_data_is_mtls(connect):
    """The certificates are readable, and the server went on after seeing the client's."""
    facts = judged(connect(V12))
    assert concluded(facts) == ("mtls", "client_certificate")
    assert (facts.tls_version, facts.tls_sni, facts.tls_alpn) == ("TLSv1.2", SNI, ",".join(ISTIO))
    assert (facts.tls_resumed, facts.client_certificate) == (False, "seen")
    assert facts.principals == (CLIENT_URI, SERVER_URI)


def test_principals_follow_the_order_of_the_directions(connect):
    """The client's URI stays the client's when the flow's first direction is the server's."""
    client, server = streams(connect(V12).flights)
    assert judge_streams(server, client, ended=True).principals == (SERVER_URI, CLIENT_URI)


def test_tls12_client_certificate_without_data_after_it_is_not_mtls(connect):
    """A certificate alone protects nothing yet."""
    facts = judged(connect(V12, data=False))
    assert (concluded(facts), facts.client_certificate) == (("tls", "tls_handshake"), "seen")


def test_tls12_client_certificate_that_the_server_never_accepted_is_not_mtls(connect):
    """Anybody can send a certificate; without the server's change to encryption it proves nothing."""
    flights = connect(V12).flights
    until = next(index for index, (side, _) in enumerate(flights[2:], 2) if side == "client") + 1
    facts = judge_streams(*streams(flights[:until]), ended=True)
    assert (concluded(facts), facts.client_certificate) == (("unknown", "tls_failed"), "seen")
    assert judge_streams(*streams(flights[:until]), ended=False).transport == "tls"


def test_tls12_data_before_the_server_accepted_proves_nothing(connect):
    """A client may send data at once (false start), before the server has looked at its certificate."""
    flights = connect(V12).flights
    until = next(index for index, (side, _) in enumerate(flights[2:], 2) if side == "client") + 1
    early = [*flights[:until], ("client", record(23, 100))]
    assert concluded(judge_streams(*streams(early), ended=False)) == ("tls", "tls_handshake")


def test_tls12_certificate_without_proof_of_its_key_is_not_mtls(connect):
    """Certificates are public: only CertificateVerify shows that it is the client's own."""

    def unproven(data):
        kept, at = b"", 0
        while at < len(data):
            end = at + 5 + int.from_bytes(data[at + 3 : at + 5], "big")
            if data[at] != 22 or data[at + 5] != 15:
                kept += data[at:end]
            at = end
        return kept

    flights = [(side, unproven(data) if side == "client" else data) for side, data in connect(V12).flights]
    facts = judge_streams(*streams(flights), ended=True)
    assert (concluded(facts), facts.client_certificate) == (("tls", "tls_handshake"), "seen")


def test_tls12_withheld_certificate_is_one_way_tls(connect):
    """The server asked, got none and went on: proven not mutual."""
    facts = judged(connect(V12, shown=False, asks=ssl.CERT_OPTIONAL))
    assert concluded(facts) == ("tls", "certificate_withheld")
    assert (facts.client_certificate, facts.principals[0]) == ("empty", None)


def test_tls12_without_a_certificate_request_is_tls(connect):
    """Nobody asked the client who it is."""
    facts = judged(connect(V12, shown=False, asks=ssl.CERT_NONE))
    assert (concluded(facts), facts.client_certificate) == (("tls", "tls_handshake"), "not_asked")


def test_tls12_refused_for_want_of_a_certificate_has_failed(connect):
    """A readable fatal alert, and no data: no payload was protected."""
    connection = connect(V12, shown=False)
    assert connection.failed
    assert concluded(judged(connection)) == ("unknown", "tls_failed")


def test_tls12_resumed_session_shows_no_certificates(connect):
    """No certificate on the wire does not mean one-way."""
    facts = judged(connect(V12, alpn=("http/1.1",), session_of=connect(V12, alpn=("http/1.1",))))
    assert concluded(facts) == ("tls", "tls_resumed")
    assert (facts.tls_resumed, facts.client_certificate) == (True, "not_visible")


def test_tls12_resumed_session_of_istio_is_marked_for_inference(connect):
    """Like TLS 1.3: the responder's sidecar decides, which is not known here."""
    assert concluded(judged(connect(V12, session_of=connect(V12)))) == ("tls", "istio_alpn")


def test_tls13_with_istio_alpn_and_data_both_ways_is_marked_for_inference(connect):
    """Certificates are hidden; that the server went on is not."""
    facts = judged(connect(V13))
    assert concluded(facts) == ("tls", "istio_alpn")
    assert (facts.tls_version, facts.client_certificate, facts.tls_resumed) == ("TLSv1.3", "not_visible", False)
    assert facts.principals == (None, None)


def test_tls13_without_istio_alpn_is_tls(connect):
    """Application HTTPS looks like this."""
    assert concluded(judged(connect(V13, alpn=("h2", "http/1.1")))) == ("tls", "tls_handshake")


def test_tls13_refused_for_want_of_a_certificate_has_failed(connect):
    """The only sign is one record of the length of an alert."""
    connection = connect(V13, shown=False, data=False)
    assert connection.failed
    assert concluded(judged(connection)) == ("unknown", "tls_failed")


def test_tls13_resumption_is_seen(connect):
    """The pre-shared key extension of the ServerHello says it."""
    first = connect(V13, alpn=("h2",))
    facts = judged(connect(V13, session_of=first))
    assert (concluded(facts), facts.tls_resumed) == (("tls", "tls_resumed"), True)


def test_hello_retry_request_is_not_taken_for_the_answer(connect):
    """The second ServerHello is the one that counts, behind a record that ends older handshakes."""
    facts = judged(connect(V13, curve="secp521r1"))
    assert (facts.tls_version, facts.tls_resumed, facts.tls_sni) == ("TLSv1.3", False, SNI)
    assert concluded(facts) == ("tls", "istio_alpn")


def server_hello(random, *extensions):
    """A TLS 1.3 ServerHello record with these (kind, content) extensions."""
    listed = b"".join(struct.pack("!HH", kind, len(content)) + content for kind, content in extensions)
    body = b"\3\3" + random + b"\0\x13\1\0" + len(listed).to_bytes(2, "big") + listed
    message = b"\2" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\3" + len(message).to_bytes(2, "big") + message


def test_resumption_is_read_from_the_final_hello_not_from_the_retry(connect):
    """A retry never accepts a session; the ServerHello after it may."""
    retry = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
    version = (43, b"\3\4")
    answer = server_hello(retry, version) + CHANGE + server_hello(b"r" * 32, version, (41, b"\0\0"))
    flights = [connect(V13).flights[0], ("server", answer)]
    assert judge_streams(*streams(flights), ended=False).tls_resumed is True


def record(kind, length):
    return bytes([kind, 3, 3]) + length.to_bytes(2, "big") + b"\x5a" * length


CHANGE = bytes.fromhex("140303000101")

#: After both hellos: (sender, record lengths) as Envoys were seen to send them.
AFTER_HELLOS = {
    "data_both_ways": ([("server", [900]), ("client", [923, 200]), ("server", [180])], "tls", "istio_alpn"),
    "server_speaks_first": ([("server", [900]), ("client", [923]), ("server", [90]), ("client", [70])],
                            "tls", "istio_alpn"),
    "refused_by_an_alert": ([("server", [900]), ("client", [61, 200]), ("server", [19])], "unknown", "tls_failed"),
    "client_said_nothing": ([("server", [900]), ("client", [923]), ("server", [250])], "tls", "tls_handshake"),
    "client_only_closed": ([("server", [900]), ("client", [923]), ("server", [250]), ("client", [19])],
                           "tls", "tls_handshake"),
    "server_said_nothing": ([("server", [900]), ("client", [923, 200])], "tls", "tls_handshake"),
    "long_record_before_the_second_flight": ([("server", [900, 5_000]), ("client", [923, 200])],
                                             "tls", "tls_handshake"),
    "client_turned_away_the_server": ([("server", [900]), ("client", [19])], "unknown", "tls_failed"),
    "client_never_answered": ([("server", [900])], "unknown", "tls_failed"),
}  # fmt: skip


@pytest.mark.parametrize(("after", "transport", "basis"), AFTER_HELLOS.values(), ids=AFTER_HELLOS.keys())
def test_tls13_is_judged_by_what_followed_the_second_flight(connect, after, transport, basis):
    """At least one record of the responder, sent after the initiator's second flight, longer than an alert."""
    flights = connect(V13).flights
    hello = flights[0][1]
    answer = flights[1][1][: 5 + int.from_bytes(flights[1][1][3:5], "big")]
    made = [("client", hello), ("server", answer + CHANGE)]
    for side, lengths in after:
        prefix = CHANGE if side == "client" and lengths[0] in (923, 61) else b""
        made.append((side, prefix + b"".join(record(23, length) for length in lengths)))
    assert concluded(judge_streams(*streams(made, 16_000), ended=True)) == (transport, basis)


def test_record_of_an_alerts_length_is_no_data_even_before_the_close(connect):
    """The refusal of a client looks like data but for its length."""
    flights = connect(V13).flights
    answer = flights[1][1][: 5 + int.from_bytes(flights[1][1][3:5], "big")]
    made = [flights[0], ("server", answer + CHANGE + record(23, 900)), ("client", CHANGE + record(23, 61))]
    made += [("client", record(23, 200)), ("server", record(23, 19))]
    assert concluded(judge_streams(*streams(made, 16_000), ended=False)) == ("tls", "tls_handshake")


def test_client_hello_without_an_answer_proves_nothing(connect):
    """Closed, it failed; open, it may yet succeed; with a hole in the answer, it was cut."""
    hello = connect(V13).flights[:1]
    assert concluded(judge_streams(*streams(hello), ended=True)) == ("unknown", "tls_failed")
    facts = judge_streams(*streams(hello), ended=False)
    assert (concluded(facts), facts.tls_sni, facts.tls_version) == (("unknown", "tls_handshake"), SNI, None)
    client, server = streams(hello)[0], Stream(started=True, waiting=True, base=1)
    assert concluded(judge_streams(client, server, ended=True)) == ("unknown", "cut")


@pytest.mark.parametrize(("version", "name"), [(V12, "TLSv1.2"), (V13, "TLSv1.3")])
def test_answer_to_a_hello_that_was_not_captured_is_cut(connect, version, name):
    """A tap that hears the server alone knows the version, and that the rest is missing: it is no unknown protocol."""
    answers = [flight for flight in connect(version).flights if flight[0] == "server"]
    facts = judge_streams(Stream(), streams(answers)[1], ended=False)
    assert (concluded(facts)[:2], facts.tls_version) == (("unknown", "cut"), name)


def test_hello_answered_in_clear_has_failed(connect):
    """A TLS client at a plain HTTP port: what came back is not what was asked for."""
    flights = [*connect(V13).flights[:1], ("server", b"HTTP/1.1 400 Bad Request\r\n\r\n")]
    assert concluded(judge_streams(*streams(flights), ended=True)) == ("unknown", "tls_failed")


@pytest.mark.parametrize("size", [1, 7, 100, 1_448])
@pytest.mark.parametrize("version", [V12, V13])
def test_segment_size_never_changes_the_facts(connect, version, size):
    """A real hello needs two segments or more; facts do not depend on where they are cut."""
    connection = connect(version)
    assert judged(connection, size=size) == judged(connection, size=16_000)


@pytest.mark.parametrize("version", [V12, V13])
def test_stream_cut_anywhere_is_never_plaintext_and_never_more_than_the_whole(connect, version):
    """A capture that ends early may know less, never something else."""
    flights = connect(version).flights
    whole = judge_streams(*streams(flights), ended=False)
    total = sum(len(data) for _, data in flights)
    for end in range(0, total, 11):
        kept, left = [], end
        for side, data in flights:
            kept.append((side, data[:left]))
            left = max(left - len(data), 0)
        facts = judge_streams(*streams(kept), ended=False)
        assert facts.transport in ("unknown", "tls", whole.transport)
        assert facts.tls_version in (None, whole.tls_version)
        assert facts.tls_sni in (None, SNI)
        assert facts.tls_alpn is None or ",".join(ISTIO).startswith(facts.tls_alpn)


def test_records_from_the_middle_are_weak_tls():
    """Without a hello nothing says who authenticated; a chain of records is still encryption."""
    client, server = Stream(record(23, 300) + record(23, 50), base=5_000), Stream()
    assert concluded(judge_streams(client, server, ended=True)) == ("tls", "tls_midstream")
    server = Stream(record(23, 9) + b"not a record", base=7_000)
    assert concluded(judge_streams(client, server, ended=True)) == ("unknown", "midstream")


def test_records_at_the_very_beginning_without_a_hello_are_not_tls():
    """Whatever begins a connection with application data is no TLS connection."""
    flights = [("client", record(23, 300))]
    assert concluded(judge_streams(*streams(flights), ended=True)) == ("unknown", "unrecognised")


def test_names_that_a_peer_chose_cannot_break_the_list(connect):
    """ALPN values may hold any bytes; a comma or a control character stays one value."""
    facts = judged(connect(V13, alpn=("istio,h2", "http/1.1"), data=False))
    assert facts.tls_alpn == "istio\\x2ch2,http/1.1"


@settings(max_examples=300)
@given(st.data())
def test_damaged_certificates_give_a_uri_or_none(data):
    """DER is walked by hand, on bytes anybody may send."""
    der = bytearray(leaf())
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(der) - 1), st.integers(0, 255)), max_size=6)):
        der[at] = value
    chain = len(der).to_bytes(3, "big") + bytes(der[: data.draw(st.integers(0, len(der)))])
    body = (len(der) + 3).to_bytes(3, "big") + chain
    handshake = b"\x0b" + len(body).to_bytes(3, "big") + body
    hello = bytes.fromhex("020000260303") + b"\0" * 33 + b"\xc0\x2f\0"
    flight = b"".join(b"\x16\x03\x03" + len(part).to_bytes(2, "big") + part for part in (hello, handshake))
    facts = judge_streams(*streams([("server", flight)]), ended=False)
    assert facts.principals[1] is None or facts.principals[1].startswith("spiffe://")


def test_uri_of_the_undamaged_certificate_is_found():
    """The test above would be empty if none ever were."""
    body = (len(leaf()) + 3).to_bytes(3, "big") + len(leaf()).to_bytes(3, "big") + leaf()
    handshake = b"\x0b" + len(body).to_bytes(3, "big") + body
    hello = bytes.fromhex("020000260303") + b"\0" * 33 + b"\xc0\x2f\0"
    flight = b"".join(b"\x16\x03\x03" + len(part).to_bytes(2, "big") + part for part in (hello, handshake))
    assert judge_streams(*streams([("server", flight)]), ended=False).principals[1] == CLIENT_URI


@settings(max_examples=300)
@given(
    st.sampled_from([b"", b"\x16\x03\x01", b"\x16\x03\x03\x00\x40\x01\x00\x00\x3c\x03\x03"]), st.binary(max_size=300)
)
def test_any_bytes_are_judged_without_error(head, tail):
    """First bytes come from the network."""
    facts = judge_streams(*streams([("client", head + tail), ("server", tail)]), ended=True)
    assert facts.transport in ("unknown", "tls", "plaintext")


def damaged(chosen, flights):
    """*flights* with some bytes changed, lost or repeated, and an end anywhere."""
    made = []
    for side, data in flights:
        changed = bytearray(data)
        for _ in range(chosen.randrange(4) if data else 0):
            changed[chosen.randrange(len(changed))] = chosen.choice((0, 1, 2, 3, 11, 13, 15, 20, 21, 22, 23, 255))
        if chosen.random() < 0.2:
            at, size = chosen.randrange(len(changed) + 1), chosen.randrange(40)
            changed[at : at + size] = changed[at : at + size] * chosen.randrange(3)
        made.append((side, bytes(changed)))
    if chosen.random() < 0.5:
        side, data = made.pop(chosen.randrange(len(made)))
        made.append((side, data[: chosen.randrange(len(data) + 1)]))
    return made


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.integers(0, 4), seed=st.integers(0, 1 << 64), ended=st.booleans())
def test_damaged_tls_that_was_not_mutual_is_never_called_mutual_or_clear(not_mutual, kind, seed, ended):
    """No change of bytes, order or end makes proof of what was not there."""
    flights = damaged(random.Random(seed), not_mutual[kind])
    facts = judge_streams(*streams(flights, 1_000), ended=ended)
    assert facts.transport in ("tls", "unknown")


@pytest.fixture
def not_mutual(connect):
    """Connections without a client certificate in clear: one-way, withheld, refused, resumed, TLS 1.3."""
    resumed = connect(V12, session_of=connect(V12))
    return [
        connect(V12, shown=False, asks=ssl.CERT_NONE).flights,
        connect(V12, shown=False, asks=ssl.CERT_OPTIONAL).flights,
        connect(V12, shown=False).flights,
        resumed.flights,
        connect(V13).flights,
    ]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(newest=st.booleans(), seed=st.integers(0, 1 << 64), ended=st.booleans())
def test_damaged_mutual_tls_is_never_called_clear(mutual, newest, seed, ended):
    """Whatever is lost of it, what is left looks like no protocol in clear."""
    flights = damaged(random.Random(seed), mutual[newest])
    assert judge_streams(*streams(flights, 1_000), ended=ended).transport != "plaintext"


@pytest.fixture
def mutual(connect):
    return [connect(V12).flights, connect(V13).flights]


@pytest.mark.parametrize("kind", range(5))
def test_tls_that_was_not_mutual_is_not_mutual_wherever_it_is_cut(not_mutual, kind):
    """Truncating data never turns unknown into mtls."""
    for kept in cuts(not_mutual[kind], step=23):
        for ended in (False, True):
            assert judge_streams(*streams(kept), ended=ended).transport in ("tls", "unknown")
