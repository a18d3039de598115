"""Packets cut out of a capture byte for byte: file header, interfaces and packets stay as they were written."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

from vzflow.readers.base import Context, Tally
from vzflow.readers.packet_core import MAX_PACKET
from vzflow.readers.pcap import ORDERS, PCAP, PCAPNG, Capture
from vzflow.readers.tracing import Trace, Traced

#: Bytes read at a time.
_READ = 1 << 20
_SECTION, _INTERFACE = 0x0A0D0D0A, 1
#: Enhanced, obsolete and simple packet blocks, in the order of the drafts.
_PACKETS = (6, 2, 3)


class Cut(NamedTuple):
    """
    A packet with what stands around it in its file.

    Args:
        number: Of the packet, from 1.
        offset: Where its record or block begins in the uncompressed file, in bytes.
        before: File header, section and interfaces that stand before it and after the last one that was cut.
        raw: Its record or block.
        data, length: Its captured bytes, and how many there were.
        link: LINKTYPE of its interface.
    """

    number: int
    offset: int
    before: bytes
    raw: bytes
    data: bytes
    length: int
    link: int


def cut(stream: BinaryIO, numbers: Collection[int]) -> Iterator[Cut]:
    """
    Yield the packets of a capture that have these *numbers*, in their order; `before` and `raw` in turn are a capture.

    Stops where the capture is damaged, as its reader does, and after the last one.
    """
    left = sorted(numbers, reverse=True)
    window = _Window(stream)
    if not left or not window.have(24):
        return
    if window.data[:4] == PCAPNG:
        yield from _of_blocks(window, left)
    elif window.data[:4] in PCAP:
        yield from _of_records(window, left)


def packets_of(stream: BinaryIO, context: Context, rows: Iterable[Mapping[str, Any]]) -> dict[int, Traced]:
    """
    Return the packets behind recorded *rows* of a capture, by the column `record`; rows not of it are left out.

    The capture is read once more, as it was the first time, up to where the last of them is complete.

    Raises:
        UnreadableInput: It is no capture.
    """
    trace = Trace(rows)
    for _ in Capture(stream, context, Tally(), trace=trace).batches():
        pass
    return trace.found


class _Window:
    """The bytes of a stream from `begin` on, of which those before `at` are done with."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._ended = False
        self.data = b""
        self.begin = self.at = 0

    def have(self, count: int) -> bool:
        """Whether there are *count* bytes from `at` on."""
        while len(self.data) - self.at < count and not self._ended:
            try:
                more = self._stream.read(max(_READ, count))
            except (gzip.BadGzipFile, zlib.error, EOFError):
                more = b""
            self._ended = not more
            self.data, self.begin, self.at = self.data[self.at :] + more, self.begin + self.at, 0
        return len(self.data) - self.at >= count

    def pass_over(self, count: int) -> bool:
        """Go on by *count* bytes, however many."""
        while count > len(self.data) - self.at:
            count -= len(self.data) - self.at
            self.at = len(self.data)
            if not self.have(1):
                return False
        self.at += count
        return True


def _of_records(window: _Window, left: list[int]) -> Iterator[Cut]:
    style = PCAP[window.data[:4]]
    before, number = window.data[:24], 0
    (link,) = struct.unpack_from(style.order + "I", before, 20)
    sizes, head = struct.Struct(style.order + "II"), style.record
    window.at = 24
    while left and window.have(head):
        captured, length = sizes.unpack_from(window.data, window.at + 8)
        if captured > MAX_PACKET or not window.have(head + captured):
            return
        number += 1
        if number == left[-1]:
            left.pop()
            raw = window.data[window.at : window.at + head + captured]
            yield Cut(number, window.begin + window.at, before, raw, raw[head:], max(length, captured), link & 0xFFFF)
            before = b""
        window.at += head + captured


def _of_blocks(window: _Window, left: list[int]) -> Iterator[Cut]:
    before, number, order, links = b"", 0, "<", list[int]()
    while left and window.have(12):
        if window.data[window.at : window.at + 4] == PCAPNG:
            if window.data[window.at + 8 : window.at + 12] not in ORDERS:
                return
            order = ORDERS[window.data[window.at + 8 : window.at + 12]]
            before, links = b"", []
        kind, size = struct.unpack_from(order + "II", window.data, window.at)
        if size < 12 or size % 4:
            return
        if kind in _PACKETS or kind in (_SECTION, _INTERFACE):
            if not window.have(size):
                return
            raw = window.data[window.at : window.at + size]
            if kind in _PACKETS:
                number += 1
                if number == left[-1]:
                    left.pop()
                    yield Cut(number, window.begin + window.at, before, raw, *_packet(kind, order, raw, links))
                    before = b""
            else:
                before += raw
                if kind == _INTERFACE:
                    links.append(struct.unpack_from(order + "H", raw, 8)[0])
        if not window.pass_over(size):
            return


def _packet(kind: int, order: str, raw: bytes, links: list[int]) -> tuple[bytes, int, int]:
    """Return captured bytes, original length and link type of a packet block, as far as it is whole."""
    if kind == 3:
        number, at = 0, 12
        (length,) = struct.unpack_from(order + "I", raw, 8)
        captured = min(length, len(raw) - 16)
    else:
        number, captured, length = struct.unpack_from(order + ("I" if kind == 6 else "Hxx") + "8xII", raw, 8)
        at = 28
    return raw[at : at + captured], max(length, captured), links[number] if number < len(links) else -1
