"""Commands that read inputs into a store: demo, ingest, run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vzflow.cli.options import DEFAULT_STORE, ModelOption, OutputOption, QuietOption, StoreOption, one_of
from vzflow.cli.output import colour, exit_with, print_report, say, tell, write
from vzflow.cli.progress import progress_bar


def demo(
    store: Annotated[
        str | None, typer.Option("--store", envvar="VZFLOW_DEMO_STORE", help="Keep the store here instead of nowhere.")
    ] = None,
    output: OutputOption = "text",
    quiet: QuietOption = False,
) -> None:
    """Run the main job on the shipped samples: no cluster needed."""
    import tempfile

    from vzflow.flow.data import shipped
    from vzflow.pipeline import verbs
    from vzflow.pipeline.ingest import ingest as run_ingest

    one_of(output, ("text", "json"))
    samples = shipped("sample_captures")
    inputs = [str(samples / name) for name in ("verrazzano.pcap", "envoy-text.log", "envoy-json.log", "calico.jsonl")]
    with tempfile.TemporaryDirectory(prefix="vzflow-demo-") as folder:
        where = store or f"{folder}/store"
        with progress_bar(quiet=quiet) as progress:
            result = run_ingest(inputs, where, identity=[str(samples / "cluster.json")], progress=progress)
        tell(result.inputs, result.errors, quiet=quiet)
        print_report(verbs.open_judge(where), output, None)
        exit_with(result.exit_code(strict=False))


def ingest(
    inputs: Annotated[
        list[str],
        typer.Argument(help="Captures and logs, told apart by content; `-` is standard input.", metavar="INPUT..."),
    ],
    store: StoreOption = DEFAULT_STORE,
    form: Annotated[
        str,
        typer.Option("--format", envvar="VZFLOW_FORMAT", help="auto, pcap, calico, envoy, ztunnel, hubble or zeek."),
    ] = "auto",
    identity: Annotated[
        list[str] | None,
        typer.Option(
            "--identity", envvar="VZFLOW_IDENTITY", help="Snapshot, kubectl list, recording or audit log; repeat."
        ),
    ] = None,
    model: ModelOption = None,
    reporter: Annotated[
        str | None, typer.Option("--reporter", envvar="VZFLOW_REPORTER", help="NS/POD whose proxy wrote the logs.")
    ] = None,
    cluster: Annotated[
        str, typer.Option("--cluster", envvar="VZFLOW_CLUSTER", help="Cluster the addresses belong to.")
    ] = "default",
    vxlan_port: Annotated[
        list[int] | None,
        typer.Option("--vxlan-port", envvar="VZFLOW_VXLAN_PORT", min=1, max=65535,
                     help="UDP port that carries VXLAN in captures, besides 4789 and 8472; repeat."),
    ] = None,
    envoy_format: Annotated[
        str | None,
        typer.Option("--envoy-format", envvar="VZFLOW_ENVOY_FORMAT", metavar="STR|@FILE",
                     help="Format string or JSON template of Envoy access logs, or a file that holds it: MeshConfig, "
                     "logFormat of an extensionProvider, EnvoyFilter."),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option("--jobs", envvar="VZFLOW_JOBS", min=0,
                     help="Files read at once, each in a process with its own memory; 0 is one for each core."),
    ] = 1,
    no_classify: Annotated[
        bool,
        typer.Option("--no-classify", envvar="VZFLOW_NO_CLASSIFY", help="Leave verdicts to the next command."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", envvar="VZFLOW_STRICT", help="Exit 4 if records of an input were rejected.")
    ] = False,
    quiet: QuietOption = False,
) -> None:  # fmt: skip
    """Store what is new in captures and logs, and classify it."""
    from vzflow.pipeline.ingest import ingest as run_ingest

    with progress_bar(quiet=quiet) as progress:
        result = run_ingest(
            inputs, store, form=form, identity=identity or [], model=model or [], reporter=reporter, cluster=cluster,
            vxlan_ports=vxlan_port or (), envoy_format=envoy_format, classify=not no_classify, jobs=jobs,
            progress=progress,
        )  # fmt: skip
    if not quiet:
        for note in result.notes:
            say(note)
    tell(result.inputs, result.errors, quiet=quiet)
    if result.moved and not quiet:
        say(f"{result.moved} flows stored earlier are judged otherwise now")
    exit_with(result.exit_code(strict=strict))


def run(
    route: Annotated[Path, typer.Argument(help="Route file, as pipelines/hourly.toml.", metavar="ROUTE.toml")],
    quiet: QuietOption = False,
) -> None:
    """Do the scheduled batch of a route file: ingest what is new, classify, report."""
    from vzflow.pipeline.route import run_route
    from vzflow.reports import json_report, text
    from vzflow.reports.plain import printable

    def as_text(facts: Any) -> str:  # noqa: ANN401 - the facts of a report
        return text.render(printable(facts))

    with progress_bar(quiet=quiet) as progress:
        result = run_route(route, {".json": json_report.render, ".txt": as_text}, progress)
    errors = [error for part in result.ingested for error in part.errors]
    tell(
        [one for part in result.ingested for one in part.inputs],
        [*errors, *([result.problem] if result.problem is not None else [])], quiet=quiet,
    )  # fmt: skip
    if not quiet:
        for note in result.notes:
            say(note)
        if result.facts is not None:
            write(text.render(printable(result.facts), colour=colour(sys.stdout)))
        if result.failed:
            say(f"found {', '.join(result.failed)}")
    exit_with(result.exit_code)
