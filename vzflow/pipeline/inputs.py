"""
Inputs -> segments: what an input is, how it is to be read, and the id that follows from both.

A capture is one segment, whose id is known once it was read; so is a log of JSON documents. Any other log is a stream
that may grow and rotate: see `streams.py`.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from vzflow.flow.errors import Place, UnreadableInput
from vzflow.pipeline.unpacked import DAMAGE, PIECE, Opened, Plain
from vzflow.readers.sniff import Format, is_stream, sniff

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
    if opened.plain.codecs:
        return any(r["name"] == printable(opened.name) for r in receipts)
    return any(r["bytes"] == opened.size for r in receipts)


def find_capture(opened: Opened, how: How, receipts: Sequence[dict[str, Any]], on_read: Read | None = None) -> Segment:
    """
    Read an input that is one segment to its end, only to say which.

    Args:
        opened: Nothing was read of it yet.
        how: Part of what the id is made of.
        receipts: Of everything that is stored.
        on_read: Called as bytes are read.

    Raises:
        UnreadableInput: Its beginning is of no known format.
    """
    form, part = format_of(opened, how), Part(opened.plain, on_read=on_read)
    part.drain()
    return capture_segment(opened.name, form, how, part, receipts)


def capture_segment(name: str, form: Format, how: How, part: Part, receipts: Sequence[dict[str, Any]]) -> Segment:
    """Return the segment that a capture is, once all bytes of it went through *part*."""
    interpretation, digest = interpretation_of(form, how), part.content.hexdigest()
    segment = segment_id(interpretation, digest)
    receipt = common_columns(name, form, how, part.size) | {
        "digest": digest, "stream": None, "offset_from": 0, "offset_to": part.size, "head_digest": None,
        "head_bytes": None, "tail_digest": None, "tail_bytes": None, "marks": None, "first_line": None,
        "unfinished_bytes": 0,
    }  # fmt: skip
    same = (r for r in receipts if r["digest"] == digest and r["reporter_name"] == how.reporter)
    return Segment(
        name, form, segment, None, 0, part.size, 0, part.damaged, any(r["segment"] == segment for r in receipts),
        read_otherwise(same, interpretation), receipt,
    )  # fmt: skip


def common_columns(name: str, form: Format, how: How, size: int) -> dict[str, Any]:
    """Return the columns that every receipt has of an input of *size* uncompressed bytes."""
    return {
        "name": printable(name), "format": form.name, "interpretation": interpretation_of(form, how),
        "cluster": how.cluster, "reporter_name": how.reporter, "bytes": size,
    }  # fmt: skip


def read_otherwise(same: Iterable[dict[str, Any]], interpretation: str) -> tuple[str, ...]:
    """Return the segments of *same* bytes from the same reporter read another way: the newer reading counts."""
    return tuple(sorted({r["segment"] for r in same if r["interpretation"] != interpretation}))


def segment_id(interpretation: str, digest: str, place: str = "") -> str:
    """Return the id of bytes read in this way; *place* is of a range that goes on a stream."""
    return blake3(f"{interpretation}\n{digest}\n{place}".encode()).hexdigest()[:16]
