"""Kernel LOG lines that Calico's rules make: one line is one packet."""

from datetime import UTC, datetime

import pytest
from readers.log_support import CONTEXT, one, read_bytes, rejected

from vzflow.readers.calico import read, recognises

STAMP = "2026-01-02T05:04:05.678901+02:00 node-1 kernel: "
SYN = (
    "IN=cali527b0801ecb OUT=eth0 MAC=ee:ee:ee:ee:ee:ee:1e:0a:36:33:f5:09:08:00 SRC=192.0.2.10 DST=192.0.2.20 LEN=60 "
    "TOS=0x00 PREC=0x00 TTL=63 ID=58406 DF PROTO=TCP SPT=40555 DPT=8080 WINDOW=64860 RES=0x00 SYN URGP=0"
)
LINE = f"{STAMP}calico-packet: {SYN}"


def changed(*pairs):
    line = LINE
    for old, new in pairs:
        assert old in line
        line = line.replace(old, new)
    return one(read, line)


def body(text, **expected):
    """The row of a packet, with what is expected of it."""
    row = one(read, f"{STAMP}calico-packet: {text}")
    assert {name: row[name] for name in expected} == expected
    return row


def test_syn_is_a_flow_of_one_packet():
    """Nothing is said of answers, connections or what became of it."""
    row = one(read, LINE)
    assert {name: value for name, value in row.items() if value is not None} == {
        "segment": CONTEXT.segment,
        "record": 1,
        "source": "calico",
        "reporter": "initiator",
        "reporter_name": "node-1",
        "cluster": "c1",
        "first_seen": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "last_seen": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "protocol": "tcp",
        "initiator_ip": "192.0.2.10",
        "initiator_port": 40555,
        "responder_ip": "192.0.2.20",
        "responder_port": 8080,
        "initiator_basis": "syn",
        "hop": "wire",
        "packets_sent": 1,
        "bytes_sent": 60,
        "action": "unknown",
        "transport_seen": "unknown",
        "transport_seen_basis": "not_recorded",
    }


@pytest.mark.parametrize("flags", ["ACK SYN", "ACK", "RST", "ACK RST", "ACK FIN", "ACK PSH", "SYN RST", "SYN FIN", ""])
def test_any_other_packet_proves_nothing_of_who_opened(flags):
    """Its sender is but the first one seen; an answer looks alike."""
    assert changed((" SYN ", f" {flags} "))["initiator_basis"] == "first_seen"


def test_syn_with_congestion_flags_is_a_syn():
    """ECN-setup (RFC 3168) sets CWR and ECE on it."""
    assert changed((" SYN ", " CWR ECE SYN "))["initiator_basis"] == "syn"


@pytest.mark.parametrize(
    ("prefix", "policies"),
    [
        ("calico-packet", None),
        ("calico-drop", None),
        ("calico-packet default np shop/allow-web", '["calico-packet default np shop/allow-web"]'),
        ("acme gnp deny-all", '["acme gnp deny-all"]'),
        ("T:sec K:snp", '["T:sec K:snp"]'),
    ],
)
def test_prefix_that_is_not_calicos_own_stands_for_the_policy(prefix, policies):
    """What in it is tier, kind and name only its chooser knows; no prefix says what became of the packet."""
    row = changed(("calico-packet", prefix))
    assert (row["policies"], row["action"]) == (policies, "unknown")


def test_length_and_id_of_the_upper_layer_are_not_the_packets():
    """UDP lines hold LEN twice, ICMP lines ID."""
    body(
        "IN=calia OUT=calib MAC= SRC=192.0.2.10 DST=192.0.2.20 LEN=96 TOS=0x00 PREC=0x00 TTL=63 ID=19241 DF PROTO=UDP "
        "SPT=42896 DPT=53 LEN=76",
        protocol="udp", initiator_port=42896, responder_port=53, bytes_sent=96, initiator_basis="first_seen",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "basis"), [(8, "request"), (0, "first_seen"), (3, "first_seen"), (11, "first_seen"), (128, "first_seen")]
)
def test_only_an_echo_request_names_who_asks(kind, basis):
    """An answer or an error is sent by who was asked."""
    body(
        f"IN=calia OUT=eth0 SRC=192.0.2.10 DST=192.0.2.20 LEN=84 TTL=63 ID=4 PROTO=ICMP TYPE={kind} CODE=0 ID=1 SEQ=1",
        protocol="icmp", initiator_ip="192.0.2.10", initiator_port=None, responder_port=None, initiator_basis=basis,
    )  # fmt: skip


def test_packet_that_an_icmp_error_quotes_is_not_the_packet():
    """Its addresses and ports stand in brackets, the other way round."""
    body(
        "IN=eth0 OUT=calia SRC=192.0.2.20 DST=192.0.2.10 LEN=88 TOS=0x00 PREC=0xC0 TTL=63 ID=1 PROTO=ICMP TYPE=3 "
        "CODE=3 "
        "[SRC=192.0.2.10 DST=192.0.2.20 LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=2 DF PROTO=UDP SPT=40000 DPT=53 LEN=40 ] "
        "MARK=0x10000",
        protocol="icmp", initiator_ip="192.0.2.20", responder_ip="192.0.2.10", responder_port=None, bytes_sent=88,
        initiator_basis="first_seen",
    )  # fmt: skip


def test_ipv6_packet():
    """Addresses are written out, and there are a traffic class and a flow label."""
    body(
        "IN=calia OUT=eth0 MAC= SRC=2001:0db8:0000:0000:0000:0000:0000:0010 DST=2001:0db8:0000:0000:0000:0000:0000:0020"
        " LEN=80 TC=0 HOPLIMIT=63 FLOWLBL=12345 PROTO=TCP SPT=40555 DPT=8080 WINDOW=64800 RES=0x00 SYN URGP=0 MARK=0x1",
        protocol="tcp", initiator_ip="2001:db8::10", responder_ip="2001:db8::20", bytes_sent=80, initiator_basis="syn",
    )  # fmt: skip
    body(
        "IN=calia OUT=eth0 SRC=2001:db8::10 DST=2001:db8::20 LEN=104 TC=0 HOPLIMIT=63 FLOWLBL=0 PROTO=ICMPv6 TYPE=128 "
        "CODE=0 ID=1 SEQ=1",
        protocol="icmpv6", initiator_basis="request",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "protocol"), [("47", "47"), ("132", "sctp"), ("ESP", "50"), ("AH", "51"), ("4", "4"), ("UDPLITE", "136")]
)
def test_protocol_may_be_a_number(name, protocol):
    """The kernel names a few; ports are there for fewer."""
    body(f"IN=a OUT=calib SRC=192.0.2.10 DST=192.0.2.20 LEN=84 TTL=63 ID=1 PROTO={name}", protocol=protocol)


@pytest.mark.parametrize(
    ("came", "goes", "reporter"),
    [
        ("cali1", "eth0", "initiator"), ("tunl0", "cali1", "responder"), ("eth0", "eni0123456789a", "responder"),
        ("eth0", "eth1", "proxy"), ("cali1", "cali2", None), ("eth0", "", None), ("", "eth0", None),
        ("cali1", "", "initiator"), ("", "cali1", "responder"), ("lo", "lo", None),
    ],
)  # fmt: skip
def test_reporter_is_the_end_whose_interface_it_was(came, goes, reporter):
    """Where both are workloads, or a chain before routing leaves OUT empty, it is not told."""
    assert changed(("IN=cali527b0801ecb OUT=eth0", f"IN={came} OUT={goes}"))["reporter"] == reporter


def test_loopback_is_not_the_wire():
    """As in captures."""
    assert changed(("IN=cali527b0801ecb OUT=eth0", "IN=lo OUT="))["hop"] == "loopback"


def test_bridged_packet_has_physical_interfaces_besides():
    """They stand behind the others."""
    assert changed(("OUT=eth0 ", "OUT=eth0 PHYSIN=veth1 PHYSOUT=veth2 "))["initiator_ip"] == "192.0.2.10"


@pytest.mark.parametrize(
    ("stamp", "host"),
    [
        ("Jan  2 03:04:05 node-1 kernel: ", "node-1"),
        ("Jan  2 03:04:05 node-1 kernel: [ 1156.246182] ", "node-1"),
        ("Jan  2 2026 03:04:05 node-1 kernel: ", "node-1"),
        ("<5>Jan  2 03:04:05 node-1 kernel: ", "node-1"),
        ("2026-01-02T03:04:05 node-1 kernel: ", "node-1"),
        ("2026-13-02T03:04:05Z node-1 kernel: ", "node-1"),
        ("[ 1156.246182] ", None),
        ("<5>[1156.246182] ", None),
        ("[Fri Jan  2 03:04:05 2026] ", None),
        ("kernel: ", None),
        ("", None),
    ],
)
def test_time_without_a_year_or_an_offset_is_null(stamp, host):
    """A guessed time would identify the wrong pod; the clock since boot is no time either."""
    row = one(read, f"{stamp}calico-packet: {SYN}")
    assert row["first_seen"] is row["last_seen"] is None
    assert (row["reporter_name"], row["initiator_basis"]) == (host, "syn")


@pytest.mark.parametrize("stamp", ["2026-01-02T03:04:05Z", "2026-01-02 03:04:05.000+00:00", "2026-01-02T04:04:05+0100",
                                   "2026-01-02T03:04:05,000000Z", "<5>2026-01-02T03:04:05.000000000Z"])  # fmt: skip
def test_time_with_year_and_offset_is_utc(stamp):
    """Rsyslog and journald each have their own way to write one."""
    row = one(read, f"{stamp} node-1 kernel: calico-packet: {SYN}")
    assert row["first_seen"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_syslog_of_rfc_5424_has_a_certain_time():
    """With structured data or without."""
    for data in ("-", '[timeQuality tzKnown="1"]'):
        row = one(read, f"<4>1 2026-01-02T03:04:05Z node-1 kernel - - {data} [ 1.2] calico-packet: {SYN}")
        assert (row["first_seen"], row["reporter_name"]) == (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "node-1")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (" SRC=192.0.2.10", "", "field_missing"), (" DST=192.0.2.20", "", "field_missing"),
        (" LEN=60", "", "field_missing"), (" PROTO=TCP", "", "field_missing"), (" SPT=40555", "", "field_missing"),
        ("SRC=192.0.2.10", "SRC=192.0.2", "field_invalid"), ("LEN=60", "LEN=6x", "field_invalid"),
        ("DPT=8080", "DPT=80800", "field_invalid"), ("PROTO=TCP", "PROTO=TCX", "field_invalid"),
        ("DST=192.0.2.20", "DST=192.0.2.20 DST=192.0.2.21", "columns_ambiguous"),
        ("DPT=8080", "DPT=8080 DPT=22", "columns_ambiguous"),
        ("DF PROTO=TCP SPT=40555 DPT=8080 WINDOW=64860 RES=0x00 SYN URGP=0", "FRAG:185 PROTO=TCP", "lone_fragment"),
        ("SPT=40555 DPT=8080 WINDOW=64860 RES=0x00 SYN URGP=0", "INCOMPLETE [4 bytes]", "field_missing"),
        (" OUT=eth0", "", "field_missing"), ("80 WINDOW=64860 RES=0x00 SYN URGP=0", "", "field_missing"),
        (" URGP=0", "", "field_missing"), ("PROTO=TCP", "PROTO=UDP", "field_missing"),
    ],
)  # fmt: skip
def test_damaged_line_is_a_reject_by_name(old, new, reason):
    """Half a packet is none, and no field is taken from where another stood."""
    assert old in LINE
    assert rejected(read, LINE.replace(old, new)) == reason


def test_line_cut_short_is_a_reject():
    """Syslog cuts at its packet size; what remains of a packet's line is never skipped."""
    start = LINE.index("calico-packet") + len("calico-packet")
    for end in range(start, LINE.index("DPT=8080")):
        rejected(read, LINE[:end])


@pytest.mark.parametrize(
    "other",
    [
        "2026-01-02T03:04:05Z node-1 kernel: [ 12.3] eth0: link becomes ready",
        "Jan  2 03:04:05 node-1 sshd[12]: Accepted publickey for a from 192.0.2.1 port 22",
        f"Jan  2 03:04:05 node-1 kernel: [UFW BLOCK] {SYN}",
        "[ 1156.246182] device cali1 entered promiscuous mode",
        "2026-01-02 03:04:05.678 [INFO][64] felix/int_dataplane.go 1828: Received interface update",
    ],
)
def test_other_lines_of_the_log_are_skipped_by_name(other):
    """A system log holds everybody's lines."""
    rows, tally = read_bytes(read, f"{LINE}\n{other}\n{LINE}\n".encode())
    assert [row["record"] for row in rows] == [1, 3]
    assert {reason.value: count for reason, count in tally.skipped.items()} == {"not_a_flow": 1}


@pytest.mark.parametrize(
    "header",
    [
        "Jan  2 03:04:05 node-1 user: ", "Jan  2 03:04:05 node-1 user[77]: [ 1156.246182] ",
        "2026-01-02T03:04:05Z node-1 user: kernel: ", "<13>1 2026-01-02T03:04:05Z node-1 user - - - ",
        "<13>Jan  2 03:04:05 node-1 user: ", "Jan  2 03:04:05 node-1 calico-felix[1]: ",
        "Jan  2 03:04:05 node-1 user: Jan  2 03:04:05 node-1 kernel: ",
        "Jan  2 03:04:05 node-1 user: Jan  2 03:04:05 node-1 rsyslogd: Jan  2 03:04:05 node-1 kernel: ",
    ],
)  # fmt: skip
def test_what_another_program_writes_in_the_kernels_words_is_no_packet(header):
    """Whoever may write to the log can imitate the kernel's lines, but not as the kernel."""
    rows, tally = read_bytes(read, f"{header}calico-packet: {SYN}\n".encode())
    assert rows == []
    assert {reason.value: count for reason, count in tally.skipped.items()} == {"other_program": 1}


RELAYED = [
    "Jan  3 00:00:00 relay rsyslogd: ", "<13>Jan  3 00:00:00 relay rsyslogd[1]: Jan  3 00:00:00 node-2 fluentd[12]: ",
    '<134>1 2026-01-03T00:00:00Z relay fluent-bit 12 - [a@1 b="c] d"] ', "2026-01-03T00:00:00Z relay LOGSTASH: ",
]  # fmt: skip


@pytest.mark.parametrize("header", RELAYED)
def test_what_a_log_daemon_passed_on_is_what_it_was_where_it_was_written(header):
    """Its time and host are those of the innermost header; what no program or another one wrote is no packet."""
    assert one(read, header + LINE) == one(read, LINE)
    assert recognises((header + LINE).encode())
    for text in (f"calico-packet: {SYN}", f"kernel: calico-packet: {SYN}", LINE.replace("kernel: ", "user: ")):
        rows, tally = read_bytes(read, f"{header}{text}\n".encode())
        assert rows == []
        assert {reason.value: count for reason, count in tally.skipped.items()} == {"other_program": 1}


def test_is_recognised_past_other_lines():
    """By its own prefix, or by an interface that only Calico makes."""
    other = b"Jan  2 03:04:05 node-1 systemd[1]: Started x.\n" * 300
    assert recognises(other + LINE.encode())
    assert recognises(LINE.replace("calico-packet", "acme").encode())
    assert not recognises(LINE.replace("calico-packet", "acme").replace("cali527b0801ecb", "eth1").encode())
    assert not recognises(LINE.replace("kernel:", "user:").encode())
    assert not recognises(other)
