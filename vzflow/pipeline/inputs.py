"""
Inputs -> segments: what an input is, which part of it is new, and the id of that part.

A capture is one segment, whose id is known once it was read; so is a log of JSON documents. Any other log is a stream
that may grow and rotate: it is recognised by its first bytes and by the bytes before the end of the last range, and
what follows that end, up to the last whole line, is the next segment. A line that a container runtime has cut into
pieces is whole with its last piece.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from vzflow.flow.errors import Place, UnreadableInput
from vzflow.pipeline.unpacked import DAMAGE, PIECE, Opened, Plain
from vzflow.readers.base import LINE_LIMIT
from vzflow.readers.sniff import Format, is_stream, sniff
from vzflow.readers.wrappings import begin_of_unfinished

#: Bytes at the beginning, and before the end of a range, by which a stream is recognised.
MARK = 1 << 16

#: Called as bytes are read.
Read = Callable[[], None]


@dataclass(frozen=True)
class How:
    """
    How inputs are to be read.

    Args:
        form: Name of a format, or auto.
        cluster: Cluster the addresses belong to.
        reporter: NS/POD that wrote the logs.
        vxlan_ports: UDP ports that carry VXLAN in captures, besides the usual ones.
        envoy_format: Formats of Envoy access logs, as `vzflow.readers.envoy.given` returns them.
    """

    form: str = "auto"
    cluster: str = "default"
    reporter: str | None = None
    vxlan_ports: tuple[int, ...] = ()
    envoy_format: str | None = None


@dataclass(frozen=True)
class Segment:
    """
    One unit of ingest, found in an input.

    Args:
        name: As it was given.
        known: The segment is in the store under this or another name; there is nothing to read.
        replaces: Segments of the same bytes and reporter under another interpretation.
        offset_from, offset_to, unfinished: Bytes of the uncompressed content.
        damaged: The compressed stream ends in damage.
        before: The beginning of the log, as far as it is before this range.
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
    before: bytes = b""

    @property
    def empty(self) -> bool:
        """Whether there is no whole line yet: a log of which nothing can be stored."""
        return self.stream is not None and self.offset_to == 0 and not self.damaged


class Part(io.RawIOBase):
    """
    Bytes of an input on their way to a reader, hashed as they pass: all that are left, or the next *size*.

    Where a compressed stream ends in damage, reading on raises BadGzipFile once, unless a *size* was given: a log ends
    with its last whole line, and that the rest is lost is for the caller to say.
    """

    def __init__(self, plain: Plain, size: int | None = None, on_read: Read | None = None) -> None:
        self.size = 0
        self.content = blake3()
        self._plain = plain
        self._wanted = size
        self._on_read = on_read
        self._told = False

    def readable(self) -> bool:
        return True

    @property
    def damaged(self) -> bool:
        return self._plain.damaged

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - the buffer protocol has no name in 3.11
        view = memoryview(buffer)
        if self._wanted is not None:
            view = view[: self._wanted - self.size]
        count = self._plain.readinto(view) if view else 0
        if count:
            self.content.update(view[:count])
            self.size += count
        elif self._wanted is None and self.damaged and not self._told:
            self._told = True
            raise gzip.BadGzipFile(DAMAGE)
        if self._on_read is not None:
            self._on_read()
        return count

    def drain(self) -> None:
        """Read what the reader has left."""
        self._told = True
        buffer = memoryview(bytearray(PIECE))
        while self.readinto(buffer):
            pass


def printable(name: str) -> str:
    """Return *name* as a table can hold it: a file name need not be UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def interpretation_of(form: Format, how: How) -> str:
    """Return how an input is read, as receipts and ids hold it."""
    read: dict[str, object] = {"format": form.name, "cluster": how.cluster, "reporter": how.reporter}
    if how.vxlan_ports and not form.is_log:
        read["vxlan_ports"] = sorted(set(how.vxlan_ports))
    if how.envoy_format is not None and form.name == "envoy":
        read["envoy_format"] = json.loads(how.envoy_format)
    return json.dumps(read, sort_keys=True)


def format_of(opened: Opened, how: How) -> Format:
    """
    Return the format of an input, from its beginning.

    Raises:
        UnreadableInput: It is of no known format.
    """
    head = opened.head
    if not head and opened.plain.damaged:
        what = "the compressed stream is damaged from its beginning"
        raise UnreadableInput(what, at=Place(opened.name), do="Copy it again from where it is whole.")
    return sniff(head, opened.name, how.form, how.envoy_format)


def begins(opened: Opened, how: How) -> str:
    """
    Return a digest that inputs share if one may be the other, an older copy of it or one that it has grown from.

    Raises:
        UnreadableInput: The beginning is of no known format.
    """
    head = opened.head
    if is_stream(format_of(opened, how), head):
        head = head[: head.find(b"\n") + 1] or head
    return blake3(head).hexdigest()


def looks_known(opened: Opened, receipts: Sequence[dict[str, Any]]) -> bool:
    """
    Whether a capture may be in a store with these *receipts*, so that hashing it first may save decoding it.

    The size tells, where it is known without unpacking; else the name.
    """
    if opened.size is None:
        return False
    if opened.plain.packed:
        return any(r["name"] == printable(opened.name) for r in receipts)
    return any(r["bytes"] == opened.size for r in receipts)


def find_segment(
    opened: Opened, how: How, receipts: Sequence[dict[str, Any]], on_read: Read | None = None, *, damaged: bool = False
) -> Segment:
    """
    Read an input to its end and say which part of it is new to a store with these *receipts*.

    Args:
        opened: Nothing was read of it yet. It can be rewound.
        how: Part of what the id is made of.
        receipts: Of everything that is stored.
        on_read: Called as bytes are read.
        damaged: The input was put aside from a compressed stream that ends in damage.

    Raises:
        UnreadableInput: Its beginning is of no known format.
    """
    form, head, plain = format_of(opened, how), opened.head, opened.plain
    if not is_stream(form, head):
        part = Part(plain, on_read=on_read)
        part.drain()
        return capture_segment(opened.name, form, how, part, receipts)
    interpretation = interpretation_of(form, how)
    begun = _begun(receipts, head, how.reporter)
    marks = _marks_by_stream(receipts, interpretation, head)
    scan = _Scan(sorted({(r["offset_to"], r["tail_bytes"]) for r in begun}), {o for m in marks.values() for o in m})
    while chunk := plain.read(PIECE):
        scan.take(chunk)
        if on_read is not None:
            on_read()
    scan.leave_unfinished()
    common = _common(opened.name, form, how, scan.size)
    shared = [r for r in begun if scan.tail(r["offset_to"], r["tail_bytes"]) == r["tail_digest"]]
    older = _older_copy(marks, scan, receipts)
    return _log_segment(opened, form, scan, head, shared, older, common, damaged or plain.damaged, receipts)


def capture_segment(name: str, form: Format, how: How, part: Part, receipts: Sequence[dict[str, Any]]) -> Segment:
    """Return the segment that a capture is, once all bytes of it went through *part*."""
    interpretation, digest = interpretation_of(form, how), part.content.hexdigest()
    segment = _id(interpretation, digest)
    receipt = _common(name, form, how, part.size) | {
        "digest": digest, "stream": None, "offset_from": 0, "offset_to": part.size, "head_digest": None,
        "head_bytes": None, "tail_digest": None, "tail_bytes": None, "marks": None, "first_line": None,
        "unfinished_bytes": 0,
    }  # fmt: skip
    same = (r for r in receipts if r["digest"] == digest and r["reporter_name"] == how.reporter)
    return Segment(
        name, form, segment, None, 0, part.size, 0, part.damaged, any(r["segment"] == segment for r in receipts),
        _read_otherwise(same, interpretation), receipt,
    )  # fmt: skip


def range_of(opened: Opened, segment: Segment, on_read: Read | None = None) -> Part:
    """Return the bytes of a range of a log."""
    plain = opened.rewind()
    _forward(plain, segment.offset_from, on_read)
    return Part(plain, segment.offset_to - segment.offset_from, on_read)


def check_range(part: Part, segment: Segment) -> Segment:
    """
    Return *segment* if the bytes that went to the reader are those that its id was made of.

    Raises:
        UnreadableInput: They are not.
    """
    part.drain()
    if part.content.hexdigest() != segment.receipt["digest"]:
        raise UnreadableInput("changed while it was read", at=Place(segment.name), do="Ingest it again.")
    return segment


def _common(name: str, form: Format, how: How, size: int) -> dict[str, Any]:
    return {
        "name": printable(name), "format": form.name, "interpretation": interpretation_of(form, how),
        "cluster": how.cluster, "reporter_name": how.reporter, "bytes": size,
    }  # fmt: skip


def _log_segment(
    opened: Opened, form: Format, scan: _Scan, head: bytes, shared: list[dict[str, Any]], older: dict[str, Any] | None,
    common: dict[str, Any], damaged: bool, receipts: Sequence[dict[str, Any]],
) -> Segment:  # fmt: skip
    """*shared* are the ranges, of any interpretation, that this log begins with; in *older* it ends, if it is known."""
    last, end = older or _last_range(shared, common["interpretation"], receipts), scan.last_line
    start = end if older else last["offset_to"] if last else 0
    digest = _digest(opened, start, end) if start else scan.lines.hexdigest()
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
        opened.name, form, segment, receipt["stream"], start, end, scan.size - end, damaged, known,
        _read_otherwise(shared, common["interpretation"]), receipt, head[:start],
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


#: Bytes from the end that are kept: a line in pieces may begin so far before it, and the mark before that.
_RECENT = 2 * LINE_LIMIT + MARK


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
        #: What was taken last, piece by piece: where it began, and the state of `whole` then.
        self._recent: deque[tuple[int, blake3, bytes]] = deque()
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
        self._recent.append((begin, self.whole.copy(), chunk))
        while len(self._recent) > 1 and after - self._recent[1][0] >= _RECENT:
            self._recent.popleft()
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
            self._line_tail = self._before(self.last_line, MARK)
        self.size = after

    def leave_unfinished(self) -> None:
        """Let the last line end before the pieces of one whose last piece has not come yet."""
        text = self._before(self.last_line, 2 * LINE_LIMIT)
        if len(text) < self.last_line:
            text = text[text.find(b"\n") + 1 :]
        begin = begin_of_unfinished(text)
        if begin is None:
            return
        self.last_line = end = self.last_line - len(text) + begin
        at, state, chunk = next(piece for piece in reversed(self._recent) if piece[0] <= end)
        state.update(chunk[: end - at])
        self.lines, self.marks[end] = state, _short(state)
        self._line_tail = self._before(end, MARK)

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

    def _before(self, end: int, size: int) -> bytes:
        """Return up to *size* bytes before *end* of what was taken last."""
        return b"".join(c[max(end - size - begin, 0) : max(end - begin, 0)] for begin, _, c in self._recent)


def _digest(opened: Opened, begin: int, end: int) -> str:
    plain = opened.rewind()
    _forward(plain, begin)
    part = Part(plain, end - begin)
    part.drain()
    return str(part.content.hexdigest())


def _forward(plain: Plain, count: int, on_read: Read | None = None) -> None:
    buffer = memoryview(bytearray(PIECE))
    while count and (found := plain.readinto(buffer[:count])):
        count -= found
        if on_read is not None:
            on_read()


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
