"""The scheduled batch: a route file says what to read and what to write; running it again does only what is new."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vzflow.flow.errors import Place, UnreadableInput, UsageProblem, VzflowError
from vzflow.pipeline.answer import check_fail_on, covered, failures, report_facts, too_little
from vzflow.pipeline.baseline import load_baseline
from vzflow.pipeline.ingest import IngestResult, check_arguments, gravest, ingest
from vzflow.pipeline.judge import Asked, Judge, model_of
from vzflow.pipeline.one_input import InputResult, Progress
from vzflow.pipeline.whole_file import write_whole
from vzflow.readers.envoy.given import given
from vzflow.store.lake import Lake


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Input(_Strict):
    """One kind of input: files by glob, read alike."""

    glob: str = Field(description="Files to read; `**` goes into folders.")
    format: str = Field("auto", description="As `--format`.")
    reporter: str | None = Field(None, description="As `--reporter`.")
    cluster: str = Field("default", description="As `--cluster`.")
    vxlan_ports: tuple[int, ...] = Field((), description="As `--vxlan-port`.")
    envoy_format: str | None = Field(None, description="As `--envoy-format`.")


class Identity(_Strict):
    """Snapshots by glob."""

    glob: str = Field(description="Snapshot files.")
    cluster: str = Field("default", description="Cluster they are of.")


class Output(_Strict):
    """A report to write."""

    path: str = Field(description="File, written whole or not at all; `.json` or `.txt` says which report.")


class Route(_Strict):
    """A route file. Relative paths are relative to the folder `vzflow run` is started in."""

    store: str = Field(description="Folder of the store.")
    model: tuple[str, ...] = Field((), description="Model files or shipped models, overlaid in this order.")
    fail_on: tuple[str, ...] = Field((), description="As `--fail-on`: exit 1.")
    baseline: str | None = Field(None, description="As `--baseline`: an earlier report as JSON.")
    strict: bool = Field(False, description="As `--strict`: exit 4.")
    min_coverage: float = Field(default=0.0, ge=0, le=100, description="As `--min-coverage`: exit 4.")
    input: tuple[Input, ...] = Field(description="What to ingest; a table each, `[[input]]`.")
    identity: tuple[Identity, ...] = Field((), description="Snapshots; a table each, `[[identity]]`.")
    output: tuple[Output, ...] = Field((), description="Reports; a table each, `[[output]]`.")


@dataclass(frozen=True)
class RouteResult:
    """
    What a run did.

    Args:
        ingested: What became of snapshots and inputs.
        facts: The report's; null when other processes kept it from being made, which `problem` then tells.
        failed: The conditions of `fail_on` that were met.
        notes: What a reader should know, a line each.
    """

    ingested: tuple[IngestResult, ...]
    facts: Mapping[str, Any] | None
    failed: tuple[str, ...]
    notes: tuple[str, ...]
    problem: VzflowError | None
    exit_code: int


#: Facts -> the text of a file with this suffix; given by the command line, which knows the formats.
Renderers = Mapping[str, Callable[[Mapping[str, Any]], str]]


def load_route(path: str | Path) -> Route:
    """
    Read a route file.

    Raises:
        UsageProblem: It cannot be read, is not TOML, or holds what no route has; the message names the key.
    """
    place = Place(str(path))
    try:
        route = Route.model_validate(tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise UsageProblem(what, at=place, do="Name a route file.") from error
    except UnicodeDecodeError as error:
        raise UsageProblem("not UTF-8 text", at=place, do="Name a route file.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageProblem(f"not TOML: {error}", at=place, do="Correct it.") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageProblem(f"{key}: {first['msg'].lower()}", at=place, do="See docs/cli.md.") from error
    _check_values(route, place)
    return route


def _check_values(route: Route, place: Place) -> None:
    """Check what its type alone does not: the message names the key."""
    key = "fail_on"
    try:
        check_fail_on(route.fail_on)
        for number, one in enumerate(route.input):
            key = f"input.{number}"
            check_arguments(one.format, one.reporter, one.cluster, one.vxlan_ports)
            if one.envoy_format is not None:
                given(one.envoy_format)
        for number, snapshots in enumerate(route.identity):
            key = f"identity.{number}"
            check_arguments("auto", None, snapshots.cluster)
    except UsageProblem as problem:
        raise UsageProblem(f"{key}: {problem.what}", at=place, do=problem.do) from problem


def run_route(path: str | Path, renderers: Renderers, progress: Progress | None = None) -> RouteResult:
    """
    Ingest what is new, classify what became stale, write the reports. Safe to run again and to run at once.

    An input or a snapshot that cannot be read is told of and left out; the rest is done.

    Raises:
        UsageProblem: The route file, the model or the baseline cannot be used, or a report cannot be written.
        UnreadableInput: The baseline is not a report.
        UnreadableStore: The store cannot be used.
    """
    route = load_route(path)
    for number, output in enumerate(route.output):
        if Path(output.path).suffix not in renderers:
            what = f"output.{number}.path: no format for {output.path}"
            raise UsageProblem(what, at=Place(str(path)), do=f"Use {', '.join(renderers)}.")
    baseline = None if route.baseline is None else load_baseline(route.baseline)
    ingested = tuple(_ingested(route, progress))
    patterns = [*(i.glob for i in route.input), *(i.glob for i in route.identity)]
    notes = tuple(dict.fromkeys(note for result in ingested for note in result.notes))
    notes += tuple(f"no file matches {pattern}" for pattern in patterns if not _found(pattern))
    codes = [result.exit_code(strict=route.strict) for result in ingested]
    try:
        lake = Lake.open(route.store)
        facts = report_facts(Judge(lake, model_of(lake, route.model)), Asked(), baseline)
    except VzflowError as problem:
        code = gravest([*codes, problem.exit_code])
        if code == problem.exit_code:
            raise
        return RouteResult(ingested, None, (), notes, problem, code)
    for output in route.output:
        write_whole(Path(output.path), renderers[Path(output.path).suffix](facts))
    failed = tuple(failures(facts, route.fail_on))
    if covered(facts) < route.min_coverage:
        notes += (too_little(facts, route.min_coverage),)
        codes.append(4)
    return RouteResult(ingested, facts, failed, notes, None, gravest([*codes, 1 if failed else 0]))


def _ingested(route: Route, progress: Progress | None) -> Iterator[IngestResult]:
    """Store the model, then snapshots, then inputs, and classify nothing: the report does, once."""
    yield ingest([], route.store, model=route.model, classify=False)
    for snapshots in route.identity:
        for file in _found(snapshots.glob):
            try:
                yield ingest([], route.store, identity=[file], cluster=snapshots.cluster, classify=False)
            except UnreadableInput as error:
                yield IngestResult((InputResult(file, "unreadable", error=error),), 0)
    for one in route.input:
        yield ingest(
            _found(one.glob), route.store, form=one.format, reporter=one.reporter, cluster=one.cluster,
            vxlan_ports=one.vxlan_ports, envoy_format=one.envoy_format, classify=False, progress=progress,
        )  # fmt: skip


def _found(pattern: str) -> Sequence[str]:
    return sorted(name for name in glob(pattern, recursive=True) if not Path(name).is_dir())  # noqa: PTH207 - as typed
