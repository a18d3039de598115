"""
The headers of generated packets: each layer a numpy record, each combination of layers a layout of its own.

Source: RFC 791, 8200, 9293, 768, 792, 4443 and 7348; LINKTYPE_LINUX_SLL2 of the tcpdump link types.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from bench import messages
from bench.messages import Side

#: Values of the capture's header (https://www.tcpdump.org/linktypes.html).
LINK_TYPES = {"ethernet": 1, "sll2": 276}
FIN, SYN, PSH, ACK = 1, 2, 8, 16
#: Pods on one node.
NODE = 100
_IPV4, _IPV6 = 0x0800, 0x86DD

_RECORD = [("second", "<u4"), ("micro", "<u4"), ("captured", "<u4"), ("length", "<u4")]
_ETHERNET = [("to", "u1", 6), ("from", "u1", 6), ("type", ">u2")]
_SLL2 = [("type", ">u2"), ("zero", ">u2"), ("interface", ">u4"), ("hardware", ">u2"), ("packet", "u1"),
         ("size", "u1"), ("from", "u1", 8)]  # fmt: skip
_IP4 = [("version", "u1"), ("tos", "u1"), ("length", ">u2"), ("ident", ">u2"), ("fragment", ">u2"), ("ttl", "u1"),
        ("protocol", "u1"), ("checksum", ">u2"), ("source", ">u4"), ("target", ">u4")]  # fmt: skip
_IP6 = [("version", ">u4"), ("length", ">u2"), ("protocol", "u1"), ("ttl", "u1"), ("source", ">u2", 8),
        ("target", ">u2", 8)]  # fmt: skip
_TCP = [("source", ">u2"), ("target", ">u2"), ("seq", ">u4"), ("ack", ">u4"), ("size", "u1"), ("flags", "u1"),
        ("window", ">u2"), ("checksum", ">u2"), ("urgent", ">u2")]  # fmt: skip
_STAMPS = [("options", "u1", 4), ("stamp", ">u4"), ("echo", ">u4")]
_SYN_OPTIONS = [("begin", "u1", 8), ("stamp", ">u4"), ("echo", ">u4"), ("end", "u1", 4)]
_UDP = [("source", ">u2"), ("target", ">u2"), ("length", ">u2"), ("checksum", ">u2")]
_ICMP = [("type", "u1"), ("code", "u1"), ("checksum", ">u2"), ("ident", ">u2"), ("sequence", ">u2")]
_VXLAN = [("flags", ">u4"), ("network", ">u4")]


class Columns(Protocol):
    """What is asked of the flows: one value a flow in each array."""

    protocol: np.ndarray
    six: np.ndarray
    vxlan: np.ndarray
    client: np.ndarray
    server: np.ndarray
    client_port: np.ndarray
    server_port: np.ndarray
    first_ident: np.ndarray


class Layout(NamedTuple):
    """Which headers a packet has, and what its data begins with: `tls` a record's header, `id` a query's id."""

    vxlan: bool
    six: bool
    transport: str
    begins: str

    def dtype(self, link: str) -> np.dtype:
        """Record header, then the packet's headers from the outside in, then the start of the data."""
        link_layer = {"ethernet": _ETHERNET, "sll2": _SLL2}[link]
        layers = [("record", _RECORD), ("link", link_layer)]
        if self.vxlan:
            layers += [("outer", _IP4), ("tunnel", _UDP), ("vxlan", _VXLAN), ("inner_link", _ETHERNET)]
        layers.append(("ip", _IP6 if self.six else _IP4))
        layers.append(("transport", {"udp": _UDP, "icmp": _ICMP}.get(self.transport, _TCP)))
        layers += {"syn": [("options", _SYN_OPTIONS)], "tcp": [("options", _STAMPS)]}.get(self.transport, [])
        starts = {"tls": [("type", "u1"), ("version", ">u2"), ("length", ">u2")], "id": [("id", ">u2")]}
        if self.begins:
            layers.append(("begins", starts[self.begins]))
        return np.dtype(layers)

    def header(self, link: str) -> int:
        """Bytes before the data."""
        beyond = {"tls": 5, "id": 2, "": 0}[self.begins]
        return self.dtype(link).itemsize - 16 - beyond


_LAYOUTS = [
    Layout(vxlan, six, transport, begins)
    for vxlan in (False, True) for six in (False, True)
    for transport, begins in (("tcp", ""), ("tcp", "tls"), ("syn", ""), ("udp", "id"), ("icmp", ""))
]  # fmt: skip


class Headers:
    """Headers of the packets of some flows."""

    def __init__(self, link: str, flows: Columns) -> None:
        self._link = link
        self._flows = flows
        self._sizes = np.array([layout.header(link) for layout in _LAYOUTS])

    def _layout(self, chunk: np.ndarray) -> np.ndarray:
        """Index in _LAYOUTS for each packet."""
        flow = chunk["flow"]
        protocol = self._flows.protocol[flow]
        transport = np.select(
            [protocol == messages.Protocol.UDP, protocol == messages.Protocol.ICMP, chunk["flags"] & SYN != 0,
             chunk["message"] == messages.TLS_DATA],
            [3, 4, 2, 1], default=0,
        )  # fmt: skip
        return transport + 5 * self._flows.six[flow] + 10 * self._flows.vxlan[flow]

    def sizes(self, chunk: np.ndarray) -> np.ndarray:
        """Bytes of headers of each packet."""
        return self._sizes[self._layout(chunk)]

    def layouts(self, chunk: np.ndarray) -> Iterator[tuple[Layout, np.ndarray]]:
        """Each layout that occurs, with the indices of its packets."""
        which = self._layout(chunk)
        for number in np.unique(which):
            yield _LAYOUTS[number], np.nonzero(which == number)[0]

    def rows(self, layout: Layout, chunk: np.ndarray) -> np.ndarray:
        """Headers of *chunk*, all of one layout; the record header is left to the caller."""
        rows = np.zeros(len(chunk), layout.dtype(self._link))
        flows, flow, side = self._flows, chunk["flow"], chunk["side"]
        by_client = side == Side.CLIENT
        client, server = flows.client[flow], flows.server[flow]
        source, target = np.where(by_client, client, server), np.where(by_client, server, client)
        _link(rows["link"], source, target, layout.six and not layout.vxlan)
        length = chunk["size"] + sum(rows.dtype[n].itemsize for n in ("transport", "options") if n in rows.dtype.names)
        (_ip6 if layout.six else _ip4)(rows["ip"], source, target, length, chunk["ident"], layout.transport)
        if layout.vxlan:
            _link(rows["inner_link"], source, target, layout.six)
            self._around(rows, source, target, length + (40 if layout.six else 20) + 14, chunk)
        ports = np.where(by_client, flows.client_port[flow], flows.server_port[flow])
        other = np.where(by_client, flows.server_port[flow], flows.client_port[flow])
        if layout.transport == "icmp":
            _icmp(rows["transport"], by_client, flows.client_port[flow], chunk, layout.six)
        else:
            rows["transport"]["source"], rows["transport"]["target"] = ports, other
        if layout.transport in ("tcp", "syn"):
            _tcp(rows["transport"], rows["options"], chunk)
        elif layout.transport == "udp":
            rows["transport"]["length"] = 8 + chunk["size"]
            # A query and its answer are the same packet of their sender, counted from 0.
            nth = chunk["ident"] - flows.first_ident[side, flow]
            rows["begins"]["id"] = flows.client_port[flow] * np.uint16(31) + nth
        if layout.begins == "tls":
            rows["begins"]["type"], rows["begins"]["version"] = 23, 0x0303
            rows["begins"]["length"] = chunk["size"] - 5
        return rows

    def _around(
        self, rows: np.ndarray, source: np.ndarray, target: np.ndarray, frame: np.ndarray, chunk: np.ndarray
    ) -> None:
        """The outer headers of VXLAN, from node to node."""
        _ip4(rows["outer"], source, target, frame + 16, chunk["ident"], "udp", nodes=True)
        rows["tunnel"]["source"] = 49_152 + chunk["flow"] % 16_384
        rows["tunnel"]["target"] = 4789
        rows["tunnel"]["length"] = frame + 16
        rows["vxlan"]["flags"], rows["vxlan"]["network"] = 0x08000000, 4096 << 8


def _address(pod: np.ndarray, *, node: bool = False) -> np.ndarray:
    """IPv4 address of a pod, or of its node."""
    return 0xC0A80100 + 10 + pod // NODE if node else 0x0AF40000 + (pod // NODE << 8) + 2 + pod % NODE


def _link(rows: np.ndarray, source: np.ndarray, target: np.ndarray, six: bool) -> None:
    """Ethernet, or the cooked header of `-i any`; hardware addresses hold the IPv4 address, as CNI's do."""
    rows["type"] = _IPV6 if six else _IPV4
    rows["from"][:, :2] = 0x0A, 0x58
    rows["from"][:, 2:6] = _bytes(_address(source))
    if "to" in rows.dtype.names:
        rows["to"][:, :2] = 0x0A, 0x58
        rows["to"][:, 2:] = _bytes(_address(target))
    else:
        rows["interface"], rows["hardware"], rows["size"] = 2, 1, 6


def _bytes(values: np.ndarray) -> np.ndarray:
    return values.astype(">u4").view(np.uint8).reshape(-1, 4)


def _ip4(
    rows: np.ndarray, source: np.ndarray, target: np.ndarray, length: np.ndarray, ident: np.ndarray, transport: str,
    *, nodes: bool = False,
) -> None:  # fmt: skip
    rows["version"], rows["fragment"], rows["ttl"] = 0x45, 0x4000, 64
    rows["protocol"] = {"udp": 17, "icmp": 1}.get(transport, 6)
    rows["length"], rows["ident"] = 20 + length, ident
    rows["source"], rows["target"] = _address(source, node=nodes), _address(target, node=nodes)
    words = np.ascontiguousarray(rows).view(">u2").reshape(len(rows), -1).sum(axis=1, dtype=np.uint32)
    words = (words & 0xFFFF) + (words >> 16)
    rows["checksum"] = ~((words & 0xFFFF) + (words >> 16)) & 0xFFFF


def _ip6(
    rows: np.ndarray, source: np.ndarray, target: np.ndarray, length: np.ndarray, _ident: np.ndarray, transport: str
) -> None:
    rows["version"], rows["ttl"] = 0x60000000, 64
    rows["protocol"] = {"udp": 17, "icmp": 58}.get(transport, 6)
    rows["length"] = length
    for name, pod in (("source", source), ("target", target)):
        rows[name][:, :3] = 0xFD00, 0x0010, 0x0244
        rows[name][:, 3], rows[name][:, 7] = pod // NODE, 2 + pod % NODE


def _tcp(rows: np.ndarray, options: np.ndarray, chunk: np.ndarray) -> None:
    """Checksums stay zero, as offloading leaves them."""
    rows["seq"], rows["ack"], rows["flags"] = chunk["seq"], chunk["ack"], chunk["flags"]
    rows["size"] = (20 + options.dtype.itemsize) << 2
    # Not the same in two packets in turn, which would be a duplicate ACK.
    rows["window"] = 0x4000 + (chunk["ident"] & 0x3FFF)
    stamp = (chunk["time"] // 1000).astype(np.uint32)
    options["stamp"], options["echo"] = stamp, np.where(chunk["flags"] & ACK, stamp - 1, 0)
    if "begin" in options.dtype.names:
        options["begin"] = 2, 4, 0x05, 0xA8, 4, 2, 8, 10  # segments of 1448, SACK permitted, timestamps
        options["end"] = 1, 3, 3, 7  # window scale
    else:
        options["options"] = 1, 1, 8, 10


def _icmp(rows: np.ndarray, request: np.ndarray, ident: np.ndarray, chunk: np.ndarray, six: bool) -> None:
    rows["type"] = np.where(request, 128 if six else 8, 129 if six else 0)
    rows["ident"], rows["sequence"] = ident, chunk["ident"]
