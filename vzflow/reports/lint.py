"""Findings about documents and models: as a compiler prints them, as JSON, as SARIF."""

from __future__ import annotations

from collections.abc import Sequence

from vzflow.flow.finding import LintFinding
from vzflow.flow.terms import Level, LintCode
from vzflow.reports import sarif
from vzflow.reports.plain import coloured, json_text, printable

_COLOURS = {Level.ERROR: "high", Level.WARNING: "medium", Level.NOTE: "low"}


def as_text(findings: Sequence[LintFinding], *, colour: bool = False) -> str:
    """Return a line for each finding: `FILE:LINE:COLUMN: CODE level: sentence. What to do.`"""
    places = [printable(f"{f.path}:{f.line}:{f.column}:") for f in findings]
    width = max(map(len, places), default=0)
    grades = [f"{f.code} {f.code.level}:" for f in findings]
    wide = max(map(len, grades), default=0)
    return "".join(
        f"{place:<{width}} {coloured(f'{grade:<{wide}}', _COLOURS[f.code.level], on=colour)} {_sentence(f)}\n"
        for place, grade, f in zip(places, grades, findings, strict=True)
    )


def as_json(findings: Sequence[LintFinding]) -> str:
    """Return one JSON object; `schema_version` changes when a key changes its meaning."""
    listed = [
        {
            "code": f.code.value, "name": f.code.name.lower(), "level": f.code.level.value, "file": f.path,
            "line": f.line, "column": f.column, "message": f.message, "do": f.code.do,
        }
        for f in findings
    ]  # fmt: skip
    return json_text({"schema_version": 1, "summary": counts(findings), "findings": listed})


def as_sarif(findings: Sequence[LintFinding], *, version: str) -> str:
    """Return the findings as a SARIF 2.1.0 run."""
    rules = (sarif.Rule(c.value, c.name.lower(), c.says, c.do, c.level.value) for c in LintCode)
    results = (
        sarif.Result(f.code.value, f.code.level.value, f"{f.message}. {f.code.do}", f.path, f.line, f.column)
        for f in findings
    )
    return sarif.render(rules, results, version=version)


def counts(findings: Sequence[LintFinding]) -> dict[str, int]:
    """Return how many findings there are of each level, the gravest first."""
    return {level.value: sum(f.code.level is level for f in findings) for level in Level}


def _sentence(finding: LintFinding) -> str:
    return str(printable(f"{finding.message}. {finding.code.do}"))
