"""Options that several commands have, and what their values must be."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from vzflow.flow.errors import UsageProblem

StoreOption = Annotated[str, typer.Option("--store", envvar="VZFLOW_STORE", help="Folder of the store.")]
ModelOption = Annotated[
    list[str] | None,
    typer.Option("--model", envvar="VZFLOW_MODEL", help="Model file or shipped model; repeat to overlay."),
]
OutputOption = Annotated[str, typer.Option("-o", "--output", envvar="VZFLOW_OUTPUT", help="text or json.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", envvar="VZFLOW_QUIET", help="Say nothing but results and errors.")
]
KubeconfigOption = Annotated[
    str | None,
    typer.Option("--kubeconfig", envvar="VZFLOW_KUBECONFIG", help="Else as kubectl finds it, else in-cluster."),
]
TimeoutOption = Annotated[
    float,
    typer.Option("--timeout", envvar="VZFLOW_TIMEOUT", min=0.1, help="Seconds to wait for more of an answer."),
]
FailOnOption = Annotated[
    list[str] | None,
    typer.Option("--fail-on", envvar="VZFLOW_FAIL_ON",
                 help="Exit 1 if any: plaintext, unexpected, unexpected:any, unknown, amended, disputed."),
]  # fmt: skip
DEFAULT_STORE = "./vzflow-store"


def stdin_text() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UsageProblem("not text", at="standard input", do="Give one SQL query.") from error


def store_if_any(store: str) -> str | None:
    """Return the store, or None where none was named and there is none: the command does without."""
    return store if Path(store).exists() or store != DEFAULT_STORE else None


def one_of(value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageProblem(f"no such output: {value}", at="--output", do=f"Use {' or '.join(allowed)}.")


def verdict_of(value: str | None) -> str | None:
    from vzflow.flow.terms import Verdict

    if value is not None and value not in set(Verdict):
        raise UsageProblem(f"no such verdict: {value}", at="--verdict", do=f"Use {', '.join(Verdict)}.")
    return value


def window_of(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    begin, end = time_of(since, "--since"), time_of(until, "--until")
    if begin is not None and end is not None and begin >= end:
        raise UsageProblem(f"{until} is not after {since}", at="--until", do="It ends the window, exclusively.")
    return begin, end


def time_of(value: str | None, flag: str) -> datetime | None:
    if value is None:
        return None
    try:
        read = datetime.fromisoformat(value)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageProblem(f"not a time: {value}", at=flag, do="Write it as 2026-01-02T03:04:05Z.") from None
