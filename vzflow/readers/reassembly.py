"""
The first payload bytes of each direction, put in order: what everything that looks into payload looks at.
"""

from __future__ import annotations

from bisect import bisect_right

#: Bytes kept of each direction: two hellos of Envoy with a post-quantum key share, and a certificate chain or two.
LIMIT = 8192
#: Bytes kept of the first datagram of each direction.
DATAGRAM_LIMIT = 2048
#: Segments that may wait for an earlier one, and segments whose acknowledgement number is remembered.
_MAX_WAITING, _MAX_ACKS = 64, 1024
_SEQUENCE = 0xFFFFFFFF


class Stream:
    """
    The first bytes one side of a TCP connection sent, in the order of their sequence numbers.

    Segments may come out of order, twice, overlapping or cut by the capture length; what was first captured stays.
    `data` holds what is known without a gap from its beginning.
    """

    __slots__ = ("_acks", "_base", "_waiting", "beyond", "cut", "data", "started")

    def __init__(self) -> None:
        self.data = b""
        #: `data` begins right after the SYN; else wherever the capture began.
        self.started = False
        #: Bytes were sent that the capture or the payload pool does not hold.
        self.cut = False
        #: More was sent than LIMIT.
        self.beyond = False
        self._base: int | None = None
        self._waiting: dict[int, tuple[bytes, int]] = {}
        #: (end in `data`, acknowledgement number) of the segments that brought those bytes.
        self._acks: list[tuple[int, int]] = []

    @property
    def full(self) -> bool:
        """Nothing more will be kept."""
        return len(self.data) >= LIMIT

    @property
    def complete(self) -> bool:
        """Every byte that was captured of this side is in `data`."""
        return not (self.cut or self.beyond or self._waiting)

    def open(self, isn: int) -> None:
        """Note a SYN with the initial sequence number *isn*: payload begins one after it."""
        begin = (isn + 1) & _SEQUENCE
        if self.data:
            self.started |= begin == self._base
            return
        if begin != self._base:
            self._waiting.clear()
        self._base, self.started = begin, True

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
        if self._base is None:
            self._base = seq & _SEQUENCE
        at = (seq - self._base) & _SEQUENCE
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
            if self._acks and self._acks[-1][1] == ack:
                self._acks[-1] = (len(self.data), ack)
            elif len(self._acks) < _MAX_ACKS:
                self._acks.append((len(self.data), ack))

    def _join(self) -> None:
        while self._waiting:
            at = min(self._waiting)
            if at > len(self.data):
                return
            payload, ack = self._waiting.pop(at)
            self._append(at, payload, len(payload), ack)

    def covers(self, offset: int, peer: Stream, end: int) -> bool:
        """Whether the segment that brought byte *offset* was sent after *peer*'s bytes before *end* had arrived."""
        index = bisect_right(self._acks, offset, key=lambda known: known[0])
        if index == len(self._acks) or peer._base is None:
            return False
        arrived = (self._acks[index][1] - peer._base) & _SEQUENCE
        return end <= arrived < _SEQUENCE >> 1

    def replies(self, peer: Stream, end: int) -> tuple[int, int]:
        """Return from where to where `data` was sent after *peer*'s bytes before *end* had arrived."""
        if peer._base is None or not self._acks:
            return 0, 0
        known = self._acks[-1][0]
        for until, ack in reversed(self._acks):
            if not end <= (ack - peer._base) & _SEQUENCE < _SEQUENCE >> 1:
                return until, known
        return 0, known

    def after(self, count: int) -> Stream:
        """Return the stream without its first *count* bytes, as if it began there."""
        rest = Stream()
        rest.data, rest.started, rest.cut, rest.beyond = self.data[count:], self.started, self.cut, self.beyond
        rest._waiting = self._waiting
        rest._base = None if self._base is None else (self._base + count) & _SEQUENCE
        rest._acks = [(end - count, ack) for end, ack in self._acks if end > count]
        return rest
