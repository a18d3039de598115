"""One input -> its rows in the store, each segment exactly once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from io import BufferedReader
from typing import Any, Literal

import pyarrow as pa

from vzflow.flow.errors import Place, ServiceUnavailable, UnreadableInput, VzflowError
from vzflow.flow.terms import RejectReason
from vzflow.pipeline.inputs import How, Part, Segment, capture_segment, find_capture, format_of, looks_known
from vzflow.pipeline.streams import Log, ReadAgain, check_range, range_of
from vzflow.pipeline.unpacked import DAMAGE, Opened, open_input, readable
from vzflow.readers.base import Context, Tally
from vzflow.readers.sniff import Format, is_stream
from vzflow.store.lake import Lake, Unit

#: What became of an input: stored; its log has grown and the new part was stored; known already; known under another
#: name; not readable; the store was busy with other processes for too long; the process that read it ended.
Fate = Literal["stored", "continued", "unchanged", "alias", "unreadable", "busy", "failed"]

#: What rows carry until their segment is known.
_PENDING = "0" * 16
#: Reads smaller than this are gathered; larger ones go straight into the reader's own buffer.
_GATHERED = 1 << 16
#: Looking at bytes to find what is new takes about a sixteenth of the time that reading them takes.
_LOOK = 16


@dataclass(frozen=True)
class Told:
    """
    How far the reading of an input, or of several at once, has come.

    Args:
        name: Of the input, or how many there are.
        done, total: Work, in bytes as they are stored; the total of a pipe is not known.
        records: Packets or lines read so far; `unit` says which.
    """

    name: str
    done: int
    total: int | None
    records: int
    unit: str


#: Called as inputs are read.
Progress = Callable[[Told], None]


@dataclass(frozen=True)
class InputResult:
    """
    What became of one input.

    Args:
        records, flows, skipped, rejects: Counts of this ingest.
        rejected: Records of the input that could not be used, those of earlier ingests included.
        damage: Why it could not be read to its end, now or earlier.
        unfinished: Bytes after its last whole line.
        form: The format it was read as; null if nothing was read.
        codecs: What it is compressed with, the outermost first.
    """

    name: str
    fate: Fate
    segment: str | None = None
    records: int = 0
    flows: int = 0
    skipped: int = 0
    rejects: dict[str, int] = field(default_factory=dict)
    rejected: int = 0
    damage: str | None = None
    unfinished: int = 0
    error: VzflowError | None = None
    form: str | None = None
    codecs: tuple[str, ...] = ()


def read_one(
    name: str, lake: Lake, how: How, progress: Progress | None, opened: Opened | UnreadableInput | None = None
) -> InputResult:
    """Store what is new in one input; *opened* is a pipe that was opened already, or why it could not be."""
    try:
        if isinstance(opened, UnreadableInput):
            raise opened
        with readable(name), closing(opened or open_named(name)) as one:
            codecs = one.plain.codecs  # of a pipe that is put aside, nobody could tell later
            return replace(_read(one, lake, how, progress), codecs=codecs)
    except UnreadableInput as error:
        return InputResult(name, "unreadable", error=error)
    except ServiceUnavailable as error:
        return InputResult(name, "busy", error=error)


def open_named(name: str) -> Opened:
    """
    Open what a name stands for, once patterns are expanded.

    Raises:
        UnreadableInput: It cannot be opened.
    """
    if is_pattern(name):
        raise UnreadableInput("no file matches this pattern", at=Place(name), do="Check it.")
    return open_input(name)


def is_pattern(name: str) -> bool:
    """Whether a name is no file's, and may stand for several."""
    return any(c in name for c in "*?[") and "\0" not in name and not os.path.lexists(name)


class _Watch:
    """
    Tells how far an input was read, in stored bytes, looking at it included if that is done first.

    Args:
        progress: Null if nobody wants to know.
    """

    def __init__(self, opened: Opened, form: Format, progress: Progress | None) -> None:
        self.tally = Tally()
        self._opened, self._progress = opened, progress
        self._unit = "lines" if form.is_log else "packets"
        self._looked = 0

    def looking(self) -> None:
        self._looked = self._opened.plain.position // _LOOK
        self._tell(self._looked)

    def reading(self) -> None:
        self._tell(self._looked + self._opened.plain.position)

    def reading_at_once(self) -> None:
        self._looked = 0
        self.reading()

    def end(self) -> None:
        self._tell(self._looked + self._opened.plain.position if self._total is None else self._total)

    @property
    def _total(self) -> int | None:
        size = self._opened.size
        return None if size is None else size + (size // _LOOK if self._looked else 0)

    def _tell(self, done: int) -> None:
        if self._progress is None:
            return
        total = self._total
        done = done if total is None else min(done, total)  # a file may grow while it is read
        self._progress(Told(self._opened.name, done, total, self.tally.read, self._unit))


def _read(opened: Opened, lake: Lake, how: How, progress: Progress | None) -> InputResult:
    form = format_of(opened, how)
    watch = _Watch(opened, form, progress)
    receipts = lake.receipts().to_pylist()
    try:
        if is_stream(form, opened.head):
            return _read_log(opened, form, lake, how, receipts, watch)
        return _read_capture(opened, form, lake, how, receipts, watch)
    finally:
        watch.end()


def _read_log(
    opened: Opened, form: Format, lake: Lake, how: How, receipts: list[dict[str, Any]], watch: _Watch
) -> InputResult:
    damaged = opened.size is None and opened.keep(lake.root)
    log = Log(opened, form, how, receipts, watch.looking, damaged=damaged)
    if log.look():
        log.on_read = watch.reading_at_once
        with suppress(ReadAgain):
            return _store(opened.name, form, how, log, log.finish, watch.tally, lake, receipts, before=log.before)
        watch.tally = Tally()
    found = log.segment()
    if found.empty:
        return InputResult(opened.name, "unchanged", unfinished=found.unfinished)
    if found.known:
        return _known(found, lake, receipts)
    part = range_of(opened, found, watch.reading)
    finish = partial(check_range, part, found)
    return _store(opened.name, form, how, part, finish, watch.tally, lake, receipts, before=found.before)


def _read_capture(
    opened: Opened, form: Format, lake: Lake, how: How, receipts: list[dict[str, Any]], watch: _Watch
) -> InputResult:
    if looks_known(opened, receipts):
        found = find_capture(opened, how, receipts, watch.looking)
        if found.known:
            return _known(found, lake, receipts)
        opened.rewind()
    part = Part(opened.plain, on_read=watch.reading)
    whole = partial(capture_segment, opened.name, form, how, part, receipts)
    return _store(opened.name, form, how, part, whole, watch.tally, lake, receipts, document=form.is_log)


def _known(found: Segment, lake: Lake, receipts: list[dict[str, Any]]) -> InputResult:
    """The segment is stored: note the name if it is a new one."""
    name = found.receipt["name"]
    named = any(r["name"] == name and r["segment"] == found.segment for r in receipts)
    if not named:
        first = next(r for r in receipts if r["segment"] == found.segment)
        lake.add_alias(first | {"name": name, "ingested_at": datetime.now(UTC)})
    rejected, damage = _before(found, receipts)
    return InputResult(
        found.name, "unchanged" if named else "alias", found.segment, rejected=rejected, damage=damage,
        unfinished=found.unfinished,
    )  # fmt: skip


def _before(found: Segment, receipts: list[dict[str, Any]]) -> tuple[int, str | None]:
    """Return the rejects and the damage of what is stored of this input already."""
    parts = {
        r["segment"]: r for r in receipts
        if r["segment"] == found.segment or (found.stream is not None and r["stream"] == found.stream)
    }.values()  # fmt: skip
    return sum(r["rejected"] for r in parts), next((r["damage"] for r in parts if r["damage"]), None)


def _store(
    name: str, form: Format, how: How, part: Part | Log, finish: Callable[[], Segment], tally: Tally, lake: Lake,
    receipts: list[dict[str, Any]], *, document: bool = False, before: bytes = b"",
) -> InputResult:  # fmt: skip
    """Read *part* into the store; *finish* says what it was once its reader is done with it, *before* how it began."""
    flows = 0
    finished: list[Segment] = []

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal flows
        context = Context(
            name, _PENDING, how.cluster, how.reporter, how.vxlan_ports, document, before, how.envoy_format
        )
        for batch in form.read(BufferedReader(part, _GATHERED), context, tally):
            flows += batch.num_rows
            yield batch

    def unit() -> Unit:
        found = finish()
        finished.append(found)
        if found.damaged and tally.damage is None:
            tally.stop(tally.read + 1, RejectReason.BAD_COMPRESSION, DAMAGE)
        receipt = found.receipt | {
            "records_read": tally.read,
            "records_in_flows": tally.in_flows,
            "skipped": json.dumps({k.value: n for k, n in sorted(tally.skipped.items())}),
            "damage": tally.damage.value if tally.damage else None,
            "vzflow_version": version("vzflow"),
            "ingested_at": datetime.now(UTC),
        }
        end = found.offset_to if found.stream is not None else 1
        return Unit(found.segment, receipt, tally.told(), found.stream, end, found.replaces)

    added = lake.add_segment(counted(), unit)
    (found,) = finished
    if not added:
        now = lake.receipts().to_pylist()  # it was known, or another process was faster
        if any(r["segment"] == found.segment for r in now):
            return _known(found, lake, now)
        return InputResult(name, "unchanged", found.segment, unfinished=found.unfinished)
    rejected, damage = _before(found, receipts)
    return InputResult(
        name, "continued" if found.offset_from else "stored", found.segment, tally.read, flows, tally.skipped.total(),
        tally.rejected_by_reason(), rejected + tally.rejected, tally.damage.value if tally.damage else damage,
        found.unfinished, form=form.name,
    )  # fmt: skip
