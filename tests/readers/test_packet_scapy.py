"""Link types, tunnels and cut or lying headers: the innermost packet, and nothing overlooked."""

import struct
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.packet_support import (
    ACK,
    BEGIN,
    CLIENT,
    SERVER,
    SYN,
    ethernet,
    ipv4,
    ipv6,
    only,
    pcap_file,
    read,
    tcp,
    udp,
)
from readers.twin import interpreted
from scapy.contrib.geneve import GENEVE
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import ARP, GRE, LLC, SNAP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.vxlan import VXLAN

from vzflow.flow.terms import SkipReason
from vzflow.readers.packet_scapy import Undecodable, decode

SEGMENT = tcp(40_000, 443, SYN, payload=b"hello")
FOUR, SIX = ipv4(SEGMENT), ipv6(SEGMENT)
MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
NODES = {"src": "172.18.0.2", "dst": "172.18.0.3"}


def seen(link_type, data, length=None):
    return decode(link_type, bytes(data), length or len(bytes(data)))


CLIENT_6, SERVER_6 = "2001:db8::1", "2001:db8::2"


def big_ipv6(payload, following=6):
    """IPv6 with a payload length of zero."""
    data = ipv6(b"", following=following)
    return data + payload


def nflog(payload, order="<"):
    parts = [(1, struct.pack("!HBB", 0x0800, 3, 0)), (10, b"prefix\0"), (9, payload)]
    out = b"\x02\0\0\x0a"
    for kind, value in parts:
        out += struct.pack(order + "HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)
    return out


LINKS = {
    "ethernet": (1, ethernet(FOUR)),
    "ethernet_ipv6": (1, ethernet(SIX, 0x86DD)),
    "ethernet_padded": (1, ethernet(ipv4(tcp(40_000, 443, SYN))) + b"\0" * 6),
    "vlan": (1, Ether(**MACS) / Dot1Q(vlan=7, type=0x0800) / FOUR),
    "qinq": (1, Ether(**MACS) / Dot1AD(vlan=7) / Dot1Q(vlan=8, type=0x0800) / FOUR),
    "mpls": (1, Ether(**MACS) / MPLS(label=20, s=0) / MPLS(label=21, s=1) / FOUR),
    "llc_snap": (1, Dot3(**MACS) / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(code=0x0800) / FOUR),
    "pppoe": (1, Ether(**MACS, type=0x8864) / PPPoE(sessionid=1) / PPP(proto=0x21) / FOUR),
    "sll": (113, b"\0\0\0\1\0\6" + b"\2" * 8 + b"\x08\0" + FOUR),
    "sll_vlan": (113, b"\0\0\0\1\0\6" + b"\2" * 8 + b"\x81\0\0\7\x08\0" + FOUR),
    "sll2": (276, b"\x08\0\0\0\0\0\0\5\0\1\0\6" + b"\2" * 8 + FOUR),
    "raw_ipv4": (101, FOUR),
    "raw_ipv6": (101, SIX),
    "raw_old": (12, FOUR),
    "ipv4": (228, FOUR),
    "ipv6": (229, SIX),
    "null_little": (0, b"\2\0\0\0" + FOUR),
    "null_big": (0, b"\0\0\0\2" + FOUR),
    "null_ipv6_macos": (0, b"\x1e\0\0\0" + SIX),
    "null_ipv6_linux": (0, b"\x0a\0\0\0" + SIX),
    "null_ipv6_openbsd_big": (0, b"\0\0\0\x18" + SIX),
    "null_ipv6_freebsd": (0, b"\x1c\0\0\0" + SIX),
    "loop": (108, b"\0\0\0\2" + FOUR),
    "loop_little": (108, b"\2\0\0\0" + FOUR),
    "loop_ipv6": (108, b"\0\0\0\x18" + SIX),
    "ppp": (9, b"\x00\x21" + FOUR),
    "ppp_ipv6": (9, b"\x00\x57" + SIX),
    "ppp_framed": (9, b"\xff\x03\x00\x21" + FOUR),
    "ppp_hdlc": (50, b"\xff\x03\x00\x21" + FOUR),
    "nflog": (239, nflog(FOUR)),
    "nflog_big_endian": (239, nflog(FOUR, ">")),
    "nflog_ipv6": (239, nflog(SIX)),
}


@pytest.mark.parametrize(("link_type", "data"), LINKS.values(), ids=LINKS.keys())
def test_link_type_is_decoded_to_the_packet_inside(link_type, data):
    """Whatever is in front, the flow is that of the IP packet, and padding is not payload."""
    packet = seen(link_type, data)
    assert packet.key[:5] in (
        ("tcp", CLIENT, 40_000, SERVER, 443),
        ("tcp", "2001:db8::1", 40_000, "2001:db8::2", 443),
    )
    assert packet.key.via is None
    assert packet.payload in (b"hello", b"")
    assert packet.length == (40 if packet.key.ip == CLIENT else 60) + packet.payload_length


@pytest.mark.parametrize(("link_type", "data"), LINKS.values(), ids=LINKS.keys())
def test_byte_order_of_the_file_is_not_that_of_the_link_header(link_type, data):
    """Whoever captured and whoever wrote the file need not be one machine; the next record is read as the first."""
    frames = [(BEGIN, bytes(data)), (BEGIN + 1, bytes(data))]
    little, big = (only(pcap_file(frames, link_type, order)) for order in "<>")
    assert little == big
    assert (little["packets_sent"], little["responder_port"]) == (2, 443)


INNER = Ether(**MACS, type=0x0800) / FOUR
TUNNELS = {
    "ipip": (IP(**NODES, proto=4) / FOUR, "ipip"),
    "6in4": (IP(**NODES, proto=41) / SIX, "6in4"),
    "4in6": (IPv6(src="2001:db8::a", dst="2001:db8::b", nh=4) / FOUR, "4in6"),
    "6in6": (IPv6(src="2001:db8::a", dst="2001:db8::b", nh=41) / SIX, "6in6"),
    "gre": (IP(**NODES) / GRE(proto=0x0800) / FOUR, "gre"),
    "gre_key": (IP(**NODES) / GRE(proto=0x0800, key_present=1, key=40, seqnum_present=1) / FOUR, "gre:40"),
    "gre_key_in_gre_key": (
        IP(**NODES) / GRE(proto=0x0800, key_present=1, key=7) / IP(**NODES) / GRE(proto=0x0800, key_present=1, key=8)
        / FOUR, "gre:7/gre:8"),
    "gre_in_ipv6": (IPv6(src="2001:db8::a", dst="2001:db8::b") / GRE(proto=0x86DD) / SIX, "gre"),
    "gre_ethernet": (IP(**NODES) / GRE(proto=0x6558) / INNER, "gre"),
    "vxlan": (IP(**NODES) / UDP(sport=5, dport=4789) / VXLAN(vni=4096) / INNER, "vxlan:4096"),
    "vxlan_in_ipv6": (
        IPv6(src="2001:db8::a", dst="2001:db8::b") / UDP(sport=5, dport=4789) / VXLAN(vni=4096) / INNER, "vxlan:4096"),
    "vxlan_flannel": (IP(**NODES) / UDP(sport=5, dport=8472) / VXLAN(vni=1) / INNER, "vxlan:1"),
    "geneve": (IP(**NODES) / UDP(sport=5, dport=6081) / GENEVE(vni=5, proto=0x6558) / INNER, "geneve:5"),
    "geneve_of_ip": (IP(**NODES) / UDP(sport=5, dport=6081) / GENEVE(vni=5, proto=0x0800) / FOUR, "geneve:5"),
    "mpls_in_ip": (IP(**NODES, proto=137) / MPLS(label=3, s=1) / FOUR, "mpls"),
    "etherip": (IP(**NODES, proto=97) / (b"\x30\0" + bytes(INNER)), "etherip"),
    "vxlan_over_ipip": (
        IP(**NODES) / IP(**NODES) / UDP(sport=5, dport=4789) / VXLAN(vni=9) / INNER, "ipip/vxlan:9"),
    "authenticated": (IP(**NODES) / AH(spi=1, nh=4, payloadlen=4, icv=b"\0" * 12) / FOUR, "ipip"),
}  # fmt: skip


@pytest.mark.parametrize(("outer", "via"), TUNNELS.values(), ids=TUNNELS.keys())
def test_tunnel_gives_the_inner_flow_and_how_it_travelled(outer, via):
    """The flow is the innermost one; bytes are its own, not the tunnel's."""
    packet = seen(101, outer)
    assert packet.key.via == via
    assert (packet.key.protocol, packet.key.port, packet.key.peer_port) == ("tcp", 40_000, 443)
    assert packet.length in (len(FOUR), len(SIX))
    assert packet.payload == b"hello"
    assert not packet.tunnel


OUTSIDES = {
    "esp": (IP(**NODES) / ESP(spi=5, seq=1, data=b"x" * 32), "50"),
    "l2tp": (IP(**NODES, proto=115) / b"\0\0\0\1abcd", "115"),
    "vxlan_with_garbage": (IP(**NODES) / UDP(sport=5, dport=4789) / VXLAN(vni=1) / b"xyz", "udp"),
    "vxlan_with_lldp": (
        IP(**NODES) / UDP(sport=5, dport=4789) / VXLAN(vni=1) / Ether(**MACS, type=0x88CC) / b"\2\7", "udp"),
    "ipip_with_garbage": (IP(**NODES, proto=4) / b"\x99garbage", "4"),
    "gre_keepalive": (IP(**NODES) / GRE(proto=0), "47"),
}  # fmt: skip


@pytest.mark.parametrize(("outer", "protocol"), OUTSIDES.values(), ids=OUTSIDES.keys())
def test_tunnel_that_cannot_be_read_is_a_flow_of_its_outside(outer, protocol):
    """What may hide inside must stay visible as a gap."""
    packet = seen(101, outer)
    assert (packet.tunnel, packet.key.protocol, packet.key.ip) == (True, protocol, "172.18.0.2")
    row = only([(BEGIN, bytes(outer))], 101)
    assert (row["hop"], row["transport_seen"], row["transport_seen_basis"]) == ("outer_tunnel", "unknown", "tunnel")


def test_wireguard_handshake_on_any_port_is_an_outer_tunnel():
    """Node encryption says nothing of the pods inside."""
    row = only([(BEGIN, ipv4(udp(22_595, 5_060, b"\1\0\0\0" + b"\x5a" * 144), protocol=17))], 101)
    assert (row["hop"], row["app_protocol"], row["transport_seen"]) == ("outer_tunnel", "wireguard", "unknown")


def test_datagram_on_a_tunnel_port_that_is_no_tunnel_is_an_ordinary_flow():
    """A port number is no evidence."""
    packet = seen(101, ipv4(udp(5, 4_789, b"\0not vxlan"), protocol=17))
    assert (packet.tunnel, packet.key.peer_port, packet.payload) == (False, 4_789, b"\0not vxlan")


def test_arp_inside_an_overlay_is_skipped_by_name():
    """It was read, so the tunnel is no gap; and it is no flow."""
    outer = IP(**NODES) / UDP(sport=5, dport=4789) / VXLAN(vni=1) / Ether(**MACS) / ARP()
    assert seen(101, outer) is SkipReason.ARP


def test_tunnels_in_tunnels_end():
    """Thousands of nested headers cost neither the stack nor the packet."""
    data = FOUR
    for _ in range(2_000):
        data = ipv4(data, protocol=4)
    packet = seen(101, data)
    assert packet.tunnel
    assert packet.key.via.count("ipip") == 8


def test_endless_link_and_extension_headers_are_malformed():
    """Stacks of tags and chains of options are bounded."""
    tags = ethernet(b"\0\1\x81\0" * 500, 0x8100)
    options = ipv6((b"\x3c\0" + b"\0" * 6) * 2_000, following=60)
    for link_type, data in ((1, tags), (101, options)):
        with pytest.raises(Undecodable, match="more than"):
            seen(link_type, data)


def test_ipv6_extension_headers_are_passed():
    """Hop-by-hop, destination options and an atomic fragment stand before TCP."""
    head = IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()
    packet = seen(101, head / IPv6ExtHdrFragment(offset=0, m=0) / TCP(sport=1, dport=2) / b"x")
    assert (packet.key.protocol, packet.key.peer_port, packet.payload, packet.fragment) == ("tcp", 2, b"x", None)


#: Every extension header in the order of RFC 8200 section 4.1, and the one that may stand on both sides of AH.
CHAIN = (
    IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting()
    / IPv6ExtHdrFragment(offset=0, m=0) / AH(spi=1, nh=60, payloadlen=4, icv=b"\0" * 12) / IPv6ExtHdrDestOpt(nh=6)
    / TCP(sport=40_000, dport=443, flags="S") / b"x"
)  # fmt: skip
AUTHENTICATED = {
    "ipv4": IP(src=CLIENT, dst=SERVER) / AH(spi=1, nh=6, payloadlen=4, icv=b"\0" * 12) / SEGMENT,
    "ipv6": IPv6(src=CLIENT_6, dst=SERVER_6) / AH(spi=1, nh=6, payloadlen=4, icv=b"\0" * 12) / SEGMENT,
    "ipv6_between_all_others": CHAIN,
}


@pytest.mark.parametrize("data", AUTHENTICATED.values(), ids=AUTHENTICATED.keys())
def test_authentication_header_hides_nothing(data):
    """It signs what follows, whatever stands before and behind it: the flow is TCP."""
    row = only([(BEGIN, bytes(data))], 101)
    assert (row["protocol"], row["initiator_port"], row["responder_port"]) == ("tcp", 40_000, 443)
    assert (row["bytes_sent"], row["initiator_basis"], row["via"]) == (len(bytes(data)), "syn", None)


def test_fragments_of_a_tunnel_count_their_bytes_once():
    """The first fragment's inner IP length covers what the later ones carry."""
    inner = ipv4(udp(40_000, 9_999, b"y" * 200), protocol=17)
    outer = bytes(UDP(sport=5, dport=4789) / VXLAN(vni=1) / Ether(**MACS, type=0x0800) / inner)
    first = ipv4(outer[:160], NODES["src"], NODES["dst"], protocol=17, part=0x2000)
    second = ipv4(outer[160:], NODES["src"], NODES["dst"], protocol=17, part=20)
    row = only([(BEGIN, first), (BEGIN + 1, second)], 101)
    assert (row["via"], row["packets_sent"], row["bytes_sent"]) == ("vxlan:1", 2, len(inner))


def overlay_fragments():
    """A datagram inside VXLAN whose outside travels in three fragments; the last repeats the end of the second."""
    inner = ipv4(udp(40_000, 9_999, b"y" * 300), protocol=17)
    outer = bytes(UDP(sport=5, dport=4789) / VXLAN(vni=1) / Ether(**MACS, type=0x0800) / inner)
    parts = [(0, 160, 0x2000), (160, 320, 0x2000), (240, len(outer), 0)]
    return len(inner), [
        ipv4(outer[begin:end], NODES["src"], NODES["dst"], protocol=17, part=more | begin // 8)
        for begin, end, more in parts
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_fragments_of_a_tunnel_count_to_the_flow_inside_in_any_order(order):
    """The first says whose they are, however late it comes and whatever the others repeat."""
    length, parts = overlay_fragments()
    row = only([(BEGIN + n, parts[index]) for n, index in enumerate(order)], 101)
    assert (row["via"], row["record"], row["packets_sent"], row["bytes_sent"]) == ("vxlan:1", 1, 3, length)
    assert (row["first_seen"], row["last_seen"]) == (BEGIN, BEGIN + 2)


SHORT = {
    "ethernet": (1, ethernet(FOUR)[:9]),
    "ip": (1, ethernet(FOUR)[:30]),
    "tcp": (1, ethernet(FOUR)[:37]),
    "udp": (101, ipv4(udp(1, 2, b"abc"), protocol=17)[:23]),
    "sctp": (101, ipv4(b"\0\1\0\2" + b"\0" * 8, protocol=132)[:22]),
    "icmp": (101, ipv4(b"\x08\0\0\0", protocol=1)[:20]),
    "ipv6": (101, SIX[:39]),
    "ipv6_options": (101, ipv6(b"\x06\0" + b"\0" * 6 + SEGMENT, following=0)[:44]),
    "sll": (113, b"\0\0\0\1\0"),
    "null": (0, b"\2\0"),
    "nflog": (239, nflog(FOUR)[:14]),
}


@pytest.mark.parametrize(("link_type", "data"), SHORT.values(), ids=SHORT.keys())
def test_header_cut_by_the_capture_length_is_named_so(link_type, data):
    """`truncated_packet` tells the user to raise the snapshot length; `malformed_packet` would not."""
    with pytest.raises(Undecodable) as cut:
        decode(link_type, data, 500)
    assert cut.value.reason == "truncated_packet"
    with pytest.raises(Undecodable) as whole:
        decode(link_type, data, len(data))
    assert whole.value.reason in ("malformed_packet", "truncated_packet")


LIES = {
    "ip_version": b"\x75" + FOUR[1:],
    "header_length": b"\x44" + FOUR[1:],
    "total_length_below_header": FOUR[:2] + b"\0\x10" + FOUR[4:],
    "tcp_offset_below_five": FOUR[:32] + b"\x10" + FOUR[33:],
    "tcp_offset_beyond_the_packet": FOUR[:32] + b"\xf0" + FOUR[33:],
    "udp_length_below_eight": ipv4(struct.pack("!HHHH", 1, 2, 3, 0) + b"abc", protocol=17),
}


@pytest.mark.parametrize("data", LIES.values(), ids=LIES.keys())
def test_header_that_contradicts_itself_is_malformed(data):
    """It cannot be said what such a packet is, so it is put aside with that reason."""
    with pytest.raises(Undecodable) as error:
        seen(101, data)
    assert error.value.reason == "malformed_packet"


def test_payload_cut_by_the_capture_length_keeps_its_real_size():
    """The bytes there are, and how many there were, are two facts."""
    packet = decode(101, FOUR[:42], len(FOUR))
    assert (packet.payload, packet.payload_length, packet.length) == (b"he", 5, len(FOUR))


def test_offloaded_segment_without_an_ip_length_takes_the_frames():
    """Captures on the sender show segments before the card cuts them, with length 0 when over 64 KiB."""
    data = ethernet(ipv4(tcp(1, 2, ACK, payload=b"z" * 70_000), length=0))
    packet = seen(1, data)
    assert (packet.length, packet.payload_length) == (70_040, 70_000)


JUMBO = b"\x06\0\xc2\x04" + struct.pack("!I", 8 + 20 + 70_000)
BIG_TCP = {
    "ipv4": (ethernet(ipv4(tcp(1, 2, ACK, payload=b"z" * 70_000), length=0)), 70_040, None),
    "ipv6": (ethernet(big_ipv6(tcp(1, 2, ACK, payload=b"z" * 70_000)), 0x86DD), 70_060, None),
    "ipv6_jumbo": (ethernet(big_ipv6(JUMBO + tcp(1, 2, ACK, payload=b"z" * 70_000), 0), 0x86DD), 70_068, None),
    "in_vxlan": (
        ethernet(ipv4(
            struct.pack("!HHHH", 5, 4_789, 0, 0) + struct.pack("!II", 0x08000000, 1 << 8)
            + ethernet(ipv4(tcp(1, 2, ACK, payload=b"z" * 70_000), length=0)),
            protocol=17, length=0)), 70_040, "vxlan:1"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "length", "via"), BIG_TCP.values(), ids=BIG_TCP.keys())
def test_big_tcp_is_counted_with_its_real_size(data, length, via):
    """No length field holds it, so all are zero: what counts is the frame, less what is around the packet."""
    row = only([(BEGIN, data)])
    assert (row["bytes_sent"], row["payload_sent"], row["via"]) == (length, 70_000, via)


def test_vxlan_on_another_port_is_read_where_it_is_told():
    """Antrea, Windows and old Calico have ports of their own; the usual ones carry it all the same."""
    outer = {port: bytes(IP(**NODES) / UDP(sport=5, dport=port) / VXLAN(vni=7) / INNER) for port in (4_789, 9_789)}
    for road in ({}, {"all_slow": True}, {"core": interpreted("vzflow.readers.packet_core")}):
        rows, _ = read([(BEGIN, outer[4_789]), (BEGIN, outer[9_789])], 101, vxlan_ports=(9_789,), **road)
        assert [(row["protocol"], row["responder_port"], row["via"]) for row in rows] == [
            ("tcp", 443, "vxlan:7")]  # fmt: skip
        assert rows[0]["packets_sent"] == 2


def test_ipv4_mapped_addresses_are_ipv4():
    """One end has one name in the store."""
    assert seen(101, ipv6(SEGMENT, sender="::ffff:10.0.0.1")).key.ip == "10.0.0.1"


def test_protocols_without_ports_are_named_or_numbered():
    """SCTP has ports, OSPF has none; both are flows."""
    sctp = seen(101, ipv4(b"\0\7\0\x08" + b"\0" * 8, protocol=132)).key
    assert (sctp.protocol, sctp.port, sctp.peer_port) == ("sctp", 7, 8)
    assert seen(101, ipv4(b"\2\1\0\0", protocol=89)).key.protocol == "89"
    assert seen(101, IPv6() / b"").key.protocol == "59"


def test_icmp_error_is_a_flow_of_its_own():
    """The packet it quotes is not traffic between the quoted ends."""
    packet = seen(101, IP(src=SERVER, dst=CLIENT) / ICMP(type=3, code=3) / FOUR)
    assert (packet.key.protocol, packet.key.ip, packet.opener) == ("icmp", SERVER, 0)


def test_link_type_of_scapy_beyond_the_common_ones_is_decoded():
    """Everything scapy has a class for comes with it, as 802.11 with its radio header."""
    radio = bytes.fromhex("0000080000000000") + b"\x08\0" + b"\0" * 22
    data = radio + b"\xaa\xaa\x03\0\0\0\x08\0" + FOUR
    assert seen(127, data).key.peer_port == 443


@pytest.mark.parametrize(("link_type", "data"), [(195, b"!" + b"\0" * 6), (230, b"\0" * 6)])
def test_dissector_that_raises_a_plain_exception_is_a_skip(link_type, data):
    """Scapy's own of IEEE 802.15.4 says "impossible case" of bytes that anybody may send."""
    assert seen(link_type, data) is SkipReason.NOT_IP


@settings(max_examples=400)
@given(
    link_type=st.sampled_from([1, 0, 9, 12, 50, 51, 101, 105, 108, 113, 127, 195, 228, 229, 239, 276, 999]),
    head=st.sampled_from([b"", ethernet(FOUR), FOUR, SIX, bytes(IP(proto=47) / GRE(proto=0x6558) / INNER)]),
    tail=st.binary(max_size=120),
    cut=st.integers(0, 200),
)
def test_any_bytes_give_a_packet_a_skip_or_a_reason(link_type, head, tail, cut):
    """Hostile bytes end in one of the three, on every link type."""
    data = (head + tail)[:cut]
    try:
        packet = decode(link_type, data, len(data) + cut % 3)
    except Undecodable:
        return
    assert isinstance(packet, SkipReason) or packet.payload_length >= len(packet.payload)


def test_decoder_is_silent_on_stderr():
    """Notes of scapy about this machine are not the user's."""
    code = "import vzflow.readers.packet_scapy as p; p.decode(1, bytes(60), 60)"
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
