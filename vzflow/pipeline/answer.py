"""Questions -> answers: the facts of a report. Every number comes from `queries/`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from vzflow.flow import terms
from vzflow.flow.errors import UsageProblem
from vzflow.model import catalogue
from vzflow.pipeline.baseline import SCHEMA_VERSION, compare
from vzflow.pipeline.judge import Asked, Judge, rows_in, session
from vzflow.pipeline.vouching import both_sides
from vzflow.store.duck import Duck

#: Conditions of `--fail-on`, as `queries/gate.sql` counts them.
FAIL_ON = {
    "plaintext": "plaintext", "unexpected": "unexpected", "unexpected:any": "unexpected_any", "unknown": "unknown",
    "amended": "amended", "disputed": "disputed",
}  # fmt: skip


def report_facts(judge: Judge, asked: Asked, baseline: pa.Table | None = None) -> dict[str, Any]:
    """
    Return the facts of a report as plain values: the JSON contract of `report -o json`, times as datetime.

    Exchanges are counted, flows stand beside them. Classifies first what is stale.
    With a *baseline* (see `load_baseline`) findings are marked `new` or not, and only what is new counts in the gate.
    """
    with session(judge, asked) as duck:
        for name in ("vantage", "contradiction", "exchange_flow", "exchange", "edge"):  # many read them: computed once
            duck.create_table(name, catalogue.views()[name].sql)
        window = _one(duck, "observed_minutes")
        summary = _rows(duck, "summary")
        findings = [row for query in catalogue.findings() for row in _findings(duck, query)]
        order = {severity.value: place for place, severity in enumerate(terms.Severity)}
        _tell_both_sides(duck, judge, findings)
        findings.sort(key=lambda f: (order[f["severity"]], f["code"], -f["exchanges"]))
        if baseline is not None:
            duck.register("baseline", baseline)
        compared = {} if baseline is None else {"baseline": compare(duck, findings)}
        return {
            "schema_version": SCHEMA_VERSION,
            "generated_at": datetime.now(UTC),
            "model": {"names": list(judge.model.names), "digest": judge.model.digest},
            "window": {
                "first_seen": window["first_seen"], "last_seen": window["last_seen"], "since": asked.since,
                "until": asked.until,
            },
            "coverage": _coverage(duck, judge, window),
            "summary": _summary(summary),
            **compared,
            "findings": findings,
            "undecided": _rows(duck, "undecided"),
            "egress": _rows(duck, "egress"),
            "rules": _rules(duck),
            "strict_readiness": _rows(duck, "strict_readiness"),
            "inputs": _inputs(duck),
            "gate": _one(duck, "gate"),
        }  # fmt: skip


def covered(facts: Mapping[str, Any]) -> float:
    """Return the percentage of the window's minutes that have records; 0 without any."""
    coverage = facts["coverage"]
    return 100 * coverage["observed_minutes"] / coverage["window_minutes"] if coverage["window_minutes"] else 0.0


def too_little(facts: Mapping[str, Any], wanted: float) -> str:
    """Return the sentence that says how much less than *wanted* percent was observed."""
    return f"{covered(facts):.0f} % of the window's minutes observed, {wanted:g} % asked for"


def failures(facts: Mapping[str, Any], fail_on: tuple[str, ...]) -> list[str]:
    """Return those conditions of *fail_on* that some exchange meets."""
    return [name for name in fail_on if facts["gate"][FAIL_ON[name]]]


def check_fail_on(fail_on: tuple[str, ...]) -> None:
    """Raise UsageProblem if one of *fail_on* is no condition."""
    for name in fail_on:
        if name not in FAIL_ON:
            raise UsageProblem(f"no such condition: {name}", at="--fail-on", do=f"Use {', '.join(FAIL_ON)}.")


def _rows(duck: Duck, name: str) -> list[dict[str, Any]]:
    query = catalogue.question(name)
    return _read(duck, query, query.defaults or None)


def _read(duck: Duck, query: catalogue.Query, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    rows = rows_in(duck, query, params)
    for row in rows:
        if row.get("flow_ids") is not None:
            row["flow_ids"] = json.loads(row["flow_ids"])
    return rows


def _one(duck: Duck, name: str) -> dict[str, Any]:
    (row,) = _rows(duck, name)
    return row


def _findings(duck: Duck, query: catalogue.Query) -> list[dict[str, Any]]:
    def end(row: dict[str, Any], side: str) -> dict[str, Any]:
        parts = {key: row.pop(f"{side}_{key}") for key in ("namespace", "workload", "kind")}
        return {"name": row.pop(side), **parts}

    return [
        {"code": query.code, "severity": query.severity, "says": query.says}
        | {"initiator": end(row, "initiator"), "responder": end(row, "responder")}
        | row
        | {"sources": row["sources"].split(",")}
        for row in _rows(duck, query.name)
    ]


def _tell_both_sides(duck: Duck, judge: Judge, findings: list[dict[str, Any]]) -> None:
    """Put to each finding that contradicts an address what the record says and who held it, of its first exchange."""
    contradictions = _rows(duck, "contradictions")
    sides = both_sides(judge.seen, contradictions) if contradictions else []
    for finding in findings:
        if (flow_id := finding.pop("contradicting_flow", None)) is not None:
            told = flow_id, finding.pop("told_by")
            finding["contradiction"] = [one for one in sides if (one["flow_id"], one["told_by"]) == told]


def _coverage(duck: Duck, judge: Judge, window: Mapping[str, Any]) -> dict[str, Any]:
    from vzflow.identity.unlisted import not_listed

    receipts = duck.run("FROM receipt").to_pylist()
    segments = {r["segment"]: r for r in receipts}.values()
    blind = _rows(duck, "blind_classes")
    blind_says = {one.value: one.says for one in terms.BlindClass}
    vantages = duck.run("SELECT DISTINCT node, namespace FROM vantage").to_pylist()
    return {
        "sources": _rows(duck, "coverage"),
        "window_minutes": window["window_minutes"],
        "observed_minutes": window["observed_minutes"],
        "not_listed": not_listed(judge.snapshots),
        "snapshots": len(set(judge.snapshots.column("snapshot").to_pylist())),
        "records_read": sum(r["records_read"] for r in segments),
        "rejected": sum(r["rejected"] for r in segments),
        "skipped": sum(sum(json.loads(r["skipped"]).values()) for r in segments),
        "damaged_inputs": sorted(r["name"] for r in segments if r["damage"]),
        "unresolved_addresses": len(_rows(duck, "unresolved")),
        "contested_addresses": len(_rows(duck, "contested")),
        "nodes": sorted({row["node"] for row in vantages if row["node"] is not None}),
        "namespaces": sorted({row["namespace"] for row in vantages if row["namespace"] is not None}),
        "blind": [blind_says[row["class"]] for row in blind],
        "blind_classes": blind,
        "blind_spots": _rows(duck, "blind_spots"),
    }


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    def count(column: str, value: str | None, of: str = "exchanges") -> int:
        return sum(row[of] for row in rows if row[column] == value)

    statuses = [s.value for s in terms.TransportStatus]
    expected = [row for row in rows if row["verdict"] == terms.Verdict.EXPECTED]
    return {
        "flows": sum(row["flows"] for row in rows),
        "exchanges": sum(row["exchanges"] for row in rows),
        "by_verdict": {v.value: count("verdict", v.value) for v in terms.Verdict},
        "flows_by_verdict": {v.value: count("verdict", v.value, "flows") for v in terms.Verdict},
        "by_transport_status": {s: count("transport_status", s) for s in statuses}
        | {"not_applicable": count("transport_status", None)},
        "expected_by_transport_status": {
            s: n for s in statuses if (n := sum(r["exchanges"] for r in expected if r["transport_status"] == s))
        },
        "expected_by_rule_status": {
            s.value: n for s in terms.RuleStatus
            if (n := sum(r["exchanges"] for r in expected if r["rule_status"] == s.value))
        },
    }  # fmt: skip


def _rules(duck: Duck) -> list[dict[str, Any]]:
    """What was asked for is counted; what could have been seen does not depend on it."""
    covered = {row["rule_id"]: row for row in _rows(duck, "rule_coverage")}

    def sight(rule_id: str) -> dict[str, Any]:
        found = covered[rule_id]
        named = {key: (found[key] or "").split(",") for key in ("sources", "vantages", "transport_vantages")}
        return {"coverage": found["coverage"], "why": found["why"]} | {
            key: [source for source in sources if source] for key, sources in named.items()
        }

    return [
        {"rule_id": row.pop("rule_id"), "status": row.pop("kind"), "seen": row["exchanges"] > 0, **row} | sight(rule_id)
        for row in _rows(duck, "rule_use") if (rule_id := row["rule_id"])
    ]  # fmt: skip


def _inputs(duck: Duck) -> list[dict[str, Any]]:
    inputs: dict[str, dict[str, Any]] = {}
    for row in duck.run("FROM receipt ORDER BY name, offset_from").to_pylist():
        one = inputs.setdefault(
            row["name"],
            {"name": row["name"], "format": row["format"], "segments": [], "digest": row["digest"], "records_read": 0,
             "flows": 0, "rejected": 0, "damage": None},
        )  # fmt: skip
        one["segments"].append(row["segment"])
        one["digest"] = row["digest"]
        for key in ("records_read", "flows", "rejected"):
            one[key] += row[key]
        one["damage"] = one["damage"] or row["damage"]
    return list(inputs.values())
