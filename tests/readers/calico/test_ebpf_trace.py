"""Lines of the trace pipe in which Calico's eBPF data plane tells of packets."""

import pytest
from readers.log_support import CONTEXT, one, read_bytes, rejected

from vzflow.readers.calico import read, recognises

LINE = (
    "curl-5288    [000] ..s2.  3055.982021: bpf_trace_printk: cali527b0801ecb-E: policy DENIED proto 6 "
    "src 192.0.2.10:56042 dest 192.0.2.20:80"
)


def test_every_field_with_a_column_is_read():
    """The verdict is final; the clock is that since boot; who opened is a guess."""
    row = one(read, LINE)
    assert {name: value for name, value in row.items() if value is not None} == {
        "segment": CONTEXT.segment,
        "record": 1,
        "source": "calico",
        "reporter": "initiator",
        "cluster": "c1",
        "protocol": "tcp",
        "initiator_ip": "192.0.2.10",
        "initiator_port": 56042,
        "responder_ip": "192.0.2.20",
        "responder_port": 80,
        "initiator_basis": "first_seen",
        "hop": "wire",
        "action": "denied",
        "transport_seen": "unknown",
        "transport_seen_basis": "not_recorded",
    }


def test_allowed_packet_is_allowed():
    """In this data plane the rule logs what became of the packet."""
    assert one(read, LINE.replace("DENIED", "ALLOWED"))["action"] == "allowed"


@pytest.mark.parametrize(
    ("hook", "reporter"),
    [
        ("cali1-E", "initiator"), ("cali1-I", "responder"), ("cali1-----------I", "responder"), ("cali1-X", None),
        ("eth0-I", None), ("bpf-out-1-E", None),
    ],
)  # fmt: skip
def test_reporter_is_the_end_whose_interface_it_was(hook, reporter):
    """A host's interface carries everybody's packets."""
    assert one(read, LINE.replace("cali527b0801ecb-E", hook))["reporter"] == reporter


@pytest.mark.parametrize(
    ("proto", "port", "protocol", "basis"),
    [(1, 8, "icmp", "request"), (1, 0, "icmp", "first_seen"), (1, 0x0303, "icmp", "first_seen"),
     (58, 128, "icmpv6", "request"), (1, 128, "icmp", "first_seen"), (17, 8, "udp", "first_seen")],
)  # fmt: skip
def test_icmp_type_stands_where_a_port_would(proto, port, protocol, basis):
    """With the code above it; only an echo request names who asks."""
    line = LINE.replace("proto 6", f"proto {proto}").replace(":80", f":{port}")
    row = one(read, line)
    assert (row["protocol"], row["initiator_basis"]) == (protocol, basis)
    assert row["responder_port"] == (8 if protocol == "udp" else None)


@pytest.mark.parametrize(("src", "dst"), [("2001:db8::10", "2001:db8::20"), ("[2001:db8::10]", "[2001:db8::20]"),
                                          ("2001:0db8:0:0:0:0:0:0010", "2001:0db8:0:0:0:0:0:0020")])  # fmt: skip
def test_ipv6_address_ends_at_the_last_colon(src, dst):
    """Whether it stands in brackets or not."""
    row = one(read, LINE.replace("192.0.2.10", src).replace("192.0.2.20", dst))
    assert (row["initiator_ip"], row["responder_ip"], row["responder_port"]) == ("2001:db8::10", "2001:db8::20", 80)


@pytest.mark.parametrize(
    "header",
    ["<...>-4950    [001] ..s2.  2960.748464: bpf_trace_printk: ", "kworker/1:2-77 [011] 2960.748464: 0x00000001: ",
     "  my task-1 (-------) [000] d.s31 2960.748464: bpf_trace_printk: "],
)  # fmt: skip
def test_header_of_any_kernel_is_passed_over(header):
    """Tasks may have any name, and older kernels print an address for who wrote it."""
    assert one(read, header + LINE.split("printk: ")[1])["responder_port"] == 80


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (" proto 6 src 192.0.2.10:56042 dest 192.0.2.20:80", "", "field_missing"),
        (" dest 192.0.2.20:80", "", "field_missing"), ("192.0.2.10", "192.0.2", "field_invalid"),
        (":80", ":80000", "field_invalid"), ("proto 6", "proto 256", "field_invalid"),
    ],
)  # fmt: skip
def test_verdict_without_a_whole_packet_is_a_reject(old, new, reason):
    """Kernels before 5.16 print no more than the verdict."""
    assert rejected(read, LINE.replace(old, new)) == reason


def test_other_lines_of_the_pipe_are_skipped_by_name():
    """Other programs print there too, and Calico prints more than verdicts."""
    other = LINE.split("cali527")[0] + "cali527b0801ecb-E: New packet at ifindex=9; mark=0"
    rows, tally = read_bytes(read, f"{other}\n{LINE}\nCPU:0 [LOST 5 EVENTS]\n".encode())
    assert [row["record"] for row in rows] == [2]
    assert sum(tally.skipped.values()) + tally.rejected == 2


def test_is_recognised_past_other_lines():
    """By the verdict with its packet."""
    assert recognises(b"# tracer: nop\n#\n" + LINE.encode())
    assert not recognises(LINE.split(" src")[0].encode())
