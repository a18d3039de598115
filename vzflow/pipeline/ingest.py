"""Inputs -> recorded flows in the store, each segment exactly once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from vzflow.flow.errors import VzflowError
from vzflow.flow.terms import RejectReason
from vzflow.identity import snapshot
from vzflow.model.document import load
from vzflow.pipeline.inputs import Segment, find_segment
from vzflow.pipeline.judge import Judge, model_of, today
from vzflow.readers.base import Context, Tally
from vzflow.store.lake import Lake

#: What became of an input: stored; its log has grown and the new part was stored; known already; under another name
#: already; not readable.
Fate = Literal["stored", "continued", "unchanged", "alias", "unreadable"]

#: Called as flows are read: the input's name and the records read so far.
Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class InputResult:
    """What became of one input; counts are of this ingest."""

    name: str
    fate: Fate
    segment: str | None = None
    records: int = 0
    flows: int = 0
    skipped: int = 0
    rejects: dict[str, int] = field(default_factory=dict)
    damage: str | None = None
    unfinished: int = 0
    error: VzflowError | None = None

    @property
    def rejected(self) -> int:
        return sum(self.rejects.values())


@dataclass(frozen=True)
class IngestResult:
    """What became of every input, in the order they were named, and how many snapshots were new."""

    inputs: tuple[InputResult, ...]
    new_snapshots: int

    @property
    def incomplete(self) -> bool:
        return any(i.rejected or i.damage for i in self.inputs)


def ingest(
    inputs: Sequence[str],
    store: str | Path,
    *,
    form: str = "auto",
    identity: Sequence[str] = (),
    model: Sequence[str] = (),
    reporter: str | None = None,
    cluster: str = "default",
    progress: Progress | None = None,
) -> IngestResult:
    """
    Store what is new in *inputs* and *identity*, remember *model*, and classify what became stale.

    An input that cannot be read leaves nothing; the others are stored. Giving an input again changes nothing, a log
    that has grown adds its new whole lines.

    Raises:
        UnreadableInput: A snapshot cannot be read; nothing at all was stored.
        UsageProblem: *form* is no format, or a model cannot be used; nothing at all was stored.
        UnreadableStore: The store cannot be used.
    """
    snapshots = [snapshot.load([path], cluster) for path in identity]
    named = load(model, on=today()) if model else None
    lake = Lake.open(store, create=True)
    if named is not None:
        lake.remember_models(named.sources)
    new_snapshots = sum(lake.add_identity(objects) for objects in snapshots)
    results = tuple(
        _one(name, lake, form=form, reporter=reporter, cluster=cluster, progress=progress) for name in inputs
    )
    Judge(lake, model_of(lake)).refresh()
    return IngestResult(results, new_snapshots)


def _one(
    name: str, lake: Lake, *, form: str, reporter: str | None, cluster: str, progress: Progress | None
) -> InputResult:
    receipts = lake.receipts().to_pylist()
    try:
        found = find_segment(name, wanted=form, cluster=cluster, reporter=reporter, receipts=receipts)
        if found.known:
            return _known(found, lake, receipts)
        return _store(found, lake, progress)
    except VzflowError as error:
        if error.exit_code != 3 or str(error.at) != name and not str(error.at).startswith(f"{name}:"):
            raise
        return InputResult(name, "unreadable", error=error)


def _known(found: Segment, lake: Lake, receipts: list[dict[str, Any]]) -> InputResult:
    """The segment is stored: note the name if it is a new one."""
    if any(r["name"] == found.name and r["segment"] == found.segment for r in receipts):
        return InputResult(found.name, "unchanged", found.segment, unfinished=found.unfinished)
    first = next(r for r in receipts if r["segment"] == found.segment)
    lake.add_alias(first | {"name": found.name, "ingested_at": datetime.now(UTC)})
    return InputResult(found.name, "alias", found.segment, unfinished=found.unfinished)


def _store(found: Segment, lake: Lake, progress: Progress | None) -> InputResult:
    tally = Tally()
    context = Context(found.name, found.segment, found.receipt["cluster"], found.receipt["reporter_name"])
    flows = 0

    def counted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        nonlocal flows
        for batch in batches:
            flows += batch.num_rows
            if progress is not None:
                progress(found.name, tally.read)
            yield batch
        if found.damaged and tally.damage is None:
            tally.stop(tally.read + 1, RejectReason.BAD_COMPRESSION, "the compressed stream ends in damage")

    def receipt() -> dict[str, Any]:
        return found.receipt | {
            "records_read": tally.read,
            "records_in_flows": tally.in_flows,
            "skipped": json.dumps({k.value: n for k, n in sorted(tally.skipped.items())}),
            "damage": tally.damage.value if tally.damage else None,
            "vzflow_version": version("vzflow"),
            "ingested_at": datetime.now(UTC),
        }

    with found.open() as stream:
        for segment in found.replaces:
            lake.remove_segment(segment)
        is_log = found.stream is not None
        added = lake.add_segment(
            found.segment, counted(found.format.read(stream, context, tally)), tally.rejects, receipt,
            app_id=found.stream if is_log else None, version=found.offset_to if is_log else 1,
        )  # fmt: skip
    if not added:  # another process was faster
        return InputResult(found.name, "unchanged", found.segment, unfinished=found.unfinished)
    reasons: dict[str, int] = {}
    for reject in tally.rejects:
        reasons[reject.reason.value] = reasons.get(reject.reason.value, 0) + 1
    return InputResult(
        found.name, "continued" if found.offset_from else "stored", found.segment, tally.read, flows,
        tally.skipped.total(), reasons, tally.damage.value if tally.damage else None, found.unfinished,
    )  # fmt: skip
