"""Inputs -> recorded flows in the store, each segment exactly once."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from glob import glob
from importlib.metadata import version
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from vzflow.flow.errors import Place, ServiceUnavailable, UnreadableInput, UsageProblem, VzflowError
from vzflow.flow.terms import RejectReason
from vzflow.pipeline.inputs import (
    How,
    Part,
    Segment,
    begins,
    capture_segment,
    check_range,
    find_segment,
    format_of,
    looks_known,
    range_of,
)
from vzflow.pipeline.unpacked import DAMAGE, STDIN, Opened, is_pipe, open_input, readable
from vzflow.readers.base import Context, Tally
from vzflow.readers.sniff import FORMATS, Format
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

#: Exit codes, gravest first: of several, the first counts.
GRAVEST = (70, 2, 3, 5, 4, 1, 0)


def gravest(codes: Iterable[int]) -> int:
    """Return the exit code that counts of several; 0 of none."""
    return min(codes, key=GRAVEST.index, default=0)


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
    jobs: int = 1,
    progress: Progress | None = None,
) -> IngestResult:
    """
    Store what is new in *inputs* and *identity*, remember *model*, and classify what became stale.

    An input that cannot be read leaves nothing; the others are stored. Giving an input again changes nothing, a log
    that has grown adds its new whole lines. Where nothing at all could be stored, no store is made.

    Args:
        inputs: Files, pipes, patterns of files that no shell has expanded, `-` for standard input.
        store: Folder; made if there is none.
        form: Name of a format, or auto.
        identity: Snapshot files of *cluster*.
        model: Shipped models or files; none keeps what the store remembers.
        reporter: NS/POD that wrote the logs.
        cluster: Cluster the addresses belong to.
        classify: Without, that is left to the next command.
        jobs: Files read at once, each in a process of its own; 0 is one for each core. Pipes are read after them.
        progress: Told as inputs are read.

    Raises:
        UnreadableInput: A snapshot cannot be read; nothing at all was stored.
        UsageProblem: An argument or a model cannot be used; nothing at all was stored.
        UnreadableStore: The store cannot be used.
    """
    check_arguments(form, reporter, cluster)
    names, how = expanded(inputs), How(form, cluster, reporter)
    if names.count(STDIN) > 1:
        raise UsageProblem("standard input can be read once only", at=STDIN, do="Name it once.")
    snapshots = _snapshots(identity, cluster)
    named = _model(model)
    looked = {name: _look(name, how) for name in dict.fromkeys(names) if not is_pipe(name)}
    with ExitStack() as stack:
        crew = _crew(looked, jobs, store, how)
        if crew is not None:
            stack.enter_context(crew)
        pipes: dict[str, Opened | UnreadableInput] = {}
        for name in names:
            if is_pipe(name) and name not in pipes:
                pipes[name] = pipe = _pipe(name, how)
                stack.callback(pipe.close if isinstance(pipe, Opened) else str)
        bad = {n: e for n, e in {**looked, **pipes}.items() if isinstance(e, UnreadableInput)}
        if names and len(bad) == len(set(names)) and not snapshots and named is None:
            return IngestResult(tuple(InputResult(n, "unreadable", error=bad[n]) for n in names), 0)
        lake = Lake.open(store, create=True)
        results: dict[int, InputResult] = {}
        new_snapshots = 0
        problem = None
        try:
            lake.recover()  # a log goes on where its newest receipt ends, so none may be missing
            if named is not None:
                lake.remember_models(named.sources)
            for objects in snapshots:
                new_snapshots += lake.add_identity(objects)
            groups = _groups(names, looked)
            if crew is not None:
                crew.run([group for group in groups if group[0][1] not in pipes], results, progress)
            for place, name in enumerate(names):
                if place not in results:
                    results[place] = read_one(name, lake, how, progress, pipes.get(name))
            if classify:
                _classify(lake)
        except VzflowError as error:
            if error.exit_code != ServiceUnavailable.exit_code:
                raise
            problem = error
        return IngestResult(tuple(results[place] for place in sorted(results)), new_snapshots, problem)


def expanded(inputs: Sequence[str]) -> list[str]:
    """Return *inputs* with the files in the place of patterns; a pattern that matches none, or is a file, stays."""
    names: list[str] = []
    for name in inputs:
        found = []
        if any(c in name for c in "*?[") and "\0" not in name and not os.path.lexists(name):
            found = sorted(one for one in glob(name, recursive=True) if not Path(one).is_dir())  # noqa: PTH207 - as typed
        names += found or [name]
    return names


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


def read_one(
    name: str, lake: Lake, how: How, progress: Progress | None, opened: Opened | UnreadableInput | None = None
) -> InputResult:
    """Store what is new in one input; *opened* is a pipe that was opened already, or why it could not be."""
    try:
        if isinstance(opened, UnreadableInput):
            raise opened
        with readable(name), closing(opened or _open(name)) as one:
            return _read(one, lake, how, progress)
    except UnreadableInput as error:
        return InputResult(name, "unreadable", error=error)
    except ServiceUnavailable as error:
        return InputResult(name, "busy", error=error)


def _snapshots(paths: Sequence[str], cluster: str) -> list[pa.Table]:
    if not paths:
        return []
    from vzflow.identity import snapshot

    return [snapshot.load([path], cluster) for path in paths]


def _model(named: Sequence[str]) -> Any:  # noqa: ANN401 - a Model, whose packages are not loaded without need
    if not named:
        return None
    from vzflow.model.document import load
    from vzflow.pipeline.judge import today

    return load(named, on=today())


def _classify(lake: Lake) -> None:
    from vzflow.pipeline.judge import Judge, model_of

    Judge(lake, model_of(lake)).refresh()


def _open(name: str) -> Opened:
    if any(c in name for c in "*?[") and "\0" not in name and not os.path.lexists(name):
        raise UnreadableInput("no file matches this pattern", at=Place(name), do="Check it.")
    return open_input(name)


def _look(name: str, how: How) -> str | UnreadableInput:
    """Look at the beginning of an input only: return what inputs that belong together share, or why it is unusable."""
    try:
        with readable(name), closing(_open(name)) as opened:
            return begins(opened, how)
    except UnreadableInput as error:
        return error


def _pipe(name: str, how: How) -> Opened | UnreadableInput:
    try:
        with readable(name):
            opened = open_input(name)
            format_of(opened, how)
            return opened
    except UnreadableInput as error:
        return error


def _groups(names: Sequence[str], looked: Mapping[str, str | UnreadableInput]) -> list[list[tuple[int, str]]]:
    """Return the places and names of inputs, those together that have to be read one after the other."""
    groups: dict[object, list[tuple[int, str]]] = {}
    for place, name in enumerate(names):
        begin = looked.get(name, name)
        groups.setdefault(name if isinstance(begin, UnreadableInput) else begin, []).append((place, name))
    return list(groups.values())


def _crew(looked: Mapping[str, str | UnreadableInput], jobs: int, store: str | Path, how: How) -> Any:  # noqa: ANN401 - a Crew, which is not imported without need
    """Start the processes that are of use. Before anything else is begun: a process with threads cannot be copied."""
    size = min(
        jobs or len(os.sched_getaffinity(0)), len({begin for begin in looked.values() if isinstance(begin, str)})
    )
    if size < 2:
        return None
    from vzflow.pipeline.crew import Crew

    return Crew(size, str(store), how)


class _Watch:
    """Tells how far an input was read, in stored bytes, looking at it included."""

    def __init__(self, opened: Opened, form: Format, tally: Tally, progress: Progress) -> None:
        self._opened, self._tally, self._progress = opened, tally, progress
        self._unit = "lines" if form.is_log else "packets"
        self._looked = 0

    def looking(self) -> None:
        self._looked = self._opened.plain.position // _LOOK
        self._tell(self._looked)

    def reading(self) -> None:
        self._tell(self._looked + self._opened.plain.position)

    def end(self) -> None:
        self._tell(None)

    def _tell(self, done: int | None) -> None:
        total = (
            None if self._opened.size is None else self._opened.size + self._opened.size // _LOOK * bool(self._looked)
        )
        shown = self._looked + self._opened.plain.position if done is None and total is None else done
        self._progress(
            Told(self._opened.name, total or 0 if shown is None else shown, total, self._tally.read, self._unit)
        )


def _read(opened: Opened, lake: Lake, how: How, progress: Progress | None) -> InputResult:
    form, tally = format_of(opened, how), Tally()
    watch = None if progress is None else _Watch(opened, form, tally, progress)
    looking, reading = (None, None) if watch is None else (watch.looking, watch.reading)
    receipts = lake.receipts().to_pylist()
    try:
        if form.is_log:
            damaged = opened.size is None and opened.keep(lake.root)
            found = find_segment(opened, how, receipts, looking, damaged=damaged)
            if found.empty:
                return InputResult(opened.name, "unchanged", unfinished=found.unfinished)
            if found.known:
                return _known(found, lake, receipts)
            part = range_of(opened, found, reading)
            return _store(opened.name, form, how, part, lambda: check_range(part, found), tally, lake, receipts)
        if looks_known(opened, receipts):
            found = find_segment(opened, how, receipts, looking)
            if found.known:
                return _known(found, lake, receipts)
            opened.rewind()
        part = Part(opened.plain, on_read=reading)
        whole = partial(capture_segment, opened.name, form, how, part, receipts)
        return _store(opened.name, form, how, part, whole, tally, lake, receipts)
    finally:
        if watch is not None:
            watch.end()


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
    name: str, form: Format, how: How, part: Part, finish: Callable[[], Segment], tally: Tally, lake: Lake,
    receipts: list[dict[str, Any]],
) -> InputResult:  # fmt: skip
    """Read *part* into the store; *finish* says what it was once its reader is done with it."""
    flows = 0
    finished: list[Segment] = []

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal flows
        context = Context(name, _PENDING, how.cluster, how.reporter)
        for batch in form.read(BufferedReader(part, _GATHERED), context, tally):
            flows += batch.num_rows
            yield batch

    def unit() -> Unit | None:
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
        return None if found.known else Unit(found.segment, receipt, tally.told(), found.stream, end, found.replaces)

    added = lake.add_segment(counted(), unit)
    (found,) = finished
    if not added:
        now = receipts if found.known else lake.receipts().to_pylist()  # or another process was faster
        if any(r["segment"] == found.segment for r in now):
            return _known(found, lake, now)
        return InputResult(name, "unchanged", found.segment, unfinished=found.unfinished)
    rejected, damage = _before(found, receipts)
    return InputResult(
        name, "continued" if found.offset_from else "stored", found.segment, tally.read, flows, tally.skipped.total(),
        tally.rejected_by_reason(), rejected + tally.rejected, tally.damage.value if tally.damage else damage,
        found.unfinished,
    )  # fmt: skip
