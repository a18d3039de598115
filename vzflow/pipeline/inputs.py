"""
Inputs -> segments: what an input is, which part of it is new, and the id of that part.

A capture is one segment. A log is a stream that may grow and rotate: it is recognised by its first bytes and by the
bytes before the end of the last range, and what follows that end, up to the last whole line, is the next segment.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from blake3 import blake3

from vzflow.flow.errors import Place, UnreadableInput
from vzflow.readers.sniff import HEAD, Format, sniff

#: Bytes at the beginning, and before the end of a range, by which a stream is recognised.
MARK = 1 << 16
_CHUNK = 1 << 20


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
        try:
            return int(self._inner.readinto(buffer) or 0)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self.damaged = True
            return 0

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Range(io.RawIOBase):
    """The bytes of a stream up to an end; the stream stands at the beginning of the range already."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        wanted = self._stream.read(min(len(buffer), self._left))
        buffer[: len(wanted)] = wanted
        self._left -= len(wanted)
        return len(wanted)


@dataclass(frozen=True)
class Segment:
    """
    One unit of ingest, found in an input.

    Args:
        known: The segment is in the store under this or another name; there is nothing to read.
        replaces: Segments of the same bytes and reporter under another interpretation.
        offset_from, offset_to, size, unfinished: Bytes of the uncompressed content.
        receipt: The columns of a receipt that are known before reading.
    """

    name: str
    format: Format
    segment: str
    stream: str | None
    offset_from: int
    offset_to: int
    size: int
    unfinished: int
    damaged: bool
    known: bool
    replaces: tuple[str, ...]
    receipt: dict[str, Any]

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the segment's bytes for its reader."""
        with _opened(self.name) as plain:
            stream = io.BufferedReader(plain, _CHUNK)
            _forward(stream, self.offset_from)
            if self.format.is_log:
                yield io.BufferedReader(_Range(stream, self.offset_to - self.offset_from), _CHUNK)
            else:
                yield stream


@contextmanager
def _opened(name: str) -> Iterator[Plain]:
    path = Path(name)
    if path.is_dir():
        raise UnreadableInput("this is a folder", at=Place(name), do="Name the files in it.")
    try:
        raw = path.open("rb")
    except OSError as error:
        raise UnreadableInput(f"cannot be read: {error.strerror}", at=Place(name), do="Check the name.") from error
    with Plain(raw) as plain:
        try:
            yield plain
        except OSError as error:
            raise UnreadableInput(f"cannot be read: {error}", at=Place(name), do="Check the disk.") from error


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
        ends = [r for r in receipts if r["interpretation"] == interpretation and _same_head(r, head)]
        scan = _Scan(sorted({(r["offset_to"], r["tail_bytes"]) for r in ends}) if form.is_log else [])
        scan.take(head)
        while chunk := stream.read(_CHUNK):
            scan.take(chunk)
        damaged = plain.damaged
    common = {
        "name": name, "format": form.name, "interpretation": interpretation, "cluster": cluster,
        "reporter_name": reporter, "bytes": scan.size,
    }  # fmt: skip
    if form.is_log:
        return _log_segment(name, form, scan, head, ends, common, damaged, receipts)
    digest = scan.whole.hexdigest()
    segment = _id(interpretation, digest)
    receipt = common | {
        "digest": digest, "stream": None, "offset_from": 0, "offset_to": scan.size, "head_digest": None,
        "head_bytes": None, "tail_digest": None, "tail_bytes": None, "first_line": None, "unfinished_bytes": 0,
    }  # fmt: skip
    return Segment(
        name, form, segment, None, 0, scan.size, scan.size, 0, damaged,
        any(r["segment"] == segment for r in receipts), _replaced(receipts, receipt), receipt,
    )  # fmt: skip


def _log_segment(
    name: str, form: Format, scan: _Scan, head: bytes, ends: list[dict[str, Any]], common: dict[str, Any],
    damaged: bool, receipts: Sequence[dict[str, Any]],
) -> Segment:  # fmt: skip
    matching = [r for r in ends if scan.tail(r["offset_to"], r["tail_bytes"]) == r["tail_digest"]]
    last = max(matching, key=lambda r: r["offset_to"], default=None)
    start, end = (last["offset_to"] if last else 0), scan.last_line
    if last and any(r["stream"] == last["stream"] and r["offset_to"] >= end for r in receipts):
        start = end  # this log, or an older copy of it: it has been read as far or further
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
        "first_line": last["first_line"] + last["records_read"] if last else 1,
        "unfinished_bytes": scan.size - end,
    }  # fmt: skip
    known = nothing_new or any(r["segment"] == segment for r in receipts)
    return Segment(
        name, form, segment, receipt["stream"], start, end, scan.size, scan.size - end, damaged, known,
        () if last else _replaced(receipts, receipt), receipt,
    )  # fmt: skip


class _Scan:
    """One pass over an input: its size and digest, its last whole line, and the bytes before the known ends."""

    def __init__(self, ends: Sequence[tuple[int, int]]) -> None:
        self.size = 0
        self.last_line = 0
        self.whole = blake3()
        #: Digest of everything up to the last whole line.
        self.lines = blake3()
        self._tails: dict[tuple[int, int], bytearray] = {end: bytearray() for end in ends}
        self._recent = b""
        self._line_tail = b""

    def take(self, chunk: bytes) -> None:
        begin, after = self.size, self.size + len(chunk)
        for (end, size), held in self._tails.items():
            low, high = max(end - size, begin), min(end, after)
            if low < high:
                held += chunk[low - begin : high - begin]
        cut = chunk.rfind(b"\n") + 1
        if cut:
            self.whole.update(chunk[:cut])
            self.lines = self.whole.copy()
            self.whole.update(chunk[cut:])
            self.last_line = begin + cut
            self._line_tail = (self._recent + chunk[:cut])[-MARK:]
        else:
            self.whole.update(chunk)
        self._recent = (self._recent + chunk)[-MARK:]
        self.size = after

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


def _forward(stream: io.BufferedReader, count: int) -> None:
    while count and (chunk := stream.read(min(_CHUNK, count))):
        count -= len(chunk)


def _read_full(stream: io.BufferedReader, size: int) -> bytes:
    held = b""
    while len(held) < size and (chunk := stream.read(size - len(held))):
        held += chunk
    return held


def _same_head(receipt: dict[str, Any], head: bytes) -> bool:
    size = receipt["head_bytes"]
    return bool(size) and len(head) >= size and blake3(head[:size]).hexdigest() == receipt["head_digest"]


def _replaced(receipts: Sequence[dict[str, Any]], new: dict[str, Any]) -> tuple[str, ...]:
    """The same bytes read another way by the same reporter: the newer reading counts."""
    return tuple(
        sorted(
            {
                r["segment"] for r in receipts
                if r["digest"] == new["digest"] and r["reporter_name"] == new["reporter_name"]
                and r["interpretation"] != new["interpretation"]
            }  # fmt: skip
        )
    )


def _id(interpretation: str, digest: str, place: str = "") -> str:
    return blake3(f"{interpretation}\n{digest}\n{place}".encode()).hexdigest()[:16]
