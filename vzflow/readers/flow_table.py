"""
Packets -> flows: one row for each conversation of one capture, however long, cut at idle gaps.

A flow ends after 120 s without a packet, when a new SYN opens its 5-tuple again, when the table is full, or with the
capture. There is no active limit: a connection that never pauses is one row. Connection states are those of RFC 9293
as far as a bystander can tell them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from vzflow.flow.key import FlowKey
from vzflow.flow.terms import (
    Action,
    ConnectionState,
    Hop,
    InitiatorBasis,
    RejectReason,
    Reporter,
    Source,
    Transport,
    TransportBasis,
)
from vzflow.readers.base import Context, Tally
from vzflow.readers.facts import Facts, unknown
from vzflow.readers.packet import ACK, FIN, RST, SYN, FragmentId, Packet, Tcp
from vzflow.readers.payload import WIREGUARD, judge_datagrams, judge_streams
from vzflow.readers.reassembly import Stream

#: Microseconds without a packet that end a flow. No active limit (design section 3).
IDLE = 120_000_000
#: Live flows; the one silent for longest is written out to make room for another.
MAX_FLOWS = 250_000
#: Ended flows whose initiator is remembered, in case they continue after an idle gap.
MAX_REMEMBERED = 100_000
#: Bytes of first payload held for all live flows together; what does not fit is `unknown`, basis `cut`.
PAYLOAD_POOL = 64 << 20
#: Datagrams whose first fragment is remembered, and later fragments that wait for theirs.
MAX_FRAGMENTED = 65_536
MAX_WAITING = 4_096
#: Fragments of one datagram arrive within a minute, else the receiver drops them (RFC 8200 section 4.5).
FRAGMENT_LIFE = 60_000_000

_WITH_PORTS = {"tcp", "udp", "sctp"}

#: Ports that are registered or documented for a service and that nobody's outgoing connections use by default: SSH,
#: SMTP, DNS, HTTP, LDAP, HTTPS, NFS, etcd, MySQL, VXLAN, mDNS, LLMNR, PostgreSQL, Geneve, Redis, API server, HTTP
#: alternates, flannel's VXLAN, Prometheus, node-exporter, Elasticsearch, kubelet, kube-proxy, Istio's own, MongoDB.
_SERVICES = {
    22, 25, 53, 80, 389, 443, 636, 2049, 2379, 2380, 3306, 4789, 5353, 5355, 5432, 6081, 6379, 6443, 8080, 8443, 8472,
    9090, 9100, 9200, 9300, 10250, 10256, 15008, 15010, 15012, 15014, 15017, 15020, 15021, 15090, 15443, 27017,
}  # fmt: skip
#: Where Linux, and everyone since RFC 6056, takes the ports of its own outgoing connections from.
_EPHEMERAL = 32_768
#: Istio's sidecar: connections the pod opens, and those it accepts, are redirected here inside the pod.
_SIDECAR_PORTS = {15001, 15006}
#: Address from which the sidecar reaches its own application (Istio 1.10 and later).
_SIDECAR_ADDRESS = "127.0.0.6"


class _Side:
    """What one end of a flow sent."""

    __slots__ = ("acked", "bytes", "end", "fin", "ip", "isn", "packets", "payload", "port", "refusal", "rst", "stream")

    def __init__(self, ip: str, port: int) -> None:
        self.ip = ip
        self.port = port
        self.packets = 0
        self.bytes = 0
        self.payload = 0
        self.isn: int | None = None
        #: Sequence number after the last byte this end is known to have sent, by its own headers.
        self.end: int | None = None
        self.acked = False
        self.fin = False
        self.rst = False
        self.refusal = False
        self.stream = Stream()

    @property
    def unseen(self) -> bool:
        """It sent payload that is not in the capture: its own sequence numbers say so."""
        if self.isn is None or self.end is None:
            return False
        # A FIN takes a sequence number as a byte does.
        sent = (self.end - self.isn - 1) & 0xFFFFFFFF
        return self.payload + self.fin < sent < 1 << 31


class _Flow:
    """One row in the making. Side 0 sent the first packet."""

    __slots__ = (
        "basis", "facts", "first", "held", "key", "last", "loopback", "opened", "opener", "record", "reset", "sides",
        "touched", "tunnel", "unmarked", "wire",
    )  # fmt: skip

    def __init__(self, key: FlowKey, record: int) -> None:
        self.key = key
        self.record = record
        self.sides = (_Side(key.ip, key.port), _Side(key.peer_ip, key.peer_port))
        self.first: int | None = None
        self.last: int | None = None
        self.touched = 0
        self.opener: int | None = None
        self.basis = InitiatorBasis.FIRST_SEEN
        #: A SYN or SYN-ACK was seen.
        self.opened = False
        self.reset = False
        self.loopback = self.wire = self.unmarked = self.tunnel = False
        self.facts: Facts | None = None
        self.held = 0

    @property
    def closed(self) -> bool:
        return self.reset or (self.sides[0].fin and self.sides[1].fin)

    def initiator(self) -> tuple[int, InitiatorBasis]:
        """Return which side opened, and how that is known."""
        if self.opener is not None:
            return self.opener, self.basis
        if self.key.protocol in _WITH_PORTS:
            first, second = self.sides
            serving = _serves(first.port, second.port)
            if serving != _serves(second.port, first.port):
                return int(serving), InitiatorBasis.KNOWN_PORT
        return 0, InitiatorBasis.FIRST_SEEN


def _serves(port: int, other: int) -> bool:
    """Whether *port*, seen from *other*, is a service's: a known one, or a privileged against an ephemeral one."""
    return port in _SERVICES or (port < 1024 and other >= _EPHEMERAL)


class FlowTable:
    """
    Live flows of one capture.

    Feed it packets in capture order with `add`, take finished rows with `take`, and the rest with `finish`.
    """

    def __init__(
        self, context: Context, tally: Tally, *, max_flows: int = MAX_FLOWS, payload_pool: int = PAYLOAD_POOL
    ) -> None:
        self._context = context
        self._tally = tally
        self._max_flows = max_flows
        self._room = payload_pool
        self._flows: OrderedDict[FlowKey, _Flow] = OrderedDict()
        self._remembered: OrderedDict[FlowKey, tuple[int, InitiatorBasis]] = OrderedDict()
        self._fragments = _Fragments()
        self._rows: list[dict[str, Any]] = []
        self._now = 0
        #: Loopback addresses were seen on a link type that does not mark loopback devices.
        self._unmarked_loopback = False

    def add(self, record: int, time: int | None, packet: Packet) -> None:
        """
        Count *packet* to its flow, or keep a fragment back until its first part is seen.

        Args:
            record: Number of the packet in the capture, from 1.
            time: Microseconds since 1970, null when the capture has none.
            packet: From the decoder.
        """
        if packet.part:
            known = self._fragments.known(packet, time)
            if known is None:
                for lost, _, late in self._fragments.hold(record, time, packet):
                    self._lone(lost, late)
                return
            packet = known
        self._count(record, time, packet)
        if packet.fragment is not None and not packet.part:
            for waiting in self._fragments.begin(time, packet):
                self._count(*waiting)

    def take(self) -> list[dict[str, Any]]:
        """Return the rows of flows that have ended since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def finish(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of all flows still live, by first packet; nothing can be added afterwards."""
        for record, _, packet in self._fragments.waiting():
            self._lone(record, packet)
        live = sorted(self._flows.values(), key=lambda flow: flow.record)
        self._flows.clear()
        yield from self.take()
        for flow in live:
            yield self._row(flow)

    def _lone(self, record: int, packet: Packet) -> None:
        detail = f"{packet.key.protocol} {packet.key.ip} > {packet.key.peer_ip}, {packet.length} bytes"
        self._tally.reject(record, RejectReason.LONE_FRAGMENT, detail)

    def _count(self, record: int, time: int | None, packet: Packet) -> None:
        self._tally.in_flows += 1
        if time is not None and time > self._now:
            self._pass(time)
        flow, side = self._flow_of(record, time, packet)
        flow.touched = self._now
        flow.record = min(flow.record, record)
        if time is not None:
            flow.first = time if flow.first is None else min(flow.first, time)
            flow.last = time if flow.last is None else max(flow.last, time)
        self._note_hop(flow, packet)
        sender = flow.sides[side]
        sender.packets += 1
        sender.bytes += packet.length
        sender.payload += packet.payload_length
        if packet.opener and (flow.opener is None or (packet.tcp and not flow.opened)):
            flow.opener = side if packet.opener > 0 else 1 - side
            flow.basis = packet.opener_basis
        if packet.tcp is not None:
            _note_tcp(flow, side, packet, packet.tcp)
        if packet.payload_length and flow.facts is None:
            self._keep_payload(flow, side, packet)
        if packet.tcp and flow.facts is None and (flow.closed or all(end.stream.full for end in flow.sides)):
            self._settle(flow)

    def _flow_of(self, record: int, time: int | None, packet: Packet) -> tuple[_Flow, int]:
        """Return the live flow of *packet* and which of its sides sent it, beginning a new flow where one begins."""
        key = packet.key
        flow = self._flows.get(key)
        side = 0
        if flow is None:
            flow = self._flows.get(key.reverse())
            side = 1
        if flow is not None:
            later = time is not None and flow.last is not None and time > flow.last
            if _reopens(flow, side, packet, later=later):
                self._end(flow)
                self._remembered.pop(flow.key, None)
            elif time is not None and flow.last is not None and time - flow.last > IDLE:
                self._end(flow)
            else:
                self._flows.move_to_end(flow.key)
                return flow, side
        if len(self._flows) >= self._max_flows:
            self._end(next(iter(self._flows.values())))
        flow = self._flows[key] = _Flow(key, record)
        self._continue(flow)
        return flow, 0

    def _continue(self, flow: _Flow) -> None:
        """A flow that goes on after an idle gap keeps its initiator, and how that was known."""
        for key, side in ((flow.key, 0), (flow.key.reverse(), 1)):
            before = self._remembered.pop(key, None)
            if before is not None:
                flow.opener, flow.basis = before[0] ^ side, before[1]

    def _pass(self, time: int) -> None:
        """Let the capture's clock reach *time*, and end the flows that have been idle for too long by then."""
        if not self._now:
            # Until the first packet with a time, flows could not know how old they are.
            for flow in self._flows.values():
                flow.touched = time
        self._now = time
        while self._flows:
            flow = next(iter(self._flows.values()))
            if self._now - flow.touched <= IDLE:
                return
            self._end(flow)

    def _end(self, flow: _Flow) -> None:
        del self._flows[flow.key]
        self._remembered[flow.key] = flow.initiator()
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        self._rows.append(self._row(flow))

    def _note_hop(self, flow: _Flow, packet: Packet) -> None:
        """A packet from an address to itself, or with a loopback address, never left its host."""
        key = packet.key
        own = key.ip == key.peer_ip or any(ip == "::1" or ip.startswith("127.") for ip in (key.ip, key.peer_ip))
        if own and not packet.marked:
            self._unmarked_loopback = True
        if own or packet.loopback:
            flow.loopback = True
        else:
            flow.wire = True
            flow.unmarked |= not packet.marked
        flow.tunnel |= packet.tunnel

    def _keep_payload(self, flow: _Flow, side: int, packet: Packet) -> None:
        stream = flow.sides[side].stream
        if packet.tcp is not None:
            first = packet.tcp.seq + 1 if packet.tcp.flags & SYN else packet.tcp.seq
            held = stream.add(first, packet.payload, packet.payload_length, packet.tcp.ack, self._room)
        elif packet.part:
            return
        else:
            held = stream.add_datagram(packet.payload, self._room)
        flow.held += held
        self._room -= held

    def _settle(self, flow: _Flow) -> Facts:
        """Draw the conclusions from the first payload bytes, and let go of them."""
        first, second = (side.stream for side in flow.sides)
        if flow.key.protocol == "tcp":
            heard = all(side.packets and not side.unseen for side in flow.sides)
            ended = heard and any(side.fin or side.rst for side in flow.sides)
            flow.facts = judge_streams(first, second, ended=ended)
        else:
            flow.facts = judge_datagrams(first, second)
        self._room += flow.held
        flow.held = 0
        for side in flow.sides:
            side.stream = Stream()
        return flow.facts

    def _row(self, flow: _Flow) -> dict[str, Any]:
        opener, basis = flow.initiator()
        sent, received = flow.sides[opener], flow.sides[1 - opener]
        facts = self._facts(flow)
        tunnel = flow.tunnel or facts.app_protocol == WIREGUARD
        hop = self._hop(flow, received, tunnel)
        facts = _as_seen(facts, hop)
        ports = flow.key.protocol in _WITH_PORTS
        payload = flow.key.protocol in ("tcp", "udp")
        return {
            "segment": self._context.segment,
            "record": flow.record,
            "source": Source.PCAP.value,
            "reporter": Reporter.TAP.value,
            "reporter_name": self._context.reporter_name,
            "cluster": self._context.cluster,
            "first_seen": flow.first,
            "last_seen": flow.last,
            "protocol": flow.key.protocol,
            "initiator_ip": sent.ip,
            "initiator_port": sent.port if ports else None,
            "responder_ip": received.ip,
            "responder_port": received.port if ports else None,
            "initiator_basis": basis.value,
            "via": flow.key.via,
            "hop": hop.value,
            "initiator_principal": facts.principals[opener],
            "responder_principal": facts.principals[1 - opener],
            "packets_sent": sent.packets,
            "bytes_sent": sent.bytes,
            "packets_received": received.packets,
            "bytes_received": received.bytes,
            "payload_sent": sent.payload if payload else None,
            "payload_received": received.payload if payload else None,
            "duplicates": 0,
            "connections": 1,
            "connection_state": _state(flow, sent, received),
            "action": Action.UNKNOWN.value,
            "tls_version": facts.tls_version,
            "tls_sni": facts.tls_sni,
            "tls_alpn": facts.tls_alpn,
            "tls_resumed": facts.tls_resumed,
            "client_certificate": facts.client_certificate and facts.client_certificate.value,
            "app_protocol": facts.app_protocol,
            "transport_seen": facts.transport.value,
            "transport_seen_basis": facts.basis.value,
        }

    def _facts(self, flow: _Flow) -> Facts:
        if flow.key.protocol not in ("tcp", "udp"):
            return unknown(TransportBasis.DATAGRAM)
        if not any(side.payload for side in flow.sides):
            return _no_payload(flow)
        return flow.facts or self._settle(flow)

    def _hop(self, flow: _Flow, responder: _Side, tunnel: bool) -> Hop:
        if tunnel:
            return Hop.OUTER_TUNNEL
        if _SIDECAR_ADDRESS in (flow.key.ip, flow.key.peer_ip):
            return Hop.POD_INTERNAL
        if flow.loopback:
            if flow.wire:
                return Hop.MIXED
            # Whoever dials these ports of another pod over the wire goes past its sidecar: that is no hop inside.
            sidecar = flow.key.protocol == "tcp" and responder.port in _SIDECAR_PORTS
            return Hop.POD_INTERNAL if sidecar else Hop.LOOPBACK
        return Hop.MIXED if flow.unmarked and self._unmarked_loopback else Hop.WIRE


def _reopens(flow: _Flow, side: int, packet: Packet, *, later: bool) -> bool:
    """
    Whether a SYN or SYN-ACK begins another connection on the flow's 5-tuple.

    A SYN *later* than the end opens another one, whatever number it begins with: the sender chooses that. Else the
    same number is a retransmission, or a packet of a shuffled capture. Another number opens another connection if the
    old one is closed, or had carried payload already, so that its end was missed.
    """
    if packet.tcp is None or not packet.opener:
        return False
    if flow.closed and packet.opener > 0 and later:
        return True
    if packet.tcp.seq == flow.sides[side].isn:
        return False
    if flow.closed:
        return True
    carried = any(s.payload for s in flow.sides)
    return packet.opener > 0 and flow.sides[side].isn is not None and carried


def _note_tcp(flow: _Flow, side: int, packet: Packet, tcp: Tcp) -> None:
    sender, peer = flow.sides[side], flow.sides[1 - side]
    begins = 1 if tcp.flags & SYN else 0
    if begins and not tcp.flags & RST:
        flow.opened = True
        sender.isn = tcp.seq
        sender.stream.open(tcp.seq)
    if not tcp.flags & RST:
        end = (tcp.seq + begins + packet.payload_length) & 0xFFFFFFFF
        if sender.end is None or begins or (end - sender.end) & 0xFFFFFFFF < 1 << 31:
            sender.end = end
        sender.acked |= bool(tcp.flags & ACK) and not begins
    if tcp.flags & FIN:
        # Who hangs up first on a connection where nobody said anything turns the other away.
        sender.refusal |= not (sender.fin or sender.payload or peer.fin or peer.payload)
        sender.fin = True
    if tcp.flags & RST:
        if not sender.rst:
            # Closing a connection that its own initiator left without a word is no refusal.
            left = peer.rst or (peer.fin and not peer.payload)
            sender.refusal |= not sender.payload and not left
        sender.rst = True
        flow.reset |= not (flow.sides[0].fin and flow.sides[1].fin)


def _state(flow: _Flow, initiator: _Side, responder: _Side) -> str | None:
    if flow.key.protocol != "tcp":
        return None
    if not flow.opened:
        return ConnectionState.MIDSTREAM.value
    if responder.refusal and not responder.payload:
        return ConnectionState.REFUSED.value
    if not responder.packets and not initiator.acked:
        return ConnectionState.ATTEMPTED.value
    return (ConnectionState.RESET if flow.reset else ConnectionState.ESTABLISHED).value


def _no_payload(flow: _Flow) -> Facts:
    """No payload was seen: none was sent, unless the capture began late, lost some or heard one side only."""
    if flow.key.protocol == "tcp":
        if not flow.opened:
            return unknown(TransportBasis.MIDSTREAM)
        one_way = any(not side.packets for side in flow.sides) and any(side.acked for side in flow.sides)
        if one_way or any(side.unseen for side in flow.sides):
            return unknown(TransportBasis.CUT)
    return Facts(Transport.NONE, TransportBasis.NO_PAYLOAD)


def _as_seen(facts: Facts, hop: Hop) -> Facts:
    """Clear text proves something about the wire only where it was seen on the wire."""
    if hop is Hop.OUTER_TUNNEL:
        return facts._replace(transport=Transport.UNKNOWN, basis=TransportBasis.TUNNEL)
    if facts.transport is not Transport.PLAINTEXT or hop is Hop.WIRE:
        return facts
    basis = TransportBasis.HOP_UNCERTAIN if hop is Hop.MIXED else TransportBasis.NOT_ON_WIRE
    return facts._replace(transport=Transport.UNKNOWN, basis=basis)


_Held = tuple[int, int | None, Packet]


class _Fragments:
    """Which flow the fragments of a datagram belong to: only the first holds the ports."""

    def __init__(self) -> None:
        self._firsts: OrderedDict[FragmentId, tuple[int | None, Packet]] = OrderedDict()
        self._waiting: OrderedDict[FragmentId, list[_Held]] = OrderedDict()
        self._count = 0

    def known(self, packet: Packet, time: int | None) -> Packet | None:
        """Return *packet* with the key of its datagram's first fragment, or null while that is not known."""
        if packet.fragment is None or packet.fragment not in self._firsts:
            return None
        began, first = self._firsts[packet.fragment]
        if began is not None and time is not None and abs(time - began) > FRAGMENT_LIFE:
            return None
        return _joined(packet, first)

    def begin(self, time: int | None, first: Packet) -> list[_Held]:
        """Remember the first fragment of a datagram; return those that came before it, with its key."""
        if first.fragment is None:
            return []
        self._firsts[first.fragment] = (time, first._replace(payload=b""))
        self._firsts.move_to_end(first.fragment)
        if len(self._firsts) > MAX_FRAGMENTED:
            self._firsts.popitem(last=False)
        early = self._waiting.pop(first.fragment, [])
        self._count -= len(early)
        return [(record, then, _joined(packet, first)) for record, then, packet in early]

    def hold(self, record: int, time: int | None, packet: Packet) -> list[_Held]:
        """Keep a fragment until its first one comes; return those that had to make room for it."""
        if packet.fragment is None:
            return [(record, time, packet)]
        self._waiting.setdefault(packet.fragment, []).append((record, time, packet))
        self._count += 1
        if self._count <= MAX_WAITING:
            return []
        _, oldest = self._waiting.popitem(last=False)
        self._count -= len(oldest)
        return oldest

    def waiting(self) -> list[_Held]:
        """Return, and forget, every fragment that still waits."""
        left = [held for group in self._waiting.values() for held in group]
        self._waiting.clear()
        return sorted(left, key=lambda held: held[0])


def _joined(packet: Packet, first: Packet) -> Packet:
    if first.carrier:
        return packet._replace(key=first.key, length=0, payload_length=0, tunnel=first.tunnel)
    return packet._replace(key=first.key, tunnel=first.tunnel)
