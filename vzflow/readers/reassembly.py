"""
The first payload bytes of each direction, put in order: what everything that looks into payload looks at.
"""

from __future__ import annotations

from vzflow.readers import stream
from vzflow.readers.stream import LIMIT

#: Bytes kept of the first datagram of each direction.
DATAGRAM_LIMIT = 2048
#: Segments that may wait for an earlier one, and segments whose acknowledgement number is remembered.
_MAX_WAITING, _MAX_ACKS = 64, 1024
_SEQUENCE = 0xFFFFFFFF


class Stream(stream.Stream):
    """
    The first bytes one side of a TCP connection sent, in the order of their sequence numbers.

    Segments may come out of order, twice, overlapping or cut by the capture length; what was first captured stays.
    `data` holds what is known without a gap from its beginning.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[int, tuple[bytes, int]] = {}

    @property
    def complete(self) -> bool:
        """Every byte that was captured of this side is in `data`."""
        return not (self.cut or self.beyond or self._waiting)

    def open(self, isn: int) -> None:
        """Note a SYN with the initial sequence number *isn*: payload begins one after it."""
        begin = (isn + 1) & _SEQUENCE
        if self.data:
            self.started |= begin == self.base
            return
        if begin != self.base:
            self._waiting.clear()
        self.base, self.started = begin, True

    def add(self, seq: int, payload: bytes, length: int, ack: int, room: int) -> int:
        """
        Add a segment.

        Args:
            seq: Sequence number of its first payload byte.
            payload: Captured bytes; *length* were sent.
            length: Bytes.
            ack: Its acknowledgement number.
            room: Bytes that may still be kept of all flows together.

        Returns:
            How many more bytes are kept now.
        """
        if self.base is None:
            self.base = seq & _SEQUENCE
        at = (seq - self.base) & _SEQUENCE
        if at > _SEQUENCE >> 1:
            at -= _SEQUENCE + 1
        if at + length <= len(self.data):
            return 0
        if at >= LIMIT or self.full:
            self.beyond = True
            return 0
        if len(payload) > room:
            self.cut = True
            return 0
        before = len(self.data) + self._held()
        if at <= len(self.data):
            self._append(at, payload, length, ack)
            self._join()
        elif not self.cut and len(self._waiting) < _MAX_WAITING and len(payload) == length:
            self._waiting[at] = (payload[: LIMIT - at], ack)
        else:
            self.cut = True
        return len(self.data) + self._held() - before

    def add_datagram(self, payload: bytes, room: int) -> int:
        """Keep the beginning of the first datagram; return how many bytes."""
        if self.data or len(payload) > room:
            return 0
        self.started = True
        self.data = payload[:DATAGRAM_LIMIT]
        return len(self.data)

    def _held(self) -> int:
        return sum(len(payload) for payload, _ in self._waiting.values())

    def _append(self, at: int, payload: bytes, length: int, ack: int) -> None:
        new = payload[len(self.data) - at : LIMIT - at]
        self.cut |= len(payload) < length
        self.beyond |= at + length > LIMIT
        if new:
            self.data += new
            if self.acks and self.acks[-1][1] == ack:
                self.acks = (*self.acks[:-1], (len(self.data), ack))
            elif len(self.acks) < _MAX_ACKS:
                self.acks = (*self.acks, (len(self.data), ack))

    def _join(self) -> None:
        while self._waiting:
            at = min(self._waiting)
            if at > len(self.data):
                return
            payload, ack = self._waiting.pop(at)
            self._append(at, payload, len(payload), ack)
