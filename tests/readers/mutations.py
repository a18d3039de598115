"""
Captures that were damaged on purpose, and what must hold for each.

Half are damaged as bytes; half packet by packet, each framed anew, so that the damage reaches the decoder, the flow
table and the judges. Everything follows from a number: file N of a run is always the same bytes.
"""

from __future__ import annotations

import io
import random
import struct
import sys
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc
from readers import test_copies, test_packet_scapy
from readers.packet_support import (
    BEGIN,
    CONTEXT,
    SECOND,
    Talk,
    block,
    enhanced,
    ethernet,
    interface,
    ipv4,
    ipv6,
    option,
    pcap_file,
    rows_of,
    section,
    tcp,
    udp,
)
from readers.payload import test_datagrams, test_upgrades
from readers.payload_support import (
    alpn,
    answer_body,
    extension,
    frame,
    handshake,
    hello_body,
    record,
    server_name,
    versions,
)

from vzflow.flow.errors import UnreadableInput
from vzflow.readers import pcap
from vzflow.readers.base import Tally

CHECKOUT = Path(__file__).resolve().parents[2]
#: Seconds of the processor that one small file may take; a normal one takes 2 ms.
PATIENCE = 2.0
#: Tables and pools so small that room is made all the time; 512 bytes are one chunk.
MAX_FLOWS, POOLS = (4, 5, 8, 16, 16, 64, 64), (512, 1024, 2048, 4096, 4096)


class Packet(NamedTuple):
    """One packet of a capture, taken apart: microseconds, link type, bytes, original length."""

    time: int
    link: int
    data: bytes
    length: int


# --- Captures to begin with ------------------------------------------------------------------------------------------

HELLO = record(
    22, handshake(1, hello_body(0x0303, server_name(b"orders.shop"), alpn(b"istio", b"h2"), versions(0x0304)))
)
ANSWER = record(22, handshake(2, answer_body(0x0303, extension(43, b"\3\4")))) + record(20, b"\1")
OLD_ANSWER = record(
    22, handshake(2, answer_body(0x0303)) + handshake(11, b"\0\0\x10\0\0\x0d" + b"\x30\x0b" + b"c" * 11)
    + handshake(13, b"\1\1\0\0") + handshake(14, b"")
)  # fmt: skip
QUERY = bytes.fromhex("000101000001000000000000") + b"\1a\0\0\1\0\1"
SAID = {
    "http": [("c", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), ("s", b"HTTP/1.1 204 No Content\r\n\r\n")],
    "upgrade": [("c", b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"), ("s", b"HTTP/1.1 101 Go\r\n\r\n")],
    "http2": [("c", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, b"\x83\x86\x84"))],
    "tls13": [("c", HELLO), ("s", ANSWER + record(23, b"e" * 900)), ("c", record(20, b"\1") + record(23, b"f" * 80)),
              ("s", record(23, b"x" * 200)), ("c", record(23, b"y" * 2_000))],
    "tls12": [("c", HELLO), ("s", OLD_ANSWER), ("c", record(22, handshake(11, b"\0\0\0") + handshake(15, b"v" * 40))
              + record(20, b"\1")), ("s", record(20, b"\1")), ("c", record(23, b"d" * 30))],
    "alert": [("c", HELLO), ("s", record(21, b"\2\x28"))],
    "long": [("c", b"POST / HTTP/1.1\r\n\r\n" + b"x" * 9_000), ("s", b"HTTP/1.1 200 OK\r\n\r\n" + b"y" * 9_000)],
    **{name: said for name, (said, _) in test_upgrades.IN_CLEAR.items()},
    **test_upgrades.OPEN,
    **test_upgrades.UNDECIDED,
}  # fmt: skip


#: Headers that no other test has whole, as raw IP.
_GRE = struct.pack("!HHIII", 0xB000, 0x0800, 0, 40, 7)
_OPTIONS = struct.pack("!BBHI", 2, 0, 0x6558, 5 << 8) + b"\1\2\3\1\0\0\0\0"
_SEGMENT = tcp(40_000, 443, 24, payload=b"GET / HTTP/1.1\r\n\r\n")
HEADERS = {
    "sctp": ipv4(struct.pack("!HHIIIBBH", 7, 8, 9, 0, 1, 0, 3, 16) + b"x" * 12, protocol=132),
    "sctp_in_ipv6": ipv6(struct.pack("!HHIIII", 7, 8, 9, 0, 1, 2), following=132),
    "echo": ipv4(b"\x08\0\0\0\0\1\0\1abcd", protocol=1),
    "echo_reply_in_ipv6": ipv6(b"\x81\0\0\0\0\1\0\1abcd", following=58),
    "dns": ipv4(udp(5_000, 53, QUERY), protocol=17),
    "extensions": ipv6(b"\x2b\0" + bytes(6) + b"\x3c\1" + bytes(14) + b"\x06\0" + bytes(6) + _SEGMENT, following=0),
    "atomic_fragment": ipv6(b"\x06\0\0\0\0\0\0\7" + _SEGMENT, following=44),
    "ah_in_ipv6": ipv6(b"\x06\4" + bytes(22) + _SEGMENT, following=51),
    "tcp_options": ipv4(tcp(1, 2, 2)[:12] + b"\xf0\2" + bytes(46) + b"hello"),
    "ip_options": b"\x4f" + ipv4(b"", length=80)[1:] + bytes(40) + tcp(1, 2, 2),
    "gre_with_all_fields": ipv4(_GRE + ipv4(_SEGMENT), protocol=47),
    "gre_mpls": ipv4(struct.pack("!HH", 0, 0x8847) + b"\0\0\x10\xff\0\0\x11\xff" + ipv4(_SEGMENT), protocol=47),
    "geneve_options": ipv4(udp(7, 6081, _OPTIONS + ethernet(ipv4(_SEGMENT))), protocol=17),
    "fragment": ipv4(_SEGMENT, part=0x2000),
}


def talked(said, number, link=ethernet, size=1_400):
    """A connection in which that was said, in segments."""
    talk = Talk(sport=20_000 + number, time=BEGIN + number * 777, isn=0xFFFFFF00 + number, link=link).open()
    for side, data in said:
        for at in range(0, len(data), size):
            talk.out(24, data[at : at + size], back=side == "s")
    return talk.close().frames


def _asked(said, number):
    """Datagrams of two sides."""
    ends = ("10.0.0.1", "10.0.0.2"), (5_000 + number, 443)
    out = []
    for n, (data, back) in enumerate(zip(said, (False, True), strict=False)):
        way = slice(None, None, -1 if back else 1)
        if data:
            out.append((BEGIN + n, ethernet(ipv4(udp(*ends[1][way], data), *ends[0][way], protocol=17))))
    return out


def _fragments():
    whole = udp(5_000, 53, QUERY + b"x" * 100)
    six = [b"\x11\0" + struct.pack("!HI", at | (at == 0), 7) + whole[at : at + 64] for at in (0, 64, 128)]
    frames = [ethernet(ipv4(whole[at : at + 64], protocol=17, part=at // 8 | 0x2000)) for at in (64, 0, 64, 128)]
    frames += [ethernet(ipv6(part, following=44), 0x86DD) for part in (six[1], six[0], six[2])]
    frames += [ethernet(ipv4(whole[:64], protocol=17, ident=9, part=0x2000))]
    return [(BEGIN + n, data) for n, data in enumerate(frames)]


@cache
def seeds():
    """Captures of every kind: link types, tunnels, fragments, copies, protocols, both formats, both byte orders."""
    links = {}
    for link, data in [*test_packet_scapy.LINKS.values(), *test_packet_scapy.SHORT.values()]:
        links.setdefault(link, []).append(bytes(data))
    for outer, _ in [*test_packet_scapy.TUNNELS.values(), *test_packet_scapy.OUTSIDES.values()]:
        links.setdefault(101, []).append(bytes(outer))
    links[101] += HEADERS.values()
    links[101] += [bytes(data) for data in test_packet_scapy.LIES.values()]
    found = [pcap_file([(BEGIN + n, data) for n, data in enumerate(some)], link) for link, some in links.items()]
    found.append(pcap_file(test_copies.legs(test_copies.segment()) * 2, test_copies.SLL2))
    found.append(pcap_file(test_copies.legs(test_copies.segment(), link=test_copies.sll) * 2, test_copies.SLL))
    said = list(SAID.values())
    for n in range(0, len(said), 3):
        frames = [one for m, some in enumerate(said[n : n + 3]) for one in talked(some, n + m, size=(1_400, 90)[m % 2])]
        found.append(pcap_file(sorted(frames), order="<>"[n % 2]))
    pairs = [*test_datagrams.QUIC.values(), *(case[:2] for case in test_datagrams.DTLS.values()), (QUERY, QUERY)]
    found.append(pcap_file([one for n, pair in enumerate(pairs) for one in _asked(pair[:2], n)]))
    found.append(pcap_file(_fragments()))
    copied = [
        (BEGIN + n, test_copies.sll2(data, device, 4)) for n, data in enumerate(HEADERS.values()) for device in (2, 3)
    ]
    found.append(pcap_file([one for one in copied if one[1][20] >> 4 == 4], test_copies.SLL2))
    shaken = talked(SAID["tls13"], 1)
    for order in "<>":
        names = option(2, b"lo", order) + option(9, b"\x09", order), option(14, struct.pack(order + "q", 5), order)
        mixed = (
            section(order) + interface(options=names[0], order=order) + interface(276, options=names[1], order=order)
        )
        mixed += b"".join(enhanced(at * 1_000, data, 0, order=order) for at, data in shaken[:6]) + block(
            4, b"x" * 9, order
        )
        mixed += b"".join(enhanced(at, data, 1, order=order) for at, data in test_copies.legs(test_copies.segment()))
        mixed += block(3, struct.pack(order + "I", 99) + shaken[0][1], order)
        mixed += block(2, struct.pack(order + "HHIIII", 1, 0, 0, 9, 54, 54) + shaken[0][1], order)
        found.append(mixed + section("<") + interface(101) + enhanced(BEGIN, ipv4(tcp(1, 2, 2))))
    packets = taken_apart((CHECKOUT / "sample_captures" / "verrazzano.pcap").read_bytes())
    found += [put_together(packets[at : at + 40]) for at in range(0, len(packets), 40)]
    return found


def taken_apart(data):
    """The packets of a capture that is whole."""
    packets, at = [], 24
    if data[:4] != b"\n\r\r\n":
        order = "<" if data[:1] == b"\xd4" else ">"
        (link,) = struct.unpack_from(order + "I", data, 20)
        while at < len(data):
            seconds, micros, captured, length = struct.unpack_from(order + "IIII", data, at)
            at += 16 + captured
            packets.append(Packet(seconds * SECOND + micros, link & 0xFFFF, data[at - captured : at], length))
        return packets
    at, order, links = 0, "<", []
    while at < len(data):
        if data[at : at + 4] == b"\n\r\r\n":
            order, links = "<" if data[at + 8] == 0x4D else ">", []
        kind, size = struct.unpack_from(order + "II", data, at)
        if kind == 1:
            links += struct.unpack_from(order + "H", data, at + 8)
        if kind == 6:
            number, high, low, captured, length = struct.unpack_from(order + "IIIII", data, at + 8)
            packets.append(
                Packet((high << 32 | low) % (1 << 51), links[number], data[at + 28 : at + 28 + captured], length)
            )
        at += size
    return packets


def put_together(packets, chance=None):
    """A capture of these packets: pcap where they are of one link type, else pcapng; by *chance* the other."""
    order = chance.choice("<>") if chance else "<"
    links = sorted({packet.link for packet in packets})
    if len(links) < 2 and (chance is None or chance.random() < 0.6):
        frames = [(packet.time, packet.data, packet.length) for packet in packets]
        return pcap_file(frames, links[0] if links else 1, order)
    out = [section(order), *(interface(link, order=order) for link in links)]
    for packet in packets:
        number = links.index(packet.link) + (chance is not None and chance.random() < 0.02)
        out.append(enhanced(packet.time, packet.data, number, packet.length, order))
    return b"".join(out)


# --- Damage ----------------------------------------------------------------------------------------------------------

NUMBERS = (
    0,
    1,
    3,
    12,
    13,
    0xFF,
    0xFFFF,
    0x10000,
    1 << 20,
    (1 << 20) + 1,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFC,
    0xFFFFFFFF,
)
BYTES = (
    0,
    1,
    4,
    5,
    6,
    17,
    20,
    22,
    23,
    41,
    43,
    44,
    47,
    50,
    51,
    58,
    60,
    97,
    132,
    137,
    0x45,
    0x4F,
    0x60,
    0x81,
    0x86,
    0xFF,
)
#: Headers that are put before a packet, or inside it.
PIECES = (
    b"\x81\0\0\7", b"\x88\xa8\0\1", b"\x88\x47", b"\0\0\x10\xff", b"\x2b\0\0\0\0\0\0\0", b"\x2c\0\0\1\0\0\0\7",
    b"\x04\x04\0\0\0\0\0\5\0\0\0\1", b"\x20\0\x08\0\0\0\0\7", b"\x08\0\0\0\0\0\7\0", b"\0\0\x65\x58\0\0\7\0",
    b"\r\n\r\n", b"\x16\3\3\0\x80", b"\x17\3\3\x40\0", b"\x14\3\3\0\1\1",
)  # fmt: skip


def damaged_bytes(data, chance):
    """A file with wrong, missing, repeated or foreign bytes anywhere."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5, 20, len(out) // 30 + 1))):
        at, what = int(chance.random() ** chance.choice((1, 1, 3)) * len(out)), chance.random()
        if what < 0.4:
            out[at : at + 1] = bytes([chance.randrange(256)])
        elif what < 0.55:
            out[at : at + 1] = bytes([out[at] ^ 1 << chance.randrange(8)]) if at < len(out) else b""
        elif what < 0.75:
            out[at : at + 4] = struct.pack(chance.choice("<>") + "I", chance.choice(NUMBERS))
        elif what < 0.82:
            del out[at : at + chance.choice((1, 2, 4, 100))]
        elif what < 0.88:
            out[at:at] = chance.randbytes(chance.randrange(1, 9))
        elif what < 0.95:
            other = chance.choice(seeds())
            begin = chance.randrange(len(other))
            out[at : at + chance.choice((0, 64))] = other[begin : begin + chance.choice((16, 64, 300))]
        else:
            del out[max(at, 24) :]
    return bytes(out)


def wrong(data, chance):
    """A packet with damage, most of it in its headers."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 12))):
        at, what = int(chance.random() ** 2 * len(out)), chance.random()
        if what < 0.6:
            out[at : at + 1] = bytes([chance.choice(BYTES) if what < 0.45 else chance.randrange(256)])
        elif what < 0.7:
            out[at : at + 2] = struct.pack("!H", chance.choice(NUMBERS) & 0xFFFF)
        elif what < 0.85:
            piece = chance.choice(PIECES) * chance.choice((1, 2, 9, 40))
            out[at : at + chance.choice((0, len(piece)))] = piece
        else:
            del out[at : len(out) if what < 0.93 else at + chance.randrange(1, 30)]
    return bytes(out[:70_000])


def _tunnelled(packet, chance):
    """A raw IP packet inside many others."""
    data = packet.data
    for _ in range(chance.choice((1, 2, 7, 8, 9, 40))):
        kind = chance.randrange(5)
        if kind == 0:
            data = ipv4(data, protocol=chance.choice((4, 41)))
        elif kind == 1:
            data = ipv6(data[:60_000], following=chance.choice((4, 41)))
        elif kind == 2:
            data = ipv4(struct.pack("!HHI", 0x2000, 0x0800, chance.randrange(9)) + data, protocol=47)
        elif kind == 3:
            inside = struct.pack("!II", 0x08000000, chance.randrange(9) << 8) + ethernet(data)
            data = ipv4(udp(7, chance.choice((4789, 8472)), inside[:60_000]), protocol=17)
        else:
            data = ipv4(udp(7, 6081, (struct.pack("!HHI", 0, 0x0800, 1 << 8) + data)[:60_000]), protocol=17)
        data = data[:60_000]
    return packet._replace(data=data, length=len(data), link=101)


def _late(packet, chance):
    far = (1, -SECOND, 121 * SECOND, -300 * SECOND, 1 << 50, -packet.time)
    return packet._replace(time=min(max(packet.time + chance.choice(far), 0), (1 << 32) * SECOND - 1))


def _cut(packet, chance):
    at = chance.randrange(len(packet.data) + 1)
    longer = chance.choice((0, 0, 1, 0x10000, 0xFFFFFFFF - packet.length))
    return packet._replace(data=packet.data[:at], length=packet.length + longer)


def _others(packet, chance):
    """The packet and copies of it that differ in the bytes where ports and addresses are: many flows."""
    out = [packet]
    for _ in range(chance.choice((1, 3, 30))):
        data = bytearray(packet.data)
        for at in (26, 29, 34, 35, 36, 41):
            if at < len(data) and chance.random() < 0.4:
                data[at] = chance.randrange(256)
        out.append(packet._replace(data=bytes(data), time=packet.time + chance.choice((0, 5, SECOND))))
    return out


def damaged_packets(data, chance):
    """A well-formed file of packets that are damaged, cut, repeated, late, out of order or deep inside tunnels."""
    packets = taken_apart(data)
    if chance.random() < 0.3:
        packets += taken_apart(chance.choice(seeds()))
    share, out = chance.choice((0.1, 0.3, 0.8)), []
    for packet in packets:
        what = chance.random() / share
        if what < 0.45:
            out.append(packet._replace(data=wrong(packet.data, chance)))
        elif what < 0.6:
            out.append(_cut(packet, chance))
        elif what < 0.7:
            out.append(_late(packet, chance))
        elif what < 0.8:
            out += _others(packet, chance)
        elif what < 0.85:
            out.append(_tunnelled(packet if packet.link == 101 else packet._replace(data=packet.data[14:]), chance))
        elif what < 0.95:
            out.insert(chance.randrange(len(out) + 1), packet)
        elif what >= 1:
            out.append(packet)
    if chance.random() < 0.1:
        out = [
            packet._replace(link=chance.choice((0, 1, 9, 12, 50, 101, 108, 113, 127, 195, 239, 276))) for packet in out
        ]
    return put_together([one._replace(length=max(one.length, len(one.data))) for one in out[:400]], chance)


# --- What must hold --------------------------------------------------------------------------------------------------


def chance_of(seed, number):
    """The chances of file *number* of the run *seed*."""
    return random.Random(f"{seed}:{number}")


def damaged(seed, number):
    """File *number* of the run *seed*, and the limits to read it with."""
    chance = chance_of(seed, number)
    data = (damaged_bytes, damaged_packets)[number % 2](chance.choice(seeds()), chance)
    return data, {"max_flows": chance.choice(MAX_FLOWS), "payload_pool": chance.choice(POOLS)}


class Dribble(io.RawIOBase):
    """Gives a few bytes at a time, another number of them each time."""

    def __init__(self, data, chance, most):
        self.data = io.BytesIO(data)
        self.chance = chance
        self.most = most

    def readinto(self, buffer):
        return self.data.readinto(memoryview(buffer)[: self.chance.randint(1, self.most)])


def held(data, **options):
    """Read a capture and see that nothing of it is lost: the number of its packets that are in flows."""
    tally, counted = Tally(), 0
    begin = time.process_time()
    try:
        for batch in pcap.read(io.BytesIO(data), CONTEXT, tally, **options):
            for name in ("packets_sent", "packets_received", "duplicates"):
                counted += pc.sum(batch[name]).as_py()
    except UnreadableInput:
        assert tally.read == counted == 0
    took = time.process_time() - begin
    assert tally.balanced
    assert counted == tally.in_flows
    assert took < PATIENCE, f"{took:.1f} s"
    return counted


def told(data, stream=None, **options):
    """Everything that is said of a capture, by whatever road; why, if it cannot be read."""
    tally = Tally()
    try:
        rows = rows_of(pcap.read(stream or io.BytesIO(data), CONTEXT, tally, **options))
    except UnreadableInput as error:
        return str(error)
    rejects = sorted((one.record, one.reason, one.detail, one.raw) for one in tally.rejects)
    return rows, rejects, dict(tally.skipped), tally.read, tally.damage


def same(seed, number, core):
    """See that file *number* is read the same by the core and by its twin *core*, whole and in dribs."""
    data, limits = damaged(seed, number)
    chance = chance_of(seed, f"dribble:{number}")
    expected = told(data, **limits)
    assert told(data, Dribble(data, chance, chance.choice((7, 100, 3_000))), **limits) == expected
    if core is not None:
        assert told(data, core=core, **limits) == expected


def main() -> None:
    """Print file *number* of a run: `python -m readers.mutations SEED NUMBER > FILE`."""
    sys.stdout.buffer.write(damaged(sys.argv[1], int(sys.argv[2]))[0])


if __name__ == "__main__":
    main()
