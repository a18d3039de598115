"""Commands that read a cluster: snapshot, watch."""

from __future__ import annotations

from typing import Annotated

import typer

from vzflow.cli.options import KubeconfigOption, QuietOption, TimeoutOption
from vzflow.cli.output import exit_with, say
from vzflow.cli.signals import until_told


def snapshot(
    output: Annotated[
        str,
        typer.Option("-o", "--output", envvar="VZFLOW_SNAPSHOT", metavar="FILE|FOLDER/",
                     help="File to write; in a folder, one for each context, named by cluster and time."),
    ],
    kubeconfig: KubeconfigOption = None,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", envvar="VZFLOW_CONTEXT", help="Context of the kubeconfig; repeat for several."),
    ] = None,
    cluster: Annotated[
        list[str] | None,
        typer.Option("--cluster", envvar="VZFLOW_CLUSTER",
                     help="Name of the cluster, kept in the file; repeat, one for each context."),
    ] = None,
    timeout: TimeoutOption = 60.0,
    quiet: QuietOption = False,
) -> None:  # fmt: skip
    """Read clusters once and save what identity needs."""
    from vzflow.pipeline.cluster import take_snapshot
    from vzflow.pipeline.ingest import gravest

    taken = take_snapshot(
        output, kubeconfig=kubeconfig, contexts=context or (), clusters=cluster or (), timeout=timeout
    )  # fmt: skip
    for one in taken:
        for note in () if quiet else one.notes:
            say(f"{one.path}: {note}" if len(taken) > 1 else note)
        if one.error is not None:
            say(str(one.error))
    exit_with(gravest([one.error.exit_code for one in taken if one.error is not None]))


def watch(
    output: Annotated[
        str,
        typer.Option("-o", "--output", envvar="VZFLOW_RECORDINGS", metavar="FOLDER|s3://BUCKET/PREFIX",
                     help="Where recordings are put."),
    ],
    kubeconfig: KubeconfigOption = None,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", envvar="VZFLOW_CONTEXT",
                     help="Context of the kubeconfig; repeat to record several clusters."),
    ] = None,
    cluster: Annotated[
        list[str] | None,
        typer.Option("--cluster", envvar="VZFLOW_CLUSTER",
                     help="Name of the cluster, kept in the recordings; repeat, one for each context."),
    ] = None,
    spool: Annotated[
        str | None,
        typer.Option("--spool", envvar="VZFLOW_SPOOL", metavar="FOLDER",
                     help="Where recordings wait until the bucket has taken them."),
    ] = None,
    rotate_seconds: Annotated[
        float,
        typer.Option("--rotate-seconds", envvar="VZFLOW_ROTATE_SECONDS", min=1,
                     help="Finish a file when it is this old: from then on it can be ingested."),
    ] = 900.0,
    rotate_mb: Annotated[
        int,
        typer.Option("--rotate-mb", envvar="VZFLOW_ROTATE_MB", min=1,
                     help="Finish a file when it has this many MB, before it is compressed."),
    ] = 64,
    listen: Annotated[
        str | None,
        typer.Option("--listen", envvar="VZFLOW_LISTEN", metavar="HOST:PORT",
                     help="Serve /healthz, /readyz and /metrics here."),
    ] = None,
    timeout: TimeoutOption = 60.0,
    quiet: QuietOption = False,
) -> None:  # fmt: skip
    """Record everything that happens to clusters, until SIGTERM or SIGINT, which is how it ends well (0)."""
    from vzflow.identity.recording import Limits
    from vzflow.pipeline.recorder import record

    stopping = until_told()
    record(
        output, stopping, kubeconfig=kubeconfig, contexts=context or (), clusters=cluster or (), spool=spool,
        timeout=timeout, listen=listen, limits=Limits(rotate_mb * 1_000_000, rotate_seconds),
        say=(lambda line: None) if quiet else say,
    )  # fmt: skip
