"""Inputs -> recorded flows in the store, each segment exactly once."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from vzflow.flow.errors import ServiceUnavailable, UnreadableInput, UsageProblem, VzflowError
from vzflow.flow.terms import RejectReason
from vzflow.identity import snapshot
from vzflow.model.document import load
from vzflow.pipeline.inputs import DAMAGE, Segment, check_input, find_segment
from vzflow.pipeline.judge import Judge, model_of, today
from vzflow.readers.base import Context, Tally
from vzflow.readers.sniff import FORMATS
from vzflow.store.lake import Lake

#: What became of an input: stored; its log has grown and the new part was stored; known already; known under another
#: name; not readable; the store was busy with other processes for too long.
Fate = Literal["stored", "continued", "unchanged", "alias", "unreadable", "busy"]

#: Called as an input is read: its name, the bytes read so far, and how many there are.
Progress = Callable[[str, int, int], None]

#: Exit codes, gravest first: of several, the first counts.
GRAVEST = (70, 2, 3, 5, 4, 1, 0)


def gravest(codes: Iterable[int]) -> int:
    """Return the exit code that counts of several; 0 of none."""
    return min(codes, key=GRAVEST.index, default=0)


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


@dataclass(frozen=True)
class IngestResult:
    """
    What became of every input, in the order they were named, and how many snapshots were new.

    Args:
        problem: What was in the way of the rest: other processes write to the store all the time. Null if nothing was.
    """

    inputs: tuple[InputResult, ...]
    new_snapshots: int
    problem: VzflowError | None = None

    @property
    def incomplete(self) -> bool:
        return any(i.rejected or i.damage for i in self.inputs)

    @property
    def errors(self) -> tuple[VzflowError, ...]:
        """Everything that went wrong, in order."""
        found = [i.error for i in self.inputs if i.error is not None]
        return (*found, self.problem) if self.problem is not None else tuple(found)

    def exit_code(self, *, strict: bool) -> int:
        """Return the exit code: what went wrong, else whether records are missing and *strict* minds."""
        return gravest([*(e.exit_code for e in self.errors), 4 if strict and self.incomplete else 0])


def ingest(
    inputs: Sequence[str],
    store: str | Path,
    *,
    form: str = "auto",
    identity: Sequence[str] = (),
    model: Sequence[str] = (),
    reporter: str | None = None,
    cluster: str = "default",
    classify: bool = True,
    progress: Progress | None = None,
) -> IngestResult:
    """
    Store what is new in *inputs* and *identity*, remember *model*, and classify what became stale.

    An input that cannot be read leaves nothing; the others are stored. Giving an input again changes nothing, a log
    that has grown adds its new whole lines. Where nothing at all could be stored, no store is made.

    Args:
        inputs: Files.
        store: Folder; made if there is none.
        form: Name of a format, or auto.
        identity: Snapshot files of *cluster*.
        model: Shipped models or files; none keeps what the store remembers.
        reporter: NS/POD that wrote the logs.
        cluster: Cluster the addresses belong to.
        classify: Without, that is left to the next command.
        progress: Told as inputs are read.

    Raises:
        UnreadableInput: A snapshot cannot be read; nothing at all was stored.
        UsageProblem: An argument or a model cannot be used; nothing at all was stored.
        UnreadableStore: The store cannot be used.
    """
    check_arguments(form, reporter, cluster)
    snapshots = [snapshot.load([path], cluster) for path in identity]
    named = load(model, on=today()) if model else None
    unreadable = {name: error for name in inputs if (error := _unreadable(name, form)) is not None}
    if inputs and len(unreadable) == len(set(inputs)) and not snapshots and named is None:
        return IngestResult(tuple(InputResult(n, "unreadable", error=unreadable[n]) for n in inputs), 0)
    lake = Lake.open(store, create=True)
    results: list[InputResult] = []
    new_snapshots = 0
    try:
        lake.recover()  # a log goes on where its newest receipt ends, so none may be missing
        if named is not None:
            lake.remember_models(named.sources)
        for objects in snapshots:
            new_snapshots += lake.add_identity(objects)
        for name in inputs:
            results.append(_one(name, lake, form=form, reporter=reporter, cluster=cluster, progress=progress))
        if classify:
            Judge(lake, model_of(lake)).refresh()
    except VzflowError as problem:
        if problem.exit_code != ServiceUnavailable.exit_code:
            raise
        return IngestResult(tuple(results), new_snapshots, problem)
    return IngestResult(tuple(results), new_snapshots)


def advice(inputs: Iterable[InputResult]) -> str | None:
    """Return what would make reading such *inputs* faster; null if nothing is known to."""
    if all(one.form != "pcap" for one in inputs):
        return None
    from vzflow.readers import packet_core

    slow = "the packet core is not compiled: captures are read many times slower. Install a C compiler and reinstall."
    return None if packet_core.COMPILED else slow


def check_arguments(form: str, reporter: str | None, cluster: str) -> None:
    """
    Check what is said about inputs.

    Raises:
        UsageProblem: The format is unknown, or a name cannot be one.
    """
    if form not in ("auto", *FORMATS):
        raise UsageProblem(f"no such format: {form}", at="--format", do=f"Use auto, {', '.join(FORMATS)}.")
    if reporter is not None and not re.fullmatch(r"[^/\s]+/[^/\s]+", reporter):
        raise UsageProblem(f"not a pod: {reporter}", at="--reporter", do="Write NAMESPACE/POD.")
    if not cluster or not cluster.isprintable():
        raise UsageProblem(f"not a name: {cluster!r}", at="--cluster", do="Name the cluster.")


def _unreadable(name: str, form: str) -> UnreadableInput | None:
    try:
        check_input(name, form)
    except UnreadableInput as error:
        return error
    return None


def _one(
    name: str, lake: Lake, *, form: str, reporter: str | None, cluster: str, progress: Progress | None
) -> InputResult:
    try:
        receipts = lake.receipts().to_pylist()
        found = find_segment(name, wanted=form, cluster=cluster, reporter=reporter, receipts=receipts)
        if found.empty:
            return InputResult(name, "unchanged", unfinished=found.unfinished)
        if found.known:
            return _known(found, lake, receipts)
        return _store(found, lake, receipts, progress)
    except UnreadableInput as error:
        return InputResult(name, "unreadable", error=error)
    except ServiceUnavailable as error:
        return InputResult(name, "busy", error=error)


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


def _store(found: Segment, lake: Lake, receipts: list[dict[str, Any]], progress: Progress | None) -> InputResult:
    tally = Tally()
    context = Context(found.name, found.segment, found.receipt["cluster"], found.receipt["reporter_name"])
    flows = 0

    def on_read(done: int, size: int) -> None:
        if progress is not None:
            progress(found.name, done, size)

    def counted(batches: Iterable[pa.RecordBatch], check: Callable[[], None]) -> Iterator[pa.RecordBatch]:
        nonlocal flows
        for batch in batches:
            flows += batch.num_rows
            yield batch
        if found.damaged and tally.damage is None:
            tally.stop(tally.read + 1, RejectReason.BAD_COMPRESSION, DAMAGE)
        check()

    def receipt() -> dict[str, Any]:
        return found.receipt | {
            "records_read": tally.read,
            "records_in_flows": tally.in_flows,
            "skipped": json.dumps({k.value: n for k, n in sorted(tally.skipped.items())}),
            "damage": tally.damage.value if tally.damage else None,
            "vzflow_version": version("vzflow"),
            "ingested_at": datetime.now(UTC),
        }

    with found.open(on_read) as (stream, check):
        is_log = found.stream is not None
        added = lake.add_segment(
            found.segment, counted(found.format.read(stream, context, tally), check), tally.rejects, receipt,
            app_id=found.stream if is_log else None, version=found.offset_to if is_log else 1, replaces=found.replaces,
        )  # fmt: skip
    rejected, damage = _before(found, receipts)
    if not added:  # another process was faster
        return InputResult(found.name, "unchanged", found.segment, unfinished=found.unfinished, form=found.format.name)
    return InputResult(
        found.name, "continued" if found.offset_from else "stored", found.segment, tally.read, flows,
        tally.skipped.total(), dict(Counter(reject.reason.value for reject in tally.rejects)),
        rejected + len(tally.rejects), tally.damage.value if tally.damage else damage, found.unfinished,
        form=found.format.name,
    )  # fmt: skip
