"""What every reader takes and gives: a binary stream in, checked batches and a tally out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

import pyarrow as pa

from vzflow.flow.errors import REJECT_KEEPS, Place, Reject
from vzflow.flow.terms import RejectReason, SkipReason


@dataclass(frozen=True)
class Context:
    """
    What a reader is told about its input, and cannot find in the bytes.

    Args:
        path: Name for messages.
        segment: Id that every row carries.
        cluster: Cluster the addresses belong to.
        reporter_name: Namespace/pod whose proxy wrote the log, when the user knows it.
    """

    path: str
    segment: str
    cluster: str
    reporter_name: str | None = None

    def place(self, record: int | None = None) -> Place:
        return Place(self.path, record)


@dataclass
class Tally:
    """
    What became of the records of one input, filled while it is read.

    Nothing disappears silently: once the reader is exhausted, `read == in_flows + skipped + rejected`, counted in
    packets or lines. A reject that stands for no whole record (the rest of a damaged file) counts as one read record.
    """

    read: int = 0
    in_flows: int = 0
    skipped: Counter[SkipReason] = field(default_factory=Counter)
    rejects: list[Reject] = field(default_factory=list)
    #: Why the input could not be read to its end; null when it could.
    damage: RejectReason | None = None

    def skip(self, reason: SkipReason) -> None:
        self.skipped[reason] += 1

    def reject(self, record: int, reason: RejectReason, detail: str, raw: bytes = b"") -> None:
        self.rejects.append(Reject(record, reason, detail, raw[:REJECT_KEEPS]))

    def stop(self, record: int, reason: RejectReason, detail: str, raw: bytes = b"") -> None:
        """Note that the input is damaged at *record*: what came before is whole, the rest is this one reject."""
        self.read += 1
        self.reject(record, reason, detail, raw)
        self.damage = reason

    @property
    def balanced(self) -> bool:
        return self.read == self.in_flows + self.skipped.total() + len(self.rejects)


class Reader(Protocol):
    """
    Bytes -> batches of FLOW_SCHEMA.

    Raises:
        UnreadableInput: The beginning is not of this format; nothing was yielded. Damage later is a reject.
    """

    def __call__(self, stream: BinaryIO, context: Context, tally: Tally) -> Iterator[pa.RecordBatch]: ...


#: A line longer than this is no log record of any known writer; reading on would only fill memory.
LINE_LIMIT = 1 << 20


def lines(stream: BinaryIO, tally: Tally) -> Iterator[tuple[int, bytes]]:
    """
    Yield (line number from 1, line without its end) for every line that could be a record.

    Counts every line in `tally.read`; blank lines are skipped by name, lines over LINE_LIMIT are rejected.
    """
    number = 0
    while True:
        line = stream.readline(LINE_LIMIT + 2)
        if not line:
            return
        number += 1
        tally.read += 1
        if len(line.rstrip(b"\r\n")) > LINE_LIMIT:
            tally.reject(number, RejectReason.LINE_TOO_LONG, f"longer than {LINE_LIMIT} bytes", line)
            while line and not line.endswith(b"\n"):
                line = stream.readline(LINE_LIMIT)
            continue
        line = line.rstrip(b"\r\n")
        if line.strip():
            yield number, line
        else:
            tally.skip(SkipReason.BLANK_LINE)
