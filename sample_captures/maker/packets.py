"""Which conversations a capture holds: enough of pcap, Ethernet and IPv4 to find each connection's packets again."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from pathlib import Path

_PROTOCOLS = {6: "tcp", 17: "udp"}
_IPV4 = 0x0800
_ARP = 0x0806


@dataclass
class Conversation:
    """
    All packets of one 5-tuple.

    Args:
        record: Number of the first packet in the file, from 1.
        first_seen: Its time in seconds.
        sent, received: Packets and IP bytes from and to the sender of the first packet.
    """

    protocol: str
    initiator: tuple[str, int]
    responder: tuple[str, int]
    record: int
    first_seen: float
    last_seen: float
    sent: tuple[int, int] = (0, 0)
    received: tuple[int, int] = (0, 0)


def conversations(path: Path) -> list[Conversation]:
    """
    Return the TCP and UDP conversations of a little-endian Ethernet pcap, in order of their first packet.

    Raises:
        ValueError: A packet is neither ARP nor IPv4 with TCP or UDP: the network was not quiet.
    """
    data = path.read_bytes()
    if data[:4] != b"\xd4\xc3\xb2\xa1":
        raise ValueError(f"{path} is no little-endian microsecond pcap")
    found: dict[tuple[object, ...], Conversation] = {}
    at, record = 24, 0
    while at < len(data):
        seconds, micros, kept, _ = struct.unpack_from("<IIII", data, at)
        frame = data[at + 16 : at + 16 + kept]
        at, record = at + 16 + kept, record + 1
        (kind,) = struct.unpack_from("!H", frame, 12)
        if kind == _ARP:
            continue
        if kind != _IPV4 or frame[23] not in _PROTOCOLS:
            raise ValueError(f"{path}:{record}: unwanted packet {frame[:40].hex()}")
        _count(found, frame, record, seconds + micros / 1e6)
    return list(found.values())


def _count(found: dict[tuple[object, ...], Conversation], frame: bytes, record: int, when: float) -> None:
    (length,) = struct.unpack_from("!H", frame, 16)
    ports = struct.unpack_from("!HH", frame, 14 + (frame[14] & 15) * 4)
    here = (socket.inet_ntoa(frame[26:30]), ports[0])
    there = (socket.inet_ntoa(frame[30:34]), ports[1])
    protocol = _PROTOCOLS[frame[23]]
    talk = found.get((protocol, there, here))
    if talk is None:
        talk = found.setdefault((protocol, here, there), Conversation(protocol, here, there, record, when, when))
        talk.sent = (talk.sent[0] + 1, talk.sent[1] + length)
    else:
        talk.received = (talk.received[0] + 1, talk.received[1] + length)
    talk.last_seen = when
