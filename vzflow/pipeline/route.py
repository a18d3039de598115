"""The scheduled batch: a route file says what to read and what to write; running it again does only what is new."""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from vzflow.flow.errors import Place, UsageProblem
from vzflow.pipeline.answer import check_fail_on, covered, failures, report_facts
from vzflow.pipeline.ingest import IngestResult, Progress, ingest
from vzflow.pipeline.judge import Asked, Judge, model_of
from vzflow.store.lake import Lake


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Input(_Strict):
    """One kind of input: files by glob, read alike."""

    glob: str
    format: str = "auto"
    reporter: str | None = None
    cluster: str = "default"


class Identity(_Strict):
    """Snapshots by glob."""

    glob: str
    cluster: str = "default"


class Output(_Strict):
    """A report to write; its format is told by the suffix: .json or .txt."""

    path: str


class Route(_Strict):
    """A route file. Relative paths are relative to the folder `vzflow run` is started in."""

    store: str
    model: tuple[str, ...] = ()
    fail_on: tuple[str, ...] = ()
    strict: bool = False
    min_coverage: float = 0.0
    input: tuple[Input, ...]
    identity: tuple[Identity, ...] = ()
    output: tuple[Output, ...] = ()


@dataclass(frozen=True)
class RouteResult:
    """What a run did: what became of the inputs, the report's facts, and the conditions of `fail_on` that were met."""

    ingested: tuple[IngestResult, ...]
    facts: Mapping[str, Any]
    failed: tuple[str, ...]
    exit_code: int


#: Facts -> the text of a file with this suffix; given by the command line, which knows the formats.
Renderers = Mapping[str, Callable[[Mapping[str, Any]], str]]


def load_route(path: str | Path) -> Route:
    """
    Read a route file.

    Raises:
        UsageProblem: It cannot be read, is not TOML, or has a key that no route has; the message names it.
    """
    try:
        route = Route.model_validate(tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageProblem(f"cannot be read: {error}", at=Place(str(path)), do="Name a route file.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageProblem(f"not TOML: {error}", at=Place(str(path)), do="Correct it.") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageProblem(f"{key}: {first['msg'].lower()}", at=Place(str(path)), do="See docs/cli.md.") from error
    check_fail_on(route.fail_on)
    return route


def run_route(path: str | Path, renderers: Renderers, progress: Progress | None = None) -> RouteResult:
    """
    Ingest what is new, classify what became stale, write the reports. Safe to run again and to run at once.

    Raises:
        UsageProblem: The route file or the model cannot be used.
        UnreadableStore: The store cannot be used.
    """
    route = load_route(path)
    for output in route.output:
        if Path(output.path).suffix not in renderers:
            raise UsageProblem(f"no format for {output.path}", at=Place(str(path)), do=f"Use {', '.join(renderers)}.")
    ingested = [
        ingest([], route.store, identity=_found(i.glob), model=route.model, cluster=i.cluster) for i in route.identity
    ]
    ingested += [
        ingest(_found(i.glob), route.store, form=i.format, model=route.model, reporter=i.reporter, cluster=i.cluster,
               progress=progress)
        for i in route.input
    ]  # fmt: skip
    lake = Lake.open(route.store)
    model = model_of(lake, route.model)
    facts = report_facts(Judge(lake, model), Asked())
    for output in route.output:
        _replace(Path(output.path), renderers[Path(output.path).suffix](facts))
    failed = tuple(failures(facts, route.fail_on))
    return RouteResult(tuple(ingested), facts, failed, _exit_code(route, ingested, facts, failed))


def _exit_code(
    route: Route, ingested: list[IngestResult], facts: Mapping[str, Any], failed: tuple[str, ...]
) -> int:
    if any(i.fate == "unreadable" for result in ingested for i in result.inputs):
        return 3
    if route.strict and any(result.incomplete for result in ingested) or covered(facts) < route.min_coverage:
        return 4
    return 1 if failed else 0


def _found(pattern: str) -> list[str]:
    return sorted(glob(pattern, recursive=True))


def _replace(path: Path, text: str) -> None:
    """Write *path* whole or not at all: whoever reads it meanwhile sees the old report."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8") as file:
            file.write(text)
        os.replace(file.name, path)  # noqa: PTH105 - the atomic one, spelled out
    except OSError as error:
        raise UsageProblem(f"cannot be written: {error.strerror}", at=Place(str(path)), do="Give another path.") from error
