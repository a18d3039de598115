"""What commands print: data on stdout, talk on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from vzflow.flow.errors import UsageProblem, VzflowError

if TYPE_CHECKING:
    import pyarrow as pa

    from vzflow.pipeline.judge import Asked, Judge
    from vzflow.pipeline.one_input import InputResult


def print_report(judge: Judge, output: str, asked: Asked | None, baseline: pa.Table | None = None) -> dict[str, Any]:
    from vzflow.pipeline.answer import report_facts
    from vzflow.pipeline.judge import Asked
    from vzflow.reports import json_report, text
    from vzflow.reports.plain import printable

    facts = report_facts(judge, asked or Asked(), baseline)
    write(json_report.render(facts) if output == "json" else text.render(printable(facts), colour=colour(sys.stdout)))
    return facts


def print_rows(table: pa.Table, output: str) -> None:
    from vzflow.reports.plain import aligned, instant, json_text

    names = _distinct(table.column_names)
    try:
        columns = [column.to_pylist() for column in table.columns]
    except (ValueError, OverflowError) as error:
        what = f"a value that cannot be shown: {error}"
        raise UsageProblem(what, at="query", do="Cast its column to VARCHAR.") from error
    rows = list(zip(*columns, strict=True))
    if output == "json":
        write(json_text([dict(zip(names, row, strict=True)) for row in rows]))
        return
    cells = [[instant(v) if isinstance(v, datetime) else v for v in row] for row in rows]
    write(lines(aligned([names, *cells], indent=0)))


def _distinct(names: Sequence[str]) -> list[str]:
    """Return *names*, those that stand there already numbered as DuckDB numbers them in a subquery."""
    seen: list[str] = []
    for name in names:
        free = (f"{name}_{number}" for number in range(1, len(names) + 1) if f"{name}_{number}" not in (*names, *seen))
        seen.append(next(free) if name in seen else name)
    return seen


def tell(inputs: Sequence[InputResult], errors: Sequence[VzflowError], *, quiet: bool) -> None:
    """Say what became of the inputs; errors are said in any case, a line each."""
    from vzflow.pipeline.ingest import advice
    from vzflow.reports.plain import aligned

    def fate(one: InputResult) -> tuple[str, ...]:
        rejects = ", ".join(f"{reason} {count}" for reason, count in sorted(one.rejects.items()))
        earlier = one.rejected - sum(one.rejects.values())
        read_as = " in ".join((one.form or "", *reversed(one.codecs)))
        new = one.fate in ("stored", "continued")
        parts = [f"{one.flows} flows of {one.records} records ({read_as})" if new else ""]
        parts += [f"{one.skipped} skipped" if one.skipped else "", f"rejected: {rejects}" if rejects else ""]
        parts += [f"{earlier} rejected earlier" if earlier else ""]
        parts += [f"{one.unfinished} bytes of an unfinished line left for later" if one.unfinished else ""]
        return (one.name, one.fate, "; ".join(p for p in parts if p))

    readable = [fate(one) for one in inputs if one.error is None]
    if readable and not quiet:
        print(lines(aligned(readable, indent=0)), end="", file=sys.stderr)
    if not quiet and (advised := advice(inputs)) is not None:
        say(advised)
    for error in errors:
        say(str(error))


def colour(stream: Any) -> bool:  # noqa: ANN401 - a text stream
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(text: str) -> None:
    from vzflow.reports.plain import printable

    print(f"vzflow: {printable(text)}", file=sys.stderr)


def lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def write(text: str) -> None:
    """Write data to stdout. If its reader has gone (`| head`), nothing is wrong and the exit code still counts."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        what = f"cannot be written: {error.strerror}"
        raise UsageProblem(what, at="standard output", do="Write it elsewhere.") from error


def exit_with(code: int) -> None:
    if code:
        raise typer.Exit(code)
