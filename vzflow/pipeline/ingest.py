"""Inputs -> recorded flows in the store, each segment exactly once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from vzflow.flow.errors import ServiceUnavailable, UnreadableInput, UsageProblem, VzflowError
from vzflow.pipeline.inputs import How, begins, format_of
from vzflow.pipeline.one_input import InputResult, Progress, is_pattern, open_named, read_one
from vzflow.pipeline.unpacked import STDIN, Opened, is_pipe, open_input, readable
from vzflow.readers.envoy.given import Given, given
from vzflow.readers.sniff import FORMATS
from vzflow.store.lake import Lake

if TYPE_CHECKING:
    from vzflow.model.document import Model
    from vzflow.pipeline.crew import Crew

#: Exit codes, gravest first: of several, the first counts.
GRAVEST = (70, 2, 3, 5, 4, 1, 0)


def gravest(codes: Iterable[int]) -> int:
    """Return the exit code that counts of several; 0 of none."""
    return min(codes, key=GRAVEST.index, default=0)


@dataclass(frozen=True)
class IngestResult:
    """
    What became of every input, in the order they were named, and how many snapshots were new.

    Args:
        problem: What was in the way of the rest: other processes write to the store all the time. Null if nothing was.
        notes: What to know about the options, a line each.
        moved: Flows stored earlier of which the verdict, or who they were between, changed: by new snapshots or models.
    """

    inputs: tuple[InputResult, ...]
    new_snapshots: int
    problem: VzflowError | None = None
    notes: tuple[str, ...] = ()
    moved: int = 0

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
    inputs: Sequence[str | Path],
    store: str | Path,
    *,
    form: str = "auto",
    identity: Sequence[str | Path] = (),
    model: Sequence[str] = (),
    reporter: str | None = None,
    cluster: str = "default",
    vxlan_ports: Sequence[int] = (),
    envoy_format: str | None = None,
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
        identity: Files of *cluster*, or patterns: snapshots, recordings of a watch, audit logs.
        model: Shipped models or files; none keeps what the store remembers.
        reporter: NS/POD that wrote the logs.
        cluster: Cluster the addresses belong to.
        vxlan_ports: UDP ports that carry VXLAN in captures, besides 4789 and 8472.
        envoy_format: Format string or JSON template of Envoy access logs, or @FILE that holds one; see docs/logs.md.
        classify: Without, that is left to the next command.
        jobs: Files read at once, each in a process of its own; 0 is one for each core. Pipes are read after them.
        progress: Told as inputs are read.

    Raises:
        UnreadableInput: A snapshot cannot be read; nothing at all was stored.
        UsageProblem: An argument or a model cannot be used; nothing at all was stored.
        UnreadableStore: The store cannot be used.
    """
    check_arguments(form, reporter, cluster, vxlan_ports)
    layout = given(envoy_format) if envoy_format is not None else Given(None, ())
    names, how = expanded(inputs), How(form, cluster, reporter, tuple(vxlan_ports), layout.formats)
    if names.count(STDIN) > 1:
        raise UsageProblem("standard input can be read once only", at=STDIN, do="Name it once.")
    snapshots = _snapshots(expanded(identity), cluster)
    named = _model(model)
    notes = (*layout.notes, *_unknown_pods(named))
    looked = {name: _look(name, how) for name in dict.fromkeys(names) if not is_pipe(name)}
    with ExitStack() as stack:
        crew = _crew(looked, jobs, store, how, stack)
        pipes = {name: _pipe(name, how, stack) for name in dict.fromkeys(names) if is_pipe(name)}
        bad = {n: e for n, e in {**looked, **pipes}.items() if isinstance(e, UnreadableInput)}
        if names and len(bad) == len(set(names)) and not snapshots and named is None:
            return IngestResult(tuple(InputResult(n, "unreadable", error=bad[n]) for n in names), 0, None, notes)
        lake = Lake.open(store, create=True)
        results: dict[int, InputResult] = {}
        new_snapshots = moved = 0
        problem = None
        try:
            lake.recover()  # a log goes on where its newest receipt ends, so none may be missing
            if named is not None:
                lake.remember_models(named.sources)
            for objects in snapshots:
                new_snapshots += lake.add_identity(objects)
            if crew is not None:
                crew.run(_groups(names, looked), results, progress)
            for place, name in enumerate(names):
                if place not in results:
                    results[place] = read_one(name, lake, how, progress, pipes.get(name))
            if classify:
                moved = _classify(lake)
        except VzflowError as error:
            if error.exit_code != ServiceUnavailable.exit_code:
                raise
            problem = error
        found = tuple(results[place] for place in sorted(results))
        return IngestResult(found, new_snapshots, problem, notes, moved)


def expanded(inputs: Sequence[str | Path]) -> list[str]:
    """Return *inputs* with the files in the place of patterns; a pattern that matches none, or is a file, stays."""
    names: list[str] = []
    for name in map(str, inputs):
        found = []
        if is_pattern(name):
            found = sorted(one for one in glob(name, recursive=True) if not Path(one).is_dir())  # noqa: PTH207 - as typed
        names += found or [name]
    return names


def advice(inputs: Iterable[InputResult]) -> str | None:
    """Return what would make reading such *inputs* faster; null if nothing is known to."""
    if all(one.form != "pcap" for one in inputs):
        return None
    from vzflow.readers import packet_core

    slow = "the packet core is not compiled: captures are read many times slower. Install a C compiler and reinstall."
    return None if packet_core.COMPILED else slow


def check_arguments(form: str, reporter: str | None, cluster: str, vxlan_ports: Sequence[int] = ()) -> None:
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
    if bad := [port for port in vxlan_ports if not 0 < port < 65536]:
        raise UsageProblem(f"not a port: {bad[0]}", at="--vxlan-port", do="Use 1 to 65535.")


def _snapshots(paths: Sequence[str], cluster: str) -> list[pa.Table]:
    if not paths:
        return []
    from vzflow.identity import snapshot

    return [snapshot.load([path], cluster) for path in paths]


def _model(named: Sequence[str]) -> Model | None:
    if not named:
        return None
    from vzflow.model.document import load
    from vzflow.pipeline.judge import today

    return load(named, on=today())


def _unknown_pods(model: Model | None) -> Iterator[str]:
    """What an imported document leaves open would otherwise look like flows that it does not have."""
    names = [] if model is None else [component.name for component in model.components if not component.namespaces]
    if names:
        yield f"nothing says which pods these are, so flows from or to them match no rule: {', '.join(names)}"


def _classify(lake: Lake) -> int:
    from vzflow.pipeline.judge import Judge, model_of

    judge = Judge(lake, model_of(lake))
    judge.refresh()
    return judge.moved


def _look(name: str, how: How) -> str | UnreadableInput:
    """Look at the beginning of an input only: return what inputs that belong together share, or why it is unusable."""
    try:
        with readable(name), closing(open_named(name)) as opened:
            return begins(opened, how)
    except UnreadableInput as error:
        return error


def _pipe(name: str, how: How, stack: ExitStack) -> Opened | UnreadableInput:
    """Open what can be opened once only, until *stack* ends, and look at its beginning."""
    try:
        with readable(name):
            opened = stack.enter_context(closing(open_input(name)))
            format_of(opened, how)
            return opened
    except UnreadableInput as error:
        return error


def _groups(names: Sequence[str], looked: Mapping[str, str | UnreadableInput]) -> list[list[tuple[int, str]]]:
    """Return the places and names of files, those together that have to be read one after the other."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for place, name in enumerate(names):
        if (begin := looked.get(name)) is not None:
            groups.setdefault(begin if isinstance(begin, str) else name, []).append((place, name))
    return list(groups.values())


def _crew(
    looked: Mapping[str, str | UnreadableInput], jobs: int, store: str | Path, how: How, stack: ExitStack
) -> Crew | None:
    """Start the processes that are of use. Before anything else is begun: a process with threads cannot be copied."""
    known = {begin for begin in looked.values() if isinstance(begin, str)}
    size = min(jobs or len(os.sched_getaffinity(0)), len(known))
    if size < 2:
        return None
    from vzflow.pipeline.crew import Crew

    return stack.enter_context(Crew(size, str(store), how))
