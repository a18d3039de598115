"""The command that asks the model about a flow nobody saw: check."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vzflow.cli.options import DEFAULT_STORE, ModelOption, OutputOption, QuietOption, StoreOption, one_of, store_if_any
from vzflow.cli.output import colour, exit_with, say, write
from vzflow.flow.errors import UsageProblem

#: What `--fail-on` looks at in an answer: its column and the value that fails.
_FAILS = {
    "plaintext": ("transport_status", "violated"), "unexpected": ("verdict", "unexpected"),
    "unknown": ("verdict", "unknown"), "amended": ("rule_status", "amended"),
}  # fmt: skip


def check(
    initiator: Annotated[
        str,
        typer.Argument(help="NS/WORKLOAD, component, address, node, own_node, api_server, external.", metavar="FROM"),
    ],
    target: Annotated[str, typer.Argument(help="The same, with a port: :8080 or :53/udp.", metavar="TO:PORT")],
    store: StoreOption = DEFAULT_STORE,
    identity: Annotated[
        list[str] | None,
        typer.Option("--identity", envvar="VZFLOW_IDENTITY", help="Snapshot to ask instead of a store; repeatable."),
    ] = None,
    model: ModelOption = None,
    transport: Annotated[
        list[str] | None,
        typer.Option("--transport", envvar="VZFLOW_TRANSPORT", help="mtls, tls or plaintext; all if left out."),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option("--fail-on", envvar="VZFLOW_CHECK_FAIL_ON",
                     help="Exit 1 if any answer is: plaintext, unexpected, unknown, amended."),
    ] = None,
    output: OutputOption = "text",
    quiet: QuietOption = False,
) -> None:  # fmt: skip
    """Say what the model makes of a flow that was not seen."""
    from vzflow.pipeline import supposed, verbs
    from vzflow.reports import checked
    from vzflow.reports.plain import json_text, printable

    one_of(output, ("text", "json"))
    _known(transport or (), supposed.TRANSPORTS, "--transport")
    _known(fail_on or (), _FAILS, "--fail-on")
    found = verbs.check(
        initiator, target, store=store_if_any(store), identity=identity or (), model=model or (),
        transports=tuple(dict.fromkeys(transport or supposed.TRANSPORTS)),
    )  # fmt: skip
    write(json_text(found) if output == "json" else checked.render(printable(found), colour=colour(sys.stdout)))
    failed = [name for name in fail_on or () if any(a[_FAILS[name][0]] == _FAILS[name][1] for a in found["answers"])]
    if failed and not quiet:
        say(f"found {', '.join(failed)}")
    exit_with(1 if failed else 0)


def _known(given: list[str] | tuple[()], allowed: dict[str, str] | dict[str, tuple[str, str]], flag: str) -> None:
    for value in given:
        if value not in allowed:
            raise UsageProblem(f"not known: {value}", at=flag, do=f"Use {', '.join(allowed)}.")
