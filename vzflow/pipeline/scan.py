"""What is seen of a log in one pass over its bytes: where its whole lines end, and digests by which it is known."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from blake3 import blake3

from vzflow.pipeline.unpacked import PIECE, Plain
from vzflow.readers.base import LINE_LIMIT
from vzflow.readers.wrappings import begin_of_unfinished

#: Bytes at the beginning, and before the end of a range, by which a stream is recognised.
MARK = 1 << 16
#: Bytes of whole lines at the end among which the beginning of a line in pieces is looked for.
_LOOKED_AT = 2 * LINE_LIMIT
#: Bytes from the end that are kept: a line in pieces may begin so far before it, and the mark before that.
_RECENT = _LOOKED_AT + MARK


class _Piece(NamedTuple):
    """Bytes that were read last, *size* of *buffer*: where they begin, and the digest of everything before them."""

    begin: int
    state: blake3
    buffer: bytearray
    size: int

    def part(self, begin: int, end: int) -> memoryview:
        """Return its bytes from *begin* to *end* of the log, as far as it has them."""
        first, last = (min(max(place - self.begin, 0), self.size) for place in (begin, end))
        return memoryview(self.buffer)[first:last]


class Scan:
    """
    One pass over a log: its size and digest, its last whole line, the bytes before the known ends, and marks.

    A mark is the digest of everything before a byte: at the *known* bytes, and at ends of lines, each at least a
    sixteenth further than the one before: a few hundred for any size.

    Args:
        plain: Nothing was read of it yet.
        ends: Where ranges end that may be of this log, and how many bytes before are asked for.
        known: Bytes for which there shall be a mark, besides the usual ones.
    """

    def __init__(self, plain: Plain, ends: Iterable[tuple[int, int]], known: Iterable[int]) -> None:
        self.size = 0
        #: Where the last whole line ends; once all was read, the last line of which no piece is missing.
        self.last_line = 0
        self.ended = False
        #: Digest of everything up to the last whole line.
        self.lines = blake3()
        self.marks: dict[int, str] = {}
        self._plain = plain
        self._whole = blake3()
        self._own: list[int] = []
        self._known = sorted(known)
        self._tails: dict[tuple[int, int], bytearray] = {end: bytearray() for end in ends}
        self._recent: deque[_Piece] = deque()
        self._line_tail = b""

    @property
    def settled(self) -> int:
        """Up to where the whole lines are certain to reach, whatever follows."""
        return self.last_line if self.ended else max(self.last_line - _LOOKED_AT, 0)

    @property
    def ready(self) -> int:
        """Up to where a reader may be given bytes; beyond what is settled if a line is longer than what is kept."""
        return self.last_line if self.ended else max(self.settled, self.size - _RECENT)

    @property
    def kept(self) -> int:
        """From where on the bytes are still at hand."""
        return self._recent[0].begin if self._recent else 0

    def read_on(self) -> bool:
        """Read one more piece; false at the end."""
        if self.ended:
            return False
        buffer, size = self._room(), 0
        view = memoryview(buffer)
        while size < PIECE and (count := self._plain.readinto(view[size:])):
            size += count
        self._take(buffer, size)
        if size < PIECE:
            self.ended = True
            self._leave_unfinished()
        return not self.ended

    def give(self, at: int, view: memoryview) -> int:
        """Copy bytes from *at* on, which are at hand, as far as they are ready; return how many."""
        if at >= self.ready:
            return 0
        piece = next(piece for piece in reversed(self._recent) if piece.begin <= at)
        part = piece.part(at, self.ready)[: len(view)]
        view[: len(part)] = part
        return len(part)

    def before(self, end: int, size: int) -> bytes:
        """Return up to *size* bytes before *end*, as far as they are at hand."""
        return b"".join(piece.part(end - size, end) for piece in self._recent)

    def marks_between(self, begin: int, end: int) -> str:
        """Return the marks after *begin* that a receipt shall hold, *end* among them, as JSON."""
        return json.dumps({o: self.marks[o] for o in sorted({*self._own, end}) if begin < o <= end})

    def tail(self, end: int, size: int) -> str | None:
        """Return the digest of the *size* bytes before *end*, or None if so much was not read."""
        held = self._tails[end, size]
        return blake3(held).hexdigest() if len(held) == size else None

    def line_tail(self, size: int) -> str:
        """Return the digest of the *size* bytes before the end of the last whole line."""
        return blake3(self._line_tail[-size:] if size else b"").hexdigest()

    def _room(self) -> bytearray:
        """Return a buffer for the next piece, if possible that of one that is no longer needed."""
        room = None
        while len(self._recent) > 1 and self.size - self._recent[1].begin >= _RECENT:
            room = self._recent.popleft().buffer
        return bytearray(PIECE) if room is None else room

    def _take(self, buffer: bytearray, size: int) -> None:
        begin, after = self.size, self.size + size
        piece = _Piece(begin, self._whole.copy(), buffer, size)
        self._recent.append(piece)
        for (end, wanted), held in self._tails.items():
            held += piece.part(end - wanted, end)
        own = self._line_ends(piece)
        known = self._known[bisect_right(self._known, begin) : bisect_right(self._known, after)]
        last = begin + buffer.rfind(b"\n", 0, size) + 1
        done = begin
        for place in sorted({*own, *known, *([last] if last > begin else [])}):
            self._whole.update(piece.part(done, place))
            done = place
            self.marks[place] = short(self._whole)
            if done == last:
                self.lines = self._whole.copy()
        self._whole.update(piece.part(done, after))
        self._own += own
        self.size = after
        if last > begin:
            self.last_line = last
            self._line_tail = self.before(last, MARK)

    def _leave_unfinished(self) -> None:
        """Let the last line end before the pieces of one whose last piece has not come yet."""
        text = self.before(self.last_line, _LOOKED_AT)
        if len(text) < self.last_line:
            text = text[text.find(b"\n") + 1 :]
        begin = begin_of_unfinished(text)
        if begin is None:
            return
        self.last_line = end = self.last_line - len(text) + begin
        piece = next(piece for piece in reversed(self._recent) if piece.begin <= end)
        state = piece.state.copy()
        state.update(piece.part(piece.begin, end))
        self.lines, self.marks[end] = state, short(state)
        self._line_tail = self.before(end, MARK)

    def _line_ends(self, piece: _Piece) -> list[int]:
        """Return the ends of lines in *piece* where there shall be a mark."""
        found: list[int] = []
        last = self._own[-1] if self._own else 0
        while at := piece.buffer.find(b"\n", max(last + last // 16 - piece.begin, 0), piece.size) + 1:
            last = piece.begin + at
            found.append(last)
        return found


def short(state: blake3) -> str:
    """Return a digest as marks hold it."""
    return state.hexdigest(8)
