"""
Real captures, none of which anybody of this project made, against what tshark 4.0 says of each.

Every field of a truth file that vzflow claims is compared, for every file that the manifest does not say must be
refused. Where tshark is wrong, or says of itself that it is unsure, a test of that name says what is right and why.
That the compiled core, the interpreted core and scapy agree on all of them is in `test_roads`.
"""

import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
from readers.packet_support import shared_captures
from readers.truth_support import (
    REFUSED,
    arps_inside,
    conversations,
    key_of,
    microseconds,
    names,
    pairs,
    told,
    truth,
    via_of,
    via_of_chain,
)

#: What tshark skips under another name than vzflow, with the reason: ARP, and all else that is not IP.
SKIPPED_OTHERWISE = {"linux_dlt_sll2.pcap": ((1, 1), "RARP is no ARP: its EtherType is 0x8035")}
#: Conversations that tshark 4.0 sees and that are not there, with the reason: (file, protocol, ports).
NOT_THERE = {
    ("bigtcp-ipv4-vxlan-ipv4.pcap", "udp", 47_044, 4_789): "tshark stops at UDP length 0, which BIG TCP writes; below",
}
#: What vzflow sees beside tshark's conversations, for the same reason: (file, protocol).
BESIDES = {("bigtcp-ipv4-vxlan-ipv4.pcap", "tcp")}
#: Files in which who opened is proven by a SYN-ACK, which tshark's count of SYNs leaves out.
OPENED_BY_SYN_ACK = {"tcp-missing-syn.pcap"}

every_file = pytest.mark.parametrize("name", names())


def packets(rows):
    return sum(row["packets_sent"] + row["packets_received"] for row in rows)


# --- Packets ---------------------------------------------------------------------------------------------------------


@every_file
def test_every_packet_is_in_a_flow_or_skipped_by_name(name):
    """No packet disappears: what tshark reads is what is counted, and the copies, and what is skipped or rejected."""
    said, (rows, tally) = truth(name), told(name)
    damaged = said["read_error"] is not None
    assert tally.damage == ("truncated_file" if damaged else None)
    assert [reject.reason for reject in tally.rejects] == ["truncated_file"] * damaged
    assert tally.read - damaged == said["packets"]
    assert packets(rows) + sum(row["duplicates"] for row in rows) == tally.in_flows
    assert tally.in_flows + sum(tally.skipped.values()) == said["packets"]


@every_file
def test_what_is_skipped_is_what_tshark_calls_no_ip(name):
    """ARP inside an overlay too, which tshark counts to the outer conversation."""
    said, (_, tally) = truth(name), told(name)
    outside = sum(count for chain, count in said["non_ip"].items() if chain.endswith(":arp"))
    arps = outside, said["packets_non_ip"] - outside
    if name in SKIPPED_OTHERWISE:
        assert sum(arps) == sum(SKIPPED_OTHERWISE[name][0])
        arps = SKIPPED_OTHERWISE[name][0]
    inside = sum(map(arps_inside, said["conversations"]))
    assert (tally.skipped["arp"], tally.skipped["not_ip"]) == (arps[0] + inside, arps[1])
    assert sum(tally.skipped.values()) == tally.read - len(tally.rejects) - tally.in_flows


@every_file
def test_no_packet_of_one_interface_is_a_copy(name):
    """A file of one interface, or of interfaces that see different flows, has none."""
    rows, _ = told(name)
    assert sum(row["duplicates"] for row in rows) == 0


# --- Conversations ---------------------------------------------------------------------------------------------------


@every_file
def test_conversations_are_those_that_tshark_sees(name):
    """Packets and bytes each way, first and last time; a flow that was split sums to its conversation."""
    found = conversations(told(name)[0])
    for one in truth(name)["conversations"]:
        if key_of(one) not in found:
            known = (name, one["proto"], one["port_a"], one["port_b"]) in NOT_THERE
            assert known or arps_inside(one) == one["packets_ab"] + one["packets_ba"]
            continue
        seen = found.pop(key_of(one))
        assert seen.sums() == {what: one[what] for what in seen.sums()}
        assert seen.span() == (microseconds(one["first_ts"]), microseconds(one["last_ts"]))
    for one in truth(name)["other_ip"]:
        seen = found.pop(key_of(one))
        sums = seen.sums()
        assert (sums["packets_ab"] + sums["packets_ba"], sums["bytes_ab"] + sums["bytes_ba"]) == (
            one["packets"], one["bytes"])  # fmt: skip
        assert seen.span() == (microseconds(one["first_ts"]), microseconds(one["last_ts"]))
    assert {(name, key[0]) for key in found} == {beside for beside in BESIDES if beside[0] == name}


@every_file
def test_initiator_is_the_end_that_tshark_saw_open(name):
    """By its SYN; where there is none, by its request, by the responder's port, or because it spoke first."""
    for one, seen in pairs(name):
        for row, opened in zip(seen.rows, seen.opened, strict=True):
            basis = row["initiator_basis"]
            if one.get("syn_count"):
                assert (basis, opened) == ("syn", one["initiator"])
            elif basis == "syn":
                assert name in OPENED_BY_SYN_ACK
            elif basis == "known_port":
                ports = row["initiator_port"], row["responder_port"]
                assert ports[1] < 1024 or ports in {(60_010, 6_379), (1_008, 2_049), (3_298, 2_049), (1_022, 2_049)}
            else:
                assert opened == one["first_sender"]
                assert basis == ("request" if {"8/0", "128/0"} & set(one.get("icmp_types", ())) else "first_seen")


@every_file
def test_connections_are_those_that_tshark_follows(name):
    """A 5-tuple that was used again is as many connections as it was used."""
    for one, seen in pairs(name, "tcp"):
        assert len(seen.rows) == len(one["tcp_streams"])


@every_file
def test_tunnels_are_those_that_tshark_sees(name):
    """Their packets are the rows' under that encapsulation, and their outsides have no row of their own."""
    rows, _ = told(name)
    by_via = Counter()
    for row in rows:
        by_via[row["via"]] += packets([row])
    for tunnel in truth(name)["tunnels"]:
        assert by_via.pop(via_of_chain(tunnel)) == tunnel["packets"]
        for row in rows:
            if {row["initiator_ip"], row["responder_ip"]} == set(tunnel["outer"]):
                assert row["hop"] == "outer_tunnel"
    by_via.pop(None, None)
    assert set(by_via) == {"vxlan:5001"} if name.startswith("bigtcp") else not by_via


@every_file
def test_conversations_in_several_overlays_are_split_as_tshark_splits_them(name):
    """By VNI and GRE key; rows of equal addresses in two networks stay apart."""
    for one, seen in pairs(name):
        expected = {}
        for context, sums in one.get("contexts", {}).items():
            total = expected.setdefault(via_of(context), Counter())
            total.update(sums)
        for via, sums in expected.items():
            assert seen.sums([row for row in seen.rows if row["via"] == via]) == sums


# --- Payload ---------------------------------------------------------------------------------------------------------

VERSIONS = {None: None, "TLS 1.0": "TLSv1", "TLS 1.2": "TLSv1.2", "TLS 1.3": "TLSv1.3"}
CLEAR = {"http", "http2", "grpc", "mysql", "postgres", "redis", "mongodb", "smtp", "dns"}
#: What the first payload bytes are, where the truth's own guess at them tells.
GUESSES = {
    "http": "http", "http2-preface": "http2", "mysql": "mysql", "postgres": "postgres",
    "postgres-sslrequest": "postgres", "redis": "redis", "mongodb": "mongodb", "ssh": "ssh",
}  # fmt: skip
#: Else, and behind an HTTP CONNECT, tshark's dissectors tell.
LAYERS = {"smtp": "smtp", "resp": "redis", "dns": "dns", "mdns": "dns", "quic": "quic", "wg": "wireguard"}


def app_protocol(one):
    """What `app_protocol` should say of a conversation of a truth file."""
    security = one.get("security", {})
    layers = {**security.get("app_layers", {}), **one.get("udp_app", {}).get("layers", {})}
    if "grpc" in layers:
        return "grpc"
    guesses = [security.get("before_tls", {}).get("guess")]
    guesses += [first["guess"] for first in one.get("first_payload", {}).values()]
    tunnel = "http-connect" in guesses
    guess = next((GUESSES[guess] for guess in guesses if guess in GUESSES and not tunnel), None)
    return guess or next((app for layer, app in LAYERS.items() if layer in layers), None)


def of_tls(security):
    """What a TLS conversation of a truth file proves: transport and basis."""
    if not security["tls_client_hello"]:
        return "unknown", "cut"  # the hello was not captured
    fatal = security["tls_alerts"] and not security["tls_app_data_records"]
    if not security["tls_server_hello"] or fatal:
        return "unknown", "tls_failed"
    if security["certificate_request"] and security["tls_app_data_records"]:
        return {True: ("mtls", "client_certificate"), "empty": ("tls", "certificate_withheld")}[
            security["client_certificate"]]  # fmt: skip
    return "tls", "tls_handshake"


def of_app(app, hop):
    """What a protocol proves that was seen on a hop: transport and basis; null basis where several are right."""
    if app in CLEAR:
        return ("plaintext", "clear_protocol") if hop == "wire" else ("unknown", "not_on_wire")
    proven = {
        "ssh": ("unknown", "other_encryption"), "wireguard": ("unknown", "tunnel"), "quic": ("tls", "quic"),
    }  # fmt: skip
    return proven.get(app, ("unknown", None))


def tls_told(one):
    """The TLS part of a TCP conversation; null where tshark saw no hello, so where its TLS is a false match."""
    security = one.get("security", {})
    return security if security.get("tls_client_hello") or security.get("tls_server_hello") else None


@every_file
def test_payload_is_called_what_tshark_calls_it(name):
    """The protocol, and what it proves on that hop; whatever tshark cannot name is `unknown`, never `plaintext`."""
    for one, seen in pairs(name):
        if one["proto"] not in ("tcp", "udp"):
            continue
        app = app_protocol(one)
        assert seen.only("app_protocol") == app
        expected = of_tls(one["security"]) if tls_told(one) else of_app(app, seen.only("hop"))
        if (name, one["proto"]) == ("dtls1_2.pcap", "udp"):
            expected = "tls", "tls_handshake"  # below
        assert seen.only("transport_seen") == expected[0]
        assert seen.only("transport_seen_basis") == (expected[1] or seen.only("transport_seen_basis"))


@every_file
def test_tls_is_told_as_tshark_tells_it(name):
    """Version, server name, what was offered, whether it was resumed; asked for a certificate, sent, withheld."""
    for one, seen in pairs(name, "tcp"):
        security = tls_told(one)
        columns = ("tls_version", "tls_sni", "tls_alpn", "tls_resumed", "client_certificate")
        if security is None:
            assert [seen.only(column) for column in columns] == [None] * 5
            continue
        certificate = None
        if security["version"] == "TLS 1.3":
            certificate = "not_visible"
        elif security["tls_server_hello"]:
            asked = {True: "seen", "empty": "empty", None: None}[security["client_certificate"]]
            certificate = asked if security["certificate_request"] else "not_asked"
        # A session that is resumed shows no certificate; those of TLS 1.3 are hidden.
        resumed = False if security["tls_server_hello"] else None
        assert security["server_certificate"] or resumed is None or security["version"] == "TLS 1.3"
        assert not security["hello_retry_request"]
        assert [seen.only(column) for column in columns] == [
            VERSIONS[security["version"]],
            next(iter(security["sni"]), None),
            ",".join(security["alpn_offered"]) or None,
            resumed,
            certificate,
        ]


@every_file
def test_client_of_tls_is_the_initiator(name):
    """Who sends the ClientHello opened the connection, whether by TCP, DTLS or QUIC."""
    for one, seen in pairs(name):
        client = tls_told(one) and one["security"]["tls_client_hello_from"]
        client = client or one.get("udp_app", {}).get("client_hello_from")
        if client:
            assert set(seen.opened) == {client}


# --- Where tshark is wrong or unsure, or sees what vzflow leaves alone -----------------------------------------------


def of_file(name, protocol=None):
    """The first conversation of a protocol in a file, as tshark and as vzflow see it."""
    if name not in names():
        pytest.skip("the sample captures are not beside this checkout")
    one, seen = next(iter(pairs(name, protocol)), (None, None))
    return SimpleNamespace(truth=one, rows=seen.rows if seen else told(name)[0])


def test_tshark_does_not_look_into_big_tcp_in_vxlan():
    """It stops at UDP length 0 and counts 80102 bytes of UDP; RFC 2675's idea makes it TCP, 50 bytes of tunnel less."""
    seen = of_file("bigtcp-ipv4-vxlan-ipv4.pcap")
    (row,) = seen.rows
    assert (row["protocol"], row["via"], row["bytes_sent"], row["payload_sent"]) == (
        "tcp", "vxlan:5001", 80_102 - 50, 80_000)  # fmt: skip


def test_tshark_takes_mongodb_for_tls():
    """It says itself that it is unsure: records without any hello. The message header and its BSON agree."""
    seen = of_file("mongo.pcap", "tcp")
    assert seen.truth["security"]["unclear"]
    assert seen.rows[0]["app_protocol"] == "mongodb"


def test_tshark_takes_an_http_request_to_port_22_for_ssh():
    """It goes by the port, and calls the request an encrypted packet. The request went in clear, whoever got it."""
    seen = of_file("get-to-ssh-server.pcap", "tcp")
    assert set(seen.truth["security"]["app_layers"]) == {"ssh"}
    assert (seen.rows[0]["app_protocol"], seen.rows[0]["transport_seen"]) == ("http", "plaintext")


def test_tshark_counts_no_syn_where_a_syn_ack_says_who_opened():
    """The receiver of a SYN-ACK opened, though the capture began after its SYN."""
    seen = of_file("tcp-missing-syn.pcap", "tcp")
    assert (seen.truth["syn_count"], seen.truth["initiator"]) == (0, None)
    assert (seen.rows[0]["initiator_basis"], seen.rows[0]["responder_port"]) == ("syn", 80)


@pytest.mark.parametrize(
    ("name", "as_what", "app", "alpn"),
    [("grpc-server-streaming.pcapng", "http2", "grpc", None), ("https-to-http.pcap", "tls", None, "h2,http/1.1")],
)
def test_tshark_had_to_be_told_what_it_is(name, as_what, app, alpn):
    """On these ports it needed `decode as`; vzflow goes by the bytes."""
    seen = of_file(name, "tcp")
    assert seen.truth["security"]["decode_as"] == as_what
    assert (seen.rows[0]["app_protocol"], seen.rows[0]["tls_alpn"]) == (app, alpn)


def test_dtls_behind_a_cookie_is_judged_by_the_answer_to_the_second_hello():
    """The server first asks for proof of the client's address; that datagram makes room for the ServerHello."""
    seen = of_file("dtls1_2.pcap", "udp")
    assert seen.truth["udp_app"]["version"] == "DTLS 1.2"
    assert (seen.rows[0]["transport_seen"], seen.rows[0]["tls_version"]) == ("tls", "DTLSv1.2")


def test_hello_of_quic_is_not_decrypted():
    """Its keys are public, and tshark derives them; that it is QUIC, and so TLS, shows without."""
    seen = of_file("quicv2-http3-443.pcap", "udp")
    assert seen.truth["udp_app"]["alpn_offered"] == ["h3"]
    assert (seen.rows[0]["transport_seen"], seen.rows[0]["tls_version"], seen.rows[0]["tls_alpn"]) == (
        "tls", None, None)  # fmt: skip


def test_packets_without_a_time_are_counted():
    """Simple packet blocks carry none: they are in the sums, and the span is that of the others."""
    shared_captures()
    timeless = [name for name in names() if truth(name)["packets_without_time"]]
    assert timeless == [name for name in names() if name in ("be-test102.pcapng", "le-test202.pcapng")]
    for name in timeless:
        assert packets(told(name)[0]) == truth(name)["packets"]


# --- Refused ---------------------------------------------------------------------------------------------------------


def test_snoop_is_refused_in_one_line_that_says_what_to_do(tmp_path):
    """Exit 3, and nothing is stored: it is no pcap, and `editcap` makes one of it."""
    path = shared_captures() / REFUSED
    done = subprocess.run(
        [sys.executable, "-m", "vzflow", "ingest", "--store", tmp_path / "store", path],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("vzflow: ")]
    assert str(path) in line
    assert "snoop" in line
    assert "editcap" in line
    assert not (tmp_path / "store").exists()
