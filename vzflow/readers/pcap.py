"""
Capture file -> flows: what a pcap or pcapng file says of the packets in it, and the exact place where it is damaged.

The packets themselves are found, decoded and counted by `packet_core.py`; file headers, sections and interfaces are
read here. Every length in the file is bounded before anything is read by it.

Source: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng (section numbers below are the latter's); the modified format
is Alexey Kuznetzov's, as libpcap's sf-pcap.c reads it.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from vzflow.flow.errors import UnreadableInput
from vzflow.flow.terms import RejectReason, SkipReason
from vzflow.readers import packet_core
from vzflow.readers.base import Context, Tally
from vzflow.readers.fragments import Fragments
from vzflow.readers.packet import VXLAN_PORTS
from vzflow.readers.packet_core import MAX_INTERFACES, MAX_PACKET
from vzflow.readers.tracing import Trace

#: Bytes read at a time: what is read is decoded while it is in the processor's cache.
READ = 1 << 19
#: Largest block of a pcapng that is looked into: a packet and its options.
MAX_BLOCK = MAX_PACKET + (1 << 16)


class _Style(NamedTuple):
    """What a pcap magic number says: struct byte order, time units per second, bytes of a record header."""

    order: str
    units: int
    record: int


PCAP = {
    bytes.fromhex("d4c3b2a1"): _Style("<", 1_000_000, 16),
    bytes.fromhex("a1b2c3d4"): _Style(">", 1_000_000, 16),
    bytes.fromhex("4d3cb2a1"): _Style("<", 1_000_000_000, 16),
    bytes.fromhex("a1b23c4d"): _Style(">", 1_000_000_000, 16),
    # Kuznetzov's: interface index, protocol and packet type follow the lengths.
    bytes.fromhex("34cdb2a1"): _Style("<", 1_000_000, 24),
    bytes.fromhex("a1b2cd34"): _Style(">", 1_000_000, 24),
}
PCAPNG = bytes.fromhex("0a0d0d0a")
_SECTION, _INTERFACE = 0x0A0D0D0A, 1
ORDERS = {bytes.fromhex("4d3c2b1a"): "<", bytes.fromhex("1a2b3c4d"): ">"}
#: Interface options: end, name, resolution and offset of times (section 4.2).
_END, _NAME, _RESOLUTION, _OFFSET = 0, 2, 9, 14
#: What Linux and the BSDs call their loopback device.
_LOOPBACK_NAMES = {b"lo", b"lo0"}


class _Damage(Exception):
    """The rest of the file cannot be read."""

    def __init__(self, reason: RejectReason, detail: str, raw: bytes = b"") -> None:
        self.reason = reason
        self.detail = detail
        self.raw = raw
        super().__init__(detail)


def recognises(head: bytes) -> bool:
    """Whether *head* begins like a pcap of any byte order and resolution, or like a pcapng."""
    if head[:4] == PCAPNG:
        return len(head) < 12 or head[8:12] in ORDERS
    return head[:4] in PCAP


def read(stream: BinaryIO, context: Context, tally: Tally, **options: Any) -> Iterator[pa.RecordBatch]:  # noqa: ANN401
    """
    Read a capture into flows.

    Args:
        stream: The capture, uncompressed; a decompressor that fails on the way is damage at that place.
        context: Segment and cluster for every row, path for messages.
        tally: Counts every packet; blocks of a pcapng that hold no packet are no records.
        options: Of `Capture`.

    Yields:
        Batches of FLOW_SCHEMA, in the order in which flows end.

    Raises:
        UnreadableInput: The file header is not a capture's. Damage after it is noted in *tally*.
    """
    return Capture(stream, context, tally, **options).batches()


class Capture:
    """
    One capture on its way through the packet core.

    Args:
        core: The module to decode with: `packet_core`, or its interpreted twin.
        all_slow: Decode everything with scapy.
        trace: Notes which packets some flows are made of; once it has them all, the rest is not read.
        limits: `max_flows` and `payload_pool` of the core.
    """

    def __init__(
        self,
        stream: BinaryIO,
        context: Context,
        tally: Tally,
        *,
        core: Any = packet_core,  # noqa: ANN401 - a module
        all_slow: bool = False,
        trace: Trace | None = None,
        **limits: int,
    ) -> None:
        self._input = _Buffer(stream)
        self._context = context
        self._tally = tally
        self._vxlan_ports = frozenset((*VXLAN_PORTS, *context.vxlan_ports))
        self._core = core.Core(
            os.urandom(16),
            self._slow,
            self._reject,
            self._flush,
            vxlan_ports=self._vxlan_ports,
            all_slow=all_slow,
            **limits,
        )
        self._trace = trace
        if trace is not None:
            self._core.trace(trace.keys, trace.tell)
        self._counted = (0, 0, 0, 0)
        self._fragments = Fragments()
        self._ready: list[pa.RecordBatch] = []
        self._order, self._interfaces = "<", 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the flows; errors as `read`. Can be called once."""
        try:
            yield from self._batches()
        finally:
            # The core holds this object too: its tables would stay until Python looks for such circles.
            del self._core

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            where = self._opened()
        except _Damage as damage:
            do = "Name a whole pcap or pcapng file."
            raise UnreadableInput(f"not a capture: {damage.detail}", at=self._context.place(), do=do) from damage
        try:
            for _ in where:
                self._note()
                yield from self._take()
                if self._trace is not None and self._trace.complete:
                    return
        except _Damage as damage:
            self._note()
            self._tally.stop(self._tally.read + 1, damage.reason, damage.detail, damage.raw)
        for record, _, packet in self._fragments.left():
            self._lone(record, packet)
        more = True
        while more:
            more = self._core.finish()
            yield from self._take()
        self._note()

    def _opened(self) -> Iterator[None]:
        """Read the file header, the same size in both formats, and return what reads the rest."""
        head = self._input.exactly(24, "file header")
        style = PCAP.get(head[:4])
        if style is not None:
            major, link = struct.unpack_from(style.order + "H14xI", head, 4)
            if major != 2:
                raise _Damage(RejectReason.BAD_RECORD, f"pcap version {major}")
            # The upper half says whether frames end in a checksum, which IP's own length leaves out.
            self._core.set_pcap(style.order == ">", style.units, style.record, link & 0xFFFF)
            return self._records(style)
        if head[:4] == PCAPNG:
            self._section(head)
            return self._blocks()
        raise _Damage(RejectReason.BAD_RECORD, f"it begins with {head[:4]!r}")

    def _fed(self) -> Iterator[None]:
        """Feed the core to the end of the stream, yielding now and then; blocks that hold no packet are read here."""
        given, more = self._input, True
        while more:
            why = "block"
            while why == "block":
                given.at, why = self._core.feed(given.memory, given.at, given.end)
                if why == "damage":
                    raise _Damage(RejectReason.BAD_RECORD, *self._core.damage)
                if why == "block":
                    self._other_block()
            yield
            more = given.fill()

    def _records(self, style: _Style) -> Iterator[None]:
        yield from self._fed()
        if left := self._input.rest("record", style.record):
            (captured,) = struct.unpack_from(style.order + "I", left, 8)
            raise _ends_inside("packet", len(left) - style.record, captured, left[style.record :])

    def _blocks(self) -> Iterator[None]:
        yield from self._fed()
        if left := self._input.rest("block", 8):
            (size,) = struct.unpack_from(self._order + "I", left, 4)
            there, body = len(left) - 8, size - 12
            # The size stands again at the end of a block.
            if there >= body:
                there, body = there - body, 4
            raise _ends_inside("block", there, body, left[8:])

    def _other_block(self) -> None:
        """Read a block that holds no packet."""
        given, order = self._input, self._order
        head = given.exactly(8, "block header")
        kind, size = struct.unpack(order + "II", head)
        if kind == _SECTION:
            self._section(head + given.exactly(16, "section header"))
            return
        if size < 12 or size % 4:
            raise _Damage(RejectReason.BAD_RECORD, f"a block of {size} bytes", head)
        if kind != _INTERFACE:
            given.skip(size - 12)
            _end_of_block(given, order, size)
            return
        if size > MAX_BLOCK:
            raise _Damage(RejectReason.BAD_RECORD, f"a packet or interface block of {size} bytes", head)
        body = given.exactly(size - 12, "block")
        _end_of_block(given, order, size)
        self._interfaces += 1
        if self._interfaces > MAX_INTERFACES:
            raise _Damage(RejectReason.BAD_RECORD, f"more than {MAX_INTERFACES} interfaces", head)
        self._core.add_interface(*_interface(order, body))

    def _section(self, head: bytes) -> None:
        """Read the rest of a section header block (section 4.1) whose first 24 bytes are *head*."""
        order = ORDERS.get(head[8:12])
        if order is None:
            raise _Damage(RejectReason.BAD_RECORD, f"a section with the byte order {head[8:12].hex()}", head)
        size, _, major = struct.unpack_from(order + "IIH", head, 4)
        if size < 28 or size % 4 or major != 1:
            raise _Damage(RejectReason.BAD_RECORD, f"a section header of {size} bytes, version {major}", head)
        self._input.skip(size - 28)
        _end_of_block(self._input, order, size)
        self._core.set_section(order == ">")
        self._order, self._interfaces = order, 0

    def _slow(self, record: int, time: int | None, link: int, data: bytes, length: int, loopback: bool) -> None:
        """Decode with scapy what the core does not know."""
        from vzflow.readers.packet_scapy import Undecodable, decode

        try:
            packet = decode(link, data, length, loopback, self._vxlan_ports)
        except Undecodable as error:
            self._tally.reject(record, error.reason, error.detail, data)
            return
        if isinstance(packet, SkipReason):
            self._tally.skip(packet)
            return
        ready, lost = self._fragments.sort(record, time, packet)
        for held in ready:
            self._core.add(*held)
        for late, _, part in lost:
            self._lone(late, part)

    def _reject(self, record: int, reason: RejectReason, detail: str, raw: bytes) -> bool:
        """Note a packet that the core could not read; return whether another one of this reason would be kept."""
        self._tally.reject(record, reason, detail, raw)
        return self._tally.room_for(reason)

    def _lone(self, record: int, packet: Any) -> None:  # noqa: ANN401
        detail = f"{packet.key.protocol} {packet.key.ip} > {packet.key.peer_ip}, {packet.length} bytes"
        self._tally.reject(record, RejectReason.LONE_FRAGMENT, detail)

    def _note(self) -> None:
        """Bring the tally up to the core's counts."""
        read, in_flows, arps, not_ip = (
            now - before for now, before in zip(self._core.counts, self._counted, strict=True)
        )
        self._counted = self._core.counts
        self._tally.read += read
        self._tally.in_flows += in_flows
        for reason, count in ((SkipReason.ARP, arps), (SkipReason.NOT_IP, not_ip)):
            if count:
                self._tally.skipped[reason] += count
        for why, count in self._core.take_more():
            self._tally.reject_more(why, count)

    def _flush(self) -> None:
        from vzflow.readers.packet_rows import batch_of

        self._ready.append(batch_of(self._core, self._context))
        self._core.taken()

    def _take(self) -> list[pa.RecordBatch]:
        ready, self._ready = self._ready, []
        return ready


class _Buffer:
    """The bytes of a stream that are not consumed yet: `memory` from `at` to `end`."""

    def __init__(self, stream: BinaryIO) -> None:
        self.memory = memoryview(bytearray(MAX_BLOCK + READ))
        self.at = self.end = 0
        self.broken: tuple[RejectReason, str] | None = None
        # A decompressor that is asked for a full buffer throws away what it has when the end is missing.
        self._read: Any = getattr(stream, "readinto1", None) or stream.readinto  # type: ignore[attr-defined]

    def fill(self) -> bool:
        """Read on; false at the end of the stream."""
        if self.broken is not None:
            return False
        if self.at:
            left = self.end - self.at
            self.memory[:left] = (
                self.memory[self.at : self.end].tobytes() if left > self.at else self.memory[self.at : self.end]
            )
            self.at, self.end = 0, left
        try:
            count = self._read(self.memory[self.end : self.end + READ])
        except EOFError:
            self.broken = RejectReason.TRUNCATED_FILE, "the compressed file ends early"
            return False
        except (gzip.BadGzipFile, zlib.error) as error:
            self.broken = RejectReason.BAD_COMPRESSION, str(error)
            return False
        self.end += count
        return bool(count)

    def rest(self, what: str, header: int) -> bytes:
        """Return what is left at the end of the stream; raise _Damage if that is less than the header of a *what*."""
        left = bytes(self.memory[self.at : self.end])
        if self.broken is not None:
            raise self.damage(left)
        if 0 < len(left) < header:
            raise _Damage(RejectReason.TRUNCATED_FILE, f"the file ends inside a {what} header", left)
        return left

    def damage(self, raw: bytes) -> _Damage:
        """Return why the stream broke off in the middle of *raw*."""
        assert self.broken is not None
        reason, detail = self.broken
        return _Damage(reason, detail, raw)

    def exactly(self, count: int, what: str) -> bytes:
        """Consume *count* bytes, at most MAX_BLOCK; raise _Damage if there are fewer."""
        while self.end - self.at < count and self.fill():
            pass
        data = bytes(self.memory[self.at : min(self.at + count, self.end)])
        if len(data) < count:
            if self.broken is not None:
                raise self.damage(data)
            raise _ends_inside(what, len(data), count, data)
        self.at += count
        return data

    def skip(self, count: int) -> None:
        """Consume *count* bytes, however many."""
        while count > self.end - self.at:
            count -= self.end - self.at
            self.at = self.end
            if not self.fill():
                self.exactly(min(count, MAX_BLOCK), "block")
        self.at += count


def _ends_inside(what: str, there: int, wanted: int, raw: bytes) -> _Damage:
    return _Damage(RejectReason.TRUNCATED_FILE, f"the file ends inside a {what}: {there} of {wanted} bytes", raw)


def _end_of_block(given: _Buffer, order: str, size: int) -> None:
    """A block repeats its size at its end: when the two differ, nobody knows where the next one begins."""
    (again,) = struct.unpack(order + "I", given.exactly(4, "block"))
    if again != size:
        raise _Damage(RejectReason.BAD_RECORD, f"a block of {size} bytes that ends as one of {again}")


def _interface(order: str, body: bytes) -> tuple[int, int, int, int, bool]:
    """Return link type, snaplen, time units a second, time offset in seconds, and whether it is a loopback device."""
    if len(body) < 8:
        raise _Damage(RejectReason.BAD_RECORD, f"an interface description of {len(body)} bytes", body)
    link_type, snaplen = struct.unpack_from(order + "HxxI", body)
    options = dict(_options(order, body[8:]))
    units, offset = 1_000_000, 0
    if len(resolution := options.get(_RESOLUTION, b"")) == 1:
        power = resolution[0] & 0x7F
        units = 1 << power if resolution[0] & 0x80 else 10**power
    if len(seconds := options.get(_OFFSET, b"")) == 8:
        (offset,) = struct.unpack(order + "q", seconds)
    loopback = options.get(_NAME, b"").rstrip(b"\0") in _LOOPBACK_NAMES
    return link_type, snaplen, units, offset, loopback


def _options(order: str, data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        code, size = struct.unpack_from(order + "HH", data, at)
        if code == _END or at + 4 + size > len(data):
            return
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + ((size + 3) & ~3)
