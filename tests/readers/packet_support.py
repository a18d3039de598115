"""Packets and captures made in the test, byte by byte, so that the readers are not tested with their own code."""

import datetime
import io
import socket
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from vzflow.readers import pcap
from vzflow.readers.base import Context, Tally

CONTEXT = Context("test.pcap", "0123456789abcdef", "here")
CLIENT, SERVER = "10.244.1.5", "10.244.2.7"
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
#: 2023-11-14T22:13:20Z in microseconds.
BEGIN = 1_700_000_000_000_000
SECOND = 1_000_000
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MICROSECOND = datetime.timedelta(microseconds=1)


def ethernet(payload, kind=0x0800, addresses=b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02"):
    return addresses + struct.pack("!H", kind) + payload


def ipv4(payload, sender=CLIENT, receiver=SERVER, protocol=6, ident=1, part=0, length=None):
    """*part*: offset in units of 8 bytes, plus 0x2000 when more follow."""
    size = 20 + len(payload) if length is None else length
    ends = socket.inet_aton(sender), socket.inet_aton(receiver)
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, size, ident, part, 64, protocol, 0, *ends) + payload


def ipv6(payload, sender="2001:db8::1", receiver="2001:db8::2", following=6):
    ends = socket.inet_pton(socket.AF_INET6, sender), socket.inet_pton(socket.AF_INET6, receiver)
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), following, 64, *ends) + payload


def tcp(sport, dport, flags, seq=0, ack=0, payload=b""):
    return (
        struct.pack("!HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 1024, 0, 0) + payload
    )


def udp(sport, dport, payload=b""):
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def pcap_file(frames, link_type=1, order="<", magic=0xA1B2C3D4, units=1_000_000, extra=b"", snaplen=262_144):
    """*frames*: (microseconds, bytes) or (microseconds, bytes, original length)."""
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link_type)]
    for time, data, *length in frames:
        fraction = time % SECOND * units // SECOND
        out.append(struct.pack(order + "IIII", time // SECOND, fraction, len(data), *(length or [len(data)])))
        out.append(extra + data)
    return b"".join(out)


def block(kind, body, order="<"):
    body += b"\0" * (-len(body) % 4)
    size = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + size + body + size


def section(order="<"):
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link_type=1, snaplen=0, options=b"", order="<"):
    return block(1, struct.pack(order + "HHI", link_type, 0, snaplen) + options, order)


def option(code, value, order="<"):
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def enhanced(stamp, data, number=0, length=None, order="<"):
    head = struct.pack(order + "IIIII", number, stamp >> 32, stamp & 0xFFFFFFFF, len(data), length or len(data))
    return block(6, head + data, order)


@dataclass
class Talk:
    """One TCP connection, a packet at a time, 1 ms apart."""

    client: str = CLIENT
    server: str = SERVER
    sport: int = 40_000
    dport: int = 8_000
    isn: int = 1_000
    peer_isn: int = 9_000
    time: int = BEGIN
    link: object = staticmethod(ethernet)
    frames: list = field(default_factory=list)
    sent: int = 0
    received: int = 0

    def out(self, flags, payload=b"", back=False, seq=None):
        """Add one packet from the client, or *back* from the server, with the numbers that come next."""
        own, peer = (self.received, self.sent) if back else (self.sent, self.received)
        own_isn, peer_isn = (self.peer_isn, self.isn) if back else (self.isn, self.peer_isn)
        ports = (self.dport, self.sport) if back else (self.sport, self.dport)
        ends = (self.server, self.client) if back else (self.client, self.server)
        number = own_isn + own if seq is None else seq
        segment = tcp(*ports, flags, number, peer_isn + peer if flags & ACK else 0, payload)
        self.frames.append((self.time, self.link(ipv4(segment, *ends))))
        self.time += 1_000
        used = len(payload) + (1 if flags & (SYN | FIN) else 0)
        if seq is None:
            self.received += used if back else 0
            self.sent += 0 if back else used
        return self

    def open(self):
        return self.out(SYN).out(SYN | ACK, back=True).out(ACK)

    def say(self, payload):
        return self.out(PSH | ACK, payload)

    def answer(self, payload):
        return self.out(PSH | ACK, payload, back=True)

    def close(self):
        return self.out(FIN | ACK).out(FIN | ACK, back=True).out(ACK)


def rows_of(batches):
    """Flows as dicts; times are microseconds."""
    rows = [row for batch in batches for row in batch.to_pylist()]
    for row in rows:
        for name in ("first_seen", "last_seen"):
            row[name] = row[name] and (row[name] - EPOCH) // MICROSECOND
    return sorted(rows, key=lambda row: row["record"])


def read(data, link_type=1, tally=None, vxlan_ports=(), **options):
    """Rows, by first packet, and tally of a capture: bytes of a file, frames of a pcap, or a Talk."""
    if isinstance(data, Talk):
        data = data.frames
    if isinstance(data, list):
        data = pcap_file(data, link_type)
    tally = tally or Tally()
    rows = rows_of(pcap.read(io.BytesIO(data), replace(CONTEXT, vxlan_ports=vxlan_ports), tally, **options))
    assert tally.balanced
    return rows, tally


def only(data, link_type=1):
    """The one row of a capture in which nothing was skipped or rejected."""
    rows, tally = read(data, link_type)
    assert not tally.rejects
    assert not tally.skipped
    (row,) = rows
    return row


def shared_captures():
    """The captures beside the checkout, or a skip: users do not have them."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "samples" / "captures"
    if not folder.parents[1].is_dir():
        pytest.skip("the sample captures are not beside this checkout")
    return folder
