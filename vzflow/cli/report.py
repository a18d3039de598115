"""The commands that answer with a report or an explanation: report, explain."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vzflow.cli.options import (
    DEFAULT_STORE,
    FailOnOption,
    ModelOption,
    OutputOption,
    QuietOption,
    StoreOption,
    one_of,
    verdict_of,
    window_of,
)
from vzflow.cli.output import colour, exit_with, print_report, say, write
from vzflow.cli.progress import progress_bar


def report(
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = "text",
    fail_on: FailOnOption = None,
    min_coverage: Annotated[
        float,
        typer.Option("--min-coverage", envvar="VZFLOW_MIN_COVERAGE", min=0, max=100,
                     help="Exit 4 below this percentage of observed minutes."),
    ] = 0.0,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", envvar="VZFLOW_BASELINE", metavar="FILE",
                     help="An earlier report as JSON: mark what is new since, and fail on that only."),
    ] = None,
    model: ModelOption = None,
    since: Annotated[
        str | None, typer.Option("--since", envvar="VZFLOW_SINCE", help="Time, UTC, as 2026-01-02T03:04:05Z.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", envvar="VZFLOW_UNTIL", help="Time, exclusive.")] = None,
    namespace: Annotated[
        str | None, typer.Option("-n", "--namespace", envvar="VZFLOW_NAMESPACE", help="Of either end.")
    ] = None,
    workload: Annotated[str | None, typer.Option("--workload", envvar="VZFLOW_WORKLOAD", help="Of either end.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", envvar="VZFLOW_PORT", min=0, max=65535, help="Pod port of the responder.")
    ] = None,
    verdict: Annotated[
        str | None, typer.Option("--verdict", envvar="VZFLOW_VERDICT", help="Only this verdict.")
    ] = None,
    quiet: QuietOption = False,
) -> None:  # fmt: skip
    """Say what was expected, unexpected or in clear, with evidence."""
    from vzflow.pipeline import answer, verbs
    from vzflow.pipeline.baseline import load_baseline
    from vzflow.pipeline.ingest import gravest
    from vzflow.pipeline.judge import Asked

    one_of(output, ("text", "json"))
    conditions = tuple(fail_on or ())
    answer.check_fail_on(conditions)
    asked = Asked(*window_of(since, until), namespace, workload, port, verdict_of(verdict))
    before = None if baseline is None else load_baseline(baseline)
    facts = print_report(verbs.open_judge(store, model or ()), output, asked, before)
    codes = [0]
    if answer.covered(facts) < min_coverage:
        codes.append(4)
        if not quiet:
            say(answer.too_little(facts, min_coverage))
    failed = answer.failures(facts, conditions)
    if failed:
        codes.append(1)
        if not quiet:
            say(f"found {', '.join(failed)}")
    exit_with(gravest(codes))


def explain(
    what: Annotated[
        str,
        typer.Argument(help="A flow id, an edge as NS/WORKLOAD>NS/WORKLOAD:PORT, a finding's code, alone or before an "
                       "edge, or a line of a report.", metavar="FLOW_ID|EDGE|FINDING"),
    ],
    store: StoreOption = DEFAULT_STORE,
    model: ModelOption = None,
    extract: Annotated[
        str | None,
        typer.Option("--extract", envvar="VZFLOW_EXTRACT", metavar="OUT.pcap|OUT.log",
                     help="Cut the packets or lines behind it out of their input; of an edge, of all flows."),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", envvar="VZFLOW_INPUT", metavar="FILE",
                     help="Where the input is now, if not where it was ingested from; repeat."),
    ] = None,
    dissect: Annotated[
        bool, typer.Option("--dissect", envvar="VZFLOW_DISSECT", help="Show the packets as scapy sees them.")
    ] = False,
    sql: Annotated[
        bool, typer.Option("--sql", envvar="VZFLOW_SQL", help="Print only the query that returns its row.")
    ] = False,
    output: OutputOption = "text",
    quiet: QuietOption = False,
) -> None:  # fmt: skip
    """Show every reason, rule, identity interval and record behind a verdict."""
    from vzflow.pipeline import verbs
    from vzflow.reports import explanation
    from vzflow.reports.plain import json_text

    one_of(output, ("text", "json"))
    with progress_bar(quiet=quiet) as progress:
        found = verbs.explain(
            store, what, model=model or (), inputs=inputs or (), extract=extract, dissect=dissect, progress=progress
        )
    if sql:
        write(found["sql"]["flow"] + "\n")
    else:
        write(json_text(found) if output == "json" else explanation.render(found, colour=colour(sys.stdout)))
    if quiet:
        return
    for line in explanation.extracted(found) if extract is not None else ():
        say(line)
    if found["others"]:
        say(f"the first of {found['exchanges']} exchanges of this edge; others: {' '.join(found['others'])}")
