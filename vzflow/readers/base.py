"""What every reader takes and gives: a binary stream in, checked batches and a tally out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

import pyarrow as pa

from vzflow.flow.errors import REJECT_KEEPS, Place, Reject
from vzflow.flow.terms import RejectReason, SkipReason

#: Rejects of one reason that are kept: enough to see what is wrong, too few to fill memory with.
REJECTS_KEPT = 1_000


#: What a log's format makes of a record: a row of recorded columns, several of a message of several, or why it is none.
Parsed = dict[str, Any] | list[dict[str, Any]] | SkipReason


@dataclass(frozen=True)
class Context:
    """
    What a reader is told about its input, and cannot find in the bytes.

    Args:
        path: Name for messages.
        segment: What every row carries until it is stored; a capture's id is known only when it was read.
        cluster: Cluster the addresses belong to.
        reporter_name: Namespace/pod whose proxy wrote the log, when the user knows it.
        vxlan_ports: UDP ports that carry VXLAN, besides the usual ones.
        document: Whether a log is JSON documents instead of lines; null if its beginning is to tell.
        before: The beginning of the log of which the bytes are a later part, as far as it is before them, at most
            64 KiB: formats whose first lines say how the others are written need it. Empty if they begin the log.
        envoy_format: Formats of Envoy access logs, as `vzflow.readers.envoy.given` returns them; null for known ones.
    """

    path: str
    segment: str
    cluster: str
    reporter_name: str | None = None
    vxlan_ports: tuple[int, ...] = ()
    document: bool | None = None
    before: bytes = b""
    envoy_format: str | None = None

    def place(self, record: int | None = None) -> Place:
        return Place(self.path, record)


@dataclass
class Tally:
    """
    What became of the records of one input, filled while it is read.

    Nothing disappears silently: once the reader is exhausted, `read == in_flows + skipped + rejected`, counted in
    packets or lines. A reject that stands for no whole record (the rest of a damaged file) counts as one read record.

    Memory is bounded: of each reason the first REJECTS_KEPT are kept with place and bytes, the others are counted.
    """

    read: int = 0
    in_flows: int = 0
    skipped: Counter[SkipReason] = field(default_factory=Counter)
    #: Those that are kept.
    rejects: list[Reject] = field(default_factory=list)
    #: Those that are not, and how many are kept.
    more: Counter[RejectReason] = field(default_factory=Counter)
    kept: Counter[RejectReason] = field(default_factory=Counter)
    #: Why the input could not be read to its end; null when it could.
    damage: RejectReason | None = None

    def skip(self, reason: SkipReason) -> None:
        self.skipped[reason] += 1

    def reject(self, record: int, reason: RejectReason, detail: str, raw: bytes = b"") -> None:
        if not self.room_for(reason):
            self.more[reason] += 1
            return
        self.kept[reason] += 1
        self.rejects.append(Reject(record, reason, detail, raw[:REJECT_KEEPS]))

    def reject_more(self, reason: RejectReason, count: int) -> None:
        """Count rejects of which nothing is kept: for callers that ask `room_for` first."""
        self.more[reason] += count

    def room_for(self, reason: RejectReason) -> bool:
        """Whether one more reject of *reason* would be kept."""
        return self.kept[reason] < REJECTS_KEPT

    def stop(self, record: int, reason: RejectReason, detail: str, raw: bytes = b"") -> None:
        """Note that the input is damaged at *record*: what came before is whole, the rest is this one reject."""
        self.read += 1
        self.kept[reason] += 1  # where an input breaks is worth one more than are kept
        self.rejects.append(Reject(record, reason, detail, raw[:REJECT_KEEPS]))
        self.damage = reason

    @property
    def rejected(self) -> int:
        return self.kept.total() + self.more.total()

    @property
    def balanced(self) -> bool:
        return self.read == self.in_flows + self.skipped.total() + self.rejected

    def rejected_by_reason(self) -> dict[str, int]:
        """Return how many there were, by reason."""
        return {reason.value: count for reason, count in (self.kept + self.more).items()}

    def told(self) -> list[Reject]:
        """Return every reject that is kept, then one for the rest of each reason."""
        rest = sorted((reason, count) for reason, count in self.more.items() if count)
        return self.rejects + [
            Reject(None, reason, f"{count} more like this; the first {self.kept[reason]} are kept", records=count)
            for reason, count in rest
        ]


class Unusable(Exception):
    """A line cannot be used; it becomes a reject with this reason and detail."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


class Reader(Protocol):
    """
    Bytes -> batches of FLOW_SCHEMA, whose text may be NUMBERED.

    Raises:
        UnreadableInput: The beginning is not of this format; nothing was yielded. Damage later is a reject.
    """

    def __call__(self, stream: BinaryIO, context: Context, tally: Tally) -> Iterator[pa.RecordBatch]: ...


#: Bytes of the uncompressed beginning by which a format is told.
HEAD = 1 << 16

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
        if (text := record_of_line(number, line, tally)) is not None:
            yield number, text
        while len(line) > LINE_LIMIT and not line.endswith(b"\n"):
            line = stream.readline(LINE_LIMIT + 2)


def record_of_line(number: int, line: bytes, tally: Tally) -> bytes | None:
    """Count a line, of a very long one the beginning, and return it without its end; null if it can be no record."""
    tally.read += 1
    line = line.rstrip(b"\r\n")
    if len(line) > LINE_LIMIT:
        tally.reject(number, RejectReason.LINE_TOO_LONG, f"longer than {LINE_LIMIT} bytes", line)
    elif line.strip():
        return line
    else:
        tally.skip(SkipReason.BLANK_LINE)
    return None
