"""Findings as SARIF 2.1.0, for code scanning and editors. Source: OASIS, sarif-v2.1.0-os, section 3."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from vzflow.reports.plain import json_text

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"


@dataclass(frozen=True)
class Rule:
    """What a code means. level: error, warning or note."""

    code: str
    name: str
    says: str
    do: str
    level: str


@dataclass(frozen=True)
class Result:
    """One finding. path: as the caller named it, or None where it is in no file; line and column from 1."""

    code: str
    level: str
    message: str
    path: str | None = None
    line: int | None = None
    column: int | None = None


def render(rules: Iterable[Rule], results: Iterable[Result], *, version: str) -> str:
    """
    Return one run as JSON text that ends in a newline.

    Args:
        rules: What the codes mean; those of no result are left out.
        results: In the order in which they are listed. Their columns count characters.
        version: Of vzflow.
    """
    found = list(results)
    used = {result.code for result in found}
    kept = sorted((rule for rule in rules if rule.code in used), key=lambda rule: rule.code)
    index = {rule.code: number for number, rule in enumerate(kept)}
    run = {
        "tool": {"driver": {"name": "vzflow", "semanticVersion": version, "rules": [_rule(rule) for rule in kept]}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(result, index) for result in found],
    }
    return json_text({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": rule.says},
        "help": {"text": rule.do},
        "defaultConfiguration": {"level": rule.level},
    }


def _result(result: Result, index: dict[str, int]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "ruleId": result.code,
        "ruleIndex": index[result.code],
        "level": result.level,
        "message": {"text": result.message},
    }
    if result.path is not None:
        shown["locations"] = [{"physicalLocation": _location(result.path, result.line, result.column)}]
    return shown


def _location(path: str, line: int | None, column: int | None) -> dict[str, Any]:
    location: dict[str, Any] = {"artifactLocation": {"uri": _uri(path)}}
    if line is not None:
        location["region"] = {"startLine": line} | ({} if column is None else {"startColumn": column})
    return location


def _uri(path: str) -> str:
    """Return a path as a URI reference: relative ones stay relative, to wherever the command ran."""
    pure = PurePath(path)
    if pure.is_absolute():
        return "file://" + quote(pure.as_posix())
    return quote(pure.as_posix())  # a colon too, which would end a scheme
