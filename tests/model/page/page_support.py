"""Documents written in a test, read as files are."""

from __future__ import annotations

from datetime import date

from vzflow.flow.finding import LintFinding
from vzflow.model.document import Model, load_texts
from vzflow.model.page.checks import findings
from vzflow.model.page.imported import Imported, as_yaml, imported
from vzflow.model.page.source import parse

DAY = date(2026, 1, 15)
HEAD = "| Component | Pod Port | From | Description |\n|---|---|---|---|\n"


def read(text: str, path: str = "page.md", model: Model | None = None) -> Imported:
    return imported(parse(text, path), model)


def loaded(text: str, path: str = "page.md", model: Model | None = None) -> Model:
    """The model that a document becomes; it must load by itself, as a draft."""
    return load_texts([("imported", as_yaml(read(text, path, model)))], on=DAY, draft=True)


def edges(text: str, path: str = "page.md") -> list[tuple[str, str, str, str, str]]:
    """Rule, initiator, responder, ports and protocol of every grant."""
    rows = loaded(text, path).tables()["rule_grant"].to_pylist()
    return [
        (
            r["rule_id"], r["from_term"].removeprefix("component:"), r["to_term"].removeprefix("component:"),
            "any" if r["port_lo"] is None else f"{r['port_lo']}-{r['port_hi']}", r["protocol"],
        )
        for r in rows
    ]  # fmt: skip


def lint(text: str, path: str = "page.md", model: Model | None = None) -> list[LintFinding]:
    return findings(read(text, path, model))


def told(text: str, code: str, path: str = "page.md", model: Model | None = None) -> list[tuple[int, int]]:
    """Line and column of every finding of one code, by its name."""
    return [(f.line, f.column) for f in lint(text, path, model) if f.code.name.lower() == code]
