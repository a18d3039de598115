"""Commands that query a store: sql, query."""

from __future__ import annotations

from typing import Annotated

import typer

from vzflow.cli.options import DEFAULT_STORE, ModelOption, OutputOption, StoreOption, one_of, stdin_text, time_of
from vzflow.cli.output import lines, print_rows, write


def sql(
    text: Annotated[
        str | None, typer.Argument(help="One SQL query; read from stdin when left out.", metavar="QUERY")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    model: ModelOption = None,
    output: OutputOption = "text",
) -> None:
    """Query the views flow, verdict, exchange, edge, identity, model_rule, reject and receipt."""
    from vzflow.pipeline import verbs

    one_of(output, ("text", "json"))
    print_rows(verbs.sql(store, text if text is not None else stdin_text(), model=model or ()), output)


def query(
    name: Annotated[str, typer.Argument(help="Name of a file in queries/; `vzflow query list` lists them.")],
    store: StoreOption = DEFAULT_STORE,
    model: ModelOption = None,
    param: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", envvar="VZFLOW_PARAM", help="NAME=VALUE, for queries with parameters."),
    ] = None,
    output: OutputOption = "text",
) -> None:
    """Run one of the shipped questions."""
    from vzflow.model import catalogue
    from vzflow.pipeline import verbs
    from vzflow.reports.plain import aligned, json_text

    one_of(output, ("text", "json"))
    if name == "list":
        listed = [{"name": q.name, "code": q.code, "says": q.says} for q in catalogue.questions().values()]
        write(
            json_text(listed) if output == "json" else lines(aligned([tuple(one.values()) for one in listed], indent=0))
        )
        return
    values = dict(pair.partition("=")[::2] for pair in param or ())
    params = {key: time_of(value, f"--param {key}") if key == "time" else value for key, value in values.items()}
    print_rows(verbs.query(store, name, model=model or (), **params), output)
