"""
One packet -> the facts a flow is made of, with scapy for link types and encapsulations.

The slow road: scapy says which layer follows which and how long its header is, one layer at a time, so that hostile
bytes cannot make it recurse. IP and transport headers are read here by their own length fields, because scapy cannot
tell a short packet from one that the capture length cut.
"""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from vzflow.flow.key import FlowKey, canonical_address
from vzflow.flow.terms import InitiatorBasis, RejectReason, SkipReason
from vzflow.readers.packet import ACK, GENEVE_PORT, RST, SYN, VXLAN_PORTS, FragmentId, Packet, Tcp

# A warning about this machine's interfaces or crypto library is none of the user's business.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    logging.getLogger("scapy").setLevel(logging.CRITICAL)
    from scapy.config import conf
    from scapy.contrib.geneve import GENEVE
    from scapy.contrib.mpls import MPLS
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6, IPv46
    from scapy.layers.l2 import ARP, GRE, LLC, SNAP, CookedLinux, Dot1Q, Dot3, Ether
    from scapy.layers.ppp import HDLC, PPP, PPPoE
    from scapy.layers.vxlan import VXLAN
    from scapy.packet import NoPayload, Padding, Raw
    from scapy.packet import Packet as Layer
logging.getLogger("scapy").setLevel(logging.CRITICAL)

#: What scapy's dissectors raise on bytes they did not expect: its own errors, Python's, and plain Exception.
_SCAPY_RAISES = Exception

#: Headers and tunnels in one packet beyond which it is an attack, not traffic.
MAX_HEADERS = 32
MAX_EXTENSIONS = 256
MAX_TUNNELS = 8

#: IANA protocol numbers.
_ICMP, _TCP, _UDP, _GRE, _ESP, _AH, _ICMPV6, _ETHERIP, _L2TP, _SCTP, _MPLS = 1, 6, 17, 47, 50, 51, 58, 97, 115, 132, 137
_NAMES = {_TCP: "tcp", _UDP: "udp", _SCTP: "sctp", _ICMP: "icmp", _ICMPV6: "icmpv6"}
#: Tunnels by (version outside, protocol number inside).
_IP_IN_IP = {(4, 4): "ipip", (4, 41): "6in4", (6, 4): "4in6", (6, 41): "6in6"}
#: Tunnels whose inside nobody without the keys (ESP) or the session (L2TPv3) can read.
_SEALED = {_ESP, _L2TP}
#: IPv6 extension headers of the common form (RFC 8200 section 4, RFC 6275, 7401, 5533); AH and fragments differ.
_EXTENSIONS = {0, 43, 60, 135, 139, 140}
_FRAGMENT, _NO_NEXT = 44, 59
#: Echo request and reply (RFC 792, RFC 4443): who opened, +1 the sender, -1 the receiver.
_ECHO = {(_ICMP, 8): 1, (_ICMP, 0): -1, (_ICMPV6, 128): 1, (_ICMPV6, 129): -1}

#: LINKTYPE values. RAW: 12 and 14 are DLT_RAW of older writers.
_ETHERNET, _NULL, _LOOP, _SLL, _NFLOG, _SLL2 = 1, 0, 108, 113, 239, 276
_RAW = {12, 14, 101, 228, 229}
#: ARPHRD_LOOPBACK of Linux' if_arp.h, in SLL and SLL2 headers.
_ARPHRD_LOOPBACK = 772
#: AF_INET, then AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, macOS (description of LINKTYPE_NULL).
_FAMILIES = {2, 10, 24, 28, 30}
#: NFULA_PAYLOAD of Linux' nfnetlink_log.h.
_NFLOG_PAYLOAD = 9
#: Ethertype of Cisco's metadata header. Behind GRE the next ethertype precedes its six bytes (as in Wireshark).
_CISCO_METADATA = 0x8909
_ETHERTYPES: dict[int, Any] = {0x0800: IP, 0x86DD: IPv6}
#: Link layers that carry IP: bytes missing there are damage. Anything else scapy may fail on is simply not IP.
_CARRIERS = (Ether, Dot3, LLC, SNAP, Dot1Q, CookedLinux, PPP, PPPoE, HDLC, GRE, MPLS, VXLAN, GENEVE)

#: What the packet core calls these headers too.
_HEADERS = {
    "Ether": "Ethernet header", "Dot1Q": "VLAN tag", "Dot1AD": "VLAN tag", "CookedLinux": "SLL header",
    "CookedLinuxV2": "SLL2 header",
}  # fmt: skip
#: Headers that scapy takes for whole when they are not, and their bytes.
_AT_LEAST = {"CookedLinuxV2": 20}


class Undecodable(Exception):
    """The packet cannot be made part of a flow; why, as a reject reason."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


class _Frame(NamedTuple):
    """Where in a packet we are: its captured bytes, how many there were uncut, and what the headers before said."""

    data: bytes
    length: int
    via: tuple[str, ...] = ()
    loopback: bool = False
    marked: bool = False
    vxlan_ports: frozenset[int] = frozenset(VXLAN_PORTS)

    def after(self, header: int) -> _Frame:
        return self._replace(data=self.data[header:], length=max(self.length - header, 0))

    def first(self, length: int) -> _Frame:
        return self._replace(data=self.data[:length], length=length)

    def within(self, tunnel: str) -> _Frame:
        return self._replace(via=(*self.via, tunnel))

    def short(self, header: str) -> Undecodable:
        """Return why *header* is not whole: the capture cut it, or the packet itself ends too early."""
        if len(self.data) < self.length:
            return Undecodable(RejectReason.TRUNCATED_PACKET, f"cut inside the {header}")
        return Undecodable(RejectReason.MALFORMED_PACKET, f"ends inside the {header}")


@dataclass(frozen=True)
class _Ip:
    """The IP header around a payload. `fragment` is null for a whole datagram; `part`: a fragment after the first."""

    version: int
    sender: str
    receiver: str
    length: int
    ident: int = 0
    fragment: FragmentId | None = None
    part: bool = False
    offset: int = 0


def decode(
    link_type: int,
    data: bytes,
    length: int,
    loopback: bool = False,
    vxlan_ports: frozenset[int] = frozenset(VXLAN_PORTS),
) -> Packet | SkipReason:
    """
    Return the innermost packet in *data*, or the name of what is not IP.

    A tunnel whose inside is no readable IP is returned as its own outside, marked `tunnel`.

    Args:
        link_type: LINKTYPE value of the capture or interface.
        data: Captured bytes.
        length: Bytes the packet had before the capture length cut it.
        loopback: The capture says that the interface is a loopback device.
        vxlan_ports: UDP ports that carry VXLAN.

    Raises:
        Undecodable: The link type is unknown, or a header is cut or contradicts itself.
    """
    marked = link_type in (_ETHERNET, _SLL, _SLL2)
    frame = _Frame(data, max(length, len(data)), loopback=loopback, marked=marked, vxlan_ports=vxlan_ports)
    if link_type in _RAW:
        return _ip(frame)
    if link_type in (_NULL, _LOOP):
        return _address_family(frame)
    if link_type == _NFLOG:
        return _nflog(frame)
    kind = _class_of(link_type)
    if kind is None:
        raise Undecodable(RejectReason.UNKNOWN_LINK_TYPE, f"link type {link_type}")
    return _link(kind, frame)


def _class_of(link_type: int) -> type[Layer] | None:
    known = conf.l2types.num2layer
    if link_type not in known:
        # Everything scapy has: slow to import, so only when the common layers do not do.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import scapy.layers.all  # noqa: F401
    return known.get(link_type)


def _address_family(frame: _Frame) -> Packet | SkipReason:
    """A BSD loopback header: an address family in the byte order of the machine that captured."""
    if len(frame.data) < 4:
        raise frame.short("loopback header")
    either = {int.from_bytes(frame.data[:4], "little"), int.from_bytes(frame.data[:4], "big")}
    return _ip(frame.after(4)) if either & _FAMILIES else SkipReason.NOT_IP


def _nflog(frame: _Frame) -> Packet | SkipReason:
    """Linux NFLOG: family, version, resource id, then attributes in the capturing machine's byte order."""
    for order in ("<HH", ">HH"):
        at = 4
        while at + 4 <= len(frame.data):
            size, kind = struct.unpack_from(order, frame.data, at)
            if size < 4:
                break
            if kind == _NFLOG_PAYLOAD:
                return _ip(frame.after(at + 4).first(size - 4))
            at += (size + 3) & ~3
    raise frame.short("NFLOG attributes")


def _link(kind: type[Layer], frame: _Frame) -> Packet | SkipReason:
    """Follow link headers until IP begins; *kind* is scapy's class for the first of them."""
    for _ in range(MAX_HEADERS):
        if issubclass(kind, (IP, IPv6, IPv46)):
            return _ip(frame)
        if issubclass(kind, ARP):
            return SkipReason.ARP
        if issubclass(kind, (Raw, Padding, NoPayload)):
            return SkipReason.NOT_IP
        layer, frame = _dissect(kind, frame)
        if layer is None:
            return SkipReason.NOT_IP
        if isinstance(layer, GRE):
            return _gre(layer, frame)
        frame = _noted(layer, frame)
        kind = _next(layer, frame)
    raise Undecodable(RejectReason.MALFORMED_PACKET, f"more than {MAX_HEADERS} link headers")


def _dissect(kind: type[Layer], frame: _Frame) -> tuple[Layer | None, _Frame]:
    """
    Return scapy's view of the one header that begins here, and what follows it.

    The layer is None when scapy fails on a protocol that does not carry IP.

    Raises:
        Undecodable: A header that carries IP is not whole.
    """
    carrier = issubclass(kind, _CARRIERS)
    if len(frame.data) < _AT_LEAST.get(kind.__name__, 1):
        if carrier:
            raise frame.short(_HEADERS.get(kind.__name__, f"{kind.__name__} header"))
        return None, frame
    try:
        layer = kind(frame.data, stop_dissection_after=Layer)
    except _SCAPY_RAISES as error:
        if carrier:
            raise frame.short(_HEADERS.get(kind.__name__, f"{kind.__name__} header")) from error
        return None, frame
    rest = layer.payload.load if isinstance(layer.payload, Raw) else b""
    beyond = layer.lastlayer()
    header = len(frame.data) - len(rest) - (len(beyond.load) if isinstance(beyond, Padding) else 0)
    return layer, frame.after(max(header, 0))


def _next(layer: Layer, frame: _Frame) -> type[Layer]:
    try:
        return layer.guess_payload_class(frame.data)
    except _SCAPY_RAISES:
        return Raw


def _noted(layer: Layer, frame: _Frame) -> _Frame:
    """Add what a link header says of the hop: Linux' loopback device has its own ARPHRD type and no addresses."""
    if frame.via:
        return frame
    zero = "00:00:00:00:00:00"
    loopback = isinstance(layer, CookedLinux) and layer.lladdrtype == _ARPHRD_LOOPBACK
    loopback |= isinstance(layer, (Ether, Dot3)) and layer.dst == zero and layer.src == zero
    return frame._replace(loopback=frame.loopback or loopback)


def _ip(frame: _Frame) -> Packet | SkipReason:
    version = frame.data[0] >> 4 if frame.data else None
    if version == 4:
        return _ipv4(frame)
    if version == 6:
        return _ipv6(frame)
    if version is None:
        raise frame.short("IP header")
    raise Undecodable(RejectReason.MALFORMED_PACKET, f"IP version {version}")


def _ipv4(frame: _Frame) -> Packet | SkipReason:
    if len(frame.data) < 20:
        raise frame.short("IPv4 header")
    length, ident, part, protocol, sender, receiver = struct.unpack_from("!2xHHHxB2x4s4s", frame.data)
    header = (frame.data[0] & 0x0F) * 4
    # Zero: a segment larger than 64 KiB before the card cuts it (BIG TCP, segmentation offload).
    length = length or frame.length
    if header < 20 or length < header:
        raise Undecodable(RejectReason.MALFORMED_PACKET, f"IPv4 header of {header} bytes in {length}")
    if len(frame.data) < header:
        raise frame.short("IPv4 header")
    ip = _Ip(4, _address(sender), _address(receiver), length, ident)
    offset, more = part & 0x1FFF, part & 0x2000
    if offset or more:
        ip = _fragment(ip, frame, protocol, ident, offset)
    return _upper(ip, protocol, frame.first(length).after(header))


def _ipv6(frame: _Frame) -> Packet | SkipReason:
    if len(frame.data) < 40:
        raise frame.short("IPv6 header")
    length, protocol, sender, receiver = struct.unpack_from("!4xHBx16s16s", frame.data)
    # Zero: a jumbogram (RFC 2675) or, on a host's own capture, BIG TCP.
    length = 40 + length if length or protocol == _NO_NEXT else frame.length
    ip = _Ip(6, _address(sender), _address(receiver), length)
    rest = frame.first(length).after(40)
    for _ in range(MAX_EXTENSIONS):
        if protocol == _AH:
            # Others may follow it, so it is one of the chain.
            protocol, rest = _signed(rest)
            continue
        if protocol not in _EXTENSIONS and protocol != _FRAGMENT:
            return _upper(ip, protocol, rest)
        if len(rest.data) < 8:
            raise rest.short("IPv6 extension header")
        following = rest.data[0]
        if protocol == _FRAGMENT:
            part, ident = struct.unpack_from("!HI", rest.data, 2)
            # Offset 0 and nothing to follow is an atomic fragment: a whole datagram (RFC 6946).
            if part & 0xFFF9:
                ip = _fragment(ip, rest, following, ident, part >> 3)
            rest = rest.after(8)
            if ip.part:
                return _upper(ip, following, rest)
        else:
            rest = rest.after((rest.data[1] + 1) * 8)
        protocol = following
    raise Undecodable(RejectReason.MALFORMED_PACKET, f"more than {MAX_EXTENSIONS} IPv6 headers")


def _fragment(ip: _Ip, frame: _Frame, protocol: int, ident: int, offset: int) -> _Ip:
    name = FragmentId("/".join(frame.via), ip.sender, ip.receiver, protocol, ident)
    return _Ip(ip.version, ip.sender, ip.receiver, ip.length, ident, name, offset > 0, offset)


@lru_cache(maxsize=8192)
def _address(raw: bytes) -> str:
    if len(raw) == 4:
        return ".".join(map(str, raw))
    return canonical_address(":".join(f"{raw[i]:02x}{raw[i + 1]:02x}" for i in range(0, 16, 2)))


def _upper(ip: _Ip, protocol: int, frame: _Frame) -> Packet | SkipReason:
    """What IP carries: a transport header, another packet, or something that is only counted."""
    if ip.part:
        later = _packet(ip, protocol, frame, payload=frame.first(0), payload_length=frame.length)
        return later._replace(mark=(ip.offset, 0))
    if protocol == _AH:
        return _upper(ip, *_signed(frame))
    if protocol == _TCP:
        return _tcp(ip, frame)
    if protocol == _UDP:
        return _udp(ip, frame)
    if protocol == _SCTP:
        if len(frame.data) < 4:
            raise frame.short("SCTP header")
        mark = struct.unpack_from("!8xII", frame.data)[::-1] if len(frame.data) >= 16 else (0, 0)
        return _packet(ip, protocol, frame, ports=struct.unpack_from("!HH", frame.data))._replace(mark=mark)
    if protocol in (_ICMP, _ICMPV6):
        if not frame.data:
            raise frame.short("ICMP header")
        mark = struct.unpack_from("!II", frame.data) if len(frame.data) >= 8 else (frame.data[0], 0)
        return _packet(ip, protocol, frame, opener=_ECHO.get((protocol, frame.data[0]), 0))._replace(mark=mark)
    return _tunnel(ip, protocol, frame)


def _signed(frame: _Frame) -> tuple[int, _Frame]:
    """Pass an authentication header (RFC 4302): it signs and hides nothing; a second one is nobody's traffic."""
    if len(frame.data) < 12:
        raise frame.short("authentication header")
    following = frame.data[0]
    if following == _AH:
        raise Undecodable(RejectReason.MALFORMED_PACKET, "authentication header in an authentication header")
    return following, frame.after((frame.data[1] + 2) * 4)


def _tunnel(ip: _Ip, protocol: int, frame: _Frame) -> Packet | SkipReason:
    outside = _packet(ip, protocol, frame)
    name = _IP_IN_IP.get((ip.version, protocol))
    if name is not None:
        return _inside(outside, lambda: _ip(frame.within(name)))
    if protocol == _GRE:
        return _inside(outside, lambda: _link(GRE, frame))
    if protocol == _MPLS:
        return _inside(outside, lambda: _link(MPLS, frame.within("mpls")))
    if protocol == _ETHERIP:
        return _inside(outside, lambda: _link(Ether, frame.after(2).within("etherip")))
    return outside._replace(tunnel=True) if protocol in _SEALED else outside


def _inside(outside: Packet, decoded: Callable[[], Packet | SkipReason]) -> Packet | SkipReason:
    """Return what a tunnel carries; its outside when that is not readable IP, so that no such packet is overlooked."""
    if outside.key.via is not None and outside.key.via.count("/") + 1 >= MAX_TUNNELS:
        return outside._replace(tunnel=True)
    try:
        found = decoded()
    except Undecodable:
        found = SkipReason.NOT_IP
    if found is SkipReason.NOT_IP:
        return outside._replace(tunnel=True)
    if isinstance(found, Packet) and outside.fragment is not None:
        # The later fragments of the outside belong to the flow inside, which has counted their bytes already.
        return found._replace(fragment=outside.fragment, carrier=True) if found.fragment is None else found
    return found


def _gre(layer: Layer, frame: _Frame) -> Packet | SkipReason:
    key = layer.getfieldval("key") if layer.fields.get("key_present") else None
    inner = frame.within("gre" if key is None else f"gre:{key}")
    if layer.proto == _CISCO_METADATA and len(inner.data) >= 8:
        return _link(_ETHERTYPES.get(int.from_bytes(inner.data[:2], "big"), Raw), inner.after(8))
    return _link(_next(layer, frame), inner)


def _tcp(ip: _Ip, frame: _Frame) -> Packet:
    if len(frame.data) < 14:
        return _blind(ip, _TCP, frame, 20, "TCP header")
    sender, receiver, seq, ack, offset, flags = struct.unpack_from("!HHIIBB", frame.data)
    header = (offset >> 4) * 4
    if header < 20 or header > frame.length:
        raise Undecodable(RejectReason.MALFORMED_PACKET, f"TCP header of {header} bytes in {frame.length}")
    payload = frame.after(header)
    return _packet(
        ip,
        _TCP,
        frame,
        ports=(sender, receiver),
        payload=payload,
        payload_length=payload.length,
        tcp=Tcp(flags, seq, ack),
        opener={SYN: 1, SYN | ACK: -1}.get(flags & (SYN | ACK | RST), 0),
    )


def _blind(ip: _Ip, protocol: int, frame: _Frame, size: int, header: str) -> Packet:
    """Return a packet cut inside its transport header: the ports say whose it is, and no more is known."""
    if len(frame.data) < 4 or frame.length < size:
        raise frame.short(header)
    return _packet(ip, protocol, frame, ports=struct.unpack_from("!HH", frame.data))._replace(blind=True)


def _udp(ip: _Ip, frame: _Frame) -> Packet | SkipReason:
    if len(frame.data) < 8:
        return _blind(ip, _UDP, frame, 8, "UDP header")
    sender, receiver, length = struct.unpack_from("!HHH", frame.data)
    if 0 < length < 8:
        raise Undecodable(RejectReason.MALFORMED_PACKET, f"UDP length {length}")
    # Zero as in IP above. A first fragment holds less than the length says.
    payload = frame.first(min(length or frame.length, frame.length)).after(8)
    outside = _packet(ip, _UDP, frame, ports=(sender, receiver), payload=payload, payload_length=payload.length)
    if receiver in frame.vxlan_ports and payload.data[:1] and payload.data[0] & 0x08:
        return _inside(outside, lambda: _overlay(VXLAN, "vxlan", payload))
    if receiver == GENEVE_PORT and payload.data[:1] and payload.data[0] < 0x40:
        return _inside(outside, lambda: _overlay(GENEVE, "geneve", payload))
    return outside


def _overlay(kind: type[Layer], name: str, frame: _Frame) -> Packet | SkipReason:
    if len(frame.data) < 8:
        raise frame.short(_HEADERS.get(kind.__name__, f"{kind.__name__} header"))
    layer, inner = _dissect(kind, frame)
    return SkipReason.NOT_IP if layer is None else _link(_next(layer, inner), inner.within(f"{name}:{layer.vni}"))


def _packet(
    ip: _Ip,
    protocol: int,
    frame: _Frame,
    *,
    ports: tuple[int, ...] = (0, 0),
    payload: _Frame | None = None,
    payload_length: int = 0,
    tcp: Tcp | None = None,
    opener: int = 0,
) -> Packet:
    return Packet(
        key=FlowKey(
            _NAMES.get(protocol, str(protocol)), ip.sender, ports[0], ip.receiver, ports[1], "/".join(frame.via) or None
        ),
        length=ip.length,
        payload=payload.data if payload else b"",
        payload_length=payload_length,
        tcp=tcp,
        opener=opener,
        opener_basis=InitiatorBasis.SYN if tcp else InitiatorBasis.REQUEST,
        loopback=frame.loopback,
        marked=frame.marked,
        fragment=ip.fragment,
        part=ip.part,
        ident=ip.ident if ip.version == 4 else 0,
    )


def view(link_type: int, data: bytes, length: int) -> str:
    """
    Return scapy's view of one captured frame, a field a line; where scapy fails, why.

    Args:
        link_type: LINKTYPE value.
        data: Captured bytes.
        length: Bytes the packet had before the capture length cut it.
    """
    kind = IPv46 if link_type in _RAW else _class_of(link_type)
    cut = f"cut: {len(data)} of {length} bytes were captured\n" if len(data) < length else ""
    try:
        return cut + str((kind or Raw)(data).show(dump=True))
    except _SCAPY_RAISES as error:
        return f"{cut}scapy cannot dissect it: {type(error).__name__}: {error}\n"
