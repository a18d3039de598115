"""Records cut out of a log byte for byte: the lines or elements behind rows, and what they need around them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

from vzflow.flow.key import ENTRY
from vzflow.readers import documents
from vzflow.readers.base import LINE_LIMIT, Context, Tally
from vzflow.readers.sniff import Format
from vzflow.readers.wrappings import Level, perhaps, surely

#: Lines after the first piece of one among which the others are looked for.
_PIECES_WITHIN = 10_000
#: Header lines of a log that are kept: Zeek writes eight.
_HEADERS = 64
#: Around what stands by itself.
_BARE = (b"", b"")
#: Around it among documents.
_LISTED = (b"[", b"]")


@dataclass
class Lines:
    """
    One record as it stands in its log.

    Args:
        number: Of its line or element, from 1.
        offset: Where it begins in what was read, in bytes.
        raw: Its first line, with the line's end, or its element.
        pieces: Further lines of it, where a container runtime cut it, with their numbers.
        header: Lines above it that say how it is written.
        around: What has to stand before and after an element.
    """

    number: int
    offset: int
    raw: bytes
    pieces: list[tuple[int, bytes]]
    header: tuple[bytes, ...] = ()
    around: tuple[bytes, bytes] = _BARE


def cut(stream: BinaryIO, form: Format, context: Context, records: Collection[int]) -> list[Lines]:
    """
    Return the records of a log behind the rows with these numbers (column `record`), each once, in their order.

    Args:
        stream: The part of the log that the numbers count in.
        form: Its format.
        context: `document` and `before` as the log was read with.
        records: Of rows; of an element or a line with several, any of them.
    """
    numbers = {record % ENTRY for record in records}
    if not numbers:
        return []
    if context.document:
        return [Lines(c.number, c.offset, c.raw, [], (), c.around) for c in documents.cut(stream, numbers)]
    headers = _headers(context.before) if form.name == "zeek" else None
    return list(_of_lines(stream, numbers, headers))


def text_of(found: Collection[Lines]) -> bytes:
    """Return what re-ingests to the rows of *found*: header lines once, then every line or element as it stands."""
    if any(one.around != _BARE for one in found):
        around = [_LISTED if one.around == _BARE else one.around for one in found]
        return b"".join(before + one.raw + after + b"\n" for one, (before, after) in zip(found, around, strict=True))
    lines = {number: raw for one in found for number, raw in ((one.number, one.raw), *one.pieces)}
    headers = {one.number: one.header for one in found}
    out: list[bytes] = []
    header: tuple[bytes, ...] = ()
    for number in sorted(lines):
        if headers.get(number, header) != header:
            header = headers[number]
            out += header
        out.append(lines[number])
    return b"".join(raw if raw.endswith(b"\n") else raw + b"\n" for raw in out)


def rows_of(text: bytes, form: Format, context: Context) -> list[dict[str, Any]]:
    """Return the rows that *text* is read as by itself."""
    return [row for batch in form.read(BytesIO(text), context, Tally()) for row in batch.to_pylist()]


def _of_lines(stream: BinaryIO, numbers: set[int], headers: list[bytes] | None) -> Iterator[Lines]:
    waiting: dict[str, Lines] = {}
    found: list[Lines] = []
    last, number, offset = max(numbers), 0, 0
    while number < last or (waiting and number < last + _PIECES_WITHIN):
        line = stream.readline(LINE_LIMIT + 2)
        if not line:
            break
        number += 1
        begin, offset = offset, offset + len(line)
        rest = line
        while len(rest) > LINE_LIMIT and not rest.endswith(b"\n"):  # no record, and still a line
            rest = stream.readline(LINE_LIMIT + 2)
            offset += len(rest)
        if headers is not None and line.startswith(b"#"):
            _note(headers, line)
        if not waiting and number not in numbers:
            continue
        name, whole = _piece(line.rstrip(b"\r\n"))
        one = waiting.pop(name, None)
        if one is not None:
            one.pieces.append((number, line))
        elif number in numbers:
            one = Lines(number, begin, line, [], tuple(headers or ()))
            found.append(one)
        if one is not None and not whole:
            waiting[name] = one
    yield from found


def _piece(line: bytes) -> tuple[str, bool]:
    """Return which stream of a container a line is from, and whether no further piece of it follows."""
    todo = [(line, Level.FILE)]
    while todo:
        text, level = todo.pop()
        sure = surely(text, level)
        for peeled in (sure,) if sure is not None else perhaps(text, level):
            if peeled.stream is not None:
                return peeled.stream, peeled.whole
            todo.append((peeled.text, peeled.level))
    return "", True


def _headers(before: bytes) -> list[bytes]:
    headers: list[bytes] = []
    for line in before[: before.rfind(b"\n") + 1].splitlines(keepends=True):
        if line.startswith(b"#"):
            _note(headers, line)
    return headers


def _note(headers: list[bytes], line: bytes) -> None:
    """Keep a header line; the first line of a header ends the one before."""
    if line.startswith(b"#separator"):
        headers.clear()
    if len(headers) < _HEADERS and not line.startswith((b"#open", b"#close")):
        headers.append(line)
