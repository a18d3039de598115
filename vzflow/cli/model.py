"""Commands on models."""

from __future__ import annotations

from vzflow.cli.options import ModelOption, OutputOption, one_of
from vzflow.cli.output import write


def show(model: ModelOption = None, output: OutputOption = "text") -> None:
    """Print the rules of a model, each with the row it quotes."""
    from vzflow.model.document import load
    from vzflow.pipeline.judge import DEFAULT_MODEL, today
    from vzflow.report import rules

    one_of(output, ("text", "json"))
    loaded = load(model or [DEFAULT_MODEL], on=today())
    write(rules.render(loaded.tables(), loaded.names, output == "json"))
