"""The command that says what to record: plan."""

from __future__ import annotations

import sys
from pathlib import Path

from vzflow.cli.options import DEFAULT_STORE, ModelOption, OutputOption, StoreOption, one_of
from vzflow.cli.output import colour, write


def plan(store: StoreOption = DEFAULT_STORE, model: ModelOption = None, output: OutputOption = "text") -> None:
    """Say for each documented row which source would prove it, and the settings that turn it on."""
    from vzflow.pipeline import verbs
    from vzflow.report import plan as report
    from vzflow.report.plain import json_text, printable

    one_of(output, ("text", "json"))
    there = store if Path(store).exists() or store != DEFAULT_STORE else None
    found = report.with_commands(verbs.plan(there, model=model or ()))
    write(json_text(found) if output == "json" else report.render(printable(found), colour=colour(sys.stdout)))
