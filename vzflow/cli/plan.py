"""The command that says what to record: plan."""

from __future__ import annotations

import sys

from vzflow.cli.options import DEFAULT_STORE, ModelOption, OutputOption, StoreOption, one_of, store_if_any
from vzflow.cli.output import colour, write


def plan(store: StoreOption = DEFAULT_STORE, model: ModelOption = None, output: OutputOption = "text") -> None:
    """Say for each documented row which source would prove it, and the settings that turn it on."""
    from vzflow.pipeline import verbs
    from vzflow.reports import plan as report
    from vzflow.reports.plain import json_text, printable

    one_of(output, ("text", "json"))
    found = report.with_commands(verbs.plan(store_if_any(store), model=model or ()))
    write(json_text(found) if output == "json" else report.render(printable(found), colour=colour(sys.stdout)))
