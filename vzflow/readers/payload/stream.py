# cython: annotation_typing=False
"""
The first payload bytes of one direction, already in order: what everything that looks into payload looks at.
"""

from __future__ import annotations

#: Bytes kept of each direction: two hellos of Envoy with a post-quantum key share, and a certificate chain or two.
LIMIT = 8192
#: Bytes kept of the first datagram of each direction.
DATAGRAM_LIMIT = 2048
_SEQUENCE = 0xFFFFFFFF


class Stream:
    """
    The first bytes one side of a connection sent, in the order of their sequence numbers, or its first datagram.

    Attributes:
        data: What is known without a gap from the beginning.
        started: `data` begins right after the SYN; else wherever the capture began.
        cut: Bytes were sent that the capture or the payload pool does not hold.
        beyond: More was sent than LIMIT.
        waiting: A later segment never joined `data`: what lay before it was not captured.
        base: Sequence number of the first byte of `data`.
        acks: (end in `data`, acknowledgement number) of the segments that brought those bytes, in their order.
    """

    __slots__ = ("acks", "base", "beyond", "cut", "data", "started", "waiting")

    def __init__(
        self,
        data: bytes = b"",
        started: bool = False,
        cut: bool = False,
        beyond: bool = False,
        waiting: bool = False,
        base: int | None = None,
        acks: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self.data = data
        self.started = started
        self.cut = cut
        self.beyond = beyond
        self.waiting = waiting
        self.base = base
        self.acks = acks

    @property
    def full(self) -> bool:
        """Nothing more was kept."""
        return len(self.data) >= LIMIT

    @property
    def complete(self) -> bool:
        """Every byte that was captured of this side is in `data`."""
        return not (self.cut or self.beyond or self.waiting)

    def replies(self, peer: Stream, end: int) -> tuple[int, int]:
        """Return from where to where `data` was sent after *peer*'s bytes before *end* had arrived."""
        if peer.base is None or not self.acks:
            return 0, 0
        known, base = self.acks[-1][0], peer.base
        for until, ack in reversed(self.acks):
            if not end <= (ack - base) & _SEQUENCE < _SEQUENCE >> 1:
                return until, known
        return 0, known

    def after(self, count: int) -> Stream:
        """Return the stream without its first *count* bytes, as if it began there."""
        return Stream(
            self.data[count:],
            self.started,
            self.cut,
            self.beyond,
            self.waiting,
            None if self.base is None else (self.base + count) & _SEQUENCE,
            tuple((end - count, ack) for end, ack in self.acks if end > count),
        )
