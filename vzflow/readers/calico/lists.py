"""
JSON lists as lines: the Whisker backend answers with one document, `{"meta":…,"items":[…]}`, however long it is.

Only where elements begin and end is looked at, so memory is that of one element; what an element holds is judged later,
as of any line. What stands around the list (page counts) is no record. A list begins the input or follows another list.
Damage inside one may cost the elements after it, for where they begin can then not be told.
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

#: An element that goes on where it began is on one line with all others.
_ONE_LINE = re.compile(rb"[ \t]*\{[ \t]*[^ \t\r\n]")

_LINES = re.compile(rb"[^\n]*\n|[^\n]+")

_BETWEEN = b" \t\r\n,"

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
        lines = False  # a line among lines never begins a list, so that a damaged one costs only itself
        while line := self._next():
            text = line if lines or not _MAY_BEGIN.fullmatch(line) else self._gathered(line, _BEGIN)
            begin = None if lines else _BEGIN.match(text)
            if begin is None:
                self._push(text[len(line) :])
                lines = lines or bool(line.strip())
                yield line
                continue
            self._push(text[begin.end() :])
            yield from self._elements(_ONE_LINE.match(text, begin.end()) is not None)
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

    def _elements(self, one_line: bool) -> Iterator[bytes]:
        """
        Yield the elements of a list whose bracket was read, each as a line; push back what follows the list.

        A list of *one_line* ends with its line, whether or not its bracket was lost.
        """
        element, depth, quoted, cut, half = bytearray(), 0, False, False, b""
        while more := self._next(_PIECE):
            piece, done, looked = half + more, 0, 0
            for found in _SIGN.finditer(piece):
                sign, looked = found[0], found.end()
                quoted = quoted != (sign == b'"')
                if quoted or sign not in (b"{", b"[", b"}", b"]"):
                    continue
                opens = sign in b"{["
                if depth == 0 and sign != b"}":
                    # What stands between two elements is none.
                    yield from _line(element + piece[done : found.start()], cut)
                    element, cut, done = bytearray(), False, found.start()
                    if not opens:
                        self._push(piece[looked:].lstrip())
                        return
                depth = max(depth + (1 if opens else -1), 0)
                if depth == 0:
                    yield from _line(element + piece[done:looked], cut)
                    element, cut, done = bytearray(), False, looked
            # Half an escape waits for its other half.
            half = b"\\" if piece.endswith(b"\\") and looked < len(piece) else b""
            if one_line and piece.endswith(b"\n"):
                yield from _line(element + piece[done:], cut)
                return
            element += piece[done : len(piece) - len(half)]
            if not element.strip(_BETWEEN):
                element.clear()
            if len(element) > LINE_LIMIT + 2 and not cut:
                cut = True
                yield _flat(element)[: LINE_LIMIT + 2]
            if cut:
                element.clear()
        yield from _line(element, cut)


def _line(element: bytearray, cut: bool) -> Iterator[bytes]:
    """Yield the line of an element, if there is one; of one whose beginning was given, its end."""
    text = b"" if cut else _flat(element).rstrip(_BETWEEN)
    if cut or text:
        yield text + b"\n"


def _flat(element: bytearray) -> bytes:
    """Return an element on one line: line ends stand between its parts, never within a string."""
    return bytes(element.lstrip(_BETWEEN)).replace(b"\n", b" ").replace(b"\r", b" ")
