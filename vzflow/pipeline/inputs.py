"""
Inputs -> segments: what an input is, which part of it is new, and the id of that part.

A capture is one segment. A log is a stream that may grow and rotate: it is recognised by its first bytes and by the
bytes before the end of the last range, and what follows that end, up to the last whole line, is the next segment.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any, BinaryIO

from blake3 import blake3

from vzflow.flow.errors import Place, UnreadableInput
from vzflow.readers.sniff import HEAD, Format, sniff

#: Bytes at the beginning, and before the end of a range, by which a stream is recognised.
MARK = 1 << 16
_CHUNK = 1 << 20

#: What is said of an input whose compressed stream cannot be read to its end.
DAMAGE = "the compressed stream ends in damage"

#: Called as a segment is read: bytes read so far, of how many.
Read = Callable[[int, int], None]


class Plain(io.RawIOBase):
    """The uncompressed bytes of an input. A damaged compressed stream ends early and says so in `damaged`."""

    def __init__(self, raw: BinaryIO) -> None:
        self.damaged = False
        self._raw = raw
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        self._inner: Any = gzip.GzipFile(fileobj=raw) if packed else raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - the buffer protocol has no name in 3.11
        if self.damaged:
            return 0
        try:
            # A read that wants to be full throws away what it has when the end turns out to be missing; read1 does not.
            found = self._inner.read1(len(buffer))
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self.damaged = True
            return 0
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Range(io.RawIOBase):
    """
    The bytes of a stream up to an end; the stream stands at the beginning of the range already.

    With *damage*, the end is that of a damaged compressed stream: reading beyond it raises BadGzipFile, once.
    """

    def __init__(self, stream: BinaryIO, size: int, on_read: Read | None, damage: str | None) -> None:
        self.content = blake3()
        self._stream = stream
        self._size = size
        self._left = size
        self._on_read = on_read
        self._damage = damage

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        if not self._left and self._damage is not None:
            damage, self._damage = self._damage, None
            raise gzip.BadGzipFile(damage)
        wanted = self._stream.read(min(len(buffer), self._left))
        buffer[: len(wanted)] = wanted
        self.content.update(wanted)
        self._left -= len(wanted)
        if self._on_read is not None:
            self._on_read(self._size - self._left, self._size)
        return len(wanted)


@dataclass(frozen=True)
class Segment:
    """
    One unit of ingest, found in an input.

    Args:
        name: As it was given.
        known: The segment is in the store under this or another name; there is nothing to read.
        replaces: Segments of the same bytes and reporter under another interpretation.
        offset_from, offset_to, unfinished: Bytes of the uncompressed content.
        receipt: The columns of a receipt that are known before reading.
    """

    name: str
    format: Format
    segment: str
    stream: str | None
    offset_from: int
    offset_to: int
    unfinished: int
    damaged: bool
    known: bool
    replaces: tuple[str, ...]
    receipt: dict[str, Any]

    @property
    def empty(self) -> bool:
        """Whether there is no whole line yet: a log of which nothing can be stored."""
        return self.stream is not None and self.offset_to == 0 and not self.damaged

    @contextmanager
    def open(self, on_read: Read | None = None) -> Iterator[tuple[BinaryIO, Callable[[], None]]]:
        """
        Open the segment's bytes for its reader.

        Yields:
            The bytes, and what the caller calls once the reader is done with them and before anything is stored: it
            raises UnreadableInput if they are not those that the segment's id was made of.
        """
        with _opened(self.name) as plain:
            stream = io.BufferedReader(plain, _CHUNK)
            _forward(stream, self.offset_from)
            # A log ends with its last whole line; that the rest is lost is for the caller to say.
            damage = DAMAGE if self.damaged and not self.format.is_log else None
            part = _Range(stream, self.offset_to - self.offset_from, on_read, damage)
            reader = io.BufferedReader(part, _CHUNK)

            def check() -> None:
                while reader.read(_CHUNK):
                    pass
                if part.content.hexdigest() != self.receipt["digest"]:
                    raise UnreadableInput("changed while it was read", at=Place(self.name), do="Ingest it again.")

            yield reader, check


@contextmanager
def _opened(name: str) -> Iterator[Plain]:
    path = Path(name)
    try:
        mode = path.stat().st_mode
        if path.is_dir():
            raise UnreadableInput("this is a folder", at=Place(name), do="Name the files in it.")
        if not S_ISREG(mode):
            raise UnreadableInput("not a file", at=Place(name), do="Inputs are read twice: save it to a file first.")
        with Plain(path.open("rb")) as plain:
            yield plain
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise UnreadableInput(what, at=Place(name), do="Check the name, its permissions and the disk.") from error
    except ValueError as error:  # a NUL in the name
        if "null" not in str(error):
            raise
        raise UnreadableInput("cannot be read: no file has such a name", at=Place(name), do="Check it.") from error


def check_input(name: str, wanted: str) -> None:
    """
    Look at the beginning of an input only.

    Raises:
        UnreadableInput: It cannot be opened or its beginning is of no known format.
    """
    with _opened(name) as plain:
        sniff(_read_full(io.BufferedReader(plain, _CHUNK), HEAD), name, wanted)


def printable(name: str) -> str:
    """Return *name* as a table can hold it: a file name need not be UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def find_segment(
    name: str, *, wanted: str, cluster: str, reporter: str | None, receipts: Sequence[dict[str, Any]]
) -> Segment:
    """
    Look at an input and say which part of it is new to a store with these *receipts*.

    Reads the input once, to the end: its id is made of its bytes.

    Raises:
        UnreadableInput: It cannot be opened or its beginning is of no known format.
    """
    with _opened(name) as plain:
        stream = io.BufferedReader(plain, _CHUNK)
        head = _read_full(stream, HEAD)
        form = sniff(head, name, wanted)
        interpretation = json.dumps({"format": form.name, "cluster": cluster, "reporter": reporter}, sort_keys=True)
        begun = _begun(receipts, head, reporter) if form.is_log else []
        marks = _marks_by_stream(receipts, interpretation, head) if form.is_log else {}
        scan = _Scan(sorted({(r["offset_to"], r["tail_bytes"]) for r in begun}), {o for m in marks.values() for o in m})
        scan.take(head)
        while chunk := stream.read(_CHUNK):
            scan.take(chunk)
        damaged = plain.damaged
    common = {
        "name": printable(name), "format": form.name, "interpretation": interpretation, "cluster": cluster,
        "reporter_name": reporter, "bytes": scan.size,
    }  # fmt: skip
    if form.is_log:
        shared = [r for r in begun if scan.tail(r["offset_to"], r["tail_bytes"]) == r["tail_digest"]]
        older = _older_copy(marks, scan, receipts)
        return _log_segment(name, form, scan, head, shared, older, common, damaged, receipts)
    digest = scan.whole.hexdigest()
    segment = _id(interpretation, digest)
    receipt = common | {
        "digest": digest, "stream": None, "offset_from": 0, "offset_to": scan.size, "head_digest": None,
        "head_bytes": None, "tail_digest": None, "tail_bytes": None, "marks": None, "first_line": None,
        "unfinished_bytes": 0,
    }  # fmt: skip
    same = (r for r in receipts if r["digest"] == digest and r["reporter_name"] == reporter)
    return Segment(
        name, form, segment, None, 0, scan.size, 0, damaged, any(r["segment"] == segment for r in receipts),
        _read_otherwise(same, interpretation), receipt,
    )  # fmt: skip


def _log_segment(
    name: str, form: Format, scan: _Scan, head: bytes, shared: list[dict[str, Any]], older: dict[str, Any] | None,
    common: dict[str, Any], damaged: bool, receipts: Sequence[dict[str, Any]],
) -> Segment:  # fmt: skip
    """*shared* are the ranges, of any interpretation, that this log begins with; in *older* it ends, if it is known."""
    last, end = older or _last_range(shared, common["interpretation"], receipts), scan.last_line
    start = end if older else last["offset_to"] if last else 0
    digest = _digest(name, start, end) if start else scan.lines.hexdigest()
    segment = _id(common["interpretation"], digest, f"{last['stream']} {start}" if last else "")
    nothing_new = last is not None and start == end
    if last is not None and nothing_new:
        segment = last["segment"]
    marked = min(MARK, end)
    receipt = common | {
        "digest": digest, "stream": last["stream"] if last else segment, "offset_from": start, "offset_to": end,
        "head_digest": blake3(head[:marked]).hexdigest(), "head_bytes": marked,
        "tail_digest": scan.line_tail(marked), "tail_bytes": marked,
        "marks": scan.marks_between(start, end), "first_line": _lines_before(last) + 1,
        "unfinished_bytes": scan.size - end,
    }  # fmt: skip
    known = nothing_new or any(r["segment"] == segment for r in receipts)
    return Segment(
        name, form, segment, receipt["stream"], start, end, scan.size - end, damaged, known,
        _read_otherwise(shared, common["interpretation"]), receipt,
    )  # fmt: skip


def _last_range(
    shared: Sequence[dict[str, Any]], interpretation: str, receipts: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """
    Return the last range of the stream that this log goes on; None if it is a stream of its own.

    A log that has a stream's first ranges and not its last one is another one that only began alike.
    """
    ends: dict[str, int] = {}
    for r in receipts:
        if r["stream"] is not None:
            ends[r["stream"]] = max(ends.get(r["stream"], 0), r["offset_to"])
    mine = [r for r in shared if r["interpretation"] == interpretation and r["offset_to"] == ends[r["stream"]]]
    return max(mine, key=lambda r: r["offset_to"], default=None)


def _marks_by_stream(receipts: Sequence[dict[str, Any]], interpretation: str, head: bytes) -> dict[str, dict[int, str]]:
    """Return the marks of the streams of this interpretation whose first line *head* begins with."""
    streams: dict[str, dict[int, str]] = {}
    for r in receipts:
        if r["marks"] is not None and r["interpretation"] == interpretation:
            streams.setdefault(r["stream"], {}).update({int(o): d for o, d in json.loads(r["marks"]).items()})
    return {
        stream: marks for stream, marks in streams.items()
        if marks and (first := min(marks)) <= len(head) and _short(blake3(head[:first])) == marks[first]
    }  # fmt: skip


def _older_copy(
    marks: dict[str, dict[int, str]], scan: _Scan, receipts: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """
    Return the range in which this log ends if it is a known one, or an older copy of it; else None.

    Up to the last mark before its end it must be the same byte for byte: that is all of it, or but its last 17th.
    """
    for stream, known in marks.items():
        below = max((o for o in known if o <= scan.last_line), default=None)
        if below is None or scan.marks.get(below) != known[below]:
            continue
        ranges = [r for r in receipts if r["stream"] == stream and r["offset_from"] < scan.last_line <= r["offset_to"]]
        if ranges:
            return ranges[0]
    return None


def _lines_before(last: dict[str, Any] | None) -> int:
    """Return how many lines of the stream were read; what stands for the lost rest of a damaged file is no line."""
    return last["first_line"] - 1 + last["records_read"] - (last["damage"] is not None) if last else 0


def _read_otherwise(same: Iterable[dict[str, Any]], interpretation: str) -> tuple[str, ...]:
    """Return the segments of *same* bytes from the same reporter read another way: the newer reading counts."""
    return tuple(sorted({r["segment"] for r in same if r["interpretation"] != interpretation}))


class _Scan:
    """
    One pass over an input: its size and digest, its last whole line, the bytes before the known ends, and marks.

    A mark is the digest of everything before a byte: at the *known* bytes, and at ends of lines, each at least a
    sixteenth further than the one before: a few hundred for any size.
    """

    def __init__(self, ends: Sequence[tuple[int, int]], known: Iterable[int] = ()) -> None:
        self.size = 0
        self.last_line = 0
        self.whole = blake3()
        #: Digest of everything up to the last whole line.
        self.lines = blake3()
        self.marks: dict[int, str] = {}
        self._own: list[int] = []
        self._known = sorted(known)
        self._tails: dict[tuple[int, int], bytearray] = {end: bytearray() for end in ends}
        self._recent = b""
        self._line_tail = b""

    def take(self, chunk: bytes) -> None:
        begin, after = self.size, self.size + len(chunk)
        for (end, size), held in self._tails.items():
            low, high = max(end - size, begin), min(end, after)
            if low < high:
                held += chunk[low - begin : high - begin]
        own = self._line_ends(chunk, begin)
        known = self._known[bisect_right(self._known, begin) : bisect_right(self._known, after)]
        cut = chunk.rfind(b"\n") + 1
        done = 0
        for place in sorted({*own, *known, *([begin + cut] if cut else [])}):
            self.whole.update(chunk[done : place - begin])
            done = place - begin
            self.marks[place] = _short(self.whole)
            if done == cut:
                self.lines = self.whole.copy()
        self.whole.update(chunk[done:])
        self._own += own
        if cut:
            self.last_line = begin + cut
            self._line_tail = (self._recent + chunk[:cut])[-MARK:]
        self._recent = (self._recent + chunk)[-MARK:]
        self.size = after

    def _line_ends(self, chunk: bytes, begin: int) -> list[int]:
        found: list[int] = []
        last = self._own[-1] if self._own else 0
        while at := chunk.find(b"\n", max(last + last // 16 - begin, 0)) + 1:
            last = begin + at
            found.append(last)
        return found

    def marks_between(self, begin: int, end: int) -> str:
        """Return the marks after *begin* that a receipt shall hold, *end* among them, as JSON."""
        return json.dumps({o: self.marks[o] for o in sorted({*self._own, end}) if begin < o <= end})

    def tail(self, end: int, size: int) -> str | None:
        """Return the digest of the *size* bytes before *end*, or None if the input does not reach so far."""
        held = self._tails[end, size]
        return blake3(bytes(held)).hexdigest() if len(held) == size else None

    def line_tail(self, size: int) -> str:
        """Return the digest of the *size* bytes before the end of the last whole line."""
        return blake3(self._line_tail[-size:] if size else b"").hexdigest()


def _digest(name: str, begin: int, end: int) -> str:
    state = blake3()
    with _opened(name) as plain:
        stream = io.BufferedReader(plain, _CHUNK)
        _forward(stream, begin)
        left = end - begin
        while left and (chunk := stream.read(min(_CHUNK, left))):
            state.update(chunk)
            left -= len(chunk)
    return state.hexdigest()


def _forward(stream: BinaryIO, count: int) -> None:
    while count and (chunk := stream.read(min(_CHUNK, count))):
        count -= len(chunk)


def _read_full(stream: BinaryIO, size: int) -> bytes:
    held = b""
    while len(held) < size and (chunk := stream.read(size - len(held))):
        held += chunk
    return held


def _begun(receipts: Sequence[dict[str, Any]], head: bytes, reporter: str | None) -> list[dict[str, Any]]:
    """Return the ranges of this reporter's streams that begin like *head*."""
    digests = {size: blake3(head[:size]).hexdigest() for r in receipts if (size := r["head_bytes"])}
    return [
        r for r in receipts
        if r["head_bytes"] and r["head_bytes"] <= len(head) and r["reporter_name"] == reporter
        and r["head_digest"] == digests[r["head_bytes"]]
    ]  # fmt: skip


def _short(state: blake3) -> str:
    return state.hexdigest(8)


def _id(interpretation: str, digest: str, place: str = "") -> str:
    return blake3(f"{interpretation}\n{digest}\n{place}".encode()).hexdigest()[:16]
