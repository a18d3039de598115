"""Commands on models."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer

from vzflow.cli.options import ModelOption, OutputOption, QuietOption, one_of
from vzflow.cli.output import colour, exit_with, say, write
from vzflow.flow.errors import UsageProblem


def show(model: ModelOption = None, output: OutputOption = "text") -> None:
    """Print the rules of a model, each with the row it quotes."""
    from vzflow.model.document import load
    from vzflow.pipeline.judge import DEFAULT_MODEL, today
    from vzflow.reports import rules

    one_of(output, ("text", "json"))
    loaded = load(model or [DEFAULT_MODEL], on=today(), draft=True)
    write(rules.render(loaded.tables(), loaded.names, output == "json"))


def lint(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Documents (Markdown, HTML, text), or model files and shipped models; else the models of --model.",
            metavar="[FILE...]",
        ),
    ] = None,
    model: ModelOption = None,
    identity: Annotated[
        list[str] | None,
        typer.Option("--identity", envvar="VZFLOW_IDENTITY", help="Snapshot to hold it against; repeat."),
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", envvar="VZFLOW_OUTPUT", help="text, json or sarif.")
    ] = "text",
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on", envvar="VZFLOW_LINT_FAIL_ON", help="Exit 1 from this level on: note, warning or error."
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Find what is wrong with a document or a model, by file and line."""
    from importlib.metadata import version

    from vzflow.flow.terms import Level
    from vzflow.pipeline import lint as linting
    from vzflow.reports import lint as report

    one_of(output, ("text", "json", "sarif"))
    levels = list(Level)
    if fail_on is not None and fail_on not in levels:
        raise UsageProblem(f"no such level: {fail_on}", at="--fail-on", do=f"Use {', '.join(reversed(levels))}.")
    found = linting.lint(files or [], model=model or [], identity=identity or [])
    if output == "text":
        write(report.as_text(found, colour=colour(sys.stdout)))
    else:
        write(report.as_json(found) if output == "json" else report.as_sarif(found, version=version("vzflow")))
    if not quiet:
        say(
            ", ".join(f"{n} {level}{'' if n == 1 else 's'}" for level, n in report.counts(found).items() if n)
            or "clean"
        )
    graver = levels[: [*map(str, levels)].index(fail_on) + 1] if fail_on is not None else []
    exit_with(int(any(one.code.level in graver for one in found)))


def import_(
    document: Annotated[
        str,
        typer.Argument(help="Markdown, HTML or text with a table of component, pod port, source.", metavar="DOCUMENT"),
    ],
    model: ModelOption = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", envvar="VZFLOW_IMPORTED", metavar="FILE", help="File to write; else to stdout."),
    ] = None,
    mesh: Annotated[
        str | None,
        typer.Option("--mesh", envvar="VZFLOW_MESH", metavar="on|off", help="Whether the cluster has a mesh."),
    ] = None,
    trust_domain: Annotated[
        list[str] | None,
        typer.Option("--trust-domain", envvar="VZFLOW_TRUST_DOMAIN", help="Trust domain of the mesh; repeat."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", envvar="VZFLOW_STRICT", help="Exit 4 if a row could not be read.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Make a model file of a document's table; what --model names knows which pods its words stand for."""
    from vzflow.model.page.imported import as_yaml
    from vzflow.pipeline import lint as linting

    _check_declared(mesh, trust_domain or [])
    read = linting.import_document(document, model=model or [], mesh=mesh, trust_domains=trust_domain or [])
    if output is None:
        write(as_yaml(read))
    else:
        linting.write_import(read, output)
    for lost in read.troubles:
        say(f"{document}:{lost.line}:{lost.column}: {lost.message}")
    if not quiet:
        unknown = read.unknown_names()
        say(f"{len(read.entries)} of {read.rows} rows are rules now; `vzflow model lint {document}` says what is wrong")
        if unknown:
            shown = ", ".join(unknown[:20]) + (f" and {len(unknown) - 20} more" if len(unknown) > 20 else "")
            say(f"nothing says which pods these are, so rules about them match nothing: {shown}")
        if read.undeclared:
            say(f"it judges no flow until {' and '.join(f'`{key}`' for key in read.undeclared)} are stated in it")
    exit_with(4 if strict and any(trouble.lost for trouble in read.troubles) else 0)


def _check_declared(mesh: str | None, trust_domains: list[str]) -> None:
    if mesh not in (None, "on", "off"):
        raise UsageProblem(f"no such state of a mesh: {mesh}", at="--mesh", do="Use on or off.")
    for name in trust_domains:
        # SPIFFE-ID section 2.1: these characters only. A whole `spiffe://` URI would trust nobody, and say nothing.
        if not re.fullmatch(r"[a-z0-9._-]+", name):
            what = f"{name!r} is not a trust domain"
            raise UsageProblem(what, at="--trust-domain", do="Write its name alone, as cluster.local.")
