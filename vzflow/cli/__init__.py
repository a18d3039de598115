"""The command line: arguments in, text and exit code out; no decisions. Heavy packages are imported when needed."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Annotated, Any

import typer

from vzflow.cli import cluster, ingest, model, report, sql, store
from vzflow.cli.output import say, write
from vzflow.cli.signals import note_interrupts
from vzflow.flow.errors import VzflowError

# Rich costs a tenth of a second at start and draws boxes that scripts cannot read; the plain help says the same.
app = typer.Typer(
    name="vzflow", rich_markup_mode=None, pretty_exceptions_enable=False, invoke_without_command=True,
    help="Was every flow in the cluster documented, and protected as the document says? With evidence.",
)  # fmt: skip
model_app = typer.Typer(rich_markup_mode=None, invoke_without_command=True, help="The documented model.")
store_app = typer.Typer(rich_markup_mode=None, invoke_without_command=True, help="The store itself.")

# In the order in which `vzflow --help` lists them.
for command in (
    ingest.demo, ingest.ingest, cluster.snapshot, cluster.watch, report.report, report.explain, sql.sql, sql.query,
    ingest.run,
):  # fmt: skip
    app.command()(command)
app.add_typer(model_app, name="model")
model_app.command("show")(model.show)
model_app.command("lint")(model.lint)
model_app.command("import")(model.import_)
app.add_typer(store_app, name="store")
store_app.command("compact")(store.compact)

# What is wrong with the arguments themselves: typer brings click with it and shows this much of it.
_ArgumentProblem: Any = typer.BadParameter.__base__


@app.callback()
def _vzflow(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        from importlib.metadata import version as installed

        write(f"vzflow {installed('vzflow')}\n")
        raise typer.Exit
    _help_without_command(context)


@store_app.callback()
@model_app.callback()
def _model(context: typer.Context) -> None:
    _help_without_command(context)


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(2)


def main() -> None:
    """Run the command line; every expected error is one line on stderr and its exit code."""
    interrupted = note_interrupts()
    with suppress(AttributeError):  # a stream that a test or a wrapper put in place need not have it
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = app(standalone_mode=False)
    except _ArgumentProblem as problem:
        command = problem.ctx.command_path if problem.ctx is not None else "vzflow"
        say(f"{problem.format_message().rstrip('.')}. See `{command} --help`.")
        code = 2
    except VzflowError as error:
        say(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        if os.environ.get("VZFLOW_TRACEBACK"):
            raise
        code = 70
        if not interrupted:
            said = str(error).strip().splitlines() or [""]
            say(f"internal error: {type(error).__name__}: {said[0]}. Set VZFLOW_TRACEBACK=1 to see where.")
    sys.exit(128 + interrupted[0] if interrupted else code)
