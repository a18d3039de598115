"""
JSON lists as lines: the Whisker backend answers with one document, `{"meta":…,"items":[…]}`, however long it is.

Only where elements begin and end is looked at, so memory is that of one element; what an element holds is judged later,
as of any line. What stands around the list (page counts) is no record. Damage inside a list may cost the elements after
it, for where they begin can then not be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from vzflow.readers.base import LINE_LIMIT

#: Page counts; older backends write `total` instead of `meta`.
_COUNTS = rb'"(?:meta|total)"\s*:\s*(?:\d+|\{[^{}]*\})'

#: What stands before the first element, and after the last one of an object.
_BEGIN = re.compile(rb"\s*(?P<object>\{\s*(?:" + _COUNTS + rb'\s*,\s*)?"items"\s*:\s*)?\[(?=\s*[{\]])')
_END = re.compile(rb"\s*(?:,\s*" + _COUNTS + rb"\s*)?\}")

#: First lines of a list that is written over several lines.
_MAY_BEGIN = re.compile(rb'\s*(?:\[|\{\s*(?:"(?:meta|total|items)"\s*:[^\n]*(?:\n.*)?)?)\s*', re.DOTALL)

#: Lines that a pretty-printed document may need before its first element, or after its last.
_LINES_AROUND = 8

#: Bytes looked at at a time.
_PIECE = 1 << 16

_LINES = re.compile(rb"[^\n]*\n|[^\n]+")

#: All that tells where strings, objects and arrays end.
_SIGN = re.compile(rb'\\.|["{}\[\]]', re.DOTALL)


class ListLines:
    """
    A stream of lines in which each element of a list is a line, and every other line stays as it is.

    Args:
        stream: Uncompressed bytes.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._pushed: list[bytes] = []
        self._given = self._read()

    def readline(self, _limit: int = -1) -> bytes:
        """Return the next line with its end; of one that is too long, LINE_LIMIT + 2 bytes, then the end; then b""."""
        return next(self._given, b"")

    def _next(self, limit: int = LINE_LIMIT + 2) -> bytes:
        return self._pushed.pop(0) if self._pushed else self._stream.readline(limit)

    def _read(self) -> Iterator[bytes]:
        within = False  # the rest of a line that was too long for one piece
        while line := self._next():
            begin = None if within else _BEGIN.match(line)
            if begin is None and not within and _MAY_BEGIN.fullmatch(line):
                line = self._gathered(line, _BEGIN)
                begin = _BEGIN.match(line)
            if begin is None:
                self._push(line)
                line = self._next()
                within = not line.endswith(b"\n")
                yield line
            else:
                yield from self._elements(line[begin.end() :])
                if begin["object"] is not None:
                    self._skip_end()

    def _gathered(self, text: bytes, wanted: re.Pattern[bytes]) -> bytes:
        """Return *text* and as many lines as *wanted* needs, at most _LINES_AROUND."""
        for _ in range(_LINES_AROUND):
            more = b"" if wanted.match(text) or len(text) > LINE_LIMIT else self._next()
            if not more:
                break
            text += more
        return text

    def _skip_end(self) -> None:
        text = self._gathered(self._next(), _END)
        end = _END.match(text)
        self._push(text[end.end() if end else 0 :].lstrip())

    def _push(self, text: bytes) -> None:
        self._pushed[:0] = _LINES.findall(text)

    def _elements(self, piece: bytes) -> Iterator[bytes]:
        """Yield the elements of the list that *piece* is in the middle of; push back what follows the list."""
        element, depth, quoted, cut = b"", 0, False, False
        while piece:
            done, looked = 0, 0
            for found in _SIGN.finditer(piece):
                sign, looked = found[0], found.end()
                if sign == b'"':
                    quoted = not quoted
                elif quoted or sign[:1] == b"\\":
                    continue
                elif sign in b"{[":
                    depth += 1
                elif depth > 0:
                    depth -= 1
                elif sign == b"]":
                    self._push(piece[looked:].lstrip())
                    yield from _line(element + piece[done : found.start()], cut)
                    return
                if depth == 0 and sign == b"}":
                    yield from _line(element + piece[done:looked], cut)
                    element, cut, done = b"", False, looked
            # Half an escape waits for its other half.
            half = piece.endswith(b"\\") and looked < len(piece)
            element += piece[done : len(piece) - half]
            if len(element) > LINE_LIMIT + 2 and not cut:
                cut = True
                yield _flat(element)[: LINE_LIMIT + 2]
            element = b"" if cut else element
            more = self._next(_PIECE)
            piece = (b"\\" if half and more else b"") + more
        yield from _line(element, cut)


def _line(element: bytes, cut: bool) -> Iterator[bytes]:
    """Yield the line of an element, if there is one; of one whose beginning was given, its end."""
    text = b"" if cut else _flat(element).strip(b" \t,")
    if cut or text:
        yield text + b"\n"


def _flat(element: bytes) -> bytes:
    """Return an element on one line: line ends stand between its parts, never within a string."""
    return element.replace(b"\n", b" ").replace(b"\r", b" ").lstrip(b" \t,")
