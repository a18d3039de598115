"""Stand-in."""

from vzflow.readers.reassembly import LIMIT, DATAGRAM_LIMIT, Stream as _S


class Stream(_S):
    __slots__ = ("waiting",)

    def __init__(self, data=b"", started=False, cut=False, beyond=False, waiting=False, base=None, acks=()):
        super().__init__()
        self.data = data
        self.started = started
        self.cut = cut
        self.beyond = beyond
        self._base = base
        self._acks = list(acks)
        if waiting:
            self._waiting = {0: (b"", 0)}
