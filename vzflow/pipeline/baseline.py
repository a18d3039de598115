"""An earlier report -> what is new since: edges are compared in `queries/`, here they are only read and handed over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from vzflow.flow import lookups
from vzflow.flow.errors import Place, UnreadableInput, UsageProblem
from vzflow.model import catalogue
from vzflow.store.duck import Duck

#: Version of the JSON contract of a report.
SCHEMA_VERSION = 1
_DO = "Give the output of `vzflow report -o json`."


def load_baseline(path: str | Path) -> pa.Table:
    """
    Read an earlier `report -o json` as the table `baseline`: its findings, and what it could not decide.

    Raises:
        UsageProblem: There is no such file, or it is a report of another version.
        UnreadableInput: It is not a report.
    """
    place = Place(str(path))
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageProblem(f"cannot be read: {error.strerror or error}", at=place, do=_DO) from error
    except (ValueError, RecursionError) as error:
        raise UnreadableInput("not JSON", at=place, do=_DO) from error
    version = told.get("schema_version") if isinstance(told, dict) else None
    if version is None:
        raise UnreadableInput("not a report", at=place, do=_DO)
    if version != SCHEMA_VERSION:
        what = f"a report of schema_version {version}; this vzflow compares {SCHEMA_VERSION}"
        raise UsageProblem(what, at=place, do="Make it again with this version.")
    try:
        rows = [_finding(row) for row in told["findings"]]
        rows += [_undecided(row) for row in told["undecided"]]
        return pa.Table.from_pylist(rows, schema=lookups.COMPARED["baseline"])
    except (KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise UnreadableInput("not a whole report", at=place, do=_DO) from error


def compare(duck: Duck, findings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mark each of *findings* `new` or not, against the table `baseline`; return the counts and what is not there."""
    rows = [{"place": place, **_finding(row)} for place, row in enumerate(findings)]
    duck.register("found", pa.Table.from_pylist(rows, schema=lookups.COMPARED["found"]))
    for row in duck.run(catalogue.question("since_baseline").sql).to_pylist():
        findings[row["place"]]["new"] = row["new"]
    new = sum(finding["new"] for finding in findings)
    gone = duck.run(catalogue.question("not_found_again").sql).to_pylist()
    return {"new": new, "known": len(findings) - new, "not_found_again": gone}


def _finding(row: Mapping[str, Any]) -> dict[str, Any]:
    return _row(row, row["initiator"]["name"], row["responder"]["name"], row["verdict"])


def _undecided(row: Mapping[str, Any]) -> dict[str, Any]:
    clear = {"transport_status": "violated"} if row.get("violating") else {}
    return _row(row, row["initiator"], row["responder"], "unknown") | clear


def _row(row: Mapping[str, Any], initiator: str, responder: str, verdict: str) -> dict[str, Any]:
    edge = {"initiator": initiator, "responder": responder, "port": row["port"], "protocol": row["protocol"]}
    rest = {key: row.get(key) for key in ("code", "cluster", "reason", "transport_status", "outcome")}
    return edge | rest | {"verdict": verdict}
