"""One packet seen several times by a capture on all interfaces is one packet; a packet sent again is another."""

import struct

import pytest
from readers.packet_support import (
    ACK,
    BEGIN,
    CLIENT,
    PSH,
    SERVER,
    enhanced,
    ethernet,
    interface,
    ipv4,
    ipv6,
    read,
    section,
    tcp,
    udp,
)

SLL, SLL2 = 113, 276
IN, OUT = 0, 4
NODE, PEER = "192.168.1.10", "192.168.1.11"


def sll2(ip, device, way, kind=0x0800):
    """A packet as `tcpdump -i any` writes it: on which *device*, coming in or going out."""
    return struct.pack("!HHIHBB8s", kind, 0, device, 1, way, 6, bytes([2, 0, 0, 0, 0, device, 0, 0])) + ip


def sll(ip, device, way, kind=0x0800):
    """The older header has no device, but the address of whoever put the packet on the link."""
    return struct.pack("!HHH8sH", way, 1, 6, bytes([2, 0, 0, 0, 0, device, 0, 0]), kind) + ip


def vxlan(ip, number=4096, ident=77):
    inner = struct.pack("!II", 0x08000000, number << 8) + ethernet(ip)
    return ipv4(udp(50_000, 4789, inner), NODE, PEER, protocol=17, ident=ident)


def segment(ident=1, payload=b"\0opaque", seq=1, **ends):
    return ipv4(tcp(40_000, 8_000, PSH | ACK, seq, 1, payload), ident=ident, **ends)


def legs(ip, at=BEGIN, link=sll2):
    """The way of a pod's packet to another node: its veth, the tunnel device, the card with the tunnel around it."""
    return [(at, link(ip, 5, IN)), (at + 20, link(ip, 9, OUT)), (at + 30, link(vxlan(ip), 2, OUT))]


@pytest.mark.parametrize(("link", "link_type"), [(sll2, SLL2), (sll, SLL)])
def test_copies_on_the_legs_of_one_way_are_counted_once(link, link_type):
    """Bridge, veth and tunnel legs are one packet; the copies are counted apart, so nothing disappears."""
    (row,), tally = read(legs(segment(), link=link), link_type)
    assert (row["packets_sent"], row["duplicates"], row["via"]) == (1, 2, None)
    assert tally.in_flows == 3


def test_reply_that_comes_in_through_the_tunnel_belongs_to_the_same_flow():
    """The first copy shows that both encapsulations carry one conversation; else each way would be half a row."""
    reply = ipv4(tcp(8_000, 40_000, PSH | ACK, 1, 8, b"\0answer"), SERVER, CLIENT, ident=9)
    back = [
        (BEGIN + 500, sll2(vxlan(reply), 2, IN)),
        (BEGIN + 510, sll2(reply, 9, IN)),
        (BEGIN + 520, sll2(reply, 5, OUT)),
    ]
    (row,), _ = read(legs(segment()) + back, SLL2)
    assert (row["packets_sent"], row["packets_received"], row["duplicates"]) == (1, 1, 4)


def test_retransmission_is_no_copy():
    """It has another identification (Linux counts them), however soon it comes."""
    (row,), _ = read(legs(segment(ident=1)) + legs(segment(ident=2), BEGIN + 40), SLL2)
    assert (row["packets_sent"], row["duplicates"]) == (2, 4)


def test_retransmission_that_looks_the_same_is_told_by_where_it_begins():
    """IPv6 has no identification: what comes again at a place it has passed was sent again."""
    again = ipv6(tcp(40_000, 8_000, PSH | ACK, 1, 1, b"\0opaque"))
    frames = [(BEGIN + n, sll2(again, device, way, 0x86DD)) for n, (device, way) in enumerate([(5, IN), (9, OUT)] * 2)]
    (row,), _ = read(frames, SLL2)
    assert (row["packets_sent"], row["duplicates"]) == (2, 2)


def test_same_bytes_much_later_are_not_a_copy():
    """Copies pass a host's interfaces within milliseconds; identifications come round."""
    frames = [(BEGIN, sll2(segment(), 5, IN)), (BEGIN + 1_000_000, sll2(segment(), 9, OUT))]
    (row,), _ = read(frames, SLL2)
    assert (row["packets_sent"], row["duplicates"]) == (2, 0)


def test_datagrams_that_differ_in_their_first_bytes_are_not_copies():
    """Many senders leave the identification of UDP at zero."""
    ask = [ipv4(udp(40_000, 53, bytes([0, n]) + b"\1\0\0\1\0\0"), protocol=17, ident=0) for n in range(2)]
    (row,), _ = read([(BEGIN, sll2(ask[0], 5, IN)), (BEGIN + 5, sll2(ask[1], 9, OUT))], SLL2)
    assert (row["packets_sent"], row["duplicates"]) == (2, 0)


def test_one_interface_has_no_copies():
    """Without a second place to see it, the same bytes again are the same packet sent again."""
    (row,), _ = read([(BEGIN, ethernet(segment())), (BEGIN + 5, ethernet(segment()))])
    assert (row["packets_sent"], row["duplicates"]) == (2, 0)


def test_several_interfaces_of_a_pcapng_have_copies_too():
    """One file of `dumpcap` holds several devices."""
    data = (
        section()
        + interface() * 2
        + enhanced(BEGIN, ethernet(segment()), 0)
        + enhanced(BEGIN + 5, ethernet(segment()), 1)
    )
    (row,), _ = read(data)
    assert (row["packets_sent"], row["duplicates"]) == (1, 1)


def test_two_overlays_with_equal_inner_addresses_stay_apart():
    """The network identifier is part of who talks, unless a copy proves that both legs carry the same packet."""
    frames = [(BEGIN, sll2(vxlan(segment(ident=1), 1), 2, OUT)), (BEGIN + 9, sll2(vxlan(segment(ident=2), 2), 2, OUT))]
    rows, _ = read(frames, SLL2)
    assert [row["via"] for row in rows] == ["vxlan:1", "vxlan:2"]


@pytest.mark.parametrize("max_flows", [4, 6])
def test_copies_survive_a_full_table(max_flows):
    """Room is made by writing rows out; every packet is in one or counted as a copy."""
    frames = []
    for n in range(30):
        ends = {"sender": f"10.244.1.{n}"}
        frames += legs(segment(ident=n + 1, **ends), BEGIN + n * 100_000)
    rows, tally = read(frames, SLL2, max_flows=max_flows)
    assert (
        sum(row["packets_sent"] + row["packets_received"] + row["duplicates"] for row in rows) == tally.in_flows == 90
    )


def test_datagrams_that_differ_after_their_first_bytes_are_not_copies():
    """Else whoever sends through a tunnel could have other content counted as copies of a harmless one."""
    sent = [ipv4(udp(40_000, 53, b"\0\1\1\0\0\1\0\0" + bytes([n])), protocol=17, ident=0) for n in range(3)]
    frames = [(BEGIN, sll2(sent[0], 5, IN)), (BEGIN + 1, sll2(vxlan(sent[1], 7), 2, OUT)),
              (BEGIN + 2, sll2(vxlan(sent[2], 8), 2, OUT))]  # fmt: skip
    rows, _ = read(frames, SLL2)
    assert [(row["via"], row["packets_sent"], row["duplicates"]) for row in rows] == [
        (None, 1, 0), ("vxlan:7", 1, 0), ("vxlan:8", 1, 0)]  # fmt: skip


def test_equal_packets_of_two_networks_do_not_make_one_flow_of_them():
    """Tenants may use the same addresses; an alias would judge the one's payload as the other's."""
    frames = [(BEGIN, sll2(vxlan(segment(), 1), 2, OUT)), (BEGIN + 5, sll2(vxlan(segment(), 2), 3, OUT))]
    rows, _ = read(frames, SLL2)
    assert [(row["via"], row["packets_sent"], row["duplicates"]) for row in rows] == [
        ("vxlan:1", 1, 0), ("vxlan:2", 1, 0)]  # fmt: skip


@pytest.mark.parametrize("order", ["11112222", "12121212", "11221122", "12222111"])
def test_of_equal_packets_as_many_were_sent_as_the_busiest_place_has_seen(order):
    """Interfaces are read in bursts; what is sent again looks the same where nothing is counted in the header."""
    again = ipv6(udp(40_000, 51_820, b"\4\0\0\0 the same"), following=17)
    frames = [(BEGIN + n, sll2(again, int(device), IN, 0x86DD)) for n, device in enumerate(order)]
    (row,), _ = read(frames, SLL2)
    assert (row["packets_sent"], row["duplicates"]) == (4, 4)


def test_copies_of_many_packets_at_once_are_found():
    """A busy node passes thousands of packets before the copies of the first one come."""
    count = 10_000
    ends = [{"sender": f"10.{n >> 8}.{n & 255}.1", "ident": n + 1} for n in range(count)]
    frames = [(BEGIN + n, sll2(segment(**ends[n]), 5, IN)) for n in range(count)]
    frames += [(BEGIN + count + n, sll2(segment(**ends[n]), 9, OUT)) for n in range(count)]
    rows, _ = read(frames, SLL2)
    assert sum(row["duplicates"] for row in rows) > 0.97 * count


def test_address_that_the_sender_writes_makes_no_other_place():
    """The older header names no interface; a changing hardware address would make new packets copies."""
    one = ipv4(udp(40_000, 53, b"\0" * 12), protocol=17, ident=0)
    (row,), _ = read([(BEGIN + n, sll(one, n, IN)) for n in range(12)], SLL)
    assert (row["packets_sent"], row["duplicates"]) == (12, 0)


@pytest.mark.parametrize("devices", [(772, 1), (1, 772)])
def test_copy_on_another_kind_of_device_makes_the_hop_mixed(devices):
    """Which of the two was recorded first is no evidence for the wire."""
    frames = [(BEGIN + n, struct.pack("!HHIHBB8s", 0x0800, 0, n + 1, kind, IN, 6, b"\0" * 8) + segment())
              for n, kind in enumerate(devices)]  # fmt: skip
    (row,), _ = read(frames, SLL2)
    assert (row["hop"], row["duplicates"]) == ("mixed", 1)
