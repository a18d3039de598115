"""
Logs -> ranges: which part of a log is new, found while it is read.

A log is a stream that may grow and rotate: it is recognised by its first bytes and by the bytes before the end of the
last range, and what follows that end, up to the last whole line, is the next segment. A line that a container runtime
has cut into pieces is whole with its last piece.

It is read once: what is new goes to a reader as it passes, a little behind, because only the end tells how far its
lines are whole. Where it begins is clear as soon as the log is longer than every stream that it may be or be a copy of.
What the end tells is what counts: if that is not what the reader was given, the range is read again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

from blake3 import blake3

from vzflow.flow.errors import Place, UnreadableInput
from vzflow.pipeline.inputs import (
    How,
    Part,
    Read,
    Segment,
    common_columns,
    interpretation_of,
    read_otherwise,
    segment_id,
)
from vzflow.pipeline.scan import MARK, Scan, short
from vzflow.pipeline.unpacked import PIECE, Opened, Plain
from vzflow.readers.sniff import Format

Receipt = dict[str, Any]


class ReadAgain(Exception):
    """What is new in a log is not what its reader was given."""


class Log(io.RawIOBase):
    """
    A log on its way to a reader, and what of it is new to a store.

    Args:
        opened: Nothing was read of it yet. It can be rewound.
        form: Its format.
        how: Part of what ids are made of.
        receipts: Of everything that is stored.
        on_read: Called as bytes are read.
        damaged: The input was put aside from a compressed stream that ends in damage.
    """

    def __init__(
        self, opened: Opened, form: Format, how: How, receipts: Sequence[Receipt], on_read: Read | None = None,
        *, damaged: bool = False,
    ) -> None:  # fmt: skip
        self.on_read = on_read
        self._opened, self._form, self._how, self._receipts = opened, form, how, receipts
        self._damaged = damaged
        self._head, self._plain = opened.head, opened.plain
        self._interpretation = interpretation_of(form, how)
        #: The ranges, of any interpretation, that begin as this log does.
        self._begun = _begun(receipts, self._head, how.reporter)
        self._marks = _marks_by_stream(receipts, self._interpretation, self._head)
        ends = {(r["offset_to"], r["tail_bytes"]) for r in self._begun}
        self._scan = Scan(self._plain, sorted(ends), {o for marks in self._marks.values() for o in marks})
        #: What the reader was given: from where, up to where, and the digest unless it is all.
        self._begin = self._at = 0
        self._content = blake3()
        self._found: Segment | None = None

    def readable(self) -> bool:
        return True

    @property
    def before(self) -> bytes:
        """The beginning of the log, as far as it is before what the reader is given."""
        return self._head[: self._begin]

    def look(self) -> bool:
        """
        Read until it is clear where what is new begins.

        Returns:
            Whether a reader can have it from here. If not, it has passed already, or nothing is new: see `segment`.
        """
        self._pass_known()
        if self._scan.ended:
            found = self.segment()
            if found.known or found.empty:
                return False
            self._begin = found.offset_from
        else:
            last = _last_range(self._shared(), self._interpretation, self._receipts)
            self._begin = last["offset_to"] if last else 0
        self._at = self._begin
        return self._begin >= self._scan.kept

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - the buffer protocol has no name in 3.11
        view = memoryview(buffer)
        while self._at >= self._scan.ready and self._more():
            pass
        count = self._scan.give(self._at, view)
        if self._begin:
            self._content.update(view[:count])
        self._at += count
        return count

    def finish(self) -> Segment:
        """
        Return the segment that the reader was given, and has read as far as it wanted.

        Raises:
            ReadAgain: Something else is new.
        """
        buffer = memoryview(bytearray(PIECE))
        while self.readinto(buffer):
            pass
        found = self.segment()
        if (found.offset_from, found.offset_to) != (self._begin, self._at):
            raise ReadAgain
        return found

    def segment(self) -> Segment:
        """Read to the end, and say which part is new."""
        while self._more():
            pass
        if self._found is None:
            self._found = self._find()
        return self._found

    def _more(self) -> bool:
        more = self._scan.read_on()
        if self.on_read is not None:
            self.on_read()
        return more

    def _pass_known(self) -> None:
        """Read on until the log is longer than every stream that it may be, or be an older copy of."""
        ends = _ends(self._receipts)
        mine = [r["offset_to"] for r in self._begun if r["interpretation"] == self._interpretation]
        alike = list(self._marks)
        while self._scan.settled <= max([0, *mine, *(ends[stream] for stream in alike)]) and self._more():
            alike = [s for s in alike if self._goes_with(self._marks[s], self._scan.settled) is not False]

    def _goes_with(self, marks: dict[int, str], end: int) -> bool | None:
        """Whether the log is, up to the last of *marks* before *end*, what these are of; null if there is none."""
        below = max((o for o in marks if o <= end), default=None)
        return None if below is None else self._scan.marks.get(below) == marks[below]

    def _shared(self) -> list[Receipt]:
        """Return the ranges, of any interpretation, that this log begins with, as far as it was read."""
        return [r for r in self._begun if self._scan.tail(r["offset_to"], r["tail_bytes"]) == r["tail_digest"]]

    def _older_copy(self) -> Receipt | None:
        """
        Return the range in which this log ends if it is a known one, or an older copy of it; else None.

        Up to the last mark before its end it must be the same byte for byte: that is all of it, or but its last 17th.
        """
        end = self._scan.last_line
        for stream, known in self._marks.items():
            if not self._goes_with(known, end):
                continue
            ranges = [r for r in self._receipts if r["stream"] == stream and r["offset_from"] < end <= r["offset_to"]]
            if ranges:
                return ranges[0]
        return None

    def _find(self) -> Segment:
        scan, receipts, shared, older = self._scan, self._receipts, self._shared(), self._older_copy()
        last, end = older or _last_range(shared, self._interpretation, receipts), scan.last_line
        start = end if older else last["offset_to"] if last else 0
        digest = self._digest(start, end)
        segment = segment_id(self._interpretation, digest, f"{last['stream']} {start}" if last else "")
        nothing_new = last is not None and start == end
        if last is not None and nothing_new:
            segment = last["segment"]
        marked = min(MARK, end)
        receipt = common_columns(self._opened.name, self._form, self._how, scan.size) | {
            "digest": digest, "stream": last["stream"] if last else segment, "offset_from": start, "offset_to": end,
            "head_digest": blake3(self._head[:marked]).hexdigest(), "head_bytes": marked,
            "tail_digest": scan.line_tail(marked), "tail_bytes": marked,
            "marks": scan.marks_between(start, end), "first_line": _lines_before(last) + 1,
            "unfinished_bytes": scan.size - end,
        }  # fmt: skip
        known = nothing_new or any(r["segment"] == segment for r in receipts)
        return Segment(
            self._opened.name, self._form, segment, receipt["stream"], start, end, scan.size - end,
            self._damaged or self._plain.damaged, known, read_otherwise(shared, self._interpretation), receipt,
            self._head[:start],
        )  # fmt: skip

    def _digest(self, begin: int, end: int) -> str:
        if not begin:
            return self._scan.lines.hexdigest()
        if (begin, end) == (self._begin, self._at):
            return self._content.hexdigest()
        if begin >= self._scan.kept:
            return blake3(self._scan.before(end, end - begin)).hexdigest()
        plain = self._opened.rewind()
        forward(plain, begin)
        part = Part(plain, end - begin)
        part.drain()
        return part.content.hexdigest()


def range_of(opened: Opened, segment: Segment, on_read: Read | None = None) -> Part:
    """Return the bytes of a range of a log, read once more."""
    plain = opened.rewind()
    forward(plain, segment.offset_from, on_read)
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


def forward(plain: Plain, count: int, on_read: Read | None = None) -> None:
    """Read *count* bytes, or to the end, and throw them away."""
    buffer = memoryview(bytearray(PIECE))
    while count and (found := plain.readinto(buffer[:count])):
        count -= found
        if on_read is not None:
            on_read()


def _begun(receipts: Sequence[Receipt], head: bytes, reporter: str | None) -> list[Receipt]:
    """Return the ranges of this reporter's streams that begin like *head*."""
    digests = {size: blake3(head[:size]).hexdigest() for r in receipts if (size := r["head_bytes"])}
    return [
        r for r in receipts
        if r["head_bytes"] and r["head_bytes"] <= len(head) and r["reporter_name"] == reporter
        and r["head_digest"] == digests[r["head_bytes"]]
    ]  # fmt: skip


def _ends(receipts: Sequence[Receipt]) -> dict[str, int]:
    """Return how far each stream was read."""
    ends: dict[str, int] = {}
    for r in receipts:
        if r["stream"] is not None:
            ends[r["stream"]] = max(ends.get(r["stream"], 0), r["offset_to"])
    return ends


def _last_range(shared: Sequence[Receipt], interpretation: str, receipts: Sequence[Receipt]) -> Receipt | None:
    """
    Return the last range of the stream that this log goes on; None if it is a stream of its own.

    A log that has a stream's first ranges and not its last one is another one that only began alike.
    """
    ends = _ends(receipts)
    mine = [r for r in shared if r["interpretation"] == interpretation and r["offset_to"] == ends[r["stream"]]]
    return max(mine, key=lambda r: r["offset_to"], default=None)


def _marks_by_stream(receipts: Sequence[Receipt], interpretation: str, head: bytes) -> dict[str, dict[int, str]]:
    """Return the marks of the streams of this interpretation whose first line *head* begins with."""
    streams: dict[str, dict[int, str]] = {}
    for r in receipts:
        if r["marks"] is not None and r["interpretation"] == interpretation:
            streams.setdefault(r["stream"], {}).update({int(o): d for o, d in json.loads(r["marks"]).items()})
    return {
        stream: marks for stream, marks in streams.items()
        if marks and (first := min(marks)) <= len(head) and short(blake3(head[:first])) == marks[first]
    }  # fmt: skip


def _lines_before(last: Receipt | None) -> int:
    """Return how many lines of the stream were read; what stands for the lost rest of a damaged file is no line."""
    return last["first_line"] - 1 + last["records_read"] - (last["damage"] is not None) if last else 0
