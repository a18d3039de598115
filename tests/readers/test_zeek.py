"""Zeek's conn.log and ssl.log: how they are written, and what a tap's parser proves."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from readers.log_support import CONTEXT, one, read_bytes, rejected

from vzflow.readers.base import Context
from vzflow.readers.zeek import read, recognises

#: A whole row of conn.log; fields as in scripts/base/protocols/conn/main.zeek.
CONN = {
    "ts": 1767323045.678901,
    "uid": "CHhAvVGS1DHFjwGM9",
    "id.orig_h": "192.0.2.10",
    "id.orig_p": 40555,
    "id.resp_h": "192.0.2.20",
    "id.resp_p": 8080,
    "proto": "tcp",
    "service": "http",
    "duration": 1.5,
    "orig_bytes": 200,
    "resp_bytes": 603,
    "conn_state": "SF",
    "local_orig": True,
    "local_resp": True,
    "missed_bytes": 0,
    "history": "ShADadFf",
    "orig_pkts": 6,
    "orig_ip_bytes": 524,
    "resp_pkts": 5,
    "resp_ip_bytes": 875,
    "ip_proto": 6,
}
CONN_TYPES = {
    "ts": "time", "uid": "string", "id.orig_h": "addr", "id.orig_p": "port", "id.resp_h": "addr", "id.resp_p": "port",
    "proto": "enum", "service": "string", "duration": "interval", "conn_state": "string", "local_orig": "bool",
    "local_resp": "bool", "history": "string", "tunnel_parents": "set[string]",
}  # fmt: skip

#: A whole row of ssl.log; fields as in scripts/base/protocols/ssl/{main,files}.zeek.
SSL = {
    "ts": 1767323045.7,
    "uid": "CHhAvVGS1DHFjwGM9",
    "id.orig_h": "192.0.2.10",
    "id.orig_p": 40555,
    "id.resp_h": "192.0.2.20",
    "id.resp_p": 8443,
    "version": "TLSv12",
    "cipher": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "curve": "x25519",
    "server_name": "orders.example",
    "resumed": False,
    "next_protocol": "h2",
    "established": True,
    "ssl_history": "CsxkrnXGYIiD",
    "cert_chain_fps": ["aa", "bb"],
    "client_cert_chain_fps": ["cc"],
    "sni_matches_cert": True,
}
SSL_TYPES = CONN_TYPES | {
    "resumed": "bool", "established": "bool", "cert_chain_fps": "vector[string]",
    "client_cert_chain_fps": "vector[string]",
}  # fmt: skip


def header(path, fields, types, separator="\t"):
    lines = [
        f"#separator \\x{ord(separator):02x}",
        f"#set_separator{separator},",
        f"#empty_field{separator}(empty)",
        f"#unset_field{separator}-",
        f"#path{separator}{path}",
        f"#open{separator}2026-01-02-03-04-05",
        separator.join(["#fields", *fields]),
        separator.join(["#types", *(types.get(name, "count") for name in fields)]),
    ]
    return "\n".join(lines) + "\n"


def tsv_row(fields, row, separator="\t"):
    def cell(value):
        if value is None:
            return "-"
        if isinstance(value, bool):
            return "T" if value else "F"
        if isinstance(value, list):
            return ",".join(value) or "(empty)"
        return f"{value:.6f}" if isinstance(value, float) else str(value)

    return separator.join(cell(row.get(name)) for name in fields) + "\n"


def as_tsv(row, path="conn", separator="\t"):
    fields, types = tuple(row), CONN_TYPES if path == "conn" else SSL_TYPES
    return header(path, fields, types, separator) + tsv_row(fields, row, separator)


def only(text):
    """Return the row of a log with one row; header lines are skipped by name."""
    rows, tally = read_bytes(read, text.encode())
    assert not tally.rejects, tally.rejects
    assert len(rows) == 1
    return rows[0]


def conn(**changes):
    return one(read, json.dumps({k: v for k, v in (CONN | changes).items() if v is not None}))


def ssl(**changes):
    return one(read, json.dumps({k: v for k, v in (SSL | changes).items() if v is not None}))


def seen(row):
    return row["transport_seen"], row["transport_seen_basis"], row["client_certificate"]


# How they are written


def test_row_of_conn_log_is_read_whole():
    """Column by column; payload is counted apart from what IP carried."""
    assert {name: value for name, value in conn().items() if value is not None} == {
        "segment": CONTEXT.segment,
        "record": 1,
        "source": "zeek",
        "reporter": "tap",
        "cluster": "c1",
        "first_seen": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "last_seen": datetime(2026, 1, 2, 3, 4, 7, 178901, tzinfo=UTC),
        "protocol": "tcp",
        "initiator_ip": "192.0.2.10",
        "initiator_port": 40555,
        "responder_ip": "192.0.2.20",
        "responder_port": 8080,
        "initiator_basis": "syn",
        "hop": "wire",
        "packets_sent": 6,
        "bytes_sent": 524,
        "packets_received": 5,
        "bytes_received": 875,
        "payload_sent": 200,
        "payload_received": 603,
        "connections": 1,
        "connection_state": "established",
        "action": "unknown",
        "app_protocol": "http",
        "transport_seen": "plaintext",
        "transport_seen_basis": "clear_protocol",
    }


def test_row_of_ssl_log_is_read_whole():
    """It tells of the handshake and of no amounts; both rows have one 5-tuple."""
    assert {name: value for name, value in ssl().items() if value is not None} == {
        "segment": CONTEXT.segment,
        "record": 1,
        "source": "zeek",
        "reporter": "tap",
        "cluster": "c1",
        "first_seen": datetime(2026, 1, 2, 3, 4, 5, 700000, tzinfo=UTC),
        "last_seen": datetime(2026, 1, 2, 3, 4, 5, 700000, tzinfo=UTC),
        "protocol": "tcp",
        "initiator_ip": "192.0.2.10",
        "initiator_port": 40555,
        "responder_ip": "192.0.2.20",
        "responder_port": 8443,
        "initiator_basis": "log",
        "hop": "wire",
        "connections": 1,
        "connection_state": "established",
        "action": "unknown",
        "tls_version": "TLSv1.2",
        "tls_sni": "orders.example",
        "tls_resumed": False,
        "client_certificate": "seen",
        "app_protocol": "h2",
        "transport_seen": "mtls",
        "transport_seen_basis": "client_certificate",
    }


@pytest.mark.parametrize(("row", "path"), [(CONN, "conn"), (SSL, "ssl")])
@pytest.mark.parametrize("separator", ["\t", "|"])
def test_tab_separated_rows_mean_the_same_as_json(row, path, separator):
    """The two writers of one program tell one story."""
    wanted = one(read, json.dumps(row))
    assert {**only(as_tsv(row, path, separator)), "record": 1} == wanted
    assert one(read, json.dumps({"_path": path, "_write_ts": "x"} | row)) == wanted


@pytest.mark.parametrize("written", ["2026-01-02T03:04:05.678901Z", 1767323045678.901, 1767323045.678901])
def test_every_way_to_write_a_time_is_one_moment(written):
    """LogAscii::json_timestamps: seconds, milliseconds or ISO 8601."""
    assert conn(ts=written)["first_seen"] == datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def test_unset_fields_are_null():
    """A connection of one packet has neither duration nor bytes."""
    none = dict.fromkeys(("service", "duration", "orig_bytes", "resp_bytes", "history"))
    for row in (only(as_tsv(CONN | none)), conn(**none)):
        assert row["last_seen"] == row["first_seen"]
        assert row["payload_sent"] is row["payload_received"] is row["app_protocol"] is None


def test_escapes_are_the_bytes_they_stand_for():
    r"""Zeek writes its separator and what cannot be printed as `\\xHH`; what is no text stays as written."""
    assert only(as_tsv(SSL | {"server_name": r"a\x09b\xc3\xa9"}, "ssl"))["tls_sni"] == "a\tb\u00e9"
    assert only(as_tsv(SSL | {"server_name": r"a\xff"}, "ssl"))["tls_sni"] == r"a\xff"


def test_header_in_the_middle_changes_what_follows():
    """Logs that were put one after another, of two versions and of both kinds."""
    older = tuple(name for name in CONN if name not in ("ip_proto", "local_orig"))
    turned = tuple(reversed(CONN))
    text = (
        as_tsv(CONN) + "#close\t2026-01-02-04-00-00\n"
        + header("conn", older, CONN_TYPES) + tsv_row(older, CONN)
        + as_tsv(SSL, "ssl")
        + header("dns", ("ts", "uid"), CONN_TYPES) + "1.0\tC1\n"
        + header("conn", turned, CONN_TYPES) + tsv_row(turned, CONN)
    )  # fmt: skip
    rows, tally = read_bytes(read, text.encode())
    assert tally.rejected == 0
    assert {reason.value: count for reason, count in tally.skipped.items()} == {"log_header": 41, "other_log": 1}
    assert [row["responder_port"] for row in rows] == [8080, 8080, 8443, 8080]
    assert len({json.dumps({k: str(v) for k, v in rows[i].items() if k != "record"}) for i in (0, 1, 3)}) == 1


def test_row_without_a_header_above_it_is_put_aside():
    """Columns are named by the header, and a guess would forge them."""
    assert rejected(read, tsv_row(tuple(CONN), CONN)) == "columns_ambiguous"
    rows, tally = read_bytes(read, (header("conn", tuple(CONN)[:-1], CONN_TYPES) + tsv_row(tuple(CONN), CONN)).encode())
    assert (rows, tally.rejects[0].reason) == ([], "columns_ambiguous")


def test_header_of_the_logs_beginning_holds_for_a_later_part():
    """A growing log is read in parts, and only its first lines say how the others are written."""
    before = as_tsv(CONN).encode() + b"1767"
    context = Context("x", "0" * 16, "c1", before=before)
    (row,), tally = read_bytes(read, tsv_row(tuple(CONN), CONN).encode(), context)
    assert (row["responder_port"], row["app_protocol"], tally.rejected) == (8080, "http", 0)


def test_header_that_is_cut_before_a_part_is_not_used():
    """Half a line of names would put values under wrong ones."""
    before = header("conn", tuple(CONN), CONN_TYPES)
    before = before[: before.index("\tservice")]
    row = tsv_row(tuple(CONN)[:7], CONN).encode()
    rows, tally = read_bytes(read, row, Context("x", "0" * 16, "c1", before=before.encode()))
    assert (rows, tally.rejects[0].reason) == ([], "columns_ambiguous")


@pytest.mark.parametrize("begin", ["#separator \\x09\n", "#path\tssl\n"])
def test_header_that_begins_ends_the_one_before(begin):
    """Until it names the fields, nothing says what the columns are."""
    rows, tally = read_bytes(read, (as_tsv(CONN) + begin + tsv_row(tuple(CONN), CONN)).encode())
    assert (len(rows), tally.rejects[0].reason) == (1, "columns_ambiguous")


def test_json_rows_of_other_logs_are_skipped_by_name():
    """Streams of all logs in one file are common."""
    other = {"_path": "dns", "ts": 1.0, "uid": "C1", "id.orig_h": "192.0.2.1", "id.resp_h": "192.0.2.2", "query": "a"}
    rows, tally = read_bytes(read, json.dumps(other).encode())
    assert (rows, dict(tally.skipped)) == ([], {"other_log": 1})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ts": "soon"}, "field_invalid"),
        ({"ts": True}, "field_invalid"),
        ({"ts": 1e300}, "field_invalid"),
        ({"ts": "2026-13-01T00:00:00Z"}, "field_invalid"),
        ({"duration": -1}, "field_invalid"),
        ({"duration": 1e15}, "field_invalid"),
        ({"id.orig_h": "192.0.2.1000"}, "field_invalid"),
        ({"id.orig_p": 70000}, "field_invalid"),
        ({"orig_bytes": -5}, "field_invalid"),
        ({"orig_bytes": 1.5}, "field_invalid"),
        ({"conn_state": "S9"}, "field_invalid"),
        ({"proto": ["tcp"]}, "field_invalid"),
        ({"proto": None}, "field_missing"),
        ({"uid": None}, "field_missing"),
        ({"conn_state": None, "missed_bytes": None}, "field_missing"),
        ({"proto": "unknown_transport", "ip_proto": 256}, "field_invalid"),
    ],
)
def test_value_that_no_such_field_can_hold_is_put_aside(change, reason):
    """A row with half of a damaged line would be a forged one."""
    assert rejected(read, json.dumps({k: v for k, v in (CONN | change).items() if v is not None})) == reason


def test_flag_that_is_neither_is_put_aside():
    """A handshake that may have succeeded has not."""
    assert rejected(read, json.dumps(SSL | {"established": "maybe"})) == "field_invalid"


def test_recognises_both_logs_however_written():
    """By header or by fields, behind other lines; other logs are not read."""
    assert recognises(b"words\n" + as_tsv(CONN).encode())
    assert recognises(as_tsv(SSL, "ssl").encode())
    assert recognises(as_tsv(CONN).partition("#close")[0].encode()[:600])
    for row in (CONN, SSL, {"_path": "conn"} | CONN):
        assert recognises(b'{"_path":"dns"}\n' + json.dumps(row).encode())
    assert not recognises(header("dns", ("ts", "uid", "id.orig_h", "id.resp_h"), CONN_TYPES).encode())
    assert not recognises(b'{"ts":1.0,"uid":"C1","id.orig_h":"192.0.2.1","id.resp_h":"192.0.2.2","query":"a"}')
    assert not recognises(tsv_row(tuple(CONN), CONN).encode())


# Ends and states


@pytest.mark.parametrize(
    ("history", "basis"),
    [("ShADadFf", "syn"), ("S", "syn"), ("^hADad", "syn"), ("hADad", "syn"), ("DadA", "first_seen"),
     ("^DadA", "known_port"), (None, "first_seen"), ("HADad", "first_seen")],
)  # fmt: skip
def test_initiator_is_known_by_a_syn_or_its_answer(history, basis):
    """`^` is Zeek's own guess, by a port it knows; an answer of the other side names who asked."""
    assert conn(history=history)["initiator_basis"] == basis


@pytest.mark.parametrize(
    ("state", "wanted"),
    [("S0", "attempted"), ("RSTOS0", "attempted"), ("SH", "attempted"), ("REJ", "refused"), ("S1", "established"),
     ("S2", "established"), ("S3", "established"), ("SF", "established"), ("RSTO", "reset"), ("RSTR", "reset"),
     ("RSTRH", "midstream"), ("SHR", "midstream"), ("OTH", "midstream"), (None, None)],
)  # fmt: skip
def test_every_state_has_its_meaning(state, wanted):
    """The list of conn_state in the source, all thirteen."""
    assert conn(conn_state=state)["connection_state"] == wanted


def test_states_of_datagrams_say_nothing_of_connections():
    """SF of UDP means that both sides sent; the packets say that already."""
    row = conn(proto="udp", service="dns", conn_state="SF", history="Dd", ip_proto=17)
    assert (row["protocol"], row["connection_state"], row["initiator_basis"]) == ("udp", None, "first_seen")
    assert (row["payload_sent"], row["payload_received"]) == (200, 603)


@pytest.mark.parametrize(
    ("change", "protocol", "basis"),
    [
        ({"id.orig_p": 8, "id.resp_p": 0}, "icmp", "request"),
        ({"id.orig_p": 3, "id.resp_p": 1}, "icmp", "first_seen"),
        ({"id.orig_h": "2001:db8::1", "id.resp_h": "2001:db8::2", "id.orig_p": 128}, "icmpv6", "request"),
    ],
)
def test_types_of_icmp_are_no_ports(change, protocol, basis):
    """Zeek puts type and code where ports are."""
    row = conn(proto="icmp", service=None, conn_state="OTH", history=None, ip_proto=None, **change)
    assert (row["protocol"], row["initiator_basis"]) == (protocol, basis)
    assert row["initiator_port"] is row["responder_port"] is row["connection_state"] is row["payload_sent"] is None


@pytest.mark.parametrize(("number", "protocol"), [(132, "sctp"), (50, "50"), (None, None)])
def test_other_protocols_have_a_number_or_none(number, protocol):
    """Older versions say only that they do not know it."""
    assert conn(proto="unknown_transport", ip_proto=number, history=None, service=None)["protocol"] == protocol


def test_inside_of_a_tunnel_says_so_and_its_outside_is_no_flow():
    """Both are rows of conn.log; the outside would count the same payload again."""
    assert conn(tunnel_parents=["Cparent"])["via"] == "tunnel"
    assert only(as_tsv(CONN | {"tunnel_parents": ["Cparent"]}))["via"] == "tunnel"
    assert only(as_tsv(CONN | {"tunnel_parents": []}))["via"] is None
    rows, tally = read_bytes(read, json.dumps(CONN | {"proto": "udp", "service": "vxlan"}).encode())
    assert (rows, dict(tally.skipped)) == ([], {"tunnel_outside": 1})


@pytest.mark.parametrize(
    ("change", "hop"),
    [
        ({"id.orig_h": "127.0.0.1", "id.resp_h": "127.0.0.1"}, "loopback"),
        ({"id.orig_h": "192.0.2.20"}, "loopback"),
        ({"id.orig_h": "127.0.0.6"}, "pod_internal"),
        ({"id.resp_p": 15006}, "pod_internal"),
    ],
)
def test_clear_text_off_the_wire_is_no_plaintext(change, hop):
    """Between an application and its proxy it is clear by design."""
    row = conn(**change)
    assert (row["hop"], *seen(row)) == (hop, "unknown", "not_on_wire", None)


# What conn.log proves


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"service": "http"}, ("plaintext", "clear_protocol", "http")),
        ({"service": "http,-ssl"}, ("plaintext", "clear_protocol", "http")),
        ({"service": "spicy_redis"}, ("plaintext", "clear_protocol", "redis")),
        ({"service": "dns", "proto": "udp"}, ("plaintext", "clear_protocol", "dns")),
        # TLS was begun; a handshake that failed is logged alike.
        ({"service": "ssl"}, ("unknown", "tls_handshake", "ssl")),
        ({"service": "http,ssl"}, ("unknown", "tls_handshake", "http")),
        ({"service": "quic,ssl", "proto": "udp"}, ("tls", "quic", "quic")),
        # These may have changed to TLS unseen.
        ({"service": "mysql"}, ("unknown", "unrecognised", "mysql")),
        ({"service": "smtp"}, ("unknown", "unrecognised", "smtp")),
        ({"service": "http,unheard_of"}, ("unknown", "unrecognised", "http,unheard_of")),
        ({"service": "-http"}, ("unknown", "unrecognised", None)),
        ({"service": "ssh"}, ("unknown", "other_encryption", "ssh")),
        ({"service": None}, ("unknown", "unrecognised", None)),
        ({"service": None, "conn_state": "OTH", "history": "DdA"}, ("unknown", "midstream", None)),
        ({"service": None, "proto": "udp", "conn_state": "SF", "history": "Dd"}, ("unknown", "datagram", None)),
        ({"service": None, "history": "S", "orig_bytes": None, "resp_bytes": None}, ("none", "no_payload", None)),
        ({"service": None, "history": "ShAFf", "orig_bytes": 0, "resp_bytes": 0}, ("none", "no_payload", None)),
        ({"service": None, "history": "ShAFf"}, ("unknown", "cut", None)),
        ({"service": None, "history": "ShAgFf", "orig_bytes": 0, "resp_bytes": 0}, ("unknown", "unrecognised", None)),
        ({"service": None, "history": None, "orig_bytes": None}, ("unknown", "unrecognised", None)),
    ],
)
def test_service_is_evidence_by_bytes_and_no_more(change, wanted):
    """Plaintext only where no TLS can hide behind the name; never TLS that may have failed."""
    row = conn(**change)
    assert (row["transport_seen"], row["transport_seen_basis"], row["app_protocol"]) == wanted


# What ssl.log proves

NO_CERTIFICATE = {"client_cert_chain_fps": []}


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, ("mtls", "client_certificate", "seen")),
        ({"client_cert_chain_fps": None, "client_cert_chain_fuids": ["F1"]}, ("mtls", "client_certificate", "seen")),
        # No data is seen after it, or no proof of its key; Zeek stops looking once a handshake is done.
        ({"ssl_history": "CsxkrnXGYIi"}, ("tls", "tls_handshake", "seen")),
        ({"ssl_history": "CsxkrnXGIiD"}, ("tls", "tls_handshake", "seen")),
        ({"ssl_history": None}, ("tls", "tls_handshake", "seen")),
        # The handshake's client is the other side.
        ({"ssl_history": "^CsxkrnXGYIiD"}, ("tls", "tls_handshake", None)),
        ({"ssl_history": "CsxkrnXGIi", **NO_CERTIFICATE}, ("tls", "certificate_withheld", "empty")),
        ({"ssl_history": "CsxkrnXGIi", "client_cert_chain_fps": None}, ("tls", "tls_handshake", None)),
        ({"ssl_history": "CsxknGIi", **NO_CERTIFICATE}, ("tls", "tls_handshake", "not_asked")),
        ({"ssl_history": None, **NO_CERTIFICATE}, ("tls", "tls_handshake", None)),
        ({"resumed": True, **NO_CERTIFICATE}, ("tls", "tls_resumed", "not_visible")),
        ({"version": "TLSv13", "ssl_history": "CsiIDd", **NO_CERTIFICATE}, ("tls", "tls_handshake", "not_visible")),
        ({"established": False, "last_alert": "bad_certificate"}, ("unknown", "tls_failed", None)),
        ({"established": False}, ("unknown", "tls_handshake", None)),
    ],
)
def test_handshake_proves_what_it_showed(change, wanted):
    """A certificate counts with its proof and data after it; a failed handshake is no TLS."""
    assert seen(ssl(**change)) == wanted


@pytest.mark.parametrize(
    ("written", "version", "protocol"),
    [("TLSv10", "TLSv1.0", "tcp"), ("TLSv12", "TLSv1.2", "tcp"), ("TLSv13", "TLSv1.3", "tcp"),
     ("TLSv13-draft28", "TLSv1.3", "tcp"), ("SSLv3", "SSLv3", "tcp"), ("DTLSv12", "DTLSv1.2", "udp"),
     ("unknown-64282", "unknown-64282", "tcp"), (None, None, "tcp")],
)  # fmt: skip
def test_version_is_spelt_as_elsewhere(written, version, protocol):
    """One version has one name in the store; DTLS runs over datagrams."""
    row = ssl(version=written)
    assert (row["tls_version"], row["protocol"]) == (version, protocol)


def test_tls_1_3_that_came_to_nothing_may_have_been_quic():
    """ssl.log does not name the protocol, and Zeek never sees QUIC's handshake to its end."""
    assert ssl(version="TLSv13", established=False)["protocol"] is None


# Hostile bytes

LOGS = [as_tsv(CONN), as_tsv(SSL, "ssl"), json.dumps(CONN) + "\n", json.dumps(SSL) + "\n"]


@settings(max_examples=300)
@given(st.sampled_from(LOGS), st.data())
def test_damaged_row_costs_its_neighbours_nothing(log, data):
    """Whatever a row turns into, the rows around it are read as they are."""
    *above, last = log.splitlines(keepends=True)
    raw = bytearray(last.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(1, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    damaged = bytes(raw).replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"
    rows, _ = read_bytes(read, "".join(above).encode() + last.encode() + damaged + last.encode())
    whole = [row for row in rows if row["record"] in (len(above) + 1, len(above) + 3)]
    assert len(whole) == 2
    assert {**whole[0], "record": 0} == {**whole[1], "record": 0}


@settings(max_examples=200)
@example(b"")
@given(st.binary(max_size=200))
def test_any_bytes_are_rows_skips_or_put_aside(noise):
    """Headers from anybody never crash the reader."""
    for name in (b"#separator ", b"#set_separator\t", b"#unset_field\t", b"#path\t", b"#fields\t", b"#types\t"):
        read_bytes(read, as_tsv(CONN).encode() + name + noise + b"\n" + tsv_row(tuple(CONN), CONN).encode() + noise)
    recognises(noise)
