"""
Capture file -> flows: finds the packets in pcap and pcapng, and names the exact place where a file is damaged.

Decoding and flow building are elsewhere (`packet_scapy.py`, `flow_table.py`); every length in the file is bounded here
before anything is read by it. scapy is imported only when a capture is read.

Source: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng (section numbers below are the latter's); the modified format
is Alexey Kuznetzov's, as libpcap's sf-pcap.c reads it.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from vzflow.flow.batch import Row, batches
from vzflow.flow.errors import UnreadableInput
from vzflow.flow.lookups import FOREVER
from vzflow.flow.terms import RejectReason, SkipReason
from vzflow.readers.base import Context, Tally
from vzflow.readers.flow_table import FlowTable

#: Largest packet: no interface has a larger one (BIG TCP ends at 512 KiB), so a longer one is a length that lies.
MAX_PACKET = 1 << 20
#: Interfaces of one section that are remembered.
MAX_INTERFACES = 1 << 16
#: Bytes of a skipped block read at a time.
_CHUNK = 1 << 16


class _Style(NamedTuple):
    """What a pcap magic number says: struct byte order, time units per second, bytes of a record header."""

    order: str
    units: int
    record: int


_PCAP = {
    bytes.fromhex("d4c3b2a1"): _Style("<", 1_000_000, 16),
    bytes.fromhex("a1b2c3d4"): _Style(">", 1_000_000, 16),
    bytes.fromhex("4d3cb2a1"): _Style("<", 1_000_000_000, 16),
    bytes.fromhex("a1b23c4d"): _Style(">", 1_000_000_000, 16),
    # Kuznetzov's: interface index, protocol and packet type follow the lengths.
    bytes.fromhex("34cdb2a1"): _Style("<", 1_000_000, 24),
    bytes.fromhex("a1b2cd34"): _Style(">", 1_000_000, 24),
}
_PCAPNG = bytes.fromhex("0a0d0d0a")
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_ORDERS = {bytes.fromhex("4d3c2b1a"): "<", bytes.fromhex("1a2b3c4d"): ">"}
#: Interface options: end, name, resolution and offset of times (section 4.2).
_END, _NAME, _RESOLUTION, _OFFSET = 0, 2, 9, 14
#: What Linux and the BSDs call their loopback device.
_LOOPBACK_NAMES = {b"lo", b"lo0"}


class Frame(NamedTuple):
    """
    One captured packet.

    Args:
        time: Microseconds since 1970; null when the capture has none for it.
        link_type: LINKTYPE value; null when its interface is not described.
        data: Captured bytes.
        length: Bytes before the capture length cut them.
        loopback: The interface is named as a loopback device.
        fault: Why the packet cannot be used although the file goes on; null when it can.
    """

    time: int | None
    link_type: int | None
    data: bytes
    length: int
    loopback: bool = False
    fault: str | None = None


class _Damage(Exception):
    """The rest of the file cannot be read."""

    def __init__(self, reason: RejectReason, detail: str, raw: bytes = b"") -> None:
        self.reason = reason
        self.detail = detail
        self.raw = raw
        super().__init__(detail)


def recognises(head: bytes) -> bool:
    """Whether *head* begins like a pcap of any byte order and resolution, or like a pcapng."""
    if head[:4] == _PCAPNG:
        return len(head) < 12 or head[8:12] in _ORDERS
    return head[:4] in _PCAP


def read(stream: BinaryIO, context: Context, tally: Tally) -> Iterator[pa.RecordBatch]:
    """
    Read a capture into flows.

    Args:
        stream: The capture, uncompressed; a decompressor that fails on the way is damage at that place.
        context: Segment and cluster for every row, path for messages.
        tally: Counts every packet; blocks of a pcapng that hold no packet are no records.

    Yields:
        Batches of FLOW_SCHEMA, in the order in which flows end.

    Raises:
        UnreadableInput: The file header is not a capture's. Damage after it is noted in *tally*.
    """
    return batches(flows(stream, context, tally))


def flows(stream: BinaryIO, context: Context, tally: Tally) -> Iterator[Row]:
    """Yield the flows of a capture as rows; arguments and errors as `read`."""
    from vzflow.readers.packet_scapy import Undecodable, decode

    table = FlowTable(context, tally)
    for number, frame in enumerate(_counted(stream, context, tally), 1):
        try:
            if frame.fault is not None or frame.link_type is None:
                raise Undecodable(RejectReason.BAD_RECORD, frame.fault or "no link type")
            packet = decode(frame.link_type, frame.data, frame.length, frame.loopback)
        except Undecodable as error:
            tally.reject(number, error.reason, error.detail, frame.data)
            continue
        if isinstance(packet, SkipReason):
            tally.skip(packet)
            continue
        table.add(number, frame.time, packet)
        yield from table.take()
    yield from table.finish()


def _counted(stream: BinaryIO, context: Context, tally: Tally) -> Iterator[Frame]:
    """Yield every whole packet, counting it as read; note the damage that ends the file early, if any does."""
    try:
        frames = _opened(stream)
    except _Damage as damage:
        do = "Name a whole pcap or pcapng file."
        raise UnreadableInput(f"not a capture: {damage.detail}", at=context.place(), do=do) from damage
    try:
        for frame in frames:
            tally.read += 1
            yield frame
    except _Damage as damage:
        tally.stop(tally.read + 1, damage.reason, damage.detail, damage.raw)


def _opened(stream: BinaryIO) -> Iterator[Frame]:
    """Read the file header, the same size in both formats, and return what yields the packets."""
    head = _exactly(stream, 24, "file header")
    style = _PCAP.get(head[:4])
    if style is not None:
        major, link = struct.unpack_from(style.order + "H14xI", head, 4)
        if major != 2:
            raise _Damage(RejectReason.BAD_RECORD, f"pcap version {major}")
        # The upper half says whether frames end in a checksum, which IP's own length leaves out.
        return _pcap(stream, style, link & 0xFFFF)
    if head[:4] == _PCAPNG:
        return _pcapng(stream, _section(stream, head))
    raise _Damage(RejectReason.BAD_RECORD, f"it begins with {head[:4]!r}")


def _pcap(stream: BinaryIO, style: _Style, link_type: int) -> Iterator[Frame]:
    while head := _take(stream, style.record):
        if len(head) < style.record:
            raise _Damage(RejectReason.TRUNCATED_FILE, "the file ends inside a record header", head)
        seconds, fraction, captured, length = struct.unpack_from(style.order + "IIII", head)
        if captured > MAX_PACKET:
            raise _Damage(RejectReason.BAD_RECORD, f"a packet of {captured} bytes", head)
        data = _exactly(stream, captured, "packet")
        time = seconds * 1_000_000 + fraction * 1_000_000 // style.units
        yield Frame(time, link_type, data, _bounded(length, captured))


def _bounded(length: int, captured: int) -> int:
    """The original length, as far as it can be believed: at least what is there, at most what a packet can have."""
    return max(captured, min(length, MAX_PACKET))


@dataclass(frozen=True)
class _Interface:
    """What an interface description says of the packets that name it. A snaplen of 0 is no limit."""

    link_type: int
    snaplen: int
    units: int = 1_000_000
    offset: int = 0
    loopback: bool = False

    def time(self, stamp: int) -> int | None:
        """Microseconds since 1970; null when no calendar has them."""
        time = stamp * 1_000_000 // self.units + self.offset * 1_000_000
        return time if 0 <= time <= FOREVER else None


@dataclass
class _Section:
    """One section of a pcapng: its byte order, and the interfaces described so far."""

    order: str
    interfaces: list[_Interface] = field(default_factory=list)

    def unpack(self, layout: str, data: bytes, at: int = 0) -> tuple[int, ...]:
        return struct.unpack_from(self.order + layout, data, at)


def _section(stream: BinaryIO, head: bytes) -> _Section:
    """Read the rest of a section header block (section 4.1) whose first 24 bytes are *head*."""
    order = _ORDERS.get(head[8:12])
    if order is None:
        raise _Damage(RejectReason.BAD_RECORD, f"a section with the byte order {head[8:12].hex()}", head)
    section = _Section(order)
    size, _, major = section.unpack("IIH", head, 4)
    if size < 28 or size % 4 or major != 1:
        raise _Damage(RejectReason.BAD_RECORD, f"a section header of {size} bytes, version {major}", head)
    _skip(stream, size - 28)
    _end_of_block(stream, section, size)
    return section


def _pcapng(stream: BinaryIO, section: _Section) -> Iterator[Frame]:
    while head := _take(stream, 8):
        if len(head) < 8:
            raise _Damage(RejectReason.TRUNCATED_FILE, "the file ends inside a block header", head)
        kind, size = section.unpack("II", head)
        if kind == _SECTION:
            section = _section(stream, head + _exactly(stream, 16, "section header"))
            continue
        if size < 12 or size % 4:
            raise _Damage(RejectReason.BAD_RECORD, f"a block of {size} bytes", head)
        if kind not in (_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET):
            _skip(stream, size - 12)
            _end_of_block(stream, section, size)
            continue
        if size > MAX_PACKET + _CHUNK:
            raise _Damage(RejectReason.BAD_RECORD, f"a packet or interface block of {size} bytes", head)
        body = _exactly(stream, size - 12, "block")
        _end_of_block(stream, section, size)
        if kind == _INTERFACE:
            section.interfaces.append(_interface(section, body))
            if len(section.interfaces) > MAX_INTERFACES:
                raise _Damage(RejectReason.BAD_RECORD, f"more than {MAX_INTERFACES} interfaces", head)
        else:
            yield _packet(section, kind, body)


def _interface(section: _Section, body: bytes) -> _Interface:
    """Interface description block (section 4.2)."""
    if len(body) < 8:
        raise _Damage(RejectReason.BAD_RECORD, f"an interface description of {len(body)} bytes", body)
    link_type, snaplen = section.unpack("HxxI", body)
    options = dict(_options(section, body[8:]))
    units, offset = 1_000_000, 0
    if len(resolution := options.get(_RESOLUTION, b"")) == 1:
        power = resolution[0] & 0x7F
        units = 1 << power if resolution[0] & 0x80 else 10**power
    if len(seconds := options.get(_OFFSET, b"")) == 8:
        (offset,) = section.unpack("q", seconds)
    loopback = options.get(_NAME, b"").rstrip(b"\0") in _LOOPBACK_NAMES
    return _Interface(link_type, snaplen, units, offset, loopback)


def _options(section: _Section, data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        code, size = section.unpack("HH", data, at)
        if code == _END or at + 4 + size > len(data):
            return
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + ((size + 3) & ~3)


def _packet(section: _Section, kind: int, body: bytes) -> Frame:
    """
    One packet of an enhanced (section 4.3), simple (4.4) or obsolete (A.1) packet block.

    A block whose inside contradicts itself costs that packet only: the next block is found all the same.
    """
    number, high, low = 0, None, 0
    try:
        if kind == _SIMPLE_PACKET:
            (length,), at = section.unpack("I", body), 4
            snaplen = section.interfaces[0].snaplen if section.interfaces else 0
            captured = min(length, snaplen or length)
        else:
            number, high, low, captured, length = section.unpack("IIIII" if kind == _PACKET else "HxxIIII", body)
            at = 20
    except struct.error:
        return Frame(None, None, body, len(body), fault=f"a packet block of {len(body)} bytes")
    if number >= len(section.interfaces):
        return Frame(None, None, body, len(body), fault=f"interface {number} is not described")
    if captured > len(body) - at or captured > MAX_PACKET:
        return Frame(None, None, body, len(body), fault=f"{captured} bytes captured in a block of {len(body)}")
    interface = section.interfaces[number]
    time = None if high is None else interface.time(high << 32 | low)
    data = body[at : at + captured]
    return Frame(time, interface.link_type, data, _bounded(length, captured), interface.loopback)


def _end_of_block(stream: BinaryIO, section: _Section, size: int) -> None:
    """A block repeats its size at its end: when the two differ, nobody knows where the next one begins."""
    (again,) = section.unpack("I", _exactly(stream, 4, "block"))
    if again != size:
        raise _Damage(RejectReason.BAD_RECORD, f"a block of {size} bytes that ends as one of {again}")


def _exactly(stream: BinaryIO, count: int, what: str) -> bytes:
    data = _take(stream, count)
    if len(data) < count:
        detail = f"the file ends inside a {what}: {len(data)} of {count} bytes"
        raise _Damage(RejectReason.TRUNCATED_FILE, detail, data)
    return data


def _skip(stream: BinaryIO, count: int) -> None:
    while count > 0:
        count -= len(_exactly(stream, min(count, _CHUNK), "block"))


def _take(stream: BinaryIO, count: int) -> bytes:
    """Read *count* bytes, fewer only at the end of the file; a pipe may give them in pieces."""
    parts = []
    try:
        while count > 0 and (part := stream.read(count)):
            parts.append(part)
            count -= len(part)
    except EOFError as error:
        raise _Damage(RejectReason.TRUNCATED_FILE, "the compressed file ends early", b"".join(parts)) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _Damage(RejectReason.BAD_COMPRESSION, str(error), b"".join(parts)) from error
    return b"".join(parts)
