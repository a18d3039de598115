"""What a decoder makes of one captured frame, and the flow table takes: the innermost packet."""

from __future__ import annotations

from typing import NamedTuple

from vzflow.flow.key import FlowKey
from vzflow.flow.terms import InitiatorBasis

#: UDP ports that carry VXLAN: RFC 7348, and what Linux used before it (flannel, Cilium, older Calico).
VXLAN_PORTS = (4789, 8472)
#: RFC 8926.
GENEVE_PORT = 6081

#: TCP flags.
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10


class Tcp(NamedTuple):
    """What the flow table needs of a TCP header."""

    flags: int
    seq: int
    ack: int


class FragmentId(NamedTuple):
    """What fragments of one datagram have in common (RFC 791, RFC 8200), and how they travelled."""

    via: str
    sender: str
    receiver: str
    protocol: int
    ident: int


class Packet(NamedTuple):
    """
    The innermost packet of one captured frame.

    Args:
        key: Sender to receiver; ports are 0 where there are none or, in a fragment, where they are not known.
        length: IP total length in bytes.
        payload: Captured bytes above TCP or UDP.
        payload_length: How many there were before the capture length cut them.
        tcp: Null for other protocols.
        opener: The packet proves who opened: 1 its sender, -1 its receiver, 0 neither.
        opener_basis: By what it proves that.
        loopback: The link says it is a loopback device.
        marked: The link type tells a loopback device from others.
        tunnel: A tunnel's outside, whose inside is not readable IP.
        fragment: Set on every fragment.
        part: A fragment after the first.
        blind: The capture length cut the transport header after its ports: what was sent above it is not known.
        ident: Identification of IPv4, 0 of IPv6; with `mark`, by which copies on other interfaces are recognised.
        mark: What else tells packets of one conversation apart: of TCP its numbers, of ICMP and SCTP the first bytes.
        carrier: The fragments are those of a tunnel around this packet, which holds all bytes already.
    """

    key: FlowKey
    length: int
    payload: bytes = b""
    payload_length: int = 0
    tcp: Tcp | None = None
    opener: int = 0
    opener_basis: InitiatorBasis = InitiatorBasis.SYN
    loopback: bool = False
    marked: bool = False
    tunnel: bool = False
    fragment: FragmentId | None = None
    part: bool = False
    carrier: bool = False
    blind: bool = False
    ident: int = 0
    mark: tuple[int, int] = (0, 0)
